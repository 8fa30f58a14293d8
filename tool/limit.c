/* SPDX-License-Identifier: MIT */
/* limit.c - the limit of walks over a whole disk, which --no-limit lifts.
 * Knows the library's bound for a sound image; must not know what a walk is for. */
#include "limit.h"

#include <inttypes.h>
#include <stdio.h>

uint64_t limit_of(const struct qcow2_image *image, bool no_limit)
{
    return no_limit ? UINT64_MAX : qcow2_max_extents(image);
}

int limit_reached(struct qcow2_error *err, const char *what, uint64_t limit)
{
    *err = (struct qcow2_error)QCOW2_ERROR_INIT;
    err->code = QCOW2_E_LIMIT;
    snprintf(err->message, sizeof err->message,
             "more than %" PRIu64 " %s, which no sound image of this size has", limit, what);
    return QCOW2_E_LIMIT;
}
