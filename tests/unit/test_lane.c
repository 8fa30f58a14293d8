/* SPDX-License-Identifier: MIT */
/* test_lane.c - image/lane: every running call has memory of its own, and a hit writes to no other. */
#include "unit.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../early.h"
#include "image/image.h"
#include "sample.h"

enum { CROWD = 64 };

/* What the system says of its processors, if not 0. (--wrap) */
static long processors;

long __real_sysconf(int name);
long __wrap_sysconf(int name);

CALLED_EARLY long __wrap_sysconf(int name)
{
    return name == _SC_NPROCESSORS_CONF && processors != 0 ? processors : __real_sysconf(name);
}

static void test_places_are_two_for_each_processor_within_bounds(void **state)
{
    static const struct {
        long processors;
        unsigned counted, places;
    } cases[] = {
        { -1, 1, 128 },     { 1, 1, 128 },      { 64, 64, 128 },    { 65, 65, 256 },
        { 500, 500, 1024 }, { 512, 512, 1024 }, { 900, 900, 1024 }, { 5000, 1024, 1024 }
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct q2_lanes lanes;
        struct q2_lane *lane;

        processors = cases[i].processors;
        assert_int_equal(q2_lanes_init(&lanes), 0);
        assert_int_equal(lanes.processors, cases[i].counted);
        assert_int_equal(lanes.places, cases[i].places);
        lane = q2_lane_check_out(&lanes);
        assert_non_null(lane);
        q2_lane_check_in(&lanes, lane);
        q2_lanes_deinit(&lanes);
    }
    processors = 0;
}

static void test_calls_at_once_have_lanes_of_their_own(void **state)
{
    struct q2_lane *held[CROWD];
    struct q2_lanes lanes;

    (void)state;
    assert_int_equal(q2_lanes_init(&lanes), 0);
    for (int i = 0; i < CROWD; i++) {
        held[i] = q2_lane_check_out(&lanes);
        assert_non_null(held[i]);
        assert_int_equal((uintptr_t)held[i] % Q2_CACHE_LINE, 0);
        for (int j = 0; j < i; j++) {
            assert_ptr_not_equal(held[i], held[j]);
        }
        q2_lane_count(held[i], Q2_READS, 1);
    }
    for (int i = 0; i < CROWD; i++) {
        q2_lane_check_in(&lanes, held[i]);
    }
    assert_int_equal(q2_lanes_sum(&lanes, Q2_READS), CROWD);
    q2_lanes_deinit(&lanes);
}

/* Threads that wait in the middle of a call hold lanes; making one for every call of the others would
 * cost more than the call. */
