/* SPDX-License-Identifier: MIT */
/* check_l2.c - L2 tables and what their entries refer to.
 *
 * Not through q2_l2_decode: that says how a cluster reads, where an entry that
 * cannot be read is one fault. Here such an entry may have several, still counts
 * what it refers to, and some faults of reading are none of the refcounts'. */
#include "audit/check.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "format/layout.h"

/* Of an entry that is not compressed. Bit 0 is not among them, in version 2 and extended entries
 * neither. */
#define L2_RESERVED UINT64_C(0x3f000000000001fe)

/* One visit of one table. */
struct visit {
    const struct q2_check_table *table;
    uint64_t index; /* of the entry */
    uint64_t entry, bitmap;
    uint64_t contiguous_off; /* where the next cluster is if it follows the last one; 0: none yet */
    bool flags_count;        /* whether copied flags are looked at */
};

static int find(struct q2_check *check, const struct visit *at, uint64_t times, const char *fault)
{
    uint64_t entry_bytes = check->layer->geometry.extended ? 16 : 8;

    return q2_check_find(
        check, QCOW2_FINDING_CORRUPTION, times, at->table->host_off + at->index * entry_bytes,
        "entry %llu (0x%016llx) of the L2 table at 0x%llx: %s", (unsigned long long)at->index,
        (unsigned long long)at->entry, (unsigned long long)at->table->host_off, fault);
}

static int check_compressed(struct q2_check *check, const struct visit *at)
{
    const struct q2_check_table *table = at->table;
    unsigned offset_bits = 70 - check->layer->header.cluster_bits;
    uint64_t host_off = at->entry & ((UINT64_C(1) << offset_bits) - 1);
    uint64_t sectors = ((at->entry & (Q2_ENTRY_COMPRESSED - 1)) >> offset_bits) + 1;
    int r;

    if ((at->entry & Q2_ENTRY_COPIED) != 0 &&
        (r = find(check, at, table->times, "it is compressed and has the copied flag")) < 0) {
        return r;
    }
    if (check->layer->geometry.data_file) {
        return find(check, at, table->times,
                    "it is compressed, which an external data file does not allow");
    }
    if (at->bitmap != 0) {
        return find(check, at, table->times, "it is compressed and has a subcluster bitmap");
    }
    check->result.allocated_clusters += table->times_active;
    check->result.compressed_clusters += table->times_active;
    check->result.fragmented_clusters += table->times_active;
    return q2_check_reference(check, host_off, sectors * 512 - (host_off & 511), table->times,
                              "compressed data");
}

/* The copied flag of an entry of the disk says that the refcount of its cluster is 1. External data has
 * no refcounts and is the disk's alone. */
static int check_copied(struct q2_check *check, const struct visit *at, uint64_t host_off)
{
    bool copied = (at->entry & Q2_ENTRY_COPIED) != 0;
    int one = 1;

    if (!check->layer->geometry.data_file) {
        one = q2_check_stored_is_one(check, host_off >> check->layer->header.cluster_bits);
    }
    if (one < 0 || one == Q2_CHECK_UNREADABLE || (one == 1) == copied) {
        return one < 0 ? one : 0;
    }
    return find(check, at, at->table->times_active,
                copied ? "the copied flag is set, but the refcount of its cluster is not 1"
                       : "the copied flag is clear, but the refcount of its cluster is 1");
}

/* A cluster with a place, be it for data or set aside for a zero cluster. */
static int check_allocated(struct q2_check *check, struct visit *at, uint64_t host_off)
{
    const struct q2_check_table *table = at->table;
    int r;

    if ((at->bitmap >> 32 & at->bitmap) != 0 &&
        (r = find(check, at, table->times, "a subcluster is marked both allocated and zero")) < 0) {
        return r;
    }
    if ((host_off & (check->cluster_bytes - 1)) != 0 &&
        (r = find(check, at, table->times, "its host offset is not aligned to a cluster")) < 0) {
        return r;
    }
    check->result.allocated_clusters += table->times_active;
    if (at->contiguous_off != 0 && host_off != at->contiguous_off) {
        check->result.fragmented_clusters += table->times_active;
    }
    at->contiguous_off = host_off + check->cluster_bytes;
    if (!check->layer->geometry.data_file &&
        (r = q2_check_reference(check, host_off, check->cluster_bytes, table->times,
                                "data cluster")) < 0) {
        return r;
    }
    return at->flags_count ? check_copied(check, at, host_off) : 0;
}

