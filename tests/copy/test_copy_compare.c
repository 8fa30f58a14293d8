/* SPDX-License-Identifier: MIT */
/* test_copy_compare.c - qcow2_compare: the first difference whatever the threads do, and nothing read
 * that need not be. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"

#define DISK_BYTES (UINT64_C(20) * 1024 * 1024)
#define CLUSTER    UINT64_C(65536)

static const uint32_t thread_counts[] = { 0, 1, 2, 7, 64 };
enum { COUNTS = sizeof thread_counts / sizeof thread_counts[0] };

/* Two disks that are alike, each in memory of its own, the second ready to be changed. */
struct pair {
    struct disk disk[2];
    struct disk_source source[2];
    struct qcow2_image *image[2];
};

static enum disk_cluster all_data(uint64_t index)
{
    (void)index;
    return DISK_DATA;
}

static enum disk_cluster all_nothing(uint64_t index)
{
    (void)index;
    return DISK_NOTHING;
}

static void pair_open(struct pair *pair, disk_layout *layout_a, uint64_t size_a,
                      disk_layout *layout_b, uint64_t size_b)
{
    memset(pair, 0, sizeof *pair);
    disk_build(&pair->disk[0], 16, size_a, layout_a);
    disk_build(&pair->disk[1], 16, size_b, layout_b);
    for (int i = 0; i < 2; i++) {
        pair->image[i] = disk_open(&pair->disk[i], &pair->source[i]);
    }
}

static void pair_close(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        qcow2_close(pair->image[i]);
        disk_free(&pair->disk[i]);
    }
}

/* Changes a byte that is stored as it is. Its cluster must be DISK_DATA or DISK_NOTHING. */
static void change(struct disk *disk, uint64_t guest_off)
{
    disk->file[disk->host_off[guest_off / CLUSTER] + guest_off % CLUSTER] ^= 0x80;
}

static int compare(struct pair *pair, uint32_t threads, struct qcow2_compare_result *result)
{
    const struct qcow2_compare_result fresh = QCOW2_COMPARE_RESULT_INIT;
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;

    *result = fresh;
    options.threads = threads;
    return qcow2_compare(pair->image[0], pair->image[1], &options, result, NULL);
}

static void disks_with_the_same_bytes_are_the_same(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, disk_mixed, DISK_BYTES, disk_mixed, DISK_BYTES);
    for (int i = 0; i < COUNTS; i++) {
        struct qcow2_compare_result result;

        assert_int_equal(compare(&pair, thread_counts[i], &result), 0);
        assert_int_equal(result.offset, 0);
        /* Both sides of all that is stored, and nothing but the rest is passed over. */
        assert_int_equal(result.read_bytes / 2 + result.skipped_bytes, DISK_BYTES);
        assert_true(result.skipped_bytes > 0 && result.read_bytes > 0);
    }
    pair_close(&pair);
}

static void first_of_many_differences_is_found(void **state)
{
    static const uint64_t places[] = { 13 * CLUSTER + 65535, 0,
                                       12 * CLUSTER,         CLUSTER - 1,
                                       13 * CLUSTER,         222 * CLUSTER + 4097 };
    struct qcow2_compare_result result;
    struct pair pair;

    (void)state;
    pair_open(&pair, disk_mixed, DISK_BYTES, disk_mixed, DISK_BYTES);
    for (size_t place = 0; place < sizeof places / sizeof places[0]; place++) {
        for (uint64_t index = places[place] / CLUSTER + 1; index < DISK_BYTES / CLUSTER; index++) {
            if (disk_mixed(index) == DISK_DATA) {
                change(&pair.disk[1], index * CLUSTER);
            }
        }
        change(&pair.disk[1], places[place]);
        for (int i = 0; i < COUNTS; i++) {
            assert_int_equal(compare(&pair, thread_counts[i], &result), 1);
            assert_int_equal(result.offset, places[place]);
        }
        change(&pair.disk[1], places[place]);
        for (uint64_t index = places[place] / CLUSTER + 1; index < DISK_BYTES / CLUSTER; index++) {
            if (disk_mixed(index) == DISK_DATA) {
                change(&pair.disk[1], index * CLUSTER);
            }
        }
    }
    assert_int_equal(compare(&pair, 3, &result), 0);
    pair_close(&pair);
}