static void test_a_crowd_that_comes_back_meets_the_lanes_it_left(void **state)
{
    struct q2_lane *first[CROWD], *again[CROWD];
    struct q2_lanes lanes;

    (void)state;
    assert_int_equal(q2_lanes_init(&lanes), 0);
    for (int i = 0; i < CROWD; i++) {
        first[i] = q2_lane_check_out(&lanes);
    }
    for (int i = 0; i < CROWD; i++) {
        q2_lane_check_in(&lanes, first[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        bool known = false;

        again[i] = q2_lane_check_out(&lanes);
        for (int j = 0; j < CROWD; j++) {
            known = known || again[i] == first[j];
        }
        assert_true(known);
    }
    for (int i = 0; i < CROWD; i++) {
        q2_lane_check_in(&lanes, again[i]);
    }
    q2_lanes_deinit(&lanes);
}

static size_t lanes_made(const struct q2_lanes *lanes)
{
    size_t made = 0;

    for (unsigned i = 0; i < lanes->places; i++) {
        made += lanes->all[i] != NULL;
    }
    return made;
}

/* Looking for a lane at other places costs more than the rest of a small read. */
static void test_a_thread_that_moves_takes_the_lane_of_the_processor_it_is_on(void **state)
{
    cpu_set_t before, one;
    struct q2_lanes lanes;
    struct q2_lane *lane, *of[2] = { NULL, NULL };
    size_t at[2] = { 0, 0 };
    int found = 0;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++) {
        if (CPU_ISSET(cpu, &before)) {
            at[found++] = cpu;
        }
    }
    if (found < 2) {
        skip();
    }
    assert_int_equal(q2_lanes_init(&lanes), 0);
    for (int call = 0; call < 6; call++) {
        CPU_ZERO(&one);
        CPU_SET(at[call % 2], &one);
        assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
        lane = q2_lane_check_out(&lanes);
        assert_non_null(lane);
        assert_true(call < 2 || lane == of[call % 2]);
        of[call % 2] = lane;
        q2_lane_check_in(&lanes, lane);
    }
    assert_ptr_not_equal(of[0], of[1]);
    assert_int_equal(lanes_made(&lanes), 2);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    q2_lanes_deinit(&lanes);
}

/* More calls at once than there are places. */
static void test_calls_without_a_place_are_counted_too(void **state)
{
    enum { MORE = 8 };
    struct q2_lanes lanes;
    struct q2_lane **held;
    size_t n;

    (void)state;
    assert_int_equal(q2_lanes_init(&lanes), 0);
    n = lanes.places + MORE;
    held = calloc(n, sizeof *held);
    assert_non_null(held);
    for (size_t i = 0; i < n; i++) {
        held[i] = q2_lane_check_out(&lanes);
        assert_non_null(held[i]);
        assert_int_equal(held[i]->kept, i < lanes.places);
        q2_lane_count(held[i], Q2_READS, 1);
    }
    for (size_t i = 0; i < n; i++) {
        q2_lane_check_in(&lanes, held[i]);
    }
    assert_int_equal(lanes_made(&lanes), lanes.places);
    assert_int_equal(q2_lanes_sum(&lanes, Q2_READS), n);
    free(held);
    q2_lanes_deinit(&lanes);
}

/* Scratch memory of a whole crowd would be many times what the caches may take. */
static void test_a_crowd_gives_its_scratch_memory_back(void **state)
{
    struct q2_lane *held[CROWD * 2];
    struct q2_lanes lanes;
    unsigned with_memory = 0, others = 0, others_with_memory = 0;

    (void)state;
    assert_int_equal(q2_lanes_init(&lanes), 0);
    for (int i = 0; i < CROWD * 2; i++) {
        held[i] = q2_lane_check_out(&lanes);
        assert_true(q2_lane_reserve(held[i], &held[i]->cluster, 4096));
    }
    for (int i = 0; i < CROWD * 2; i++) {
        q2_lane_check_in(&lanes, held[i]);
    }
    for (unsigned i = 0; i < lanes.places; i++) {
        const struct q2_lane *lane = lanes.all[i];

        with_memory += lane != NULL && lane->cluster.bytes != NULL;
        if (i >= lanes.processors) {
            others += lane != NULL;
            others_with_memory += lane != NULL && lane->cluster.bytes != NULL;
        }
    }
    /* Beside the processors' own, as many lanes keep theirs as there are processors. */
    assert_int_equal(others_with_memory, others < lanes.processors ? others : lanes.processors);
    assert_true(with_memory <= lanes.processors * 2);
    assert_true(with_memory >= 1);
    q2_lanes_deinit(&lanes);
}

static uint64_t scratch_kept(const struct q2_lanes *lanes)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < lanes->places; i++) {
        const struct q2_lane *lane = lanes->all[i];

        bytes += lane != NULL ? lane->cluster.capacity + lane->compressed.capacity : 0;
    }
    return bytes;
}

/* With 64 processors and clusters of 2 MiB, lanes kept 768 MiB between calls. */
static void test_lanes_keep_no_more_memory_than_their_budget(void **state)
{
    enum { LANE_BYTES = 3 << 20 };
    struct q2_lane *held[CROWD * 2];
    struct q2_lanes lanes;

    (void)state;
    processors = CROWD;
    assert_int_equal(q2_lanes_init(&lanes), 0);
    for (int i = 0; i < CROWD * 2; i++) {
        held[i] = q2_lane_check_out(&lanes);
        assert_true(held[i]->roomy);
        assert_true(q2_lane_reserve(held[i], &held[i]->cluster, 1 << 20));
        assert_true(q2_lane_reserve(held[i], &held[i]->compressed, 2 << 20));
    }
    for (int i = 0; i < CROWD * 2; i++) {
        q2_lane_check_in(&lanes, held[i]);
        assert_true(scratch_kept(&lanes) <=
                    Q2_LANES_KEPT_BYTES + (uint64_t)(CROWD * 2 - 1 - i) * LANE_BYTES);
    }
    assert_int_equal(scratch_kept(&lanes), Q2_LANES_KEPT_BYTES / LANE_BYTES * LANE_BYTES);
    assert_int_equal(lanes.kept_bytes, scratch_kept(&lanes));
    processors = 0;
    q2_lanes_deinit(&lanes);
}

