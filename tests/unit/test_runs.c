/* SPDX-License-Identifier: MIT */
/* test_runs.c - image/runs: a block said in runs is the block, word for word. */
#include "unit.h"

#include <stdlib.h>

#include "image/runs.h"

enum { WORDS = 512 };

#define STEP UINT64_C(65536)

static _Atomic uint64_t block[WORDS];

/* Fills words [from, to) with a run. */
static void run(size_t from, size_t to, uint64_t first)
{
    for (size_t i = from; i < to; i++) {
        atomic_store(&block[i], (first & Q2_OFFSET_MASK) != 0 ? first + (i - from) * STEP : first);
    }
}

/* Whether the block can be said in runs; if so, each of its words comes out. */
static bool said(void)
{
    struct q2_runs runs;
    uint64_t word = 0;
    bool any;

    q2_runs_set(&runs, block, WORDS, STEP);
    any = q2_runs_get(&runs, STEP, 0, &word);
    for (size_t i = 0; i < WORDS; i++) {
        assert_int_equal(q2_runs_get(&runs, STEP, i, &word), any);
        assert_true(!any || word == atomic_load(&block[i]));
    }
    q2_runs_clear(&runs);
    assert_false(q2_runs_get(&runs, STEP, 0, &word));
    return any;
}

static void test_words_that_ascend_or_are_equal_are_runs(void **state)
{
    (void)state;
    run(0, WORDS, 0);
    assert_true(said());
    run(0, WORDS, Q2_ENTRY_COPIED | STEP);
    assert_true(said());
    run(0, WORDS, Q2_ENTRY_ZERO);
    assert_true(said());
    run(0, 1, Q2_ENTRY_COPIED | 5 * STEP);
    run(1, 300, 0);
    run(300, 511, Q2_ENTRY_COPIED | 100 * STEP);
    run(511, 512, Q2_ENTRY_ZERO);
    assert_true(said());
}

/* Offset 0 of a data file goes up, too, but its own word says that it does not. */
static void test_an_ascent_that_begins_without_an_offset_is_two_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORDS; i++) {
        atomic_store(&block[i], Q2_ENTRY_COPIED | i * STEP);
    }
    assert_true(said());
}

static void test_numbers_that_wrap_come_out_as_they_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < WORDS; i++) {
        atomic_store(&block[i], UINT64_MAX - 7 * STEP + i * STEP);
    }
    (void)said();
}

static void test_as_many_runs_as_there_is_room_for(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 2 * (size_t)Q2_RUNS; n++) {
        for (size_t i = 0; i < n; i++) {
            run(i * WORDS / n, (i + 1) * WORDS / n, Q2_ENTRY_COPIED | (1000 * (i + 1)) * STEP);
        }
        assert_int_equal(said(), n <= Q2_RUNS);
    }
}

static void test_any_mixture_comes_out_as_it_went_in(void **state)
{
    static const uint64_t kinds[] = { 0,
                                      Q2_ENTRY_ZERO,
                                      Q2_ENTRY_COPIED | 3 * STEP,
                                      Q2_ENTRY_COMPRESSED | 77,
                                      Q2_ENTRY_COPIED,
                                      UINT64_MAX };
    uint64_t state_of_dice = 1;
    unsigned in_runs = 0;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        size_t at = 0;

        while (at < WORDS) {
            size_t to;

            state_of_dice = state_of_dice * UINT64_C(6364136223846793005) + 1;
            to = at + 1 + (size_t)(state_of_dice >> 40) % (round % 2 != 0 ? 500 : 30);
            to = to < WORDS ? to : WORDS;
            run(at, to, kinds[(state_of_dice >> 33) % (sizeof kinds / sizeof kinds[0])]);
            at = to;
        }
        in_runs += said();
    }
    assert_true(in_runs > 500 && in_runs < 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_that_ascend_or_are_equal_are_runs),
        cmocka_unit_test(test_an_ascent_that_begins_without_an_offset_is_two_runs),
        cmocka_unit_test(test_numbers_that_wrap_come_out_as_they_are),
        cmocka_unit_test(test_as_many_runs_as_there_is_room_for),
        cmocka_unit_test(test_any_mixture_comes_out_as_it_went_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
