/* SPDX-License-Identifier: MIT */
/* cache.h - a bounded cache of equal blocks that many threads read at once.
 *
 * A hit takes no lock and, once a block is known to be popular, writes to no
 * shared memory at all: it copies words out of the block and looks afterwards
 * whether the block was replaced meanwhile (a sequence lock per block). So a
 * reader sees a whole published block or a miss, never half of one.
 *
 * Blocks are told apart by two numbers; the cache does not know what they mean.
 * Memory for a block is taken when the cache first grows to it and given back
 * when the cache goes; if there is none to be had, less is cached. */
#ifndef Q2_IMAGE_CACHE_H
#define Q2_IMAGE_CACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct q2_cache_key {
    uint64_t place;
    uint64_t owner;
};

struct q2_cache_slot;
struct q2_runs;

struct q2_cache_queue {
    uint32_t head, tail, length; /* slots, or NO_SLOT */
};

struct q2_cache {
    /* Fixed after init. */
    size_t block_bytes; /* a multiple of 8 */
    uint32_t slots_max; /* 0: nothing is ever cached */
    uint32_t bucket_mask;
    struct q2_cache_slot *slots;
    struct q2_runs *runs;      /* one for each slot of a cache of tables, else NULL; see runs.h */
    _Atomic uint32_t *buckets; /* heads of chains of slots, by hash of the key */

    /* Under the lock. A block enters at the tail of `probation`. If it has been asked for again by
     * the time it reaches the head it moves to `protected_`, else it goes, and `ghosts` remembers it
     * for a while: a block that comes back soon is taken into `protected_` at once. A scan passes
     * through probation and leaves what is protected alone. */
    pthread_mutex_t lock;
    uint32_t slots_used; /* slots that have memory */
    uint32_t free_slots; /* chain of slots that have memory and no block */
    struct q2_cache_queue probation, protected_;
    uint64_t *ghosts;
    _Atomic uint64_t evictions;
};

/* The budget includes what the cache needs for itself. One below two blocks gives a cache that holds nothing.
 * tables: blocks are put by q2_cache_put_table, else by q2_cache_put. 0 or QCOW2_E_NOMEM. */
int q2_cache_init(struct q2_cache *cache, uint64_t budget_bytes, size_t block_bytes, bool tables);
void q2_cache_deinit(struct q2_cache *cache);

/* Copies words [first_word, first_word + n_words) of a block to words_ret; false if the block is not
 * there. *last_slot is the caller's own memory of the slot it used last: a hit on another slot than
 * that makes the block popular. */
bool q2_cache_get_words(struct q2_cache *cache, struct q2_cache_key key, size_t first_word,
                        size_t n_words, uint64_t *words_ret, uint32_t *last_slot);

/* One word, of a cache of tables. */
bool q2_cache_get_word(struct q2_cache *cache, struct q2_cache_key key, size_t at,
                       uint64_t *word_ret, uint32_t *last_slot);

/* The same in bytes, for blocks that were put as bytes. */
bool q2_cache_get_bytes(struct q2_cache *cache, struct q2_cache_key key, size_t first_byte,
                        size_t n_bytes, void *bytes_ret, uint32_t *last_slot);

/* Publishes a block of block_bytes bytes (a multiple of 8, at most the cache's own) for get_bytes. If the
 * block is there already, or there is no memory, nothing happens. */
void q2_cache_put(struct q2_cache *cache, struct q2_cache_key key, const void *block,
                  size_t block_bytes, uint32_t *last_slot);

/* The same for get_words, which return the values of the block's big-endian words. It is found quickest
 * where most words are `step` more than the one before (see runs.h); the block has 65,535 words at most. */
void q2_cache_put_table(struct q2_cache *cache, struct q2_cache_key key, const void *block,
                        size_t block_bytes, uint64_t step, uint32_t *last_slot);

static inline uint64_t q2_cache_evictions(const struct q2_cache *cache)
{
    return atomic_load_explicit(&cache->evictions, memory_order_relaxed);
}

#endif
