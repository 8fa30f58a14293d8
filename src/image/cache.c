/* SPDX-License-Identifier: MIT */
/* cache.c - see cache.h for what it promises.
 *
 * A slot's life: free (no key matches it) -> claimed (its sequence number is
 * odd, its filler has it alone) -> published (even, linked into a chain). Words
 * are atomic, so that a reader that comes too late reads an old or a new word,
 * not something undefined; the sequence number then tells it to drop them. */
#include "image/cache.h"

#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "base/bytes.h"
#include "image/runs.h"
#include "image/seqlock.h"

enum { CACHE_LINE = 64 };
enum { MAX_SLOTS = 1 << 20 };

/* Chains are short; a reader led astray by a slot that changes chains must come back at some point. */
enum { MAX_CHAIN_STEPS = 64 };

/* How many popular blocks one eviction may pass over before it takes what comes. */
enum { MAX_EVICT_STEPS = 128 };

#define NO_SLOT UINT32_MAX

struct q2_cache_slot {
    _Alignas(CACHE_LINE) _Atomic uint32_t sequence;
    _Atomic uint32_t chain; /* the next slot of the bucket (or of the free ones) */
    _Atomic uint64_t place, owner;
    _Atomic(_Atomic uint64_t *) words;
    _Atomic bool popular;  /* asked for again since it came or was last passed over */
    uint32_t after;        /* in its queue; under the lock */
    _Atomic uint64_t step; /* by which a table's words go up in runs */
};

static uint64_t hash_of(struct q2_cache_key key)
{
    uint64_t h =
        (key.place ^ key.owner * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);

    return h ^ h >> 32;
}

/* The slot itself, and two to four buckets and ghosts. */
enum {
    SLOT_OVERHEAD_BYTES =
        sizeof(struct q2_cache_slot) + (size_t)4 * (sizeof(uint32_t) + sizeof(uint64_t))
};

int q2_cache_init(struct q2_cache *cache, uint64_t budget_bytes, size_t block_bytes, bool tables)
{
    size_t runs_bytes = tables ? sizeof(struct q2_runs) : 0;
    uint64_t slots = budget_bytes / (block_bytes + SLOT_OVERHEAD_BYTES + runs_bytes);
    uint32_t buckets = 16;

    memset(cache, 0, sizeof *cache);
    cache->block_bytes = block_bytes;
    cache->free_slots = NO_SLOT;
    cache->probation = cache->protected_ = (struct q2_cache_queue){ NO_SLOT, NO_SLOT, 0 };
    if (slots < 2) {
        return 0;
    }
    cache->slots_max = slots > MAX_SLOTS ? MAX_SLOTS : (uint32_t)slots;
    while (buckets < cache->slots_max * 2) {
        buckets *= 2;
    }
    cache->bucket_mask = buckets - 1;
    cache->slots = aligned_alloc(CACHE_LINE, cache->slots_max * sizeof *cache->slots);
    cache->runs = tables ? aligned_alloc(CACHE_LINE, cache->slots_max * runs_bytes) : NULL;
    cache->buckets = malloc(buckets * sizeof *cache->buckets);
    cache->ghosts = calloc(buckets, sizeof *cache->ghosts);
    if (cache->slots == NULL || (tables && cache->runs == NULL) || cache->buckets == NULL ||
        cache->ghosts == NULL || pthread_mutex_init(&cache->lock, NULL) != 0) {
        free(cache->slots);
        free(cache->runs);
        free(cache->buckets);
        free(cache->ghosts);
        cache->slots_max = 0;
        return QCOW2_E_NOMEM;
    }
    for (uint32_t i = 0; i < buckets; i++) {
        atomic_init(&cache->buckets[i], NO_SLOT);
    }
    return 0;
}

void q2_cache_deinit(struct q2_cache *cache)
{
    if (cache->slots_max == 0) {
        return;
    }
    for (uint32_t i = 0; i < cache->slots_used; i++) {
        free((void *)atomic_load_explicit(&cache->slots[i].words, memory_order_relaxed));
    }
    free(cache->slots);
    free(cache->runs);
    free(cache->buckets);
    free(cache->ghosts);
    (void)pthread_mutex_destroy(&cache->lock);
    cache->slots_max = 0;
}

