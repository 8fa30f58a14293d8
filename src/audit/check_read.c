/* SPDX-License-Identifier: MIT */
/* check_read.c - pieces of tables for the check.
 *
 * Not through the table cache, which a walk over everything would only empty,
 * and not only inside the file: what lies past its end reads as zeros, whatever
 * the image was opened with, because damage is what a check is for. */
#include "audit/check.h"

#include <string.h>

#include "base/checked.h"

bool q2_check_reachable(uint64_t host_off, uint64_t n_bytes)
{
    uint64_t end;

    return q2_add_u64(host_off, n_bytes, &end) && end <= Q2_WINDOW_FAR_END;
}

uint64_t q2_check_existing(const struct q2_check *check, uint64_t host_off, uint64_t entries)
{
    /* No table has so many entries that this could wrap. */
    return q2_blocks_for(q2_window_existing(&check->layer->file, host_off, entries * 8), 3);
}

int q2_check_load(struct q2_check *check, void *buf, size_t n_bytes, uint64_t host_off,
                  const char *what, struct qcow2_error *err)
{
    size_t existing = (size_t)q2_window_existing(&check->layer->file, host_off, n_bytes);

    memset((uint8_t *)buf + existing, 0, n_bytes - existing);
    if (existing == 0) {
        return 0;
    }
    return q2_window_read_existing(&check->layer->file, buf, existing, host_off, what, err);
}
