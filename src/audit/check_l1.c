/* SPDX-License-Identifier: MIT */
/* check_l1.c - L1 tables: the disk's own, and those of snapshots. */
#include "audit/check.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"

#define L1_RESERVED UINT64_C(0x7f000000000001ff)

enum { PIECE_ENTRIES = Q2_CHECK_PIECE_BYTES / 8 };

/* The copied flag of an L1 entry of the disk says that the refcount of its table is 1. */
static int check_copied(struct q2_check *check, uint64_t entry, uint64_t entry_off,
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
                         name, (unsigned long long)(entry_off - check->layer->header.l1_off) / 8,
                         (unsigned long long)entry, copied ? "set" : "clear",
                         one == 1 ? "" : "not ");
}

static int find_reserved(struct q2_check *check, uint64_t entry, uint64_t entry_off, bool active,
                         uint64_t times, const char *name)
{
    if (!active) {
        /* The number of an entry differs from one table that holds it to the next. */
        return q2_check_find(check, QCOW2_FINDING_CORRUPTION, times, entry_off,
                             "%s: entry 0x%016llx has reserved bits set", name,
                             (unsigned long long)entry);
    }
    return q2_check_find(check, QCOW2_FINDING_CORRUPTION, times, entry_off,
                         "%s entry %llu (0x%016llx) has reserved bits set", name,
                         (unsigned long long)(entry_off - check->layer->header.l1_off) / 8,
                         (unsigned long long)entry);
}

/* `entry` is not 0. Bit 63 alone makes it name a table at offset 0: QEMU looks at all 64 bits. */
static int check_entry(struct q2_check *check, uint64_t entry, uint64_t entry_off, bool active,
                       uint64_t times, const char *name)
{
    uint64_t table_off = entry & Q2_OFFSET_MASK;
    int r;

    if ((entry & L1_RESERVED) != 0 &&
        (r = find_reserved(check, entry, entry_off, active, times, name)) < 0) {
        return r;
    }
    if (active && table_off != 0 && (r = check_copied(check, entry, entry_off, name)) < 0) {
        return r;
    }
    return q2_check_tables_add(check, table_off, active, times);
}

int q2_check_l1_reachable(struct q2_check *check, uint64_t host_off, uint64_t entries,
                          const char *name)
{
    if (q2_check_reachable(host_off, entries * 8)) {
        return 0;
    }
    (void)q2_check_find(check, QCOW2_FINDING_UNCHECKED, 1, host_off, "%s at 0x%llx is out of reach",
                        name, (unsigned long long)host_off);
    return q2_error_set_at(check->err, QCOW2_E_CORRUPT, host_off,
                           "%s at 0x%llx lies beyond the largest file offset", name,
                           (unsigned long long)host_off);
}

int q2_check_l1_entries(struct q2_check *check, uint64_t host_off, uint64_t entries, bool active,
                        uint64_t times, const char *name)
{
    int r;

    if ((r = q2_check_work(check, entries)) < 0) {
        return r;
    }
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t in_piece = i % PIECE_ENTRIES, entry;

        if (in_piece == 0 && (r = q2_check_load(check, check->entry_bytes,
                                                (size_t)q2_min_u64(entries - i, PIECE_ENTRIES) * 8,
                                                host_off + i * 8, name, check->err)) < 0) {
            return r;
        }
        entry = q2_load_be64(check->entry_bytes + in_piece * 8);
        if (entry != 0 &&
            (r = check_entry(check, entry, host_off + i * 8, active, times, name)) < 0) {
            return r;
        }
    }
    return 0;
}

int q2_check_l1(struct q2_check *check)
{
    const struct q2_header *h = &check->layer->header;
    const char *name = "L1 table";
    int r;

    if (h->l1_entries == 0) {
        return 0;
    }
    if ((r = q2_check_reference(check, h->l1_off, (uint64_t)h->l1_entries * 8, 1, name)) < 0 ||
        (r = q2_check_l1_reachable(check, h->l1_off, h->l1_entries, name)) < 0) {
        return r;
    }
    return q2_check_l1_entries(check, h->l1_off, q2_check_existing(check, h->l1_off, h->l1_entries),
                               true, 1, name);
}
