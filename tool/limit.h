/* SPDX-License-Identifier: MIT */
/* limit.h - the limit of walks over a whole disk, which --no-limit lifts. */
#ifndef TOOL_LIMIT_H
#define TOOL_LIMIT_H

#include <qcow2.h>
#include <stdbool.h>
#include <stdint.h>

/* Ends the sentence about a walk that has reached it. */
#define LIMIT_ADVICE "--no-limit goes on"

/* How many steps a walk may take. */
uint64_t limit_of(const struct qcow2_image *image, bool no_limit);

/* The table entries that a walk may examine, in the numbers of qcow2_get_stats. */
struct limit_lookups {
    const struct qcow2_image *image;
    uint64_t last;  /* the number at which it ends */
    unsigned calls; /* since the number was looked at */
};
void limit_lookups_begin(struct limit_lookups *lookups, const struct qcow2_image *image,
                         bool no_limit);

/* For each step of the walk: 0, or QCOW2_E_LIMIT with *err filled. */
int limit_lookups_check(struct limit_lookups *lookups, struct qcow2_error *err);

/* Fills *err with QCOW2_E_LIMIT, which it returns. */
int limit_reached(struct qcow2_error *err, const char *what, uint64_t limit);

#endif
