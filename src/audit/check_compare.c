/* SPDX-License-Identifier: MIT */
/* check_compare.c - refcounts against references: the refcount blocks, and then
 * every cluster of the file. */
#include "audit/check.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "format/refcount.h"

enum { PIECE_ENTRIES = Q2_CHECK_PIECE_BYTES / 8 };

static int check_block(struct q2_check *check, uint64_t word, uint64_t entry_off, uint64_t index)
{
    struct q2_refcount_entry entry =
        q2_refcount_entry_decode(word, check->layer->header.cluster_bits);
    uint64_t cluster = entry.block_off >> check->layer->header.cluster_bits;
    const char *fault = NULL;
    int r;

    if (entry.reserved) {
        fault = "has reserved bits set";
    } else if (!entry.aligned) {
        fault = "names a block that is not aligned to a cluster";
    } else if (cluster >= check->clusters.n) {
        fault = "names a block outside the file";
    } else if (entry.block_off != 0) {
        if ((r = q2_check_reference(check, entry.block_off, check->cluster_bytes, 1,
                                    "refcount block")) < 0) {
            return r;
        }
        if ((check->clusters.words[cluster] & Q2_CLUSTER_COUNT) != 1) {
            fault = "names a block that something else refers to as well";
        }
    }
    return fault == NULL
               ? 0
               : q2_check_find(check, QCOW2_FINDING_CORRUPTION, 1, entry_off,
                               "refcount table entry %llu (0x%016llx) %s",
                               (unsigned long long)index, (unsigned long long)word, fault);
}

int q2_check_refcount_blocks(struct q2_check *check)
{
    const struct q2_header *h = &check->layer->header;
    uint64_t table_off = h->refcount_table_off;
    uint64_t existing = q2_check_existing(
        check, table_off, (uint64_t)h->refcount_table_clusters << (h->cluster_bits - 3));
    int r;

    for (uint64_t i = 0; i < existing; i++) {
        uint64_t in_piece = i % PIECE_ENTRIES;

        if (in_piece == 0 &&
            (r = q2_check_load(check, check->entry_bytes,
                               (size_t)q2_min_u64(existing - i, PIECE_ENTRIES) * 8,
                               table_off + i * 8, "refcount table", check->err)) < 0) {
            return r;
        }
        if ((r = check_block(check, q2_load_be64(check->entry_bytes + in_piece * 8),
                             table_off + i * 8, i)) < 0) {
            return r;
        }
    }
    return 0;
}

/* Neighbours with the same fault, which make one finding. */
struct difference {
    uint64_t first, count; /* clusters */
    uint64_t stored;
    uint32_t counted;
};

static int tell_difference(struct q2_check *check, const struct difference *d)
{
    uint64_t host_off = d->first << check->layer->header.cluster_bits;
    int kind = d->stored < d->counted ? QCOW2_FINDING_CORRUPTION : QCOW2_FINDING_LEAK;

    if (d->count == 1) {
        return q2_check_find(check, kind, 1, host_off,
                             "cluster %llu at 0x%llx: the refcount is %llu, references are %lu",
                             (unsigned long long)d->first, (unsigned long long)host_off,
                             (unsigned long long)d->stored, (unsigned long)d->counted);
    }
    return q2_check_find(
        check, kind, d->count, host_off,
        "clusters %llu to %llu from 0x%llx on: the refcounts are %llu, references "
        "are %lu",
        (unsigned long long)d->first, (unsigned long long)(d->first + d->count - 1),
        (unsigned long long)host_off, (unsigned long long)d->stored, (unsigned long)d->counted);
}

/* A cluster whose numbers differ: more of the same, or the end of what there was before. */
static int note_difference(struct q2_check *check, struct difference *d, uint64_t cluster,
                           uint64_t stored, uint32_t counted)
{
    int r;

    if (d->count > 0) {
        if (d->first + d->count == cluster && d->stored == stored && d->counted == counted) {
            d->count++;
            return 0;
        }
        if ((r = tell_difference(check, d)) < 0) {
            return r;
        }
    }
    *d = (struct difference){ .first = cluster, .count = 1, .stored = stored, .counted = counted };
    return 0;
}

static int tell_unreadable(struct q2_check *check, const struct q2_check_stored *run)
{
    uint64_t host_off = run->first << check->layer->header.cluster_bits;

    return q2_check_find(check, QCOW2_FINDING_UNCHECKED, run->count, host_off,
                         "the refcounts of %llu clusters from 0x%llx on cannot be read",
                         (unsigned long long)run->count, (unsigned long long)host_off);
}

int q2_check_compare(struct q2_check *check)
{
    const struct q2_check_clusters *clusters = &check->clusters;
    unsigned order = check->layer->header.refcount_order;
    struct difference difference = { .count = 0 };
    struct q2_check_stored run;
    uint64_t highest = 0;
    int r;

    for (uint64_t cluster = 0; cluster < clusters->n; cluster += run.count) {
        if ((r = q2_check_stored_run(check, cluster, clusters->n, &run)) < 0) {
            return r;
        }
        /* What could not be read the first time was missed by all that asked for it between. */
        if ((clusters->words[cluster] & Q2_CLUSTER_UNREADABLE) != 0) {
            run.readable = false;
        }
        if (!run.readable && (r = tell_unreadable(check, &run)) < 0) {
            return r;
        }
        for (uint64_t i = 0; i < run.count && run.readable; i++) {
            uint32_t counted = clusters->words[cluster + i] & Q2_CLUSTER_COUNT;
            uint64_t stored = run.block != NULL ? q2_refcount_from_block(run.block, order, i) : 0;

            if ((stored | counted) != 0) {
                highest = cluster + i;
            }
            if (stored != counted &&
                (r = note_difference(check, &difference, cluster + i, stored, counted)) < 0) {
                return r;
            }
        }
    }
    check->result.image_end_offset = (highest + 1) << check->layer->header.cluster_bits;
    return difference.count > 0 ? tell_difference(check, &difference) : 0;
}
