/* SPDX-License-Identifier: MIT */
/* open.h - opening the image a command was given. */
#ifndef TOOL_OPEN_H
#define TOOL_OPEN_H

#include <qcow2.h>

#include "args.h"

/* Opens `path` as the shared options say, with `flags` (QCOW2_OPEN_*) added. NULL after reporting
 * why not. Close with qcow2_close. */
struct qcow2_image *open_image(const char *path, const struct common_options *common,
                               uint32_t flags);

#endif