static void zeros_on_one_side_are_not_read_there(void **state)
{
    struct qcow2_compare_result result;
    struct pair pair;

    (void)state;
    pair_open(&pair, all_nothing, DISK_BYTES, NULL, DISK_BYTES);
    for (int turn = 0; turn < 2; turn++) {
        struct qcow2_image *first = pair.image[0];

        assert_int_equal(compare(&pair, 2, &result), 0);
        assert_int_equal(result.read_bytes, DISK_BYTES);
        assert_int_equal(result.skipped_bytes, 0);
        pair.image[0] = pair.image[1];
        pair.image[1] = first;
    }
    change(&pair.disk[0], 100 * CLUSTER + 777);
    change(&pair.disk[0], 100 * CLUSTER + 778);
    assert_int_equal(compare(&pair, 2, &result), 1);
    assert_int_equal(result.offset, 100 * CLUSTER + 777);
    pair_close(&pair);
}

/* Zeros beside data and data beside zeros, in clusters too small for pieces of their own: those of
 * which both sides are read must not hide what only one side has. */
static enum disk_cluster even_nothing(uint64_t index)
{
    return index % 3 == 0 ? DISK_DATA : index % 3 == 1 ? DISK_NOTHING : DISK_HOLE;
}

static enum disk_cluster odd_nothing(uint64_t index)
{
    return index % 3 == 0 ? DISK_DATA : index % 3 == 1 ? DISK_HOLE : DISK_NOTHING;
}

static void tiny_clusters_of_every_kind_are_told_apart(void **state)
{
    const uint64_t size = 400 * 512;
    struct qcow2_compare_result result;
    struct pair pair;

    (void)state;
    memset(&pair, 0, sizeof pair);
    disk_build(&pair.disk[0], 9, size, even_nothing);
    disk_build(&pair.disk[1], 9, size, odd_nothing);
    for (int i = 0; i < 2; i++) {
        pair.image[i] = disk_open(&pair.disk[i], &pair.source[i]);
    }
    assert_int_equal(compare(&pair, 2, &result), 0);
    for (uint64_t index = 0; index < 399; index++) {
        int side = index % 3 == 2;

        pair.disk[side].file[pair.disk[side].host_off[index] + 511] ^= 1;
        assert_int_equal(compare(&pair, 2, &result), 1);
        assert_int_equal(result.offset, index * 512 + 511);
        pair.disk[side].file[pair.disk[side].host_off[index] + 511] ^= 1;
    }
    pair_close(&pair);
}

static void same_place_of_the_same_file_is_not_read(void **state)
{
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;
    struct qcow2_image *image[2];
    struct disk disk;
    int fd = disk_temporary_file();

    (void)state;
    disk_build(&disk, 16, DISK_BYTES, disk_mixed);
    assert_int_equal(write(fd, disk.file, disk.file_bytes), disk.file_bytes);
    for (int i = 0; i < 2; i++) {
        struct qcow2_source source;

        assert_int_equal(qcow2_source_from_fd(fd, NULL, 0, &source, NULL), 0);
        assert_int_equal(qcow2_open_source(&source, NULL, &image[i], NULL), 0);
    }
    assert_int_equal(qcow2_compare(image[0], image[1], NULL, &result, NULL), 0);
    assert_int_equal(result.read_bytes, 0);
    assert_int_equal(result.skipped_bytes, DISK_BYTES);
    qcow2_close(image[0]);
    qcow2_close(image[1]);
    disk_free(&disk);
    close(fd);
}

/* However the range begins: pieces end where clusters do. */
static void no_cluster_is_read_for_two_pieces(void **state)
{
    const uint64_t clusters = DISK_BYTES / CLUSTER;
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;
    struct pair pair;

    (void)state;
    pair_open(&pair, all_data, DISK_BYTES, all_data, DISK_BYTES);
    options.offset = 512;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, NULL), 0);
    for (int i = 0; i < 2; i++) {
        struct qcow2_stats stats = QCOW2_STATS_INIT;

        qcow2_get_stats(pair.image[i], &stats);
        assert_true(stats.cluster_reads == clusters);
    }
    pair_close(&pair);
}

static void longer_disk_must_end_in_zeros(void **state)
{
    const uint64_t shorter = 5 * CLUSTER + 512;
    struct qcow2_compare_result result;
    struct pair pair;

    (void)state;
    pair_open(&pair, all_nothing, DISK_BYTES, all_nothing, shorter);
    assert_int_equal(compare(&pair, 2, &result), 0);
    change(&pair.disk[0], 6 * CLUSTER);
    assert_int_equal(compare(&pair, 2, &result), 1);
    assert_int_equal(result.offset, 6 * CLUSTER);
    change(&pair.disk[0], shorter);
    assert_int_equal(compare(&pair, 2, &result), 1);
    assert_int_equal(result.offset, shorter);
    pair_close(&pair);
    pair_open(&pair, NULL, 0, all_data, CLUSTER);
    assert_int_equal(compare(&pair, 2, &result), 1);
    assert_int_equal(result.offset, 0);
    pair_close(&pair);
}

