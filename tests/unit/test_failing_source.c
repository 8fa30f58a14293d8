/* SPDX-License-Identifier: MIT */
/* test_failing_source.c - a source that fails now and then: the error says so, and nothing remains of
 * it. Each test lets the n-th read fail, for every n there is. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

static struct sample samples[3];

static int make_samples(void **state)
{
    (void)state;
    sample_init(&samples[0], 12, QCOW2_COMPRESSION_DEFLATE, "DDZ.CCDZCC", 512);
    sample_init(&samples[1], 9, QCOW2_COMPRESSION_ZSTD,
                "DCDCDCDDDDCCCC.Z.ZDDDDDDDDCCCCCCCCCCDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD", 0);
    sample_init(&samples[2], 16, QCOW2_COMPRESSION_ZSTD, "CDC", 0);
    return 0;
}

static int drop_samples(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        sample_deinit(&samples[i]);
    }
    return 0;
}

/* A source that lets `count` reads fail, the first of them read number n. */
static void failing(struct sample_source *source, const struct sample *sample, unsigned n,
                    unsigned count)
{
    sample_source_init(source, sample->file, sample->file_bytes);
    source->fail_from = n;
    source->fail_count = count;
}

static void assert_io_error(int code, const struct qcow2_error *err)
{
    assert_int_equal(code, QCOW2_E_IO);
    assert_int_equal(err->code, QCOW2_E_IO);
    assert_int_equal(err->sys_errno, ETIMEDOUT);
    assert_int_equal(err->depth, 0);
    assert_true(err->host_offset != UINT64_MAX);
    assert_true(strlen(err->message) > 0);
}

/* Reads the disk in pieces. Of the reads that the source gets for them, number n (from 0) fails. A piece
 * that fails must do so with an I/O error at a place inside it; every piece must be right at a second
 * attempt, when the source does not fail. False if there were no n reads. */
static bool read_with_second_attempts(struct qcow2_image *image, struct sample_source *source,
                                      const struct sample *sample, size_t piece, unsigned n)
{
    unsigned char *buf = malloc(piece);
    bool failed = false;

    assert_non_null(buf);
    for (uint64_t at = 0; at < sample->size; at += piece) {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        unsigned before = source->reads, made;
        ssize_t got;

        source->fail_from = failed ? 0 : before + 1 + n;
        got = qcow2_pread(image, buf, piece, at, &err);
        source->fail_from = 0;
        made = source->reads - before;
        if (got < 0) {
            assert_false(failed);
            assert_true(made > n);
            assert_io_error((int)got, &err);
            assert_true(err.guest_offset >= at && err.guest_offset < at + piece);
        }
        sample_check_read(image, sample, at, piece);
        failed = failed || made > n;
        n -= failed ? 0 : made;
    }
    free(buf);
    return failed;
}

static void open_fails_once_and_works_the_next_time(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        unsigned needed;

        for (unsigned n = 1;; n++) {
            struct sample_source source;
            struct qcow2_image *image;
            struct qcow2_error err = QCOW2_ERROR_INIT;
            int r;

            failing(&source, &samples[i], n, 1);
            r = qcow2_open_source(&source.source, NULL, &image, &err);
            if (r == 0) {
                needed = n - 1;
                qcow2_close(image);
                break;
            }
            assert_io_error(r, &err);
            assert_null(image);
            assert_int_equal(source.closes, 1);
        }
        assert_true(needed >= 2); /* the header and the L1 table */
    }
}

static void failed_read_leaves_nothing_behind(void **state)
{
    static const size_t pieces[] = { 100, 512, 4096, 1 << 20 };

    (void)state;
    for (int i = 0; i < 3; i++) {
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            bool failed = true;

            for (unsigned n = 0; failed; n++) {
                struct sample_source source;
                struct qcow2_image *image = sample_open(&source, &samples[i], NULL);

                source.fail_count = 1;
                failed = read_with_second_attempts(image, &source, &samples[i], pieces[p], n);
                sample_check_read(image, &samples[i], 0, (size_t)samples[i].size);
                qcow2_close(image);
                assert_int_equal(source.closes, 1);
                assert_false(source.strayed);
            }
        }
    }
}

