/* SPDX-License-Identifier: MIT */
/* test_read.c - what qcow2.h promises of reads, extents and counters. */
#include "unit.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

static struct sample sample; /* D Z . C, in 4 KiB clusters, the last one partial */

static int make_sample(void **state)
{
    (void)state;
    sample_init(&sample, 12, QCOW2_COMPRESSION_DEFLATE, "DDZ.CCDZC.", 512);
    return 0;
}

static int drop_sample(void **state)
{
    (void)state;
    sample_deinit(&sample);
    return 0;
}

static void read_is_short_only_where_the_disk_ends(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);

    (void)state;
    assert_true(qcow2_size(image) == sample.size);
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    sample_check_read(image, &sample, 0, (size_t)sample.size + 5000);
    for (uint64_t from = sample.size - 20; from < sample.size + 20; from++) {
        for (size_t count = 0; count < 40; count++) {
            sample_check_read(image, &sample, from, count);
        }
    }
    sample_check_read(image, &sample, UINT64_MAX, 10);
    sample_check_read(image, &sample, UINT64_MAX - 5, 10);
    qcow2_close(image);
}

static void reads_need_no_alignment(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);

    (void)state;
    for (uint64_t from = 0; from < sample.size; from += 1021) {
        for (size_t count = 1; count < 3 * 4096; count = count * 3 + 1) {
            sample_check_read(image, &sample, from, count);
        }
    }
    qcow2_close(image);
}

static void read_of_nothing_needs_no_buffer(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);

    (void)state;
    assert_int_equal(qcow2_pread(image, NULL, 0, 0, NULL), 0);
    assert_int_equal(qcow2_pread(image, NULL, 0, sample.size, NULL), 0);
    qcow2_close(image);
}

static void count_above_ssize_max_is_an_argument_error(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);
    char byte;

    (void)state;
    assert_int_equal(qcow2_pread(image, &byte, (size_t)SSIZE_MAX + 1, 0, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_pread(image, &byte, SIZE_MAX, 0, NULL), QCOW2_E_ARGUMENT);
    qcow2_close(image);
}

static void extents_touch_and_are_clipped_to_the_walk(void **state)
{
    static const struct qcow2_extent wanted[] = {
        { 100, 8092, QCOW2_EXTENT_DATA, 0, 0, 0 },
        { 8192, 4096, QCOW2_EXTENT_ZERO, 0, UINT64_MAX, 0 },
        { 12288, 4096, QCOW2_EXTENT_HOLE, 0, UINT64_MAX, 0 },
        { 16384, 4096, QCOW2_EXTENT_COMPRESSED, 0, UINT64_MAX, 0 },
        { 20480, 7, QCOW2_EXTENT_COMPRESSED, 0, UINT64_MAX, 0 },
    };
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);
    struct qcow2_extent extent;
    uint64_t cursor = 100;

    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        assert_int_equal(qcow2_next_extent(image, &cursor, 20487, &extent, NULL), 1);
        assert_true(extent.offset == wanted[i].offset && extent.length == wanted[i].length);
        assert_int_equal(extent.kind, wanted[i].kind);
        assert_int_equal(extent.depth, 0);
        assert_true(cursor == extent.offset + extent.length);
        assert_true(extent.host_offset == (i == 0 ? sample.data_off + 100 : wanted[i].host_offset));
    }
    assert_int_equal(qcow2_next_extent(image, &cursor, 20487, &extent, NULL), 0);
    assert_true(cursor == 20487);
    cursor = sample.size + 1;
    assert_int_equal(qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL), 0);
    assert_true(cursor == sample.size + 1);
    qcow2_close(image);
}

