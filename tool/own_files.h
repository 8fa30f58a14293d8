/* SPDX-License-Identifier: MIT */
/* own_files.h - which files an image is made of, so that no output may take their place. */
#ifndef TOOL_OWN_FILES_H
#define TOOL_OWN_FILES_H

#include <qcow2.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "args.h"
#include "block_stack.h"
#include "grants.h"
#include "target.h"

struct own_files {
    const struct qcow2_image *image;
    const char *image_path;
    const struct keys *keys;   /* their files are no targets either */
    struct layer_files layers; /* of the layers that are read */
    /* The headers of the whole chain, where the image is not read through it; NULL otherwise. */
    struct qcow2_image *chain;
    struct block_stack output; /* what the output occupies */
    bool shared;               /* some of it is the image file's */
    bool complete;             /* all files of the chain are known */
    struct qcow2_error why;    /* not, if they are not */
};

/* Opens an image whose disk goes to `target` (NULL: to standard output) like open_image, after confining
 * the program to both, and finds out which files its chain consists of, also if it is not read. NULL
 * after a report; own_files_close either way, but not before the image is no longer used. */
struct qcow2_image *own_files_open(struct own_files *own, const char *path,
                                   const struct common_options *common, uint32_t flags,
                                   const struct target *target);

/* May `file` be overwritten? `fd` is a descriptor of it (O_PATH will do) or -1, `output` its name in the
 * report. Refuses, with a report, a file of the chain, a key file, and a file that may be one of the
 * chain, as far as is known, unless it is empty. */
bool own_files_spare(const struct own_files *own, const char *output, int fd,
                     const struct stat *file);

/* The same for an open file. */
bool own_files_spare_fd(const struct own_files *own, const char *output, int fd);

void own_files_close(struct own_files *own);

#endif