static void image_is_usable_again_when_the_source_is(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct sample_source source;
        struct qcow2_image *image = sample_open(&source, &samples[i], NULL);
        char byte;

        source.fail_from = 1;
        source.fail_count = UINT32_MAX;
        for (int round = 0; round < 3; round++) {
            struct qcow2_error err = QCOW2_ERROR_INIT;
            struct qcow2_extent extent;
            uint64_t cursor = 0;

            assert_io_error((int)qcow2_pread(image, &byte, 1, 5, &err), &err);
            assert_true(err.guest_offset == 5);
            assert_io_error(qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, &err), &err);
            assert_true(cursor == 0);
        }
        source.fail_from = 0;
        sample_check_read(image, &samples[i], 0, (size_t)samples[i].size);
        qcow2_close(image);
    }
}

static void file_that_shrank_since_open_is_an_io_error(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &samples[0], NULL);
    struct qcow2_error err = QCOW2_ERROR_INIT;
    char byte;

    (void)state;
    source.count = (size_t)samples[0].data_off;
    assert_int_equal(qcow2_pread(image, &byte, 1, 0, &err), QCOW2_E_IO);
    source.count = samples[0].file_bytes;
    sample_check_read(image, &samples[0], 0, (size_t)samples[0].size);
    qcow2_close(image);
}

/* Found by the whole-image fuzz target: the input of neighbouring compressed clusters is fetched in one
 * piece, and where that failed because of the second cluster, the first could not be read either. */
static void input_that_fails_ahead_does_not_cost_the_cluster_before_it(void **state)
{
    struct sample_source source;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_extent extent;
    struct qcow2_image *image;
    struct sample sample;
    unsigned char buf[2 * 4096];
    uint64_t cursor = sizeof buf / 2;

    (void)state;
    sample_init(&sample, 12, QCOW2_COMPRESSION_ZSTD, "CC", 0);
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.source.get_size = NULL;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, &err), 0);
    assert_int_equal(qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, &err), 1);
    /* All sectors of the first cluster's input, and one byte of what is the second's alone. */
    source.count = (size_t)((extent.stream_offset + 511) / 512 * 512) + 1;
    assert_int_equal(qcow2_pread(image, buf, sizeof buf, 0, &err), QCOW2_E_IO);
    assert_true(err.guest_offset == sample.cluster_bytes);
    assert_memory_equal(buf, sample.disk, 4096);
    qcow2_close(image);
    sample_deinit(&sample);
}

/* Opens the headers with one read after the other failing; how many reads there are. */
static unsigned open_headers_without_each_read(const struct sample *sample)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    unsigned n = 0;
    int r;

    options.flags = QCOW2_OPEN_METADATA_ONLY;
    do {
        struct sample_source source;
        struct qcow2_image *image;
        struct qcow2_error err = QCOW2_ERROR_INIT;

        failing(&source, sample, ++n, 1);
        r = qcow2_open_source(&source.source, &options, &image, &err);
        if (r < 0) {
            assert_io_error(r, &err);
        }
        qcow2_close(image);
        assert_int_equal(source.closes, 1);
    } while (r < 0);
    return n - 1;
}

