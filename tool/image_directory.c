/* SPDX-License-Identifier: MIT */
/* image_directory.c - see image_directory.h. Knows directories; must not know options or the sandbox. */
#include "image_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct allowed {
    const char *path;
    int fd; /* or a negative errno */
};

static struct image_directory **images;
static size_t image_count;
static struct allowed *allowed;
static size_t allowed_count;

/* As many descriptors as the system lets this program have: many images may lie in as many directories. */
static bool raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) {
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static struct image_directory *find(const char *path)
{
    for (size_t i = 0; i < image_count; i++) {
        if (strcmp(images[i]->path, path) == 0) {
            return images[i];
        }
    }
    return NULL;
}

/* Images in one directory share a descriptor, as far as they stand side by side. */
static void share_with_last(struct image_directory *image)
{
    const struct image_directory *last = image_count > 0 ? images[image_count - 1] : NULL;

    if (last != NULL && last != image && last->fd >= 0 && image->fd >= 0 &&
        last->device == image->device && last->inode == image->inode) {
        close(image->fd);
        image->fd = last->fd;
    }
}

static void fail(struct image_directory *image, int failed, const char *message)
{
    close(image->fd);
    image->fd = -1;
    image->err.code = QCOW2_E_IO;
    image->err.sys_errno = failed;
    snprintf(image->err.message, sizeof image->err.message, "%s", message);
}

/* A directory that was open before must be the one that it was then. */
static void identify(struct image_directory *image)
{
    struct stat info;

    if (fstat(image->fd, &info) != 0) {
        fail(image, errno, "cannot examine the directory of the file");
    } else if (image->is_known && (info.st_dev != image->device || info.st_ino != image->inode)) {
        fail(image, ESTALE, "the directory of the file has been replaced");
    } else {
        image->is_known = true;
        image->device = info.st_dev;
        image->inode = info.st_ino;
    }
}

static void open_directory(struct image_directory *image)
{
    int r = qcow2_open_directory_of(image->path, &image->fd, &image->name, &image->err);

    if (r == QCOW2_E_IO && image->err.sys_errno == EMFILE && raise_limit()) {
        r = qcow2_open_directory_of(image->path, &image->fd, &image->name, &image->err);
    }
    if (r >= 0) {
        image->is_own = image->is_known ? image->is_own : r == 1;
        identify(image);
    }
}

static struct image_directory *make(const char *path)
{
    static const struct image_directory empty = { .fd = -1, .err = QCOW2_ERROR_INIT };
    struct image_directory **grown = realloc(images, (image_count + 1) * sizeof(*images));
    struct image_directory *image = malloc(sizeof *image);
    const char *slash = strrchr(path, '/');

    if (grown != NULL) {
        images = grown;
    }
    if (image != NULL) {
        *image = empty;
        image->path = path;
        image->prefix = strndup(path, slash != NULL ? (size_t)(slash - path) + 1 : 0);
    }
    if (grown == NULL || image == NULL || image->prefix == NULL) {
        free(image);
        return NULL;
    }
    return image;
}

const struct image_directory *image_directory_of(const char *path)
{
    struct image_directory *image = find(path);

    if (image == NULL) {
        image = make(path);
        if (image == NULL) {
            return NULL;
        }
        open_directory(image);
        share_with_last(image);
        images[image_count++] = image;
    } else if (image->fd < 0 && image->is_known) {
        open_directory(image);
    }
    return image;
}

void image_directory_rest(const char *path)
{
    struct image_directory *image = find(path);
    struct rlimit limit;

    /* One that is shared has the number of an earlier one, which was low enough. */
    if (image != NULL && image->fd >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY && (rlim_t)image->fd >= limit.rlim_cur / 2) {
        close(image->fd);
        image->fd = -1;
    }
}

int allowed_directory(const char *path)
{
#ifdef O_PATH
    const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
#else
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
#endif
    struct allowed *grown;
    int fd;

    for (size_t i = 0; i < allowed_count; i++) {
        if (strcmp(allowed[i].path, path) == 0) {
            return allowed[i].fd;
        }
    }
    grown = realloc(allowed, (allowed_count + 1) * sizeof *allowed);
    if (grown == NULL) {
        return -ENOMEM;
    }
    allowed = grown;
    fd = open(path, flags);
    allowed[allowed_count++] = (struct allowed){ path, fd >= 0 ? fd : -errno };
    return allowed[allowed_count - 1].fd;
}

const char *standard_stream_on(int fd)
{
    static const char *const names[] = { "standard output", "standard error" };
    static const int streams[] = { STDOUT_FILENO, STDERR_FILENO };
    struct stat file, stream;

    for (size_t i = 0; i < 2; i++) {
        int flags = fcntl(streams[i], F_GETFL);

        if (flags >= 0 && (flags & (O_WRONLY | O_RDWR)) != 0 && fstat(fd, &file) == 0 &&
            fstat(streams[i], &stream) == 0 &&
            (S_ISBLK(file.st_mode) && S_ISBLK(stream.st_mode)
                 ? file.st_rdev == stream.st_rdev
                 : file.st_dev == stream.st_dev && file.st_ino == stream.st_ino)) {
            return names[i];
        }
    }
    return NULL;
}

/* A name that is opened again must lead to the same file: what is printed of both would be of neither. */
static bool is_same_as_before(struct image_directory *image, int fd)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return true; /* the library reports it */
    }
    if (!image->was_open) {
        image->was_open = true;
        image->file_device = info.st_dev;
        image->file_inode = info.st_ino;
    }
    return info.st_dev == image->file_device && info.st_ino == image->file_inode;
}

static int refuse(struct qcow2_source *source, int code, struct qcow2_error *err,
                  const char *stream)
{
    source->close(source->ctx);
    err->code = code;
    snprintf(err->message, sizeof err->message, "%s%s", stream,
             code == QCOW2_E_IO ? "the file has been replaced by another"
                                : " is a file of the image itself, which is never overwritten");
    return code;
}

int image_directory_open(const char *path, struct qcow2_source *source_ret, struct qcow2_error *err)
{
    const struct image_directory *directory = image_directory_of(path);
    struct image_directory *image = find(path);
    const char *stream;
    int fd, r;

    if (directory == NULL || image == NULL) {
        err->code = QCOW2_E_NOMEM;
        strcpy(err->message, "out of memory");
        return QCOW2_E_NOMEM;
    }
    if (image->fd < 0) {
        *err = image->err;
        return err->code;
    }
    if ((r = qcow2_source_from_path_at(image->fd, image->name, path, source_ret, err)) < 0) {
        return r;
    }
    fd = source_ret->get_fd(source_ret->ctx);
    if (!is_same_as_before(image, fd)) {
        return refuse(source_ret, QCOW2_E_IO, err, "");
    }
    stream = standard_stream_on(fd);
    return stream != NULL ? refuse(source_ret, QCOW2_E_ARGUMENT, err, stream) : 0;
}
