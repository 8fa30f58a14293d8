/* SPDX-License-Identifier: MIT */
/* test_dirty.c - dirty bitmaps of an image as a whole: directory, tables and bits, sound and broken. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

enum { BITS = 16, CLUSTER = 1 << BITS, MORE_CLUSTERS = 3 };
enum { DIRECTORY_BYTES = 32, EXTENSION_OFF = 112 };

/* A sample disk of half a MiB with one bitmap: a bit for 512 bytes, its table and bits behind the rest. */
struct marked {
    struct sample sample;
    struct sample_source source;
    struct qcow2_image *image;
    unsigned char *directory, *table, *bits;
    uint64_t directory_off, bits_off;
};

static int set_up(void **state)
{
    struct marked *m = calloc(1, sizeof *m);
    unsigned char *grown;
    size_t old;

    assert_non_null(m);
    sample_init(&m->sample, BITS, QCOW2_COMPRESSION_DEFLATE, "DDDDDDDD", 0);
    old = m->sample.file_bytes;
    grown = realloc(m->sample.file, old + MORE_CLUSTERS * (size_t)CLUSTER);
    assert_non_null(grown);
    memset(grown + old, 0, MORE_CLUSTERS * (size_t)CLUSTER);
    m->sample.file = grown;
    m->sample.file_bytes = old + MORE_CLUSTERS * (size_t)CLUSTER;
    m->directory_off = old;
    m->bits_off = old + 2 * (uint64_t)CLUSTER;
    m->directory = grown + old;
    m->table = m->directory + CLUSTER;
    m->bits = m->table + CLUSTER;

    sample_store(grown + 88, 1, 8); /* autoclear: bitmaps */
    sample_store(grown + EXTENSION_OFF, 0x23852875, 4);
    sample_store(grown + EXTENSION_OFF + 4, 24, 4);
    sample_store(grown + EXTENSION_OFF + 8, 1, 4);
    sample_store(grown + EXTENSION_OFF + 16, DIRECTORY_BYTES, 8);
    sample_store(grown + EXTENSION_OFF + 24, m->directory_off, 8);
    memset(grown + EXTENSION_OFF + 32, 0, 8);

    sample_store(m->directory, old + CLUSTER, 8);
    sample_store(m->directory + 8, 1, 4);
    sample_store(m->directory + 16, 1, 1);
    sample_store(m->directory + 17, 9, 1);
    sample_store(m->directory + 18, 3, 2);
    (void)snprintf((char *)m->directory + 24, 8, "bit");
    sample_store(m->table, m->bits_off, 8);
    *state = m;
    return 0;
}

static int tear_down(void **state)
{
    struct marked *m = *state;

    qcow2_close(m->image);
    sample_deinit(&m->sample);
    free(m);
    return 0;
}

static void open_it(struct marked *m)
{
    m->image = sample_open(&m->source, &m->sample, NULL);
}

/* Opens and asks for the first bitmap. */
static int first_bitmap(struct marked *m, struct qcow2_bitmap *bitmap, struct qcow2_error *err)
{
    uint64_t cursor = 0;

    open_it(m);
    return qcow2_next_bitmap(m->image, &cursor, bitmap, err);
}

static void bits_become_ranges_that_touch_nothing_else(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0, at = 0, offset, length;

    m->bits[0] = 0x81;
    m->bits[1] = 0xff;
    m->bits[2] = 0x01;
    m->bits[127] = 0x80; /* the last of the disk */
    open_it(m);
    assert_int_equal(qcow2_next_bitmap(m->image, &at, &bitmap, NULL), 1);
    assert_string_equal(bitmap.name, "bit");
    assert_int_equal(bitmap.granularity, 512);
    assert_int_equal(bitmap.flags, 0);
    assert_int_equal(qcow2_next_bitmap(m->image, &at, &bitmap, NULL), 0);

    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL), 1);
    assert_int_equal(offset, 0);
    assert_int_equal(length, 512);
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL), 1);
    assert_int_equal(offset, 7 * 512);
    assert_int_equal(length, 10 * 512);
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL), 1);
    assert_int_equal(offset, 1023 * 512);
    assert_int_equal(length, 512);
    assert_int_equal(cursor, 1024 * 512);
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL), 0);
}

static void a_range_is_clipped_to_what_is_asked_for(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 700, offset, length;

    m->bits[0] = 0xff;
    assert_int_equal(first_bitmap(m, &bitmap, NULL), 1);
    assert_int_equal(qcow2_next_dirty(m->image, &bitmap, &cursor, 1300, &offset, &length, NULL), 1);
    assert_int_equal(offset, 700);
    assert_int_equal(length, 600);
    assert_int_equal(cursor, 1300);
    assert_int_equal(qcow2_next_dirty(m->image, &bitmap, &cursor, 1300, &offset, &length, NULL), 0);
}