/* ------------------------------------------------------------------------ */
/* Hits: no lock                                                            */

/* Where a reader found its block: valid as long as the slot's sequence number stays. */
struct view {
    struct q2_cache_slot *slot;
    const _Atomic uint64_t *words;
    uint32_t sequence;
};

static inline bool find(struct q2_cache *cache, struct q2_cache_key key, struct view *view_ret)
{
    uint32_t at;

    if (cache->slots_max == 0) {
        return false;
    }
    at = atomic_load_explicit(&cache->buckets[hash_of(key) & cache->bucket_mask],
                              memory_order_acquire);
    for (int step = 0; step < MAX_CHAIN_STEPS && at != NO_SLOT; step++) {
        struct q2_cache_slot *slot = &cache->slots[at];
        uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_acquire);

        if ((sequence & 1) == 0 &&
            atomic_load_explicit(&slot->place, memory_order_relaxed) == key.place &&
            atomic_load_explicit(&slot->owner, memory_order_relaxed) == key.owner) {
            view_ret->slot = slot;
            view_ret->words = atomic_load_explicit(&slot->words, memory_order_relaxed);
            view_ret->sequence = sequence;
            return true;
        }
        at = atomic_load_explicit(&slot->chain, memory_order_acquire);
    }
    return false;
}

/* After the words were copied: were they the block's? */
static inline bool still_there(const struct q2_cache *cache, const struct view *view,
                               uint32_t *last_slot)
{
    uint32_t number = (uint32_t)(view->slot - cache->slots);

    Q2_FENCE(memory_order_acquire);
    if (atomic_load_explicit(&view->slot->sequence, memory_order_relaxed) != view->sequence) {
        return false;
    }
    if (*last_slot != number) {
        *last_slot = number;
        /* A look first: what is popular already is not written to. */
        if (!atomic_load_explicit(&view->slot->popular, memory_order_relaxed)) {
            atomic_store_explicit(&view->slot->popular, true, memory_order_relaxed);
        }
    }
    return true;
}

bool q2_cache_get_words(struct q2_cache *cache, struct q2_cache_key key, size_t first_word,
                        size_t n_words, uint64_t *words_ret, uint32_t *last_slot)
{
    struct view view;

    if (!find(cache, key, &view)) {
        return false;
    }
    for (size_t i = 0; i < n_words; i++) {
        words_ret[i] = atomic_load_explicit(&view.words[first_word + i], Q2_WORD_LOAD);
    }
    return still_there(cache, &view, last_slot);
}

bool q2_cache_get_word(struct q2_cache *cache, struct q2_cache_key key, size_t at,
                       uint64_t *word_ret, uint32_t *last_slot)
{
    struct view view;

    if (!find(cache, key, &view)) {
        return false;
    }
    if (!q2_runs_get(&cache->runs[view.slot - cache->slots],
                     atomic_load_explicit(&view.slot->step, Q2_WORD_LOAD), at, word_ret)) {
        *word_ret = atomic_load_explicit(&view.words[at], Q2_WORD_LOAD);
    }
    return still_there(cache, &view, last_slot);
}

bool q2_cache_get_bytes(struct q2_cache *cache, struct q2_cache_key key, size_t first_byte,
                        size_t n_bytes, void *bytes_ret, uint32_t *last_slot)
{
    struct view view;
    char *to = bytes_ret;

    if (!find(cache, key, &view)) {
        return false;
    }
    while (n_bytes > 0) {
        uint64_t word = atomic_load_explicit(&view.words[first_byte / 8], Q2_WORD_LOAD);
        size_t skip = first_byte % 8, take = 8 - skip;

        if (take == 8 && n_bytes >= 8) {
            memcpy(to, &word, 8);
        } else {
            take = take < n_bytes ? take : n_bytes;
            memcpy(to, (const char *)&word + skip, take);
        }
        to += take;
        first_byte += take;
        n_bytes -= take;
    }
    return still_there(cache, &view, last_slot);
}

