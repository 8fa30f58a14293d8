/* SPDX-License-Identifier: MIT */
/* own_files.c - which files an image is made of, so that no output may take their place.
 * Knows names and what the system reports of files; must not know how outputs are written.
 *
 * An image that is read alone (--no-backing, --vm-state) needs its backing files as much as before. Their
 * headers are therefore opened nevertheless, through the same grant. Where that ends early, nothing is
 * known of the files below, and an output that exists could be one of them. */
#include "own_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "confine.h"
#include "image_directory.h"
#include "keys.h"
#include "open.h"
#include "report.h"

static bool same_file(const struct stat *a, const struct stat *b)
{
    if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode)) {
        return a->st_rdev == b->st_rdev; /* one device may have several nodes */
    }
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* `name` relative to the directory of the file `path`: the caller's to free; NULL without memory. */
static char *join(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t directory = slash != NULL && name[0] != '/' ? (size_t)(slash - path) + 1 : 0;
    size_t count = strlen(name) + 1;
    char *joined = malloc(directory + count);

    if (joined != NULL) {
        memcpy(joined, path, directory);
        memcpy(joined + directory, name, count);
    }
    return joined;
}

static bool is_at(const struct stat *file, const char *path)
{
    struct stat other;

    return stat(path, &other) == 0 && same_file(file, &other);
}

/* Is this file what `name` in the file `path` refers to? Nothing is overwritten when there is no memory
 * to compare. */
static bool is_named(const struct stat *file, const char *path, const char *name)
{
    char *joined = name != NULL ? join(path, name) : NULL;
    bool is = name != NULL && (joined == NULL || is_at(file, joined));

    free(joined);
    return is;
}

/* Among the names of files in the headers of `image`. */
static bool is_among(const struct qcow2_image *image, const char *image_path,
                     const struct stat *file)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    for (int depth = 0; qcow2_get_info(image, depth, &info, NULL) == 0; depth++) {
        const char *path = depth == 0 ? image_path : info.source_name;

        /* QEMU takes the name of a data file from its working directory. */
        if (is_at(file, path) || is_named(file, path, info.backing_file) ||
            is_named(file, path, info.data_file) ||
            (info.data_file != NULL && is_at(file, info.data_file))) {
            return true;
        }
    }
    return false;
}

/* Can the data file that `info` names be compared by its name? */
static bool data_file_is_known(const struct qcow2_info *info)
{
    struct stat ignored;
    char *joined;
    bool known;

    if (info->data_file == NULL) {
        return (info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) == 0;
    }
    /* A protocol, which QEMU takes for more than a name. */
    if (info->data_file[strcspn(info->data_file, ":/")] == ':') {
        return false;
    }
    joined = join(info->source_name, info->data_file);
    known = joined != NULL && stat(joined, &ignored) == 0;
    free(joined);
    return known;
}

/* The data files of backing files, which are not opened with their headers. */
static bool data_files_are_known(struct own_files *own)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    for (int depth = 1; qcow2_get_info(own->chain, depth, &info, NULL) == 0; depth++) {
        if (!data_file_is_known(&info)) {
            snprintf(own->why.message, sizeof own->why.message,
                     "the data file of layer %d of the backing chain cannot be found", depth);
            return false;
        }
    }
    return true;
}

/* Opens the headers of the chain of the file that is open already. */
static bool open_chain(struct own_files *own, const struct common_options *common)
{
    const struct image_directory *directory = image_directory_of(own->image_path);
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_source source;
    struct grants grants;
    int r;

    if (directory == NULL || image_directory_open(own->image_path, &source, &own->why) < 0) {
        return false;
    }
    if (qcow2_has_file(own->image, source.get_fd(source.ctx)) == 0) {
        source.close(source.ctx);
        snprintf(own->why.message, sizeof own->why.message, "the image has been replaced");
        return false;
    }
    grants_begin(&grants, directory, common);
    options.flags = QCOW2_OPEN_METADATA_ONLY | QCOW2_OPEN_METADATA_CHAIN;
    options.format = (uint32_t)common->format;
    options.grant = grants_decide;
    options.grant_ctx = &grants;
    r = qcow2_open_source(&source, &options, &own->chain, &own->why);
    grants_end(&grants);
    return r == 0;
}

static bool find(struct own_files *own, const struct common_options *common, bool alone)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    if (!alone) {
        return true; /* all are open */
    }
    if (qcow2_get_info(own->image, 0, &info, NULL) == 0 && info.backing_file == NULL) {
        return true;
    }
    return open_chain(own, common) && data_files_are_known(own);
}

