/* SPDX-License-Identifier: MIT */
/* check_snapshots.c - the snapshot table, and the L1 tables that it names.
 *
 * Up to 65536 snapshots may share one L1 table, or have tables that overlap. What
 * each refers to is put together first, and then each cluster and each entry is
 * visited once and counted as often as there are tables that hold it. */
#include "audit/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"
#include "format/snapshot.h"

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

/* What the L1 tables of all snapshots cover: clusters, and entries by their host offset divided by 8. */
struct l1_tables {
    struct q2_check_cover clusters, entries;
};

static void add_range(struct q2_check_cover *cover, uint64_t start, uint64_t end)
{
    cover->starts[cover->n] = start;
    cover->ends[cover->n++] = end;
}

static int add_table(struct q2_check *check, struct l1_tables *tables, uint64_t l1_off,
                     uint32_t entries, const char *name)
{
    uint64_t first = 0, last = 0, existing;
    int r;

    if (entries == 0) {
        return 0;
    }
    r = q2_check_clusters_of(check, l1_off, (uint64_t)entries * 8, 1, name, &first, &last);
    if (r < 0) {
        return r;
    }
    if (r == 1) {
        add_range(&tables->clusters, first, last + 1);
    }
    if ((r = q2_check_l1_reachable(check, l1_off, entries, name)) < 0) {
        return r;
    }
    existing = q2_check_existing(check, l1_off, entries);
    if (existing > 0) {
        add_range(&tables->entries, l1_off / 8, l1_off / 8 + existing);
    }
    return 0;
}

static int check_snapshot(struct q2_check *check, const struct q2_snapshot_entry *entry,
                          uint64_t host_off, uint32_t index, struct l1_tables *tables)
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
    return add_table(check, tables, entry->l1_off, entry->l1_entries, name);
}

static int walk_snapshots(struct q2_check *check, struct l1_tables *tables)
{
    const struct q2_header *h = &check->layer->header;
    uint64_t host_off = h->snapshots_off, end = host_off;
    int r;

    for (uint32_t i = 0; i < h->snapshot_count; i++) {
        struct q2_snapshot_entry entry;
        uint64_t next;

        if ((r = load_snapshot(check, host_off, i, &entry, &next)) < 0 ||
            (r = check_snapshot(check, &entry, host_off, i, tables)) < 0) {
            return r;
        }
        end = host_off + entry.entry_bytes;
        host_off = next;
    }
    return q2_check_reference(check, h->snapshots_off, end - h->snapshots_off, 1, "snapshot table");
}

static int visit_clusters(struct q2_check *check, uint64_t start, uint64_t end, uint64_t times)
{
    return q2_check_count(check, start, end - 1, times, "L1 table of a snapshot");
}

static int visit_entries(struct q2_check *check, uint64_t start, uint64_t end, uint64_t times)
{
    return q2_check_l1_entries(check, start * 8, end - start, false, times,
                               "L1 table of a snapshot");
}

/* 0, or a code; the caller frees in either case. */
static int allocate(struct q2_check *check, struct l1_tables *tables, size_t n)
{
    uint64_t **const arrays[] = { &tables->clusters.starts, &tables->clusters.ends,
                                  &tables->entries.starts, &tables->entries.ends };
    int r = q2_check_memory(check, (uint64_t)n * 4 * sizeof(uint64_t));

    for (size_t i = 0; r == 0 && i < sizeof arrays / sizeof arrays[0]; i++) {
        *arrays[i] = calloc(n, sizeof **arrays[i]);
        r = *arrays[i] == NULL ? q2_error_nomem(check->err) : 0;
    }
    return r;
}

int q2_check_snapshots(struct q2_check *check)
{
    const struct q2_header *h = &check->layer->header;
    struct l1_tables tables = { .clusters = { .n = 0 } };
    int r;

    if (h->snapshot_count == 0) {
        return 0;
    }
    if (check->layer->geometry.data_file &&
        (r = q2_check_find(check, QCOW2_FINDING_CORRUPTION, 1, h->snapshots_off,
                           "the image has %lu snapshots, which cannot be with its data in an "
                           "external file",
                           (unsigned long)h->snapshot_count)) < 0) {
        return r;
    }
    if ((r = allocate(check, &tables, h->snapshot_count)) == 0 &&
        (r = walk_snapshots(check, &tables)) == 0 &&
        (r = q2_check_cover_walk(check, &tables.clusters, visit_clusters)) == 0) {
        r = q2_check_cover_walk(check, &tables.entries, visit_entries);
    }
    free(tables.clusters.starts);
    free(tables.clusters.ends);
    free(tables.entries.starts);
    free(tables.entries.ends);
    return r;
}
