/* SPDX-License-Identifier: MIT */
/* grants.h - which files an image may refer to, and a record of what it asked for. */
#ifndef TOOL_GRANTS_H
#define TOOL_GRANTS_H

#include <qcow2.h>
#include <stdbool.h>
#include <sys/types.h>

#include "args.h"
#include "image_directory.h"

/* The files of a chain by depth: an own descriptor, -1 where there is none, and who may read the file: a mode of
 * 0 where that is not known, and without permissions of group and others where an access control list decides. */
#define LAYER_FILES_MAX 256
struct layer_files {
    unsigned count;
    int fds[LAYER_FILES_MAX];
    mode_t modes[LAYER_FILES_MAX];
    gid_t groups[LAYER_FILES_MAX];
};
void layer_files_init(struct layer_files *files);
/* Adds a descriptor of the file that `source` reads, for `depth`. */
void layer_files_add(struct layer_files *files, int depth, const struct qcow2_source *source);
void layer_files_close(struct layer_files *files);

struct grants {
    struct qcow2_grant_directories directories;
    int fds[ALLOW_MAX + 1]; /* the image's own directory first, if it has one */
    const char *names[ALLOW_MAX + 1];
    struct layer_files *files; /* NULL: not wanted */
    /* The file that was granted last. */
    int layer_depth;
    char *layer_name;
    /* The last request, if it was refused. */
    bool refused;
    bool allow_may_help; /* a plain file name, so it may lie in a directory that could be named */
    bool is_backing_file;
};

/* The image's own directory, and those the user named. */
void grants_begin(struct grants *grants, const struct image_directory *image,
                  const struct common_options *common);
void grants_end(struct grants *grants);

/* For the library; `ctx` is the struct. */
int grants_decide(void *ctx, const struct qcow2_reference *reference,
                  struct qcow2_source *source_ret, int *format_ret, struct qcow2_error *err);

#endif
