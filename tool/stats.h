/* SPDX-License-Identifier: MIT */
/* stats.h - the counters of the library, for --stats. */
#ifndef TOOL_STATS_H
#define TOOL_STATS_H

#include <qcow2.h>

#include "args.h"

/* With --stats: prints the counters of `image` on standard error, as text or as one line of JSON,
 * so that standard output stays what it is without the option. Does nothing otherwise. */
void stats_print(const char *path, const struct qcow2_image *image,
                 const struct common_options *common);

#endif