static void a_backing_name_that_cannot_be_read_is_an_io_error(void **state)
{
    struct sample sample;

    (void)state;
    sample_init(&sample, 16, QCOW2_COMPRESSION_DEFLATE, "..", 0);
    sample_store(sample.file + 8, 60000, 8);
    sample_store(sample.file + 16, 6, 4);
    memcpy(sample.file + 60000, "parent", 6);
    assert_int_equal(open_headers_without_each_read(&sample), 2);
    /* Version 1, of a MiB. */
    sample_store(sample.file + 4, 1, 4);
    sample_store(sample.file + 24, 1 << 20, 8);
    sample_store(sample.file + 32, 16, 1);
    sample_store(sample.file + 33, 13, 1);
    sample_store(sample.file + 36, 0, 4);
    sample_store(sample.file + 40, 1024, 8);
    assert_int_equal(open_headers_without_each_read(&sample), 2);
    sample_deinit(&sample);
}

static void what_is_left_of_the_last_cluster_can_fail_to_be_read(void **state)
{
    struct sample_source source;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;
    struct sample sample;
    unsigned char buf[4096];

    (void)state;
    sample_init(&sample, 12, QCOW2_COMPRESSION_DEFLATE, "D", 0);
    sample.file_bytes = (size_t)sample.data_off + 1000;
    memset(sample.disk + 1000, 0, 4096 - 1000);
    image = sample_open(&source, &sample, NULL);
    source.fail_from = source.reads + 2; /* the first one is the L2 table's */
    source.fail_count = 1;
    assert_io_error((int)qcow2_pread(image, buf, sizeof buf, 0, &err), &err);
    sample_check_read(image, &sample, 0, sizeof buf);
    assert_false(source.strayed);
    qcow2_close(image);
    sample_deinit(&sample);
}

static void a_table_of_a_file_without_a_length_can_fail_to_be_read(void **state)
{
    struct sample_source source;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;
    char byte;

    (void)state;
    sample_source_init(&source, samples[0].file, samples[0].file_bytes);
    source.source.get_size = NULL;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, &err), 0);
    source.fail_from = source.reads + 1;
    source.fail_count = 1;
    assert_io_error((int)qcow2_pread(image, &byte, 1, 5, &err), &err);
    assert_true(err.guest_offset == 5);
    assert_int_equal(qcow2_pread(image, &byte, 1, 5, &err), 1);
    assert_int_equal((unsigned char)byte, samples[0].disk[5]);
    qcow2_close(image);
}

static void no_byte_past_the_size_is_asked_for(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        /* Files that end anywhere, also inside tables and streams. */
        for (size_t count = 0; count < samples[i].file_bytes; count += 1 + count / 9) {
            struct sample_source source;
            struct qcow2_image *image;
            struct qcow2_extent extent;
            uint64_t cursor = 0;
            unsigned char *buf;

            sample_source_init(&source, samples[i].file, count);
            if (qcow2_open_source(&source.source, NULL, &image, NULL) == 0) {
                buf = malloc((size_t)samples[i].size);
                assert_non_null(buf);
                for (uint64_t at = 0; at < samples[i].size; at += 512) {
                    (void)qcow2_pread(image, buf, 512, at, NULL);
                }
                (void)qcow2_pread(image, buf, (size_t)samples[i].size, 0, NULL);
                while (qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL) == 1) {
                }
                free(buf);
                qcow2_close(image);
            }
            assert_false(source.strayed);
            assert_int_equal(source.closes, 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_fails_once_and_works_the_next_time),
        cmocka_unit_test(failed_read_leaves_nothing_behind),
        cmocka_unit_test(image_is_usable_again_when_the_source_is),
        cmocka_unit_test(file_that_shrank_since_open_is_an_io_error),
        cmocka_unit_test(input_that_fails_ahead_does_not_cost_the_cluster_before_it),
        cmocka_unit_test(a_backing_name_that_cannot_be_read_is_an_io_error),
        cmocka_unit_test(what_is_left_of_the_last_cluster_can_fail_to_be_read),
        cmocka_unit_test(a_table_of_a_file_without_a_length_can_fail_to_be_read),
        cmocka_unit_test(no_byte_past_the_size_is_asked_for),
    };

    return cmocka_run_group_tests(tests, make_samples, drop_samples);
}
