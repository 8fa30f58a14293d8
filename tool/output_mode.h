/* SPDX-License-Identifier: MIT */
/* output_mode.h - who may read a new file that holds what an encrypted image keeps secret. */
#ifndef TOOL_OUTPUT_MODE_H
#define TOOL_OUTPUT_MODE_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "args.h"

struct own_files;

/* What bounds the mode of a new file. */
struct output_mode {
    bool bounded; /* false: nothing but the umask does */
    mode_t image_mode;
    gid_t image_group;
};

/* What group and others may do with a new file, as far as the open file `fd` of an image lets them. */
mode_t output_mode_of_image(const struct stat *image, int fd);

/* Finds the bound before the image is opened: the image's own mode, if its header has an encryption
 * method or a key file is given. Only a few fields of fixed place are read; output_mode_fits makes
 * sure of the result later. */
void output_mode_find(struct output_mode *mode, const char *image_path,
                      const struct common_options *common);

/* Creates the file `name` of a directory, as openat does. A file with a bound can be opened by its owner alone until
 * output_mode_set. -1 with errno. */
int output_mode_create(const struct output_mode *mode, int directory_fd, const char *name);

/* Gives the new file its mode: what the bound and the umask leave. With a bound it has no access control list.
 * False after a report for `output`. */
bool output_mode_set(const struct output_mode *mode, const char *output, int fd);

/* Gives a new file that its owner alone can open the owner, group, mode and access control list of the file that
 * it replaces: `before`, of which `before_fd` is an O_PATH descriptor. Where it cannot have the group, or the list,
 * those whose permissions would change get fewer. False after a report for `output`. */
bool output_mode_keep(const struct stat *before, int before_fd, const char *output, int fd);

/* Is the new file `fd` readable by no more users than each encrypted file of the open image? `has_acl`: it has
 * an access control list. False after a report for `output`. */
bool output_mode_fits(const struct own_files *own, const char *output, int fd, bool has_acl);

#endif
