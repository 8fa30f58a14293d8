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

/* Adding the counters up takes longer than a step. One step examines the entries of one table at most. */
enum { STEPS_BETWEEN = 64 };

static uint64_t count(const struct qcow2_image *image)
{
    struct qcow2_stats stats = QCOW2_STATS_INIT;

    qcow2_get_stats(image, &stats);
    return stats.l2_cache_hits + stats.l2_cache_misses;
}

void limit_lookups_begin(struct limit_lookups *lookups, const struct qcow2_image *image,
                         bool no_limit)
{
    uint64_t before = count(image), most = qcow2_max_lookups(image);

    lookups->image = image;
    lookups->last = no_limit || most > UINT64_MAX - before ? UINT64_MAX : before + most;
    lookups->calls = 0;
}

int limit_lookups_check(struct limit_lookups *lookups, struct qcow2_error *err)
{
    if (lookups->last == UINT64_MAX || ++lookups->calls < STEPS_BETWEEN) {
        return 0;
    }
    lookups->calls = 0;
    return count(lookups->image) <= lookups->last
               ? 0
               : limit_reached(err, "table entries to be examined",
                               qcow2_max_lookups(lookups->image));
}

int limit_reached(struct qcow2_error *err, const char *what, uint64_t limit)
{
    *err = (struct qcow2_error)QCOW2_ERROR_INIT;
    err->code = QCOW2_E_LIMIT;
    snprintf(err->message, sizeof err->message,
             "more than %" PRIu64 " %s, which no sound image of this size has", limit, what);
    return QCOW2_E_LIMIT;
}
