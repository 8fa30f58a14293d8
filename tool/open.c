/* SPDX-License-Identifier: MIT */
/* open.c - opening the image a command was given.
 * The one place where shared options become options of the library. */
#include "open.h"

#include "report.h"

struct qcow2_image *open_image(const char *path, const struct common_options *common,
                               uint32_t flags)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;

    options.flags = common->open_flags | flags;
    options.cluster_cache_bytes = common->cache_bytes;
    if (qcow2_open(path, &options, &image, &err) < 0) {
        report_library(path, &err);
        return NULL;
    }
    return image;
}