/* What a lane gives back is there for the others. */
static void test_memory_that_a_lane_no_longer_keeps_is_not_counted(void **state)
{
    enum { MOST = Q2_LANES_KEPT_BYTES };
    struct q2_lane *lane;
    struct q2_lanes lanes;

    (void)state;
    assert_int_equal(q2_lanes_init(&lanes), 0);
    lane = q2_lane_check_out(&lanes);
    assert_true(q2_lane_reserve(lane, &lane->cluster, MOST));
    q2_lane_check_in(&lanes, lane);
    assert_int_equal(lanes.kept_bytes, MOST);
    assert_false(atomic_exchange(&lane->busy, true));
    assert_true(q2_lane_reserve(lane, &lane->compressed, 1));
    q2_lane_check_in(&lanes, lane);
    assert_null(lane->cluster.bytes);
    assert_null(lane->compressed.bytes);
    assert_int_equal(lanes.kept_bytes, 0);
    q2_lanes_deinit(&lanes);
}

/* A copy of memory that threads share, to be compared later. */
struct memory {
    const void *at;
    size_t bytes;
    void *copy;
};

static void remember(struct memory *memory, const void *at, size_t bytes)
{
    *memory = (struct memory){ at, bytes, malloc(bytes) };
    assert_non_null(memory->copy);
    memcpy(memory->copy, at, bytes);
}

static void check_unchanged(struct memory *memory)
{
    assert_memory_equal(memory->at, memory->copy, memory->bytes);
    free(memory->copy);
}

/* The slots of a cache, each a cache line, and the buckets by which they are found. */
static void remember_cache(struct memory memory[2], const struct q2_cache *cache)
{
    remember(&memory[0], cache->slots, (size_t)cache->slots_used * Q2_CACHE_LINE);
    remember(&memory[1], (const void *)cache->buckets,
             ((size_t)cache->bucket_mask + 1) * sizeof *cache->buckets);
}

static void test_a_hit_writes_to_no_memory_that_threads_share(void **state)
{
    struct qcow2_stats before = QCOW2_STATS_INIT, after = QCOW2_STATS_INIT;
    struct sample_source source;
    struct qcow2_image *image;
    struct memory memory[5];
    struct sample sample;

    (void)state;
    sample_init(&sample, 12, QCOW2_COMPRESSION_DEFLATE, "CCDC.ZCD", 0);
    image = sample_open(&source, &sample, NULL);
    for (int pass = 0; pass < 3; pass++) {
        for (uint64_t at = 0; at < sample.size; at += 512) {
            sample_check_read(image, &sample, at, 512);
        }
    }
    qcow2_get_stats(image, &before);
    remember(&memory[0], image, sizeof *image);
    remember_cache(&memory[1], &image->tables);
    remember_cache(&memory[3], &image->clusters);

    for (uint64_t at = 0; at < sample.size; at += 512) {
        sample_check_read(image, &sample, at, 512);
    }

    qcow2_get_stats(image, &after);
    assert_true(after.reads > before.reads);
    assert_true(after.comp_cache_hits > before.comp_cache_hits);
    assert_true(after.l2_cache_hits > before.l2_cache_hits);
    assert_int_equal(after.comp_cache_misses, before.comp_cache_misses);
    assert_int_equal(after.l2_cache_misses, before.l2_cache_misses);
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) {
        check_unchanged(&memory[i]);
    }
    qcow2_close(image);
    sample_deinit(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_are_two_for_each_processor_within_bounds),
        cmocka_unit_test(test_calls_at_once_have_lanes_of_their_own),
        cmocka_unit_test(test_a_crowd_that_comes_back_meets_the_lanes_it_left),
        cmocka_unit_test(test_a_thread_that_moves_takes_the_lane_of_the_processor_it_is_on),
        cmocka_unit_test(test_calls_without_a_place_are_counted_too),
        cmocka_unit_test(test_a_crowd_gives_its_scratch_memory_back),
        cmocka_unit_test(test_lanes_keep_no_more_memory_than_their_budget),
        cmocka_unit_test(test_memory_that_a_lane_no_longer_keeps_is_not_counted),
        cmocka_unit_test(test_a_hit_writes_to_no_memory_that_threads_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
