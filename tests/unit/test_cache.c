/* SPDX-License-Identifier: MIT */
/* test_cache.c - image/cache: bounded, whole blocks or none, and a hot set that outlives a scan. */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "image/cache.h"
#include "image/seqlock.h"
#include "sample.h"

enum { BLOCK = 4096, WORDS = BLOCK / 8 };

static struct q2_cache_key key_of(uint64_t place, uint64_t owner)
{
    return (struct q2_cache_key){ .place = place, .owner = owner };
}

/* Every word of a block says which block it is, so that halves of two are told from one. */
static uint64_t word_of(uint64_t number, size_t i)
{
    return ((number + 1) * UINT64_C(0x9E3779B97F4A7C15) | UINT64_C(1) << 40) + i;
}

static void put(struct q2_cache *cache, uint64_t number)
{
    unsigned char block[BLOCK];
    uint32_t last = UINT32_MAX;

    for (size_t i = 0; i < WORDS; i++) {
        sample_store(block + i * 8, word_of(number, i), 8);
    }
    /* Odd blocks are one run of words, the others are not. */
    q2_cache_put_table(cache, key_of(number, 0), block, cache->block_bytes, number % 2, &last);
}

enum answer { MISS, WHOLE, BROKEN };

/* Whether the block is there, and whether it is all of that block and of no other. *last_slot is the
 * asking thread's own. (No asserts: those are for the thread that runs the test.) */
static enum answer ask(struct q2_cache *cache, uint64_t number, uint32_t *last_slot)
{
    uint64_t words[WORDS];

    if (!q2_cache_get_words(cache, key_of(number, 0), 0, WORDS, words, last_slot)) {
        return MISS;
    }
    for (size_t i = 0; i < WORDS; i++) {
        if (words[i] != word_of(number, i)) {
            return BROKEN;
        }
    }
    for (size_t i = 0; i < WORDS; i += WORDS / 3) {
        if (!q2_cache_get_word(cache, key_of(number, 0), i, words, last_slot)) {
            return MISS;
        }
        if (words[0] != word_of(number, i)) {
            return BROKEN;
        }
    }
    return WHOLE;
}

static bool get(struct q2_cache *cache, uint64_t number, uint32_t *last_slot)
{
    enum answer answer = ask(cache, number, last_slot);

    assert_int_not_equal(answer, BROKEN);
    return answer == WHOLE;
}

static bool holds(struct q2_cache *cache, uint64_t number)
{
    uint32_t last = UINT32_MAX;

    return get(cache, number, &last);
}

static void block_is_there_once_it_is_put_and_not_before(void **state)
{
    struct q2_cache cache;

    (void)state;
    assert_int_equal(q2_cache_init(&cache, 64 * BLOCK, BLOCK, true), 0);
    assert_false(holds(&cache, 7));
    put(&cache, 7);
    assert_true(holds(&cache, 7));
    assert_false(holds(&cache, 8));
    q2_cache_deinit(&cache);
}

/* By it the next look knows that the same thread goes on in the same block. */
static void a_hit_tells_the_thread_which_slot_it_used(void **state)
{
    struct q2_cache cache;
    uint32_t first = UINT32_MAX, second = UINT32_MAX, last = UINT32_MAX;

    (void)state;
    assert_int_equal(q2_cache_init(&cache, 64 * BLOCK, BLOCK, true), 0);
    put(&cache, 7);
    put(&cache, 8);
    assert_int_equal(ask(&cache, 7, &first), WHOLE);
    assert_int_equal(ask(&cache, 8, &second), WHOLE);
    assert_true(first < cache.slots_used && second < cache.slots_used && first != second);
    assert_int_equal(ask(&cache, 7, &last), WHOLE);
    assert_int_equal(last, first);
    assert_int_equal(ask(&cache, 8, &last), WHOLE);
    assert_int_equal(last, second);
    q2_cache_deinit(&cache);
}

static void owners_do_not_see_each_others_blocks(void **state)
{
    struct q2_cache cache;
    unsigned char block[BLOCK];
    uint32_t last = UINT32_MAX;
    uint64_t word;

    (void)state;
    assert_int_equal(q2_cache_init(&cache, 64 * BLOCK, BLOCK, false), 0);
    for (uint64_t owner = 0; owner < 5; owner++) {
        memset(block, (int)owner, sizeof block);
        q2_cache_put(&cache, key_of(7, owner), block, cache.block_bytes, &last);
    }
    for (uint64_t owner = 0; owner < 5; owner++) {
        assert_true(q2_cache_get_words(&cache, key_of(7, owner), 3, 1, &word, &last));
        assert_true(word == owner * UINT64_C(0x0101010101010101));
    }
    assert_false(q2_cache_get_words(&cache, key_of(7, 5), 3, 1, &word, &last));
    q2_cache_deinit(&cache);
}

