/* SPDX-License-Identifier: MIT */
/* check_stored.c - the refcounts as the image has them. Twice in order, once
 * before and once after the references are counted, and now and then one alone. */
#include "audit/check.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/refcount.h"

/* What reading a piece of refcounts out of turn counts as, in table entries. */
enum { PIECE_WORK = 256 };

/* A big-endian word of a table, through the piece that holds it. */
static int load_word(struct q2_check *check, struct q2_check_piece *piece, uint64_t host_off,
                     uint64_t *word_ret)
{
    uint64_t start = host_off & ~(uint64_t)(Q2_CHECK_SMALL_PIECE_BYTES - 1);
    int r;

    if (piece->host_off != start) {
        if ((r = q2_check_work(check, PIECE_WORK)) < 0) {
            return r;
        }
        piece->host_off = UINT64_MAX;
        if ((r = q2_check_load(check, piece->bytes, sizeof piece->bytes, start, "refcounts",
                               check->err)) < 0) {
            return r;
        }
        piece->host_off = start;
    }
    *word_ret = q2_load_be64(piece->bytes + (host_off - start));
    return 0;
}

/* Where the refcount block of a cluster is; block_off 0 if there is none. */
static int load_table_entry(struct q2_check *check, uint64_t cluster,
                            struct q2_refcount_entry *entry_ret)
{
    const struct q2_header *h = &check->layer->header;
    uint64_t index = cluster >> q2_refcount_block_bits(h->cluster_bits, h->refcount_order);
    uint64_t word = 0;
    int r;

    if (index < (uint64_t)h->refcount_table_clusters << (h->cluster_bits - 3) &&
        q2_check_existing(check, h->refcount_table_off, index + 1) == index + 1 &&
        (r = load_word(check, &check->table_piece, h->refcount_table_off + index * 8, &word)) < 0) {
        return r;
    }
    *entry_ret = q2_refcount_entry_decode(word, h->cluster_bits);
    return 0;
}

static bool usable(const struct q2_check *check, const struct q2_refcount_entry *entry)
{
    return entry->aligned && q2_check_reachable(entry->block_off, check->cluster_bytes);
}

int q2_check_stored_run(struct q2_check *check, uint64_t cluster, uint64_t end,
                        struct q2_check_stored *run_ret)
{
    const struct q2_header *h = &check->layer->header;
    unsigned block_bits = q2_refcount_block_bits(h->cluster_bits, h->refcount_order);
    uint64_t index = cluster & ((UINT64_C(1) << block_bits) - 1);
    uint64_t rest = q2_min_u64(end - cluster, (UINT64_C(1) << block_bits) - index);
    /* A run starts where a block or the run before it ended, which is on a whole byte. */
    uint64_t first_byte = (index << h->refcount_order) >> 3;
    struct q2_refcount_entry entry;
    size_t n_bytes;
    int r;

    *run_ret = (struct q2_check_stored){ .first = cluster, .count = rest, .readable = true };
    if ((r = load_table_entry(check, cluster, &entry)) < 0) {
        return r;
    }
    if (entry.block_off == 0) {
        return 0;
    }
    if (!usable(check, &entry)) {
        run_ret->readable = false;
        return 0;
    }
    if (q2_check_existing(check, entry.block_off + first_byte, 1) == 0) {
        return 0;
    }
    n_bytes = (size_t)q2_min_u64(check->cluster_bytes - first_byte, Q2_CHECK_PIECE_BYTES);
    if ((r = q2_check_work(check, n_bytes / 8)) < 0) {
        return r;
    }
    run_ret->count = q2_min_u64(rest, (uint64_t)n_bytes * 8 >> h->refcount_order);
    if (q2_check_load(check, check->refcount_bytes, n_bytes, entry.block_off + first_byte,
                      "refcount block", NULL) < 0) {
        run_ret->readable = false;
    } else {
        run_ret->block = check->refcount_bytes;
    }
    return 0;
}

int q2_check_stored_load(struct q2_check *check)
{
    struct q2_check_clusters *clusters = &check->clusters;
    unsigned order = check->layer->header.refcount_order;
    struct q2_check_stored run;
    int r;

    for (uint64_t cluster = 0; cluster < clusters->n_max; cluster += run.count) {
        if ((r = q2_check_stored_run(check, cluster, clusters->n_max, &run)) < 0) {
            return r;
        }
        for (uint64_t i = 0; i < run.count && (!run.readable || run.block != NULL); i++) {
            if (!run.readable) {
                clusters->words[cluster + i] |= Q2_CLUSTER_UNREADABLE;
            } else if (q2_refcount_from_block(run.block, order, i) == 1) {
                clusters->words[cluster + i] |= Q2_CLUSTER_STORED_ONE;
            }
        }
    }
    return 0;
}

/* Of a cluster past the end of the file, where refcounts may be stored all the same. */
static int is_one_beyond(struct q2_check *check, uint64_t cluster)
{
    const struct q2_header *h = &check->layer->header;
    unsigned block_bits = q2_refcount_block_bits(h->cluster_bits, h->refcount_order);
    unsigned word_bits = 6 - h->refcount_order;
    uint64_t index = cluster & ((UINT64_C(1) << block_bits) - 1);
    struct q2_refcount_entry entry;
    uint64_t word;
    int r;

    if ((r = load_table_entry(check, cluster, &entry)) < 0) {
        return r;
    }
    if (entry.block_off == 0) {
        return 0;
    }
    if (!usable(check, &entry)) {
        return Q2_CHECK_UNREADABLE;
    }
    if ((r = load_word(check, &check->block_piece, entry.block_off + (index >> word_bits) * 8,
                       &word)) < 0) {
        return r;
    }
    return q2_refcount_from_word(word, h->refcount_order,
                                 (unsigned)(index & ((1U << word_bits) - 1))) == 1;
}

int q2_check_stored_is_one(struct q2_check *check, uint64_t cluster)
{
    uint32_t word;

    if (cluster >= check->clusters.n_max) {
        return is_one_beyond(check, cluster);
    }
    word = check->clusters.words[cluster];
    if ((word & Q2_CLUSTER_UNREADABLE) != 0) {
        return Q2_CHECK_UNREADABLE;
    }
    return (word & Q2_CLUSTER_STORED_ONE) != 0;
}