static void all_ones_and_all_zeros_need_no_cluster(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0, offset, length;

    memset(m->bits, 0x55, CLUSTER); /* nobody looks at these */
    sample_store(m->table, 1, 8);
    assert_int_equal(first_bitmap(m, &bitmap, NULL), 1);
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL), 1);
    assert_int_equal(offset, 0);
    assert_int_equal(length, m->sample.size);

    sample_store(m->table, 0, 8);
    cursor = 0;
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL), 0);
    assert_int_equal(cursor, m->sample.size);
}

static void a_broken_table_entry_is_corrupt_where_it_stands(void **state)
{
    struct marked *m = *state;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0, offset, length;

    sample_store(m->table, m->bits_off | 2, 8);
    assert_int_equal(first_bitmap(m, &bitmap, NULL), 1);
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, &err),
        QCOW2_E_CORRUPT);
    assert_int_equal(err.host_offset, bitmap.table_offset);
    assert_int_equal(cursor, 0);
}

static void bits_and_tables_past_the_end_are_truncated(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0, offset, length;

    sample_store(m->table, UINT64_C(1) << 40, 8);
    assert_int_equal(first_bitmap(m, &bitmap, NULL), 1);
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL),
        QCOW2_E_TRUNCATED);
    bitmap.table_offset = UINT64_C(1) << 40;
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL),
        QCOW2_E_TRUNCATED);
}

static void a_bitmap_in_use_tells_nothing(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0, offset, length;

    sample_store(m->directory + 12, 1, 4);
    assert_int_equal(first_bitmap(m, &bitmap, NULL), 1);
    assert_int_equal(bitmap.flags, QCOW2_BITMAP_IN_USE);
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL),
        QCOW2_E_CORRUPT);
}

static void a_bitmap_of_another_image_is_an_argument_error(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap, other;
    uint64_t cursor = 0, offset, length;

    assert_int_equal(first_bitmap(m, &bitmap, NULL), 1);
    other = bitmap;
    other.granularity = 513;
    assert_int_equal(
        qcow2_next_dirty(m->image, &other, &cursor, UINT64_MAX, &offset, &length, NULL),
        QCOW2_E_ARGUMENT);
    other = bitmap;
    other.table_entries = 2;
    assert_int_equal(
        qcow2_next_dirty(m->image, &other, &cursor, UINT64_MAX, &offset, &length, NULL),
        QCOW2_E_ARGUMENT);
}

/* 24 bytes, the name, and one of padding: no entry is longer. */
static void the_longest_name_there_can_be_is_told_whole(void **state)
{
    enum { LONGEST = 1023, ENTRY_BYTES = 24 + LONGEST + 1 };
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0;

    sample_store(m->sample.file + EXTENSION_OFF + 16, ENTRY_BYTES, 8);
    sample_store(m->directory + 18, LONGEST, 2);
    memset(m->directory + 24, 'n', LONGEST);
    open_it(m);
    assert_int_equal(qcow2_next_bitmap(m->image, &cursor, &bitmap, NULL), 1);
    assert_int_equal(strlen(bitmap.name), LONGEST);
    assert_int_equal(strspn(bitmap.name, "n"), LONGEST);
    assert_int_equal(qcow2_next_bitmap(m->image, &cursor, &bitmap, NULL), 0);
}

static void a_directory_must_hold_just_its_entries(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0;

    sample_store(m->sample.file + EXTENSION_OFF + 16, DIRECTORY_BYTES - 1, 8); /* cuts the entry */
    assert_int_equal(first_bitmap(m, &bitmap, NULL), QCOW2_E_CORRUPT);
    qcow2_close(m->image);
    sample_store(m->sample.file + EXTENSION_OFF + 16, DIRECTORY_BYTES + 8, 8); /* bytes left over */
    open_it(m);
    assert_int_equal(qcow2_next_bitmap(m->image, &cursor, &bitmap, NULL), 1);
    assert_int_equal(qcow2_next_bitmap(m->image, &cursor, &bitmap, NULL), QCOW2_E_CORRUPT);
    qcow2_close(m->image);
    sample_store(m->sample.file + EXTENSION_OFF + 16, DIRECTORY_BYTES, 8);
    sample_store(m->sample.file + EXTENSION_OFF + 8, 2, 4); /* an entry too many */
    open_it(m);
    cursor = 0;
    assert_int_equal(qcow2_next_bitmap(m->image, &cursor, &bitmap, NULL), 1);
    assert_int_equal(qcow2_next_bitmap(m->image, &cursor, &bitmap, NULL), QCOW2_E_CORRUPT);
}

static void a_directory_past_the_end_is_truncated(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;

    sample_store(m->sample.file + EXTENSION_OFF + 24, UINT64_C(1) << 40, 8);
    assert_int_equal(first_bitmap(m, &bitmap, NULL), QCOW2_E_TRUNCATED);
}

