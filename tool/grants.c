/* SPDX-License-Identifier: MIT */
/* grants.c - which files an image may refer to, and a record of what it asked for.
 * The decision is the library's (qcow2_grant_beneath); the record is for messages, and for commands
 * that look at the files of a chain one by one. */
#include "grants.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output_mode.h"
#include "sandbox.h"

void layer_files_init(struct layer_files *files)
{
    files->count = 0;
}

void layer_files_add(struct layer_files *files, int depth, const struct qcow2_source *source)
{
    int fd = source->get_fd != NULL ? source->get_fd(source->ctx) : -1;
    struct stat info;

    if (depth < 0 || depth >= LAYER_FILES_MAX) {
        return;
    }
    while (files->count <= (unsigned)depth) {
        files->modes[files->count] = 0;
        files->fds[files->count++] = -1;
    }
    if (fd >= 0) {
        files->fds[depth] = fcntl(fd, F_DUPFD_CLOEXEC, sandbox_first_duplicate());
    }
    if (fd >= 0 && fstat(fd, &info) == 0) {
        files->modes[depth] = output_mode_of_image(&info, fd);
        files->groups[depth] = info.st_gid;
    }
}

void layer_files_close(struct layer_files *files)
{
    for (unsigned i = 0; i < files->count; i++) {
        if (files->fds[i] >= 0) {
            close(files->fds[i]);
        }
    }
    files->count = 0;
}

static void add_directory(struct grants *grants, int fd, const char *name)
{
    grants->fds[grants->directories.count] = fd;
    grants->names[grants->directories.count++] = name;
}

void grants_begin(struct grants *grants, const struct image_directory *image,
                  const struct common_options *common)
{
    memset(grants, 0, sizeof *grants);
    grants->directories.size = sizeof grants->directories;
    grants->directories.fds = grants->fds;
    grants->directories.names = grants->names;
    if (image->is_own) {
        add_directory(grants, image->fd, image->prefix);
    }
    for (unsigned i = 0; i < common->allow_count; i++) {
        add_directory(grants, allowed_directory(common->allow[i]), common->allow[i]);
    }
}

void grants_end(struct grants *grants)
{
    free(grants->layer_name);
}

static bool has_protocol(const char *name)
{
    return name[strcspn(name, ":/")] == ':';
}

int grants_decide(void *ctx, const struct qcow2_reference *reference,
                  struct qcow2_source *source_ret, int *format_ret, struct qcow2_error *err)
{
    struct grants *grants = ctx;
    const char *stream;
    int r = qcow2_grant_beneath(&grants->directories, reference, source_ret, format_ret, err);

    if (r == 0 && source_ret->get_fd != NULL &&
        (stream = standard_stream_on(source_ret->get_fd(source_ret->ctx))) != NULL) {
        source_ret->close(source_ret->ctx);
        r = QCOW2_E_ARGUMENT;
        if (err != NULL) {
            err->code = r;
            snprintf(err->message, sizeof err->message,
                     "%s is a file of the image itself, which is never overwritten", stream);
        }
    }
    grants->refused = r == QCOW2_E_REFERENCE;
    grants->is_backing_file = reference->kind == QCOW2_REFERENCE_BACKING_FILE;
    grants->allow_may_help = !has_protocol(reference->name);
    if (r == 0 && grants->is_backing_file) {
        grants->layer_depth = reference->depth + 1;
        free(grants->layer_name);
        grants->layer_name = source_ret->name != NULL ? strdup(source_ret->name) : NULL;
        if (grants->files != NULL) {
            layer_files_add(grants->files, grants->layer_depth, source_ret);
        }
    }
    return r;
}
