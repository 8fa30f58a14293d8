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
    struct stat image;
};

/* Finds the bound before the image is opened: the image's own mode, if its header has an encryption
 * method or a key file is given. Only a few fields of fixed place are read; output_mode_fits makes
 * sure of the result later. */
void output_mode_find(struct output_mode *mode, const char *image_path,
                      const struct common_options *common);

/* The permissions that a file of group `gid` may have. */
mode_t output_mode_of(const struct output_mode *mode, gid_t gid);

/* Is the new file `fd` readable by no more users than each encrypted file of the open image? False after a
 * report for `output`. */
bool output_mode_fits(const struct own_files *own, const char *output, int fd);

#endif
