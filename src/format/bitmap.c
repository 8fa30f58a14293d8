/* SPDX-License-Identifier: MIT */
/* bitmap.c - dirty bitmaps: bytes in, facts out. No reads, no memory; knows
 * nothing of a directory as a whole, nor of the bits. */
#include "format/bitmap.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"

/* A directory entry, in bytes from its start. Extra data follows, then the name, then padding to 8. */
enum {
    B_TABLE_OFFSET = 0,
    B_TABLE_ENTRIES = 8,
    B_FLAGS = 12,
    B_TYPE = 16,
    B_GRANULARITY_BITS = 17,
    B_NAME_LENGTH = 18,
    B_EXTRA_LENGTH = 20
};

enum { FLAG_IN_USE = 1 << 0, FLAG_AUTO = 1 << 1, TYPE_DIRTY_TRACKING = 1 };

/* Table entry:  | 63..56 reserved | 55..9 host offset | 8..1 reserved | 0 ones, if there is no offset | */
#define TABLE_RESERVED UINT64_C(0xff000000000001fe)
#define TABLE_ONES     UINT64_C(1)

uint64_t q2_bitmap_table_entries(uint64_t disk_bytes, unsigned granularity_bits,
                                 unsigned cluster_bits)
{
    return q2_blocks_for(q2_blocks_for(q2_blocks_for(disk_bytes, granularity_bits), 3),
                         cluster_bits);
}

/* The rule that the entry breaks, or NULL. QEMU does not accept the flag that lets unknown extra data be
 * skipped, so there can be neither. */
static const char *broken_rule(const uint8_t *b, const struct q2_bitmap_entry *entry,
                               unsigned cluster_bits, uint64_t disk_bytes)
{
    if (q2_load_be32(b + B_EXTRA_LENGTH) != 0) {
        return "it has extra data, whose meaning is unknown";
    }
    if ((q2_load_be32(b + B_FLAGS) & ~(uint32_t)(FLAG_IN_USE | FLAG_AUTO)) != 0) {
        return "it has unknown flags";
    }
    if (b[B_TYPE] != TYPE_DIRTY_TRACKING) {
        return "its type is not 1, dirty tracking";
    }
    if (entry->granularity_bits < Q2_MIN_BITMAP_GRANULARITY_BITS ||
        entry->granularity_bits > Q2_MAX_BITMAP_GRANULARITY_BITS) {
        return "its granularity is not 2^9 to 2^31 bytes";
    }
    if (entry->name_bytes > Q2_MAX_BITMAP_NAME_BYTES) {
        return "its name is longer than 1023 bytes";
    }
    if (entry->table_off == 0 || (entry->table_off & ((UINT64_C(1) << cluster_bits) - 1)) != 0) {
        return "its table does not start on a cluster of its own";
    }
    if (entry->table_entries == 0 || entry->table_entries > Q2_MAX_BITMAP_TABLE_ENTRIES ||
        (uint64_t)entry->table_entries << cluster_bits > Q2_MAX_BITMAP_BYTES) {
        return "its table is empty or stands for more than 512 MiB";
    }
    /* One in use may have been left in the middle of a resize. */
    if (!entry->in_use &&
        entry->table_entries !=
            q2_bitmap_table_entries(disk_bytes, entry->granularity_bits, cluster_bits)) {
        return "its table is not of the length that the disk needs";
    }
    return NULL;
}

int q2_bitmap_entry_decode(const uint8_t *bytes, size_t n, uint64_t host_off, unsigned cluster_bits,
                           uint64_t disk_bytes, struct q2_bitmap_entry *entry_ret,
                           struct qcow2_error *err)
{
    struct q2_bitmap_entry entry = { .entry_bytes = Q2_BITMAP_FIXED_BYTES };
    const char *broken;
    uint32_t flags;

    if (n < Q2_BITMAP_FIXED_BYTES) {
        *entry_ret = entry;
        return Q2_BITMAP_NEED_MORE;
    }
    flags = q2_load_be32(bytes + B_FLAGS);
    entry.table_off = q2_load_be64(bytes + B_TABLE_OFFSET);
    entry.table_entries = q2_load_be32(bytes + B_TABLE_ENTRIES);
    entry.in_use = (flags & FLAG_IN_USE) != 0;
    entry.automatic = (flags & FLAG_AUTO) != 0;
    entry.granularity_bits = bytes[B_GRANULARITY_BITS];
    entry.name_off = Q2_BITMAP_FIXED_BYTES;
    entry.name_bytes = q2_load_be16(bytes + B_NAME_LENGTH);
    broken = broken_rule(bytes, &entry, cluster_bits, disk_bytes);
    if (broken != NULL) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, host_off,
                               "bitmap directory entry at 0x%llx is broken: %s",
                               (unsigned long long)host_off, broken);
    }
    /* Extra data is none and the name is short, so this is small. */
    entry.entry_bytes = (entry.name_off + entry.name_bytes + 7) & ~UINT32_C(7);
    *entry_ret = entry;
    return n < entry.entry_bytes ? Q2_BITMAP_NEED_MORE : 0;
}

enum q2_bitmap_cluster q2_bitmap_table_decode(uint64_t entry, unsigned cluster_bits,
                                              uint64_t *host_off_ret)
{
    uint64_t host_off = entry & Q2_OFFSET_MASK;

    *host_off_ret = 0;
    if ((entry & TABLE_RESERVED) != 0) {
        return Q2_BITMAP_INVALID;
    }
    if (host_off == 0) {
        return (entry & TABLE_ONES) != 0 ? Q2_BITMAP_ALL_ONES : Q2_BITMAP_ALL_ZEROS;
    }
    if ((entry & TABLE_ONES) != 0 || (host_off & ((UINT64_C(1) << cluster_bits) - 1)) != 0) {
        return Q2_BITMAP_INVALID;
    }
    *host_off_ret = host_off;
    return Q2_BITMAP_STORED;
}