static void any_part_of_a_block_can_be_had(void **state)
{
    struct q2_cache cache;
    unsigned char block[BLOCK], part[BLOCK];
    uint32_t last = UINT32_MAX;

    (void)state;
    assert_int_equal(q2_cache_init(&cache, 64 * BLOCK, BLOCK, false), 0);
    for (size_t i = 0; i < BLOCK; i++) {
        block[i] = (unsigned char)(i * 7 + (i >> 8));
    }
    q2_cache_put(&cache, key_of(1, 0), block, cache.block_bytes, &last);
    for (size_t from = 0; from < 24; from++) {
        for (size_t n = 1; n < 40; n++) {
            memset(part, 0x5A, sizeof part);
            assert_true(q2_cache_get_bytes(&cache, key_of(1, 0), from, n, part, &last));
            assert_memory_equal(part, block + from, n);
            assert_int_equal(part[n], 0x5A);
        }
    }
    assert_true(q2_cache_get_bytes(&cache, key_of(1, 0), 0, BLOCK, part, &last));
    assert_memory_equal(part, block, BLOCK);
    assert_true(q2_cache_get_bytes(&cache, key_of(1, 0), BLOCK - 1, 1, part, &last));
    assert_int_equal(part[0], block[BLOCK - 1]);
    q2_cache_deinit(&cache);
}

static void budget_too_small_for_blocks_is_a_cache_of_nothing(void **state)
{
    static const uint64_t budgets[] = { 0, 1, BLOCK - 1 };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct q2_cache cache;

        assert_int_equal(q2_cache_init(&cache, budgets[i], BLOCK, true), 0);
        put(&cache, 1);
        assert_false(holds(&cache, 1));
        assert_true(q2_cache_evictions(&cache) == 0);
        q2_cache_deinit(&cache);
    }
}

static void blocks_never_exceed_the_budget(void **state)
{
    static const uint64_t budgets[] = { 3 * BLOCK, 64 * BLOCK, 1000 * BLOCK };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct q2_cache cache;
        uint64_t held = 0, puts = 4 * budgets[i] / BLOCK;

        assert_int_equal(q2_cache_init(&cache, budgets[i], BLOCK, true), 0);
        for (uint64_t number = 0; number < puts; number++) {
            put(&cache, number);
        }
        for (uint64_t number = 0; number < puts; number++) {
            held += holds(&cache, number);
        }
        assert_true(held > 0 && held * BLOCK <= budgets[i]);
        /* What came and is not there any more was evicted, and counted. */
        assert_true(q2_cache_evictions(&cache) == puts - held);
        q2_cache_deinit(&cache);
    }
}

static void block_put_twice_takes_one_place(void **state)
{
    struct q2_cache cache;

    (void)state;
    assert_int_equal(q2_cache_init(&cache, 64 * BLOCK, BLOCK, true), 0);
    for (int round = 0; round < 1000; round++) {
        put(&cache, 1);
        put(&cache, 2);
    }
    assert_true(q2_cache_evictions(&cache) <= 1);
    assert_true(holds(&cache, 1) && holds(&cache, 2));
    q2_cache_deinit(&cache);
}

/* What is asked for again and again is still there after a pass over far more than the cache holds,
 * and has not been loaded again on the way. */
static void hot_set_survives_a_full_scan(void **state)
{
    enum { HOT = 200, SCAN = 100000 };
    struct q2_cache cache;
    uint32_t last = UINT32_MAX;
    uint64_t reloads = 0;

    (void)state;
    assert_int_equal(q2_cache_init(&cache, 1024 * BLOCK, BLOCK, true), 0);
    for (uint64_t number = 0; number < HOT; number++) {
        put(&cache, number);
    }
    for (int round = 0; round < 3; round++) {
        for (uint64_t number = 0; number < HOT; number++) {
            assert_true(get(&cache, number, &last));
        }
    }
    for (uint64_t number = 0; number < SCAN; number++) {
        put(&cache, HOT + number);
        /* The hot set is used ten times less often than the scan goes on. */
        if (number % 10 == 0 && !get(&cache, number / 10 % HOT, &last)) {
            reloads++;
            put(&cache, number / 10 % HOT);
        }
    }
    /* An eviction looks at so many popular blocks and then takes one: the first may cost a hot one. */
    assert_true(reloads <= 2);
    for (uint64_t number = 0; number < HOT; number++) {
        assert_true(holds(&cache, number));
    }
    q2_cache_deinit(&cache);
}