/* What the output occupies, and whether the image file occupies some of it too: a loop device shows the bytes of a
 * file, a partition those of a disk. */
static void find_storage(struct own_files *own, const struct target *target)
{
    const struct image_directory *image = image_directory_of(own->image_path);
    struct block_stack occupied;
    struct stat info;
    bool known = target != NULL ? target->where.exists : fstat(STDOUT_FILENO, &info) == 0;

    if (target != NULL && known) {
        info = target->where.found;
    }
    if (!known || image == NULL || image->fd < 0) {
        return;
    }
    block_stack_find(&own->output, &info);
    if (own->output.count > 0 && fstatat(image->fd, image->name, &info, 0) == 0) {
        block_stack_find(&occupied, &info);
        own->shared = block_stack_overlap(&own->output, &occupied);
    }
}

struct qcow2_image *own_files_open(struct own_files *own, const char *path,
                                   const struct common_options *common, uint32_t flags,
                                   const struct target *target)
{
    const bool alone =
        (common->open_flags & QCOW2_OPEN_NO_BACKING) != 0 || (flags & QCOW2_OPEN_VM_STATE) != 0;
    /* The chain counts as an image of its own: files can be opened until it is. */
    const struct confinement needs = {
        .common = common, .images = &path, .image_count = 1, .passes = 2, .target = target
    };
    struct qcow2_image *image;

    *own = (struct own_files){ .image_path = path, .keys = common->keys, .why = QCOW2_ERROR_INIT };
    layer_files_init(&own->layers);
    find_storage(own, target);
    image = confine(&needs) ? open_image_files(path, common, flags, &own->layers) : NULL;
    if (image == NULL) {
        return NULL;
    }
    own->image = image;
    own->complete = find(own, common, alone);
    if (!confine_opened()) {
        qcow2_close(image);
        return NULL;
    }
    return image;
}

/* Without its key file an encrypted image is lost as well. */
static bool is_key_file(const struct own_files *own, const struct stat *file)
{
    for (unsigned i = 0; i < own->keys->file_count; i++) {
        const char *name = own->keys->files[i];
        struct stat input;

        if (strcmp(name, "-") == 0 ? fstat(STDIN_FILENO, &input) == 0 && same_file(file, &input)
                                   : is_at(file, name)) {
            return true;
        }
    }
    return false;
}

static bool is_any(const struct own_files *own, const struct stat *file)
{
    return is_among(own->image, own->image_path, file) ||
           (own->chain != NULL && is_among(own->chain, own->image_path, file));
}

/* Is a file of the chain what the output, a device, shows the bytes of? */
static bool shows_any(const struct own_files *own)
{
    for (unsigned i = 1; i < own->output.count; i++) {
        const struct storage *below = &own->output.storage[i];
        const struct stat file = { .st_mode = S_IFREG,
                                   .st_dev = below->device,
                                   .st_ino = below->inode };

        if (below->is_file && is_any(own, &file)) {
            return true;
        }
    }
    return false;
}

bool own_files_spare(const struct own_files *own, const char *output, int fd,
                     const struct stat *file)
{
    /* No image is made of anything else, so names in it need not be compared. */
    if (!S_ISREG(file->st_mode) && !S_ISBLK(file->st_mode)) {
        return true;
    }
    if (own->shared || qcow2_has_file(own->image, fd) || qcow2_has_file(own->chain, fd) ||
        is_any(own, file) || shows_any(own)) {
        report(output, "is a file of the image itself, which is never overwritten");
        return false;
    }
    if (is_key_file(own, file)) {
        report(output, "is a key file of the image, which is never overwritten");
        return false;
    }
    /* An empty file, such as a shell makes for a redirection, has nothing to lose. */
    if (own->complete || (S_ISREG(file->st_mode) && file->st_size == 0)) {
        return true;
    }
    report(output,
           "exists and may be a file of the image itself, whose backing chain cannot be followed: "
           "%s; choose an output that does not exist yet",
           own->why.message);
    return false;
}

bool own_files_spare_fd(const struct own_files *own, const char *output, int fd)
{
    struct stat file;

    if (fstat(fd, &file) != 0) {
        return true; /* nothing can be written there either */
    }
    return own_files_spare(own, output, fd, &file);
}

void own_files_close(struct own_files *own)
{
    qcow2_close(own->chain);
    own->chain = NULL;
    layer_files_close(&own->layers);
}
