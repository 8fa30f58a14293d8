/* SPDX-License-Identifier: MIT */
/* refcount.c - refcounts through the table cache, one at a time. The check reads
 * all of them and has its own way: check_stored.c. */
#include "image/refcount.h"

#include "format/refcount.h"

uint64_t q2_refcount_lookup(struct qcow2_image *image, struct q2_lane *lane,
                            const struct q2_layer *layer, uint64_t host_off)
{
    const struct q2_header *h = &layer->header;
    unsigned block_bits = q2_refcount_block_bits(h->cluster_bits, h->refcount_order);
    unsigned word_bits = 6 - h->refcount_order; /* values in a word, as a power of two */
    uint64_t cluster = host_off >> h->cluster_bits;
    uint64_t table_index = cluster >> block_bits;
    uint64_t block_index = cluster & ((UINT64_C(1) << block_bits) - 1);
    struct q2_refcount_entry entry;
    uint64_t word;

    if (table_index >= (uint64_t)h->refcount_table_clusters << (h->cluster_bits - 3)) {
        return 0;
    }
    if (q2_table_read(image, lane, layer, h->refcount_table_off + table_index * 8, 1, &word,
                      "refcount table", NULL) < 0) {
        return Q2_REFCOUNT_UNKNOWN;
    }
    entry = q2_refcount_entry_decode(word, h->cluster_bits);
    if (entry.block_off == 0) {
        return 0;
    }
    /* A block starts on a cluster, so the word lies inside the addresses there are. */
    if (!entry.aligned ||
        q2_table_read(image, lane, layer, entry.block_off + (block_index >> word_bits) * 8, 1,
                      &word, "refcount block", NULL) < 0) {
        return Q2_REFCOUNT_UNKNOWN;
    }
    return q2_refcount_from_word(word, h->refcount_order,
                                 (unsigned)(block_index & ((UINT64_C(1) << word_bits) - 1)));
}
