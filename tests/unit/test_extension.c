/* SPDX-License-Identifier: MIT */
/* test_extension.c - format/extension: the frames of header extensions, and feature names. */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "format/extension.h"
#include "sample.h"

enum { START = 112, END = 512 };

/* An area with one extension at its start. */
static void area(unsigned char *bytes, uint32_t type, uint32_t length)
{
    memset(bytes, 0, END);
    sample_store(bytes + START, type, 4);
    sample_store(bytes + START + 4, length, 4);
}

static void walk_gives_each_extension_and_then_nothing(void **state)
{
    unsigned char bytes[END] = { 0 };
    struct q2_extension ext;
    uint64_t pos = START;

    (void)state;
    sample_store(bytes + START, 0xE2792ACA, 4);
    sample_store(bytes + START + 4, 3, 4);
    sample_store(bytes + START + 16, 0x1234, 4);
    sample_store(bytes + START + 20, 0, 4);
    assert_int_equal(q2_extension_next(bytes, END, &pos, END, &ext, NULL), 1);
    assert_int_equal(ext.type, 0xE2792ACA);
    assert_int_equal(ext.length_bytes, 3);
    assert_true(ext.data_off == START + 8);
    assert_int_equal(q2_extension_next(bytes, END, &pos, END, &ext, NULL), 1);
    assert_int_equal(ext.type, 0x1234);
    assert_true(ext.length_bytes == 0 && ext.data_off == START + 24);
    assert_int_equal(q2_extension_next(bytes, END, &pos, END, &ext, NULL), 0);
    assert_int_equal(q2_extension_next(bytes, END, &pos, END, &ext, NULL), 0);
}

static void padding_is_counted_from_the_data(void **state)
{
    unsigned char bytes[END] = { 0 };
    struct q2_extension ext;
    uint64_t pos = 113; /* a header of odd length */

    (void)state;
    sample_store(bytes + 113, 0x1234, 4);
    sample_store(bytes + 117, 9, 4);
    assert_int_equal(q2_extension_next(bytes, END, &pos, END, &ext, NULL), 1);
    assert_true(pos == 113 + 8 + 16);
}

static void area_that_is_full_needs_no_end_marker(void **state)
{
    unsigned char bytes[END];
    struct q2_extension ext;
    uint64_t pos = START;

    (void)state;
    area(bytes, 0x1234, END - START - 8);
    assert_int_equal(q2_extension_next(bytes, END, &pos, END, &ext, NULL), 1);
    assert_int_equal(q2_extension_next(bytes, END, &pos, END, &ext, NULL), 0);
    /* The padding may step past the end. */
    area(bytes, 0x1234, END - START - 11);
    pos = START;
    assert_int_equal(q2_extension_next(bytes, END, &pos, END - 3, &ext, NULL), 1);
    assert_int_equal(q2_extension_next(bytes, END, &pos, END - 3, &ext, NULL), 0);
}

static void empty_area_is_no_extension(void **state)
{
    unsigned char bytes[END];
    struct q2_extension ext;
    uint64_t pos = START;

    (void)state;
    area(bytes, 0x1234, 0);
    assert_int_equal(q2_extension_next(bytes, END, &pos, START, &ext, NULL), 0);
    assert_int_equal(q2_extension_next(bytes, END, &pos, 8, &ext, NULL), 0);
}

static void stray_bytes_before_the_end_are_corrupt(void **state)
{
    unsigned char bytes[END];
    struct q2_extension ext;

    (void)state;
    area(bytes, 0x1234, 0);
    for (uint64_t stray = 1; stray < 8; stray++) {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        uint64_t pos = START;

        assert_int_equal(q2_extension_next(bytes, END, &pos, START + stray, &ext, &err),
                         QCOW2_E_CORRUPT);
        assert_true(err.host_offset == START && pos == START);
    }
}

static void extension_longer_than_the_area_is_corrupt_whatever_its_type(void **state)
{
    static const uint32_t types[] = { 0, 0x1234, 0x6803F857 };
    static const uint32_t lengths[] = { END - START - 7, END, 0x7FFFFFFF, 0x80000000, UINT32_MAX };
    unsigned char bytes[END];
    struct q2_extension ext;

    (void)state;
    for (size_t t = 0; t < 3; t++) {
        for (size_t i = 0; i < 5; i++) {
            uint64_t pos = START;

            area(bytes, types[t], lengths[i]);
            assert_int_equal(q2_extension_next(bytes, END, &pos, END, &ext, NULL), QCOW2_E_CORRUPT);
        }
    }
}