static void exabytes_of_hole_take_no_time(void **state)
{
    struct qcow2_compare_result result;
    struct pair pair;

    (void)state;
    memset(&pair, 0, sizeof pair);
    disk_build(&pair.disk[0], 21, UINT64_C(1) << 60, NULL);
    disk_build(&pair.disk[1], 21, UINT64_C(1) << 59, NULL);
    for (int i = 0; i < 2; i++) {
        pair.image[i] = disk_open(&pair.disk[i], &pair.source[i]);
    }
    assert_int_equal(compare(&pair, 2, &result), 0);
    assert_int_equal(result.skipped_bytes, UINT64_C(1) << 60);
    pair_close(&pair);
}

static void only_the_range_asked_for_is_compared(void **state)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;
    struct pair pair;

    (void)state;
    pair_open(&pair, all_data, DISK_BYTES, all_data, DISK_BYTES);
    change(&pair.disk[1], 1000);
    change(&pair.disk[1], 3000000);
    options.offset = 1001;
    options.length = 3000000 - 1001;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, NULL), 0);
    assert_int_equal(result.read_bytes, 2 * options.length);
    options.length++;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, NULL), 1);
    assert_int_equal(result.offset, 3000000);
    options.offset = 1000;
    options.length = 1;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, NULL), 1);
    assert_int_equal(result.offset, 1000);
    options.offset = UINT64_MAX;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, NULL), 0);
    pair_close(&pair);
}

static void failure_names_the_disk_and_the_place(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, all_data, DISK_BYTES, all_data, DISK_BYTES);
    for (int side = 0; side < 2; side++) {
        uint64_t bad = (side == 0 ? 30 : 17) * CLUSTER;

        pair.source[side].bad_from = pair.disk[side].host_off[bad / CLUSTER];
        pair.source[side].bad_to = pair.source[side].bad_from + 512;
        pair.source[side].bad_errno = ENXIO;
        for (int i = 0; i < COUNTS; i++) {
            struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
            struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;
            struct qcow2_error err = QCOW2_ERROR_INIT;

            options.threads = thread_counts[i];
            assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, &err),
                             QCOW2_E_IO);
            assert_int_equal(result.failed_image, side);
            assert_int_equal(err.sys_errno, ENXIO);
            assert_int_equal(err.guest_offset, bad);
        }
    }
    pair_close(&pair);
}

static void difference_before_a_failure_wins_and_the_other_way_round(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, all_data, DISK_BYTES, all_data, DISK_BYTES);
    pair.source[1].bad_from = pair.disk[1].host_off[40];
    pair.source[1].bad_to = pair.source[1].bad_from + CLUSTER;
    pair.source[1].bad_errno = EIO;
    /* In the very piece that fails, and far behind. */
    for (int turn = 0; turn < 2; turn++) {
        uint64_t before = 40 * CLUSTER - 1;
        uint64_t behind = turn == 0 ? 41 * CLUSTER : 300 * CLUSTER;

        for (int i = 0; i < COUNTS; i++) {
            struct qcow2_compare_result result;

            change(&pair.disk[1], behind);
            assert_int_equal(compare(&pair, thread_counts[i], &result), QCOW2_E_IO);
            change(&pair.disk[1], before);
            assert_int_equal(compare(&pair, thread_counts[i], &result), 1);
            assert_int_equal(result.offset, before);
            change(&pair.disk[1], before);
            change(&pair.disk[1], behind);
        }
    }
    pair_close(&pair);
}

static void slow_threads_do_not_change_the_answer(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, all_data, DISK_BYTES, all_data, DISK_BYTES);
    pair.source[0].dawdle = pair.source[1].dawdle = true;
    change(&pair.disk[1], 19 * CLUSTER);
    change(&pair.disk[1], 60 * CLUSTER);
    change(&pair.disk[1], 250 * CLUSTER);
    for (int turn = 0; turn < 10; turn++) {
        struct qcow2_compare_result result;

        assert_int_equal(compare(&pair, 8, &result), 1);
        assert_int_equal(result.offset, 19 * CLUSTER);
    }
    pair_close(&pair);
}

static int note_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    uint64_t *last = ctx;

    assert_true(done_bytes >= *last && done_bytes <= total_bytes);
    assert_int_equal(total_bytes, DISK_BYTES);
    *last = done_bytes;
    return 0;
}

