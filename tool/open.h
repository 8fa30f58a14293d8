/* SPDX-License-Identifier: MIT */
/* open.h - opening the image a command was given, and naming its files afterwards. */
#ifndef TOOL_OPEN_H
#define TOOL_OPEN_H

#include <qcow2.h>

#include "args.h"
#include "grants.h"

/* Opens `path` as the shared options say, with `flags` (QCOW2_OPEN_*) added. NULL after reporting
 * why not. Close with qcow2_close. */
struct qcow2_image *open_image(const char *path, const struct common_options *common,
                               uint32_t flags);

/* The same, and gives own descriptors of the files of the chain in *files_ret: the caller's to close,
 * also after a failure. */
struct qcow2_image *open_image_files(const char *path, const struct common_options *common,
                                     uint32_t flags, struct layer_files *files_ret);

/* The name of the file at `depth`; `path` is what the user called the image. Lives as long as both. */
const char *open_layer_name(const struct qcow2_image *image, const char *path, int depth);

/* Reports that reading the image failed. */
void open_report(const struct qcow2_image *image, const char *path, const struct qcow2_error *err);

#endif
