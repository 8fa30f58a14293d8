/* SPDX-License-Identifier: MIT */
/* check_l1.c - L1 tables: the disk's own, and those that the snapshot table names. */
#include "audit/check.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"
#include "format/snapshot.h"

#define L1_RESERVED UINT64_C(0x7f000000000001ff)

enum { PIECE_ENTRIES = Q2_CHECK_PIECE_BYTES / 8 };

/* The copied flag of an L1 entry of the disk says that the refcount of its table is 1. */
static int check_copied(struct q2_check *check, uint64_t entry, uint64_t entry_off, uint64_t index,
                        const char *name)
{
    uint64_t table_off = entry & Q2_OFFSET_MASK;
    bool copied = (entry & Q2_ENTRY_COPIED) != 0;
    int one = q2_check_stored_is_one(check, table_off >> check->layer->header.cluster_bits);

    if (one < 0 || one == Q2_CHECK_UNREADABLE || (one == 1) == copied) {
        return one < 0 ? one : 0;
    }
    return q2_check_find(check, QCOW2_FINDING_CORRUPTION, 1, entry_off,
                         "%s entry %llu (0x%016llx): the copied flag is %s, but the refcount of "
                         "its L2 table is %s1",
                         name, (unsigned long long)index, (unsigned long long)entry,
                         copied ? "set" : "clear", one == 1 ? "" : "not ");
}

/* `entry` is not 0. Bit 63 alone makes it name a table at offset 0: QEMU looks at all 64 bits. */
static int check_entry(struct q2_check *check, uint64_t entry, uint64_t entry_off, uint64_t index,
                       bool active, const char *name)
{
    uint64_t table_off = entry & Q2_OFFSET_MASK;
    int r;

    if ((entry & L1_RESERVED) != 0 &&
        (r = q2_check_find(check, QCOW2_FINDING_CORRUPTION, 1, entry_off,
                           "%s entry %llu (0x%016llx) has reserved bits set", name,
                           (unsigned long long)index, (unsigned long long)entry)) < 0) {
        return r;
    }
    if (active && table_off != 0 && (r = check_copied(check, entry, entry_off, index, name)) < 0) {
        return r;
    }
    return q2_check_tables_add(check, table_off, active);
}

int q2_check_l1(struct q2_check *check, uint64_t host_off, uint32_t entries, bool active,
                const char *name)
{
    uint64_t existing;
    int r;

    if (entries == 0) {
        return 0;
    }
    if ((r = q2_check_reference(check, host_off, (uint64_t)entries * 8, 1, name)) < 0) {
        return r;
    }
    if (!q2_check_reachable(host_off, (uint64_t)entries * 8)) {
        (void)q2_check_find(check, QCOW2_FINDING_UNCHECKED, 1, host_off,
                            "%s at 0x%llx is out of reach", name, (unsigned long long)host_off);
        return q2_error_set_at(check->err, QCOW2_E_CORRUPT, host_off,
                               "%s at 0x%llx lies beyond the largest file offset", name,
                               (unsigned long long)host_off);
    }
    existing = q2_check_existing(check, host_off, entries);
    if ((r = q2_check_work(check, existing)) < 0) {
        return r;
    }
    for (uint64_t i = 0; i < existing; i++) {
        uint64_t in_piece = i % PIECE_ENTRIES, entry;

        if (in_piece == 0 && (r = q2_check_load(check, check->entry_bytes,
                                                (size_t)q2_min_u64(existing - i, PIECE_ENTRIES) * 8,
                                                host_off + i * 8, name, check->err)) < 0) {
            return r;
        }
        entry = q2_load_be64(check->entry_bytes + in_piece * 8);
        if (entry != 0 && (r = check_entry(check, entry, host_off + i * 8, i, active, name)) < 0) {
            return r;
        }
    }
    return 0;
}

/* The snapshot at host_off, without its texts; *next_ret is where the next one begins. */
static int load_snapshot(struct q2_check *check, uint64_t host_off, uint32_t index,
                         struct q2_snapshot_entry *entry_ret, uint64_t *next_ret)
{
    const struct q2_header *h = &check->layer->header;
    uint8_t bytes[Q2_SNAPSHOT_FIXED_BYTES];
    int r;