static void a_broken_extension_costs_the_bitmaps_alone(void **state)
{
    const struct {
        unsigned at, bytes;
        uint64_t value;
    } broken[] = {
        { 4, 4, 32 },                          /* length of the extension */
        { 8, 4, 0 },                           /* no bitmaps at all */
        { 8, 4, 65536 },                       /* too many */
        { 12, 4, 1 },                          /* reserved */
        { 16, 8, UINT64_C(65535) * 1024 + 1 }, /* directory too long */
        { 24, 8, 512 },                        /* not aligned */
    };
    struct marked *m = *state;

    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        unsigned char before[40], *extension = m->sample.file + EXTENSION_OFF;
        struct qcow2_bitmap bitmap;

        memcpy(before, extension, sizeof before);
        sample_store(extension + broken[i].at, broken[i].value, broken[i].bytes);
        assert_int_equal(first_bitmap(m, &bitmap, NULL), QCOW2_E_CORRUPT);
        sample_check_read(m->image, &m->sample, 0, (size_t)m->sample.size);
        qcow2_close(m->image);
        m->image = NULL;
        memcpy(extension, before, sizeof before);
    }
}

static void bitmaps_without_the_autoclear_bit_are_out_of_date(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;

    sample_store(m->sample.file + 88, 0, 8);
    assert_int_equal(first_bitmap(m, &bitmap, NULL), 0);
}

static void null_arguments_are_argument_errors(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0, o, l;

    assert_int_equal(first_bitmap(m, &bitmap, NULL), 1);
    assert_int_equal(qcow2_next_bitmap(NULL, &cursor, &bitmap, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_bitmap(m->image, NULL, &bitmap, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_bitmap(m->image, &cursor, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_dirty(NULL, &bitmap, &cursor, 1, &o, &l, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_dirty(m->image, NULL, &cursor, 1, &o, &l, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_dirty(m->image, &bitmap, NULL, 1, &o, &l, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_dirty(m->image, &bitmap, &cursor, 1, NULL, &l, NULL),
                     QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_dirty(m->image, &bitmap, &cursor, 1, &o, NULL, NULL),
                     QCOW2_E_ARGUMENT);
}

#define MARKED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Two looks at a table entry and its bits, for where a range begins and for where it ends. */
static void a_read_that_fails_costs_one_call_and_moves_nothing(void **state)
{
    struct marked *m = *state;
    uint64_t cursor = 0, offset = 0, length = 0;
    struct qcow2_bitmap bitmap;

    m->bits[1] = 0x0f;
    assert_int_equal(first_bitmap(m, &bitmap, NULL), 1);
    for (unsigned n = 1; n <= 4; n++) {
        struct qcow2_error err = QCOW2_ERROR_INIT;

        m->source.fail_from = m->source.reads + n;
        m->source.fail_count = 1;
        assert_int_equal(
            qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, &err),
            QCOW2_E_IO);
        assert_int_equal(err.code, QCOW2_E_IO);
        assert_true(cursor == 0 && offset == 0 && length == 0);
    }
    assert_int_equal(
        qcow2_next_dirty(m->image, &bitmap, &cursor, UINT64_MAX, &offset, &length, NULL), 1);
    assert_int_equal(offset, 8 * 512);
    assert_int_equal(length, 4 * 512);
}

/* Version 2 has no field that could vouch for them. */
static void version_2_has_no_bitmaps(void **state)
{
    struct marked *m = *state;
    struct qcow2_bitmap bitmap;

    memmove(m->sample.file + 72, m->sample.file + EXTENSION_OFF, 40);
    sample_store(m->sample.file + 4, 2, 4);
    assert_int_equal(first_bitmap(m, &bitmap, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MARKED_TEST(bits_become_ranges_that_touch_nothing_else),
        MARKED_TEST(a_range_is_clipped_to_what_is_asked_for),
        MARKED_TEST(all_ones_and_all_zeros_need_no_cluster),
        MARKED_TEST(a_broken_table_entry_is_corrupt_where_it_stands),
        MARKED_TEST(bits_and_tables_past_the_end_are_truncated),
        MARKED_TEST(a_bitmap_in_use_tells_nothing),
        MARKED_TEST(a_bitmap_of_another_image_is_an_argument_error),
        MARKED_TEST(the_longest_name_there_can_be_is_told_whole),
        MARKED_TEST(a_directory_must_hold_just_its_entries),
        MARKED_TEST(a_directory_past_the_end_is_truncated),
        MARKED_TEST(a_broken_extension_costs_the_bitmaps_alone),
        MARKED_TEST(bitmaps_without_the_autoclear_bit_are_out_of_date),
        MARKED_TEST(null_arguments_are_argument_errors),
        MARKED_TEST(a_read_that_fails_costs_one_call_and_moves_nothing),
        MARKED_TEST(version_2_has_no_bitmaps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
