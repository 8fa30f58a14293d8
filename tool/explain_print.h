/* SPDX-License-Identifier: MIT */
/* explain_print.h - the two questions of qcow2 explain, answered on stdout. */
#ifndef TOOL_EXPLAIN_PRINT_H
#define TOOL_EXPLAIN_PRINT_H

#include <qcow2.h>
#include <stdbool.h>

#include "args.h"

/* Where the guest byte at `offset` comes from, step by step. Exit code; failures are reported. */
int explain_guest(struct qcow2_image *image, const char *path, uint64_t offset, int output);

/* What in the image refers to the byte at `offset` of its file. `fd` is that of the file; the image was
 * opened without its backing files. Snapshots are opened from `path`. Exit code. */
int explain_host(struct qcow2_image *image, const char *path, int fd,
                 const struct common_options *common, uint64_t offset, bool no_limit);

#endif