    if ((r = q2_check_work(check, 1)) < 0 ||
        (r = q2_check_load(check, bytes, sizeof bytes, host_off, "snapshot table", check->err)) <
            0 ||
        (r = q2_snapshot_decode(bytes, sizeof bytes, host_off, entry_ret, check->err)) < 0) {
        return r;
    }
    /* NEED_MORE is fine: all but the extra data and the texts has been decoded. */
    *next_ret = q2_snapshot_next_off(host_off, entry_ret->entry_bytes);
    if (host_off + entry_ret->entry_bytes - h->snapshots_off > Q2_MAX_SNAPSHOT_TABLE_BYTES) {
        return q2_error_set_at(check->err, QCOW2_E_LIMIT, host_off,
                               "snapshot table is larger than 64 MiB at entry %lu",
                               (unsigned long)index);
    }
    return 0;
}

/* Where the table ends, once it has been found to be in order. */
static int walk_snapshot_table(struct q2_check *check)
{
    const struct q2_header *h = &check->layer->header;
    uint64_t host_off = h->snapshots_off;
    int r;

    if (h->snapshot_count == 0) {
        return 0; /* open has looked at where none begin */
    }
    if ((host_off & (check->cluster_bytes - 1)) != 0 || h->snapshot_count > Q2_MAX_SNAPSHOTS ||
        !q2_check_reachable(host_off, Q2_MAX_SNAPSHOT_TABLE_BYTES)) {
        return q2_error_set_at(check->err, QCOW2_E_CORRUPT, host_off,
                               "snapshot table at 0x%llx (%lu entries) is not aligned, too large "
                               "or out of reach",
                               (unsigned long long)host_off, (unsigned long)h->snapshot_count);
    }
    for (uint32_t i = 0; i < h->snapshot_count; i++) {
        struct q2_snapshot_entry entry;
        uint64_t next;

        if ((r = load_snapshot(check, host_off, i, &entry, &next)) < 0) {
            return r;
        }
        if (h->version >= 3 && entry.extra_bytes < Q2_SNAPSHOT_V3_EXTRA_BYTES &&
            (r = q2_check_find(check, QCOW2_FINDING_CORRUPTION, 1, host_off,
                               "snapshot table entry %lu at 0x%llx has %lu bytes of extra data; "
                               "version 3 needs %d",
                               (unsigned long)i, (unsigned long long)host_off,
                               (unsigned long)entry.extra_bytes, Q2_SNAPSHOT_V3_EXTRA_BYTES)) < 0) {
            return r;
        }
        host_off = next;
    }
    return 0;
}

int q2_check_snapshot_table(struct q2_check *check)
{
    int r = walk_snapshot_table(check);

    /* Without it nothing else can be told from leaks. */
    if (r < 0 && r != QCOW2_E_CANCELLED && r != QCOW2_E_NOMEM) {
        q2_check_find_last(check, QCOW2_FINDING_UNCHECKED, check->layer->header.snapshots_off,
                           "the snapshot table cannot be read, so nothing can be checked");
    }
    return r;
}

static int check_snapshot(struct q2_check *check, const struct q2_snapshot_entry *entry,
                          uint64_t host_off, uint32_t index)
{
    char name[64];

    (void)snprintf(name, sizeof name, "L1 table of snapshot %lu", (unsigned long)index);
    if ((entry->l1_off & (check->cluster_bytes - 1)) != 0) {
        return q2_check_find(check, QCOW2_FINDING_CORRUPTION, 1, host_off,
                             "%s at 0x%llx is not aligned to a cluster", name,
                             (unsigned long long)entry->l1_off);
    }
    if (entry->l1_entries > Q2_MAX_L1_ENTRIES) {
        return q2_check_find(check, QCOW2_FINDING_CORRUPTION, 1, host_off,
                             "%s has %lu entries, which is more than 32 MiB", name,
                             (unsigned long)entry->l1_entries);
    }
    return q2_check_l1(check, entry->l1_off, entry->l1_entries, false, name);
}

int q2_check_snapshots(struct q2_check *check)
{
    const struct q2_header *h = &check->layer->header;
    uint64_t host_off = h->snapshots_off, end = host_off;
    int r;

    if (h->snapshot_count > 0 && check->layer->geometry.data_file &&
        (r = q2_check_find(check, QCOW2_FINDING_CORRUPTION, 1, h->snapshots_off,
                           "the image has %lu snapshots, which cannot be with its data in an "
                           "external file",
                           (unsigned long)h->snapshot_count)) < 0) {
        return r;
    }
    for (uint32_t i = 0; i < h->snapshot_count; i++) {
        struct q2_snapshot_entry entry;
        uint64_t next;

        if ((r = load_snapshot(check, host_off, i, &entry, &next)) < 0 ||
            (r = check_snapshot(check, &entry, host_off, i)) < 0) {
            return r;
        }
        end = host_off + entry.entry_bytes;
        host_off = next;
    }
    return q2_check_reference(check, h->snapshots_off, end - h->snapshots_off, 1, "snapshot table");
}