static int check_entry(struct q2_check *check, struct visit *at)
{
    const struct q2_geometry *g = &check->layer->geometry;
    uint64_t host_off = at->entry & Q2_OFFSET_MASK;
    int r;

    if ((at->entry & Q2_ENTRY_COMPRESSED) != 0) {
        return check_compressed(check, at);
    }
    if ((at->entry & L2_RESERVED) != 0 &&
        (r = find(check, at, at->table->times, "reserved bits are set")) < 0) {
        return r;
    }
    if (host_off != 0) {
        return check_allocated(check, at, host_off);
    }
    if ((at->entry & Q2_ENTRY_ZERO) != 0 && !g->extended) {
        return 0;
    }
    /* The first cluster of an external data file: only the copied flag tells it from nothing. */
    if (g->data_file && (at->entry & Q2_ENTRY_COPIED) != 0) {
        return check_allocated(check, at, host_off);
    }
    if ((uint32_t)at->bitmap != 0) {
        return find(check, at, at->table->times,
                    "a subcluster is marked allocated, but there is no host cluster");
    }
    return 0;
}

/* Copied flags matter in tables of the disk alone: not in those of snapshots, nor in a "table" at 0, which
 * bit 63 of an L1 entry alone makes, nor in one whose own refcount cannot be read. */
static int do_flags_count(struct q2_check *check, const struct q2_check_table *table)
{
    int one;

    if (table->times_active == 0 || table->host_off == 0) {
        return 0;
    }
    one = q2_check_stored_is_one(check, table->host_off >> check->layer->header.cluster_bits);
    return one < 0 ? one : one != Q2_CHECK_UNREADABLE;
}

static int walk_table(struct q2_check *check, const struct q2_check_table *table)
{
    const struct q2_geometry *g = &check->layer->geometry;
    const uint64_t words_per_entry = g->extended ? 2 : 1;
    const uint64_t piece_entries = Q2_CHECK_PIECE_BYTES / 8 / words_per_entry;
    uint64_t words =
        q2_check_existing(check, table->host_off, (UINT64_C(1) << g->l2_bits) * words_per_entry);
    uint64_t entries = q2_blocks_for(words, (unsigned)words_per_entry - 1);
    struct visit at = { .table = table };
    int r;

    if ((r = q2_check_work(check, entries)) < 0 || (r = do_flags_count(check, table)) < 0) {
        return r;
    }
    at.flags_count = r == 1;
    for (at.index = 0; at.index < entries; at.index++) {
        uint64_t in_piece = at.index % piece_entries;
        const uint8_t *bytes = check->entry_bytes + in_piece * words_per_entry * 8;

        if (in_piece == 0 &&
            (r = q2_check_load(
                 check, check->entry_bytes,
                 (size_t)(q2_min_u64(entries - at.index, piece_entries) * words_per_entry * 8),
                 table->host_off + at.index * words_per_entry * 8, "L2 table", check->err)) < 0) {
            return r;
        }
        at.entry = q2_load_be64(bytes);
        at.bitmap = g->extended ? q2_load_be64(bytes + 8) : 0;
        if ((at.entry | at.bitmap) != 0 && (r = check_entry(check, &at)) < 0) {
            return r;
        }
    }
    return 0;
}

int q2_check_l2_tables(struct q2_check *check)
{
    struct q2_check_tables *tables = &check->tables;
    int r;

    q2_check_tables_sort(tables);
    for (size_t i = 0; i < tables->n; i++) {
        const struct q2_check_table *table = &tables->places[i];

        if ((r = q2_check_reference(check, table->host_off, check->cluster_bytes, table->times,
                                    "L2 table")) < 0) {
            return r;
        }
        if ((table->host_off & (check->cluster_bytes - 1)) != 0 &&
            (r = q2_check_find(check, QCOW2_FINDING_CORRUPTION, table->times, table->host_off,
                               "L2 table at 0x%llx is not aligned to a cluster",
                               (unsigned long long)table->host_off)) < 0) {
            return r;
        }
        if ((r = walk_table(check, table)) < 0) {
            return r;
        }
    }
    return 0;
}
