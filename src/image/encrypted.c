/* SPDX-License-Identifier: MIT */
/* encrypted.c - stored clusters of an encrypted layer: read, then decrypted in place.
 * Knows sectors; the cipher itself is unlock.c's affair. */
#include "image/image.h"

#include <string.h>

#include "base/checked.h"

enum { SECTOR_BYTES = 512 };

/* A part of one sector: decrypted whole, beside the caller's buffer. */
static int read_part_of_sector(struct q2_lane *lane, const struct q2_layer *layer, void *buf,
                               size_t n, uint64_t guest_off, uint64_t host_off,
                               struct qcow2_error *err)
{
    uint8_t sector[SECTOR_BYTES];
    size_t skip = (size_t)(host_off % SECTOR_BYTES);
    int r;

    if ((r = q2_layer_read(lane, layer, sector, sizeof sector, host_off - skip, err)) < 0 ||
        (r = q2_layer_decrypt(lane, layer, sector, sizeof sector, guest_off - skip, host_off - skip,
                              err)) < 0) {
        return r;
    }
    memcpy(buf, sector + skip, n);
    return 0;
}

/* Sectors are decrypted where they are wanted; only the ends of a range that is not aligned need a place
 * of their own. Clusters are aligned in both address spaces, so one remainder serves for both. */
int q2_encrypted_read(struct q2_lane *lane, const struct q2_run *run, void *buf, size_t n,
                      struct qcow2_error *err)
{
    const struct q2_layer *layer = run->layer;
    uint64_t guest_off = run->layer_guest_off, host_off = run->host_off;
    char *to = buf;

    while (n > 0) {
        size_t skip = (size_t)(host_off % SECTOR_BYTES), now;
        int r;

        if (skip > 0 || n < SECTOR_BYTES) {
            now = (size_t)q2_min_u64(n, SECTOR_BYTES - skip);
            r = read_part_of_sector(lane, layer, to, now, guest_off, host_off, err);
        } else {
            now = n - n % SECTOR_BYTES;
            r = q2_layer_read(lane, layer, to, now, host_off, err);
            if (r == 0) {
                r = q2_layer_decrypt(lane, layer, to, now, guest_off, host_off, err);
            }
        }
        if (r < 0) {
            return r;
        }
        to += now;
        n -= now;
        guest_off += now;
        host_off += now;
    }
    return 0;
}
