/* SPDX-License-Identifier: MIT */
/* test_info.c - what qcow2.h promises of facts that need no reading. */
#include "unit.h"

#include <stdio.h>
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

static void metadata_only_reads_nothing(void **state)
{
    struct sample_source source;
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_image *image;
    struct qcow2_extent extent;
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct qcow2_stats stats = QCOW2_STATS_INIT;
    uint64_t cursor = 0;
    char byte;

    (void)state;
    options.flags = QCOW2_OPEN_METADATA_ONLY;
    image = sample_open(&source, &sample, &options);
    assert_int_equal(qcow2_pread(image, &byte, 1, 0, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extent(image, &cursor, 1, &extent, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_get_info(image, 0, &info, NULL), 0);
    assert_true(info.virtual_size == sample.size && qcow2_size(image) == sample.size);
    qcow2_get_stats(image, &stats);
    assert_true(stats.cluster_reads == 0);
    qcow2_close(image);
}

static void info_says_what_the_header_says(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;

    (void)state;
    assert_int_equal(qcow2_get_info(image, 0, &info, &err), 0);
    assert_true(info.size == sizeof info);
    assert_int_equal(info.version, 3);
    assert_string_equal(info.source_name, "sample");
    assert_true(info.virtual_size == sample.size && info.file_size == sample.file_bytes);
    assert_true(info.cluster_size == 4096 && info.refcount_bits == 16);
    assert_null(info.backing_file);
    assert_int_equal(qcow2_get_info(image, 1, &info, &err), QCOW2_E_NOT_FOUND);
    assert_int_equal(qcow2_get_info(image, -1, &info, &err), QCOW2_E_NOT_FOUND);
    qcow2_close(image);
}

static void structs_that_come_out_are_filled_as_far_as_there_is_room(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);
    struct qcow2_info info;
    struct qcow2_stats stats;
    struct {
        struct qcow2_info known;
        unsigned char newer[16];
    } longer;

    (void)state;
    memset(&info, 0x5A, sizeof info);
    info.size = offsetof(struct qcow2_info, source_name);
    assert_int_equal(qcow2_get_info(image, 0, &info, NULL), 0);
    assert_int_equal(info.version, 3);
    for (size_t i = info.size; i < sizeof info; i++) {
        assert_int_equal(((unsigned char *)&info)[i], 0x5A);
    }
    memset(&longer, 0x5A, sizeof longer);
    longer.known.size = sizeof longer;
    assert_int_equal(qcow2_get_info(image, 0, &longer.known, NULL), 0);
    assert_int_equal(longer.newer[0], 0x5A);
    sample_check_read(image, &sample, 0, 10);
    memset(&stats, 0x5A, sizeof stats);
    stats.size = offsetof(struct qcow2_stats, cluster_reads);
    qcow2_get_stats(image, &stats);
    assert_true(stats.reads == 1 && stats.bytes_read == 10);
    for (size_t i = stats.size; i < sizeof stats; i++) {
        assert_int_equal(((unsigned char *)&stats)[i], 0x5A);
    }
    qcow2_close(image);
}

/* Where it would pass for "nothing found". */
static void a_size_of_0_was_forgotten(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);
    struct qcow2_info info = { 0 };
    struct qcow2_luks_info luks = { 0 };
    struct qcow2_check_result checked = { 0 };
    struct qcow2_survey_result surveyed = { 0 };
    struct qcow2_compare_result compared = { 0 };

    (void)state;
    assert_int_equal(qcow2_get_info(image, 0, &info, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_get_luks_info(image, 0, &luks, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &checked, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_survey(image, 0, &surveyed, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_compare(image, image, NULL, &compared, NULL), QCOW2_E_ARGUMENT);
    qcow2_close(image);
}

static void what_does_not_exist_has_no_facts(void **state)
{
    struct qcow2_luks_info luks = QCOW2_LUKS_INFO_INIT;
    struct qcow2_extension extension;
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);
    uint64_t cursor = 0;

    (void)state;
    assert_string_equal(qcow2_get_feature_name(image, 0, 0, 0), "dirty bit");
    assert_null(qcow2_get_feature_name(NULL, 0, 0, 0));
    assert_null(qcow2_get_feature_name(image, 1, 0, 0));
    assert_null(qcow2_get_feature_name(image, 0, -1, 0));
    assert_null(qcow2_get_feature_name(image, 0, 3, 0));
    assert_null(qcow2_get_feature_name(image, 0, 0, -1));
    assert_null(qcow2_get_feature_name(image, 0, 0, 64));
    assert_null(qcow2_get_feature_name(image, 0, 0, 63));

    assert_int_equal(qcow2_next_extension(NULL, 0, &cursor, &extension, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extension(image, 0, NULL, &extension, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extension(image, 0, &cursor, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extension(image, 1, &cursor, &extension, NULL), QCOW2_E_NOT_FOUND);
    assert_int_equal(qcow2_next_extension(image, 0, &cursor, &extension, NULL), 0);
    cursor = 8; /* inside the header */
    assert_int_equal(qcow2_next_extension(image, 0, &cursor, &extension, NULL), QCOW2_E_ARGUMENT);

    assert_int_equal(qcow2_get_luks_info(NULL, 0, &luks, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_get_luks_info(image, 0, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_get_luks_info(image, 0, &luks, NULL), QCOW2_E_NOT_FOUND);
    assert_int_equal(qcow2_get_luks_info(image, 1, &luks, NULL), QCOW2_E_NOT_FOUND);
    qcow2_close(image);
}

static void names_of_bits_that_do_not_exist_are_left_alone(void **state)
{
    /* A feature name table of two entries: bit 63 of the incompatible ones, and bit "64". */
    unsigned char before[8 + 2 * 48 + 8], *extension = sample.file + 112;
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    memcpy(before, extension, sizeof before);
    memset(extension, 0, sizeof before);
    sample_store(extension, 0x6803f857, 4);
    sample_store(extension + 4, 2 * 48, 4);
    extension[8 + 1] = 63;
    (void)snprintf((char *)extension + 8 + 2, 46, "last");
    extension[8 + 48 + 1] = 64;
    (void)snprintf((char *)extension + 8 + 48 + 2, 46, "none");
    image = sample_open(&source, &sample, NULL);
    assert_string_equal(qcow2_get_feature_name(image, 0, 0, 63), "last");
    assert_null(qcow2_get_feature_name(image, 0, 0, 64));
    assert_string_equal(qcow2_get_feature_name(image, 0, 1, 0), "lazy refcounts");
    qcow2_close(image);
    memcpy(extension, before, sizeof before);
}

static void a_luks_header_must_be_as_long_as_one(void **state)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_luks_info luks = QCOW2_LUKS_INFO_INIT;
    unsigned char before[40], *extension = sample.file + 112;
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    options.flags = QCOW2_OPEN_METADATA_ONLY;
    memcpy(before, extension, sizeof before);
    memset(extension, 0, sizeof before);
    sample_store(sample.file + 32, QCOW2_ENCRYPTION_LUKS, 4);
    sample_store(extension, 0x0537be77, 4);
    sample_store(extension + 4, 16, 4);
    sample_store(extension + 8, UINT64_C(1) << 40, 8); /* past the end, if it is looked at */
    sample_store(extension + 16, 592, 8);
    image = sample_open(&source, &sample, &options);
    assert_int_equal(qcow2_get_luks_info(image, 0, &luks, NULL), QCOW2_E_TRUNCATED);
    qcow2_close(image);
    sample_store(extension + 16, 591, 8);
    image = sample_open(&source, &sample, &options);
    assert_int_equal(qcow2_get_luks_info(image, 0, &luks, NULL), QCOW2_E_CORRUPT);
    qcow2_close(image);
    memcpy(extension, before, sizeof before);
    sample_store(sample.file + 32, 0, 4);
}

/* A cursor is opaque; one that no call has given must do no harm. */
static void a_cursor_of_nobodys_finds_nothing_past_what_was_read(void **state)
{
    struct qcow2_extension extension;
    struct sample_source source;
    struct qcow2_image *image;
    struct sample s;

    (void)state;
    sample_init(&s, 16, QCOW2_COMPRESSION_DEFLATE, "D", 0);
    image = sample_open(&source, &s, NULL);
    for (uint64_t at = 1; at < UINT64_C(1) << 63; at *= 2) {
        for (uint64_t cursor = at - 1; cursor != at + 2; cursor++) {
            uint64_t moved = cursor;
            int r = qcow2_next_extension(image, 0, &moved, &extension, NULL);

            assert_true(r == 0 || r == QCOW2_E_ARGUMENT || r == QCOW2_E_CORRUPT);
            assert_true(moved == cursor);
        }
    }
    qcow2_close(image);
    sample_deinit(&s);
}

static void an_encryption_extension_must_fit_a_luks_image(void **state)
{
    static const struct {
        unsigned method, length;
        uint64_t off;
        int wanted;
    } cases[] = { { QCOW2_ENCRYPTION_LUKS, 16, 4096, 0 },
                  { QCOW2_ENCRYPTION_NONE, 16, 4096, QCOW2_E_CORRUPT },
                  { QCOW2_ENCRYPTION_AES, 16, 4096, QCOW2_E_CORRUPT },
                  { QCOW2_ENCRYPTION_LUKS, 8, 4096, QCOW2_E_CORRUPT },
                  { QCOW2_ENCRYPTION_LUKS, 24, 4096, QCOW2_E_CORRUPT },
                  { QCOW2_ENCRYPTION_LUKS, 16, 512, QCOW2_E_CORRUPT } };
    unsigned char before[40], *extension = sample.file + 112;

    (void)state;
    memcpy(before, extension, sizeof before);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct qcow2_options options = QCOW2_OPTIONS_INIT;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct sample_source source;
        struct qcow2_image *image;

        options.flags = QCOW2_OPEN_METADATA_ONLY;
        memset(extension, 0, sizeof before);
        sample_store(sample.file + 32, cases[i].method, 4);
        sample_store(extension, 0x0537be77, 4);
        sample_store(extension + 4, cases[i].length, 4);
        sample_store(extension + 8, cases[i].off, 8);
        sample_source_init(&source, sample.file, sample.file_bytes);
        assert_int_equal(qcow2_open_source(&source.source, &options, &image, &err),
                         cases[i].wanted);
        assert_true(err.code == 0 || err.host_offset == 120);
        qcow2_close(image);
    }
    memcpy(extension, before, sizeof before);
    sample_store(sample.file + 32, 0, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_only_reads_nothing),
        cmocka_unit_test(info_says_what_the_header_says),
        cmocka_unit_test(structs_that_come_out_are_filled_as_far_as_there_is_room),
        cmocka_unit_test(a_size_of_0_was_forgotten),
        cmocka_unit_test(what_does_not_exist_has_no_facts),
        cmocka_unit_test(names_of_bits_that_do_not_exist_are_left_alone),
        cmocka_unit_test(a_luks_header_must_be_as_long_as_one),
        cmocka_unit_test(a_cursor_of_nobodys_finds_nothing_past_what_was_read),
        cmocka_unit_test(an_encryption_extension_must_fit_a_luks_image),
    };

    return cmocka_run_group_tests(tests, make_sample, drop_sample);
}
