/* SPDX-License-Identifier: MIT */
/* table.c - words of L1 and L2 tables, through the table cache.
 *
 * Tables are cached as blocks of the file, not as tables: it takes no notice of
 * where one ends, so all cluster sizes and all kinds of tables share one cache,
 * and a 2 MiB table that one read needs a corner of costs 4 KiB. */
#include "image/image.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"

/* A block as it is in the file, zeros where the file has ended. */
static int load_block(struct q2_lane *lane, const struct q2_layer *layer, uint64_t block,
                      uint8_t *bytes, const char *what, struct qcow2_error *err)
{
    uint64_t host_off = block * Q2_TABLE_BLOCK_BYTES;
    size_t existing = (size_t)q2_window_existing(&layer->file, host_off, Q2_TABLE_BLOCK_BYTES);
    int r;

    memset(bytes + existing, 0, Q2_TABLE_BLOCK_BYTES - existing);
    if (existing == 0) {
        return 0;
    }
    q2_lane_count(lane, Q2_SOURCE_READS, 1);
    q2_lane_count(lane, Q2_SOURCE_BYTES, existing);
    r = q2_window_read_existing(&layer->file, bytes, existing, host_off, what, err);
    if (r < 0) {
        q2_error_depth(err, (int)layer->depth);
    }
    return r;
}

/* Words without the cache. */
static int read_words(struct q2_lane *lane, const struct q2_layer *layer, uint64_t host_off,
                      unsigned n, uint64_t *words_ret, const char *what, struct qcow2_error *err)
{
    uint8_t bytes[Q2_TABLE_BLOCK_BYTES];
    const size_t count = (size_t)n * 8;
    int r;

    q2_lane_count(lane, Q2_SOURCE_READS, 1);
    q2_lane_count(lane, Q2_SOURCE_BYTES, count);
    if ((r = q2_window_read(&layer->file, bytes, count, host_off, what, err)) < 0) {
        q2_error_depth(err, (int)layer->depth);
        return r;
    }
    for (unsigned i = 0; i < n; i++) {
        words_ret[i] = q2_load_be64(bytes + (size_t)i * 8);
    }
    return (int)n;
}

/* Words of a block that is not cached, which it is afterwards. */
static int load_words(struct qcow2_image *image, struct q2_lane *lane, const struct q2_layer *layer,
                      struct q2_cache_key key, unsigned first, unsigned n, uint64_t *words_ret,
                      const char *what, struct qcow2_error *err)
{
    uint8_t bytes[Q2_TABLE_BLOCK_BYTES];
    int r = load_block(lane, layer, key.place, bytes, what, err);

    if (r < 0) {
        return r;
    }
    for (unsigned i = 0; i < n; i++) {
        words_ret[i] = q2_load_be64(bytes + (size_t)(first + i) * 8);
    }
    q2_cache_put_table(&image->tables, key, bytes, sizeof bytes,
                       UINT64_C(1) << layer->geometry.cluster_bits, &lane->last_table_slot);
    return (int)n;
}

/* Words of a cached block. One alone can be had without the block itself: see runs.h. */
static bool get_cached(struct qcow2_image *image, struct q2_lane *lane, struct q2_cache_key key,
                       unsigned first, unsigned n, uint64_t *words_ret)
{
    if (n == 1) {
        return q2_cache_get_word(&image->tables, key, first, words_ret, &lane->last_table_slot);
    }
    return q2_cache_get_words(&image->tables, key, first, n, words_ret, &lane->last_table_slot);
}

int q2_table_read(struct qcow2_image *image, struct q2_lane *lane, const struct q2_layer *layer,
                  uint64_t host_off, unsigned n_words, uint64_t *words_ret, const char *what,
                  struct qcow2_error *err)
{
    unsigned first = (unsigned)(host_off % Q2_TABLE_BLOCK_BYTES) / 8;
    unsigned n = (unsigned)q2_min_u64(n_words, Q2_TABLE_BLOCK_WORDS - first);
    struct q2_cache_key key = { .place = host_off / Q2_TABLE_BLOCK_BYTES, .owner = layer->depth };

    if (host_off % 8 == 0 && get_cached(image, lane, key, first, n, words_ret)) {
        q2_lane_count(lane, Q2_L2_HITS, 1);
        return (int)n;
    }
    q2_lane_count(lane, Q2_L2_MISSES, 1);
    if (host_off % 8 != 0) {
        /* Only version 1 has tables that are not even aligned to their entries. */
        n = (unsigned)q2_min_u64(n_words, Q2_TABLE_BLOCK_WORDS);
        return read_words(lane, layer, host_off, n, words_ret, what, err);
    }
    if (layer->file.size_bytes == UINT64_MAX) {
        /* The block may reach past an end that nobody knows; the words asked for may not. */
        return read_words(lane, layer, host_off, n, words_ret, what, err);
    }
    return load_words(image, lane, layer, key, first, n, words_ret, what, err);
}