/* ------------------------------------------------------------------------ */
/* Misses: the lock is held to find a slot and to publish it, not to fill it */

static void queue_push(struct q2_cache *cache, struct q2_cache_queue *queue, uint32_t number)
{
    struct q2_cache_slot *slot = &cache->slots[number];

    slot->after = NO_SLOT;
    if (queue->tail != NO_SLOT) {
        cache->slots[queue->tail].after = number;
    } else {
        queue->head = number;
    }
    queue->tail = number;
    queue->length++;
}

static uint32_t queue_pop(struct q2_cache *cache, struct q2_cache_queue *queue)
{
    uint32_t number = queue->head;

    queue->head = cache->slots[number].after;
    if (queue->head == NO_SLOT) {
        queue->tail = NO_SLOT;
    }
    queue->length--;
    return number;
}

static struct q2_cache_key key_of(const struct q2_cache_slot *slot)
{
    return (struct q2_cache_key){
        .place = atomic_load_explicit(&slot->place, memory_order_relaxed),
        .owner = atomic_load_explicit(&slot->owner, memory_order_relaxed),
    };
}

static void unlink_from_bucket(struct q2_cache *cache, uint32_t number)
{
    struct q2_cache_slot *slot = &cache->slots[number];
    _Atomic uint32_t *link = &cache->buckets[hash_of(key_of(slot)) & cache->bucket_mask];

    while (atomic_load_explicit(link, memory_order_relaxed) != number) {
        link = &cache->slots[atomic_load_explicit(link, memory_order_relaxed)].chain;
    }
    atomic_store_explicit(link, atomic_load_explicit(&slot->chain, memory_order_relaxed),
                          memory_order_release);
}

/* The slot whose block has to go, out of its queue. There is at least one block. */
static uint32_t choose_victim(struct q2_cache *cache)
{
    for (int step = 0;; step++) {
        /* A quarter of the blocks is for newcomers. */
        bool from_probation =
            cache->protected_.length == 0 || cache->probation.length > cache->slots_max / 4;
        uint32_t number = queue_pop(cache, from_probation ? &cache->probation : &cache->protected_);
        struct q2_cache_slot *slot = &cache->slots[number];

        if (step == MAX_EVICT_STEPS ||
            !atomic_exchange_explicit(&slot->popular, false, memory_order_relaxed)) {
            return number;
        }
        queue_push(cache, &cache->protected_, number);
    }
}

static uint64_t *ghost_of(struct q2_cache *cache, uint64_t hash)
{
    return &cache->ghosts[(hash >> 20) & cache->bucket_mask];
}

static uint32_t evict(struct q2_cache *cache)
{
    uint32_t number = choose_victim(cache);
    uint64_t hash = hash_of(key_of(&cache->slots[number]));

    unlink_from_bucket(cache, number);
    *ghost_of(cache, hash) = hash;
    atomic_fetch_add_explicit(&cache->evictions, 1, memory_order_relaxed);
    return number;
}

/* A slot nobody can find and only the caller writes to, or NO_SLOT. */
static uint32_t claim(struct q2_cache *cache)
{
    uint32_t number = cache->free_slots;
    struct q2_cache_slot *slot;

    if (number != NO_SLOT) {
        slot = &cache->slots[number];
        cache->free_slots = atomic_load_explicit(&slot->chain, memory_order_relaxed);
    } else if (cache->slots_used < cache->slots_max) {
        _Atomic uint64_t *words = malloc(cache->block_bytes);

        if (words != NULL) {
            number = cache->slots_used++;
            slot = &cache->slots[number];
            memset(slot, 0, sizeof *slot);
            atomic_init(&slot->words, words);
        }
    }
    if (number == NO_SLOT && cache->probation.length + cache->protected_.length > 0) {
        number = evict(cache);
    }
    if (number != NO_SLOT) {
        slot = &cache->slots[number];
        atomic_store_explicit(&slot->sequence,
                              atomic_load_explicit(&slot->sequence, memory_order_relaxed) | 1,
                              memory_order_relaxed);
        Q2_FENCE(memory_order_release);
    }
    return number;
}