/* More L1 entries than are looked at in one go, and none of them names a table but the last. */
static void hole_of_many_tables_is_one_extent_up_to_the_next_table(void **state)
{
    enum { CLUSTER = 512, PER_TABLE = CLUSTER / 8, EMPTY = 39 };
    const uint64_t hole_bytes = (uint64_t)EMPTY * PER_TABLE * CLUSTER;
    struct qcow2_extent extent;
    struct sample_source source;
    struct qcow2_image *image;
    struct sample sparse;
    char layout[EMPTY * PER_TABLE + 2];
    uint64_t cursor = 0;

    (void)state;
    memset(layout, '.', sizeof layout);
    layout[EMPTY * PER_TABLE] = 'D';
    layout[EMPTY * PER_TABLE + 1] = '\0';
    sample_init(&sparse, 9, QCOW2_COMPRESSION_DEFLATE, layout, 0);
    memset(sparse.file + (size_t)3 * CLUSTER, 0, EMPTY * 8);
    image = sample_open(&source, &sparse, NULL);
    assert_int_equal(qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL), 1);
    assert_int_equal(extent.kind, QCOW2_EXTENT_HOLE);
    assert_true(extent.offset == 0 && extent.length == hole_bytes);
    assert_int_equal(qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL), 1);
    assert_int_equal(extent.kind, QCOW2_EXTENT_DATA);
    assert_true(extent.offset == hole_bytes && extent.length == CLUSTER);
    sample_check_read(image, &sparse, 0, (size_t)sparse.size);
    qcow2_close(image);
    sample_deinit(&sparse);
}

static void memory_has_no_descriptor(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);
    struct qcow2_extent extent;
    uint64_t cursor = 0;

    (void)state;
    assert_int_equal(qcow2_next_extent(image, &cursor, 4096, &extent, NULL), 1);
    assert_int_equal(extent.kind, QCOW2_EXTENT_DATA);
    assert_int_equal(qcow2_extent_fd(image, &extent), -1);
    qcow2_close(image);
}

static void counters_count_what_they_say(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);
    struct qcow2_stats s = QCOW2_STATS_INIT;

    (void)state;
    qcow2_get_stats(image, &s);
    assert_true(s.reads == 0 && s.source_reads == 0 && s.l2_cache_misses == 0);
    sample_check_read(image, &sample, 4096 + 5, 10); /* D */
    sample_check_read(image, &sample, 2 * 4096, 10); /* Z */
    sample_check_read(image, &sample, 3 * 4096, 10); /* . */
    sample_check_read(image, &sample, 4 * 4096, 10); /* C */
    sample_check_read(image, &sample, 4 * 4096 + 99, 10);
    sample_check_read(image, &sample, sample.size, 10); /* nothing */
    qcow2_get_stats(image, &s);
    assert_true(s.reads == 6 && s.bytes_read == 50);
    assert_true(s.cluster_reads == 5 && s.cluster_holes == 2);
    assert_true(s.cluster_standard == 1 && s.cluster_compressed == 2);
    assert_true(s.comp_cache_misses == 1 && s.comp_cache_hits == 1);
    assert_true(s.l2_cache_misses == 1 && s.l2_cache_hits >= 4);
    assert_true(s.l2_cache_evictions == 0 && s.comp_cache_evictions == 0);
    assert_true(s.source_reads == 3 && s.source_bytes > 0);
    qcow2_close(image);
}

/* Compressed clusters lie back to back: one read of the file brings them all, as far as they are asked for,
 * wherever in their table they begin. */
static void neighbouring_streams_are_fetched_in_one_piece(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;
    struct sample streams;
    unsigned before;

    (void)state;
    sample_init(&streams, 12, QCOW2_COMPRESSION_DEFLATE, "..CCCCCC", 0);
    image = sample_open(&source, &streams, NULL);
    sample_check_read(image, &streams, 0, 1); /* the table */
    before = source.reads;
    sample_check_read(image, &streams, 2 * 4096, (size_t)4 * 4096);
    assert_int_equal(source.reads - before, 1);
    sample_check_read(image, &streams, 6 * 4096, (size_t)2 * 4096);
    assert_int_equal(source.reads - before, 2);
    qcow2_close(image);
    sample_deinit(&streams);
}