static void hot_set_that_changes_is_followed(void **state)
{
    enum { HOT = 300 };
    struct q2_cache cache;
    uint32_t last = UINT32_MAX;
    uint64_t misses = 0;

    (void)state;
    assert_int_equal(q2_cache_init(&cache, 512 * BLOCK, BLOCK, true), 0);
    for (uint64_t era = 0; era < 6; era++) {
        for (int round = 0; round < 20; round++) {
            for (uint64_t i = 0; i < HOT; i++) {
                uint64_t number = era * HOT + i;

                if (!get(&cache, number, &last)) {
                    misses += round >= 10;
                    put(&cache, number);
                }
            }
        }
    }
    assert_true(misses == 0);
    q2_cache_deinit(&cache);
}

/* ---- many threads on a cache that holds a fraction of what they want ---- */

/* The thread sanitizer takes fifty times as long, and sees a race that happens once. */
enum { VISITS = Q2_WITH_FENCES ? 20000 : 4000 };

struct crowd {
    struct q2_cache cache;
    _Atomic uint64_t hits, broken;
    uint64_t numbers; /* blocks that exist */
};

static void *visit(void *arg)
{
    struct crowd *crowd = arg;
    static _Atomic uint64_t visitors;
    uint64_t state = atomic_fetch_add(&visitors, 1) * 977 + 1, hits = 0;
    uint32_t last = UINT32_MAX;

    for (int i = 0; i < VISITS; i++) {
        uint64_t number;

        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        number = (state >> 33) % crowd->numbers;
        switch (ask(&crowd->cache, number, &last)) {
        case WHOLE:
            hits++;
            break;
        case BROKEN:
            atomic_fetch_add(&crowd->broken, 1);
            break;
        case MISS:
            put(&crowd->cache, number);
            break;
        }
    }
    atomic_fetch_add(&crowd->hits, hits);
    return NULL;
}

static void threads_never_see_half_a_block(void **state)
{
    static const uint64_t slots[] = { 3, 16, 100 };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct crowd crowd = { .numbers = slots[i] * 2 };
        pthread_t threads[8];

        assert_int_equal(q2_cache_init(&crowd.cache, slots[i] * (BLOCK + 256), BLOCK, true), 0);
        for (int t = 0; t < 8; t++) {
            assert_int_equal(pthread_create(&threads[t], NULL, visit, &crowd), 0);
        }
        for (int t = 0; t < 8; t++) {
            pthread_join(threads[t], NULL);
        }
        assert_true(crowd.broken == 0);
        assert_true(crowd.hits > 0);
        assert_true(q2_cache_evictions(&crowd.cache) > 0);
        q2_cache_deinit(&crowd.cache);
    }
}

/* Slots are numbered with few bits; a budget beyond them is not an error, and costs no memory before it
 * is used. */
static void a_budget_of_a_terabyte_is_a_million_blocks(void **state)
{
    struct q2_cache cache;

    (void)state;
    assert_int_equal(q2_cache_init(&cache, UINT64_C(1) << 40, BLOCK, true), 0);
    assert_int_equal(cache.slots_max, 1 << 20);
    assert_int_equal(cache.slots_used, 0);
    put(&cache, 7);
    assert_true(holds(&cache, 7));
    q2_cache_deinit(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_is_there_once_it_is_put_and_not_before),
        cmocka_unit_test(a_hit_tells_the_thread_which_slot_it_used),
        cmocka_unit_test(owners_do_not_see_each_others_blocks),
        cmocka_unit_test(a_budget_of_a_terabyte_is_a_million_blocks),
        cmocka_unit_test(any_part_of_a_block_can_be_had),
        cmocka_unit_test(budget_too_small_for_blocks_is_a_cache_of_nothing),
        cmocka_unit_test(blocks_never_exceed_the_budget),
        cmocka_unit_test(block_put_twice_takes_one_place),
        cmocka_unit_test(hot_set_survives_a_full_scan),
        cmocka_unit_test(hot_set_that_changes_is_followed),
        cmocka_unit_test(threads_never_see_half_a_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
