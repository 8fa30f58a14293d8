/* SPDX-License-Identifier: MIT */
/* check_cover.c - ranges that overlap, and how many of them hold each number.
 * Knows numbers alone. */
#include "audit/check.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* Which range ends where does not matter for how many hold a number: it is those that have begun less those
 * that have ended. */
int q2_check_cover_walk(struct q2_check *check, struct q2_check_cover *cover,
                        q2_check_cover_fn *visit)
{
    size_t begun = 0, ended = 0;
    uint64_t at = 0;
    int r;

    if (cover->n == 0) {
        return 0;
    }
    qsort(cover->starts, cover->n, sizeof *cover->starts, by_value);
    qsort(cover->ends, cover->n, sizeof *cover->ends, by_value);
    while (ended < cover->n) {
        uint64_t next = cover->ends[ended];

        if (begun < cover->n && cover->starts[begun] < next) {
            next = cover->starts[begun];
        }
        if (begun > ended && next > at && (r = visit(check, at, next, begun - ended)) < 0) {
            return r;
        }
        at = next;
        while (begun < cover->n && cover->starts[begun] == at) {
            begun++;
        }
        while (ended < cover->n && cover->ends[ended] == at) {
            ended++;
        }
    }
    return 0;
}