static void fill_bytes(struct q2_cache_slot *slot, const void *block, size_t block_bytes)
{
    _Atomic uint64_t *words = atomic_load_explicit(&slot->words, memory_order_relaxed);
    const unsigned char *from = block;

    for (size_t i = 0; i < block_bytes / 8; i++) {
        uint64_t word;

        memcpy(&word, from + i * 8, 8);
        atomic_store_explicit(&words[i], word, Q2_WORD_STORE);
    }
}

static void fill_table(struct q2_cache_slot *slot, struct q2_runs *runs, const void *block,
                       size_t block_bytes, uint64_t step)
{
    _Atomic uint64_t *words = atomic_load_explicit(&slot->words, memory_order_relaxed);
    const unsigned char *from = block;

    for (size_t i = 0; i < block_bytes / 8; i++) {
        atomic_store_explicit(&words[i], q2_load_be64(from + i * 8), Q2_WORD_STORE);
    }
    atomic_store_explicit(&slot->step, step, Q2_WORD_STORE);
    q2_runs_set(runs, words, block_bytes / 8, step);
}

/* Links a filled slot, or frees it if another thread has published the block meanwhile. */
static void publish(struct q2_cache *cache, uint32_t number, struct q2_cache_key key)
{
    struct q2_cache_slot *slot = &cache->slots[number];
    uint64_t hash = hash_of(key);
    _Atomic uint32_t *bucket = &cache->buckets[hash & cache->bucket_mask];
    uint64_t *ghost = ghost_of(cache, hash);
    struct view there;

    if (find(cache, key, &there)) {
        atomic_store_explicit(&slot->place, UINT64_MAX, memory_order_relaxed);
        atomic_store_explicit(&slot->owner, UINT64_MAX, memory_order_relaxed);
        atomic_store_explicit(&slot->chain, cache->free_slots, memory_order_release);
        cache->free_slots = number;
        return;
    }
    atomic_store_explicit(&slot->place, key.place, memory_order_relaxed);
    atomic_store_explicit(&slot->owner, key.owner, memory_order_relaxed);
    atomic_store_explicit(&slot->popular, false, memory_order_relaxed);
    /* Released, since a reader that came by the slot's last block may go on from here: what it gets to
     * has been made by another thread. */
    atomic_store_explicit(&slot->chain, atomic_load_explicit(bucket, memory_order_relaxed),
                          memory_order_release);
    atomic_store_explicit(&slot->sequence,
                          atomic_load_explicit(&slot->sequence, memory_order_relaxed) + 1,
                          memory_order_release);
    atomic_store_explicit(bucket, number, memory_order_release);
    queue_push(cache, *ghost == hash ? &cache->protected_ : &cache->probation, number);
    *ghost = 0;
}

/* claim for those who do not hold the lock. */
static uint32_t claim_locked(struct q2_cache *cache)
{
    uint32_t number;

    if (cache->slots_max == 0) {
        return NO_SLOT;
    }
    (void)pthread_mutex_lock(&cache->lock);
    number = claim(cache);
    (void)pthread_mutex_unlock(&cache->lock);
    return number;
}

static void publish_locked(struct q2_cache *cache, uint32_t number, struct q2_cache_key key,
                           uint32_t *last_slot)
{
    (void)pthread_mutex_lock(&cache->lock);
    publish(cache, number, key);
    (void)pthread_mutex_unlock(&cache->lock);
    *last_slot = number;
}

void q2_cache_put(struct q2_cache *cache, struct q2_cache_key key, const void *block,
                  size_t block_bytes, uint32_t *last_slot)
{
    uint32_t number = claim_locked(cache);

    if (number != NO_SLOT) {
        fill_bytes(&cache->slots[number], block, block_bytes);
        publish_locked(cache, number, key, last_slot);
    }
}

void q2_cache_put_table(struct q2_cache *cache, struct q2_cache_key key, const void *block,
                        size_t block_bytes, uint64_t step, uint32_t *last_slot)
{
    uint32_t number = claim_locked(cache);

    if (number != NO_SLOT) {
        fill_table(&cache->slots[number], &cache->runs[number], block, block_bytes, step);
        publish_locked(cache, number, key, last_slot);
    }
}