static void end_marker_with_a_length_that_fits_ends_the_walk(void **state)
{
    unsigned char bytes[END];
    struct q2_extension ext;
    uint64_t pos = START;

    (void)state;
    area(bytes, 0, 40);
    assert_int_equal(q2_extension_next(bytes, END, &pos, END, &ext, NULL), 0);
}

static void bytes_that_are_not_there_yet_are_asked_for(void **state)
{
    unsigned char bytes[END];
    struct q2_extension ext;
    uint64_t pos = START;

    (void)state;
    area(bytes, 0x1234, 20);
    for (size_t n = START; n < START + 28; n++) {
        assert_int_equal(q2_extension_next(bytes, n, &pos, END, &ext, NULL),
                         Q2_EXTENSION_NEED_MORE);
        assert_true(pos == START);
    }
    assert_int_equal(q2_extension_next(bytes, START + 28, &pos, END, &ext, NULL), 1);
}

static void known_types_have_names(void **state)
{
    (void)state;
    assert_non_null(q2_extension_name(0xE2792ACA));
    assert_non_null(q2_extension_name(0x6803F857));
    assert_non_null(q2_extension_name(0x23852875));
    assert_non_null(q2_extension_name(0x0537BE77));
    assert_non_null(q2_extension_name(0x44415441));
    assert_null(q2_extension_name(0x12345678));
}

static void feature_table_is_stepped_through(void **state)
{
    unsigned char table[96] = { 0, 7 };
    struct q2_feature feature;
    size_t pos = 0;

    (void)state;
    memset(table + 2, 'x', 46); /* fills its field: not terminated */
    table[48] = 255;
    table[49] = 200;
    sample_store(table + 50, 0x6E616D65, 4); /* "name" */
    assert_true(q2_feature_next(table, sizeof table, &pos, &feature));
    assert_true(feature.set == 0 && feature.bit == 7 && feature.name_bytes == 46);
    assert_true(q2_feature_next(table, sizeof table, &pos, &feature));
    assert_true(feature.set == 255 && feature.bit == 200 && feature.name_bytes == 4);
    assert_memory_equal(feature.name, "name", 4);
    assert_false(q2_feature_next(table, sizeof table, &pos, &feature));
    assert_false(q2_feature_next(table, sizeof table, &pos, &feature));
}

static void feature_table_that_ends_inside_an_entry_is_used_as_far_as_it_goes(void **state)
{
    unsigned char table[48] = { 1, 2, 'n', 'a', 'm', 'e' };

    (void)state;
    for (size_t n = 0; n <= sizeof table; n++) {
        struct q2_feature feature = { 0 };
        size_t pos = 0;
        bool found = q2_feature_next(table, n, &pos, &feature);

        assert_int_equal(found, n > 2);
        if (found) {
            assert_int_equal(feature.name_bytes, n < 6 ? n - 2 : 4);
            assert_false(q2_feature_next(table, n, &pos, &feature));
        }
    }
}

static void feature_table_ends_at_an_empty_name(void **state)
{
    unsigned char table[96] = { 0, 7 };
    struct q2_feature feature;
    size_t pos = 0;

    (void)state;
    memset(table + 50, 'x', 10);
    assert_false(q2_feature_next(table, sizeof table, &pos, &feature));
}

static void bits_with_a_meaning_have_names_and_others_have_none(void **state)
{
    (void)state;
    for (int bit = -1; bit <= 64; bit++) {
        assert_int_equal(q2_feature_name_known(0, bit) != NULL, bit >= 0 && bit < 5);
        assert_int_equal(q2_feature_name_known(1, bit) != NULL, bit == 0);
        assert_int_equal(q2_feature_name_known(2, bit) != NULL, bit == 0 || bit == 1);
        assert_null(q2_feature_name_known(3, bit));
        assert_null(q2_feature_name_known(-1, bit));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walk_gives_each_extension_and_then_nothing),
        cmocka_unit_test(padding_is_counted_from_the_data),
        cmocka_unit_test(area_that_is_full_needs_no_end_marker),
        cmocka_unit_test(empty_area_is_no_extension),
        cmocka_unit_test(stray_bytes_before_the_end_are_corrupt),
        cmocka_unit_test(extension_longer_than_the_area_is_corrupt_whatever_its_type),
        cmocka_unit_test(end_marker_with_a_length_that_fits_ends_the_walk),
        cmocka_unit_test(bytes_that_are_not_there_yet_are_asked_for),
        cmocka_unit_test(known_types_have_names),
        cmocka_unit_test(feature_table_is_stepped_through),
        cmocka_unit_test(feature_table_that_ends_inside_an_entry_is_used_as_far_as_it_goes),
        cmocka_unit_test(feature_table_ends_at_an_empty_name),
        cmocka_unit_test(bits_with_a_meaning_have_names_and_others_have_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