static int stop_at_once(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    (void)ctx;
    (void)done_bytes;
    (void)total_bytes;
    return 1;
}

static void progress_reaches_the_total_and_can_cancel(void **state)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;
    struct pair pair;
    uint64_t last = 0;

    (void)state;
    pair_open(&pair, disk_mixed, DISK_BYTES, disk_mixed, DISK_BYTES);
    options.progress = note_progress;
    options.progress_ctx = &last;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, NULL), 0);
    assert_int_equal(last, DISK_BYTES);
    options.progress = stop_at_once;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, NULL),
                     QCOW2_E_CANCELLED);
    pair_close(&pair);
}

/* A program that was built with an older header, and one with a newer. */
static void a_result_of_another_size_is_filled_as_far_as_both_know_it(void **state)
{
    const size_t known = sizeof(struct qcow2_compare_result);
    struct {
        struct qcow2_compare_result result;
        unsigned char behind[16];
    } memory, before;
    struct pair pair;

    (void)state;
    pair_open(&pair, all_data, 4 * CLUSTER, all_data, 4 * CLUSTER);
    change(&pair.disk[1], 3 * CLUSTER + 5);

    memset(&memory, 0x5a, sizeof memory);
    memory.result.size = offsetof(struct qcow2_compare_result, skipped_bytes);
    before = memory;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], NULL, &memory.result, NULL), 1);
    assert_int_equal(memory.result.size, before.result.size);
    assert_int_equal(memory.result.offset, 3 * CLUSTER + 5);
    assert_memory_equal((unsigned char *)&memory + memory.result.size,
                        (unsigned char *)&before + memory.result.size,
                        sizeof memory - memory.result.size);

    memset(&memory, 0x5a, sizeof memory);
    memory.result.size = sizeof memory;
    before = memory;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], NULL, &memory.result, NULL), 1);
    assert_int_equal(memory.result.size, sizeof memory);
    assert_int_equal(memory.result.offset, 3 * CLUSTER + 5);
    assert_memory_equal((unsigned char *)&memory + known, (unsigned char *)&before + known,
                        sizeof memory - known);
    pair_close(&pair);
}

static void wrong_arguments_are_refused(void **state)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;
    struct qcow2_options headers = QCOW2_OPTIONS_INIT;
    struct qcow2_source memory;
    struct qcow2_image *half;
    struct pair pair;

    (void)state;
    pair_open(&pair, all_data, CLUSTER, all_data, CLUSTER);
    assert_int_equal(qcow2_compare(NULL, pair.image[1], NULL, &result, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_compare(pair.image[0], NULL, NULL, &result, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], NULL, NULL, NULL),
                     QCOW2_E_ARGUMENT);
    options.flags = QCOW2_COPY_KEEP_ZEROS;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, NULL),
                     QCOW2_E_ARGUMENT);
    options.flags = 0;
    options.threads = 65;
    assert_int_equal(qcow2_compare(pair.image[0], pair.image[1], &options, &result, NULL),
                     QCOW2_E_ARGUMENT);
    headers.flags = QCOW2_OPEN_METADATA_ONLY;
    assert_int_equal(
        qcow2_source_from_memory(pair.disk[1].file, pair.disk[1].file_bytes, NULL, &memory, NULL),
        0);
    assert_int_equal(qcow2_open_source(&memory, &headers, &half, NULL), 0);
    assert_int_equal(qcow2_compare(pair.image[0], half, NULL, &result, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(result.failed_image, 1);
    qcow2_close(half);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_with_the_same_bytes_are_the_same),
        cmocka_unit_test(first_of_many_differences_is_found),
        cmocka_unit_test(zeros_on_one_side_are_not_read_there),
        cmocka_unit_test(tiny_clusters_of_every_kind_are_told_apart),
        cmocka_unit_test(same_place_of_the_same_file_is_not_read),
        cmocka_unit_test(no_cluster_is_read_for_two_pieces),
        cmocka_unit_test(longer_disk_must_end_in_zeros),
        cmocka_unit_test(exabytes_of_hole_take_no_time),
        cmocka_unit_test(only_the_range_asked_for_is_compared),
        cmocka_unit_test(failure_names_the_disk_and_the_place),
        cmocka_unit_test(difference_before_a_failure_wins_and_the_other_way_round),
        cmocka_unit_test(slow_threads_do_not_change_the_answer),
        cmocka_unit_test(progress_reaches_the_total_and_can_cancel),
        cmocka_unit_test(a_result_of_another_size_is_filled_as_far_as_both_know_it),
        cmocka_unit_test(wrong_arguments_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