static void budgets_of_1_turn_the_caches_off(void **state)
{
    struct sample_source source;
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_stats s = QCOW2_STATS_INIT;
    struct qcow2_image *image;

    (void)state;
    options.table_cache_bytes = 1;
    options.cluster_cache_bytes = 1;
    image = sample_open(&source, &sample, &options);
    for (int i = 0; i < 3; i++) {
        sample_check_read(image, &sample, 4 * 4096 + 17, 10);
    }
    qcow2_get_stats(image, &s);
    assert_true(s.comp_cache_hits == 0 && s.comp_cache_misses == 3);
    assert_true(s.l2_cache_misses >= 3);
    assert_true(s.l2_cache_evictions == 0 && s.comp_cache_evictions == 0);
    qcow2_close(image);
}

struct pair {
    struct qcow2_image *image;
    pthread_barrier_t start;
    _Atomic unsigned wrong;
};

static void *read_the_same_cluster(void *arg)
{
    struct pair *pair = arg;
    unsigned char buf[4096];

    pthread_barrier_wait(&pair->start);
    for (int i = 0; i < 200; i++) {
        uint64_t cluster = i % 2 ? 4 : 5;

        if (qcow2_pread(pair->image, buf, 4000, cluster * 4096 + 1, NULL) != 4000 ||
            memcmp(buf, sample.disk + cluster * 4096 + 1, 4000) != 0) {
            atomic_fetch_add(&pair->wrong, 1);
        }
    }
    return NULL;
}

static void two_threads_read_the_same_cluster(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct sample_source source;
        struct pair pair = { .image = sample_open(&source, &sample, NULL) };
        pthread_t threads[2];

        pthread_barrier_init(&pair.start, NULL, 2);
        for (int t = 0; t < 2; t++) {
            assert_int_equal(pthread_create(&threads[t], NULL, read_the_same_cluster, &pair), 0);
        }
        for (int t = 0; t < 2; t++) {
            pthread_join(threads[t], NULL);
        }
        pthread_barrier_destroy(&pair.start);
        assert_true(pair.wrong == 0);
        qcow2_close(pair.image);
    }
}

/* Found by the whole-image fuzz target: in version 1 all bits of an L1 entry are the offset, and a run of
 * entries without a table went on over one whose offset is beyond the bits that later versions have. */
static void version_1_hole_ends_at_an_entry_with_high_bits(void **state)
{
    enum { SPAN = 512 * 64, L1_OFF = 512 };
    static unsigned char disk[2 * SPAN];
    unsigned char file[1024] = { 0 };
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    sample_store(file, 0x514649FB, 4);
    sample_store(file + 4, 1, 4);
    sample_store(file + 24, (uint64_t)2 * SPAN, 8);
    file[32] = 9; /* cluster_bits */
    file[33] = 6; /* l2_bits */
    sample_store(file + 40, L1_OFF, 8);
    sample_store(file + L1_OFF + 8, UINT64_C(1) << 63, 8);
    sample_source_init(&source, file, sizeof file);
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, &err), 0);
    assert_int_equal(qcow2_pread(image, disk, SPAN, 0, &err), SPAN);
    assert_int_equal(qcow2_pread(image, disk, (size_t)2 * SPAN, 0, &err), QCOW2_E_TRUNCATED);
    assert_true(err.guest_offset == SPAN);
    qcow2_close(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_is_short_only_where_the_disk_ends),
        cmocka_unit_test(reads_need_no_alignment),
        cmocka_unit_test(read_of_nothing_needs_no_buffer),
        cmocka_unit_test(count_above_ssize_max_is_an_argument_error),
        cmocka_unit_test(extents_touch_and_are_clipped_to_the_walk),
        cmocka_unit_test(hole_of_many_tables_is_one_extent_up_to_the_next_table),
        cmocka_unit_test(memory_has_no_descriptor),
        cmocka_unit_test(counters_count_what_they_say),
        cmocka_unit_test(neighbouring_streams_are_fetched_in_one_piece),
        cmocka_unit_test(budgets_of_1_turn_the_caches_off),
        cmocka_unit_test(two_threads_read_the_same_cluster),
        cmocka_unit_test(version_1_hole_ends_at_an_entry_with_high_bits),
    };

    return cmocka_run_group_tests(tests, make_sample, drop_sample);
}
