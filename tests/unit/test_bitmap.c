/* SPDX-License-Identifier: MIT */
/* test_bitmap.c - entries of a bitmap directory and of a bitmap table, rule by rule. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "format/bitmap.h"

enum {
    CLUSTER_BITS = 16,
    TABLE_ENTRIES_OFF = 8,
    FLAGS_OFF = 12,
    TYPE_OFF = 16,
    NAME_LENGTH_OFF = 18
};
enum { GRANULARITY_OFF = 17, EXTRA_LENGTH_OFF = 20 };
#define DISK_BYTES (UINT64_C(10) << 20)

/* "bits": 64 KiB of disk to a bit, so one cluster holds the bits of 10 MiB. */
static const uint8_t bits[] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, /* table at 0x70000 */
    0x00, 0x00, 0x00, 0x01,                         /* of 1 entry */
    0x00, 0x00, 0x00, 0x02,                         /* flags: auto */
    0x01, 0x10,                                     /* type, granularity */
    0x00, 0x04,                                     /* name of 4 bytes */
    0x00, 0x00, 0x00, 0x00,                         /* no extra data */
    'b',  'i',  't',  's',  0x00, 0x00, 0x00, 0x00,
};

static int decode(const uint8_t *bytes, struct q2_bitmap_entry *e)
{
    return q2_bitmap_entry_decode(bytes, sizeof bits, 0x60000, CLUSTER_BITS, DISK_BYTES, e, NULL);
}

/* The answer for `bits` with another value in one byte. */
static int decode_with(size_t off, uint8_t value)
{
    uint8_t bytes[sizeof bits];
    struct q2_bitmap_entry e;

    memcpy(bytes, bits, sizeof bytes);
    bytes[off] = value;
    return decode(bytes, &e);
}

static void every_field_is_decoded(void **state)
{
    struct q2_bitmap_entry e;

    (void)state;
    assert_int_equal(decode(bits, &e), 0);
    assert_int_equal(e.table_off, 0x70000);
    assert_int_equal(e.table_entries, 1);
    assert_false(e.in_use);
    assert_true(e.automatic);
    assert_int_equal(e.granularity_bits, 16);
    assert_int_equal(e.name_bytes, 4);
    assert_memory_equal(bits + e.name_off, "bits", 4);
    assert_int_equal(e.entry_bytes, sizeof bits);
}

static void entry_cut_short_says_how_much_it_needs(void **state)
{
    struct q2_bitmap_entry e;

    (void)state;
    for (size_t n = 0; n < sizeof bits; n++) {
        assert_int_equal(q2_bitmap_entry_decode(bits, n, 0, CLUSTER_BITS, DISK_BYTES, &e, NULL),
                         Q2_BITMAP_NEED_MORE);
        assert_int_equal(e.entry_bytes, n < Q2_BITMAP_FIXED_BYTES ? 24 : sizeof bits);
    }
}

static void each_rule_has_its_refusal(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint8_t bytes[sizeof bits];
    struct q2_bitmap_entry e;

    (void)state;
    assert_int_equal(decode_with(6, 0x80), QCOW2_E_CORRUPT); /* table inside a cluster */
    assert_int_equal(decode_with(5, 0), QCOW2_E_CORRUPT);    /* table at 0 */
    assert_int_equal(decode_with(TABLE_ENTRIES_OFF + 3, 0), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(TABLE_ENTRIES_OFF + 3, 2), QCOW2_E_CORRUPT); /* one too many */
    assert_int_equal(decode_with(TABLE_ENTRIES_OFF, 0xff), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(FLAGS_OFF + 3, 4), QCOW2_E_CORRUPT); /* extra data compatible */
    assert_int_equal(decode_with(FLAGS_OFF, 0x80), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(TYPE_OFF, 0), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(TYPE_OFF, 2), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(GRANULARITY_OFF, 8), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(GRANULARITY_OFF, 31), 0);
    assert_int_equal(decode_with(GRANULARITY_OFF, 32), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(GRANULARITY_OFF, 63), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(GRANULARITY_OFF, 255), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(NAME_LENGTH_OFF, 4), QCOW2_E_CORRUPT); /* 1028 bytes */
    assert_int_equal(decode_with(EXTRA_LENGTH_OFF + 3, 8), QCOW2_E_CORRUPT);

    memcpy(bytes, bits, sizeof bytes);
    bytes[TYPE_OFF] = 7;
    assert_int_equal(
        q2_bitmap_entry_decode(bytes, sizeof bytes, 0x60000, CLUSTER_BITS, DISK_BYTES, &e, &err),
        QCOW2_E_CORRUPT);
    assert_int_equal(err.host_offset, 0x60000);
}

static void empty_name_is_accepted(void **state)
{
    (void)state;
    assert_int_equal(decode_with(NAME_LENGTH_OFF + 1, 0), 0);
}

static void table_of_a_bitmap_in_use_may_have_any_length(void **state)
{
    uint8_t bytes[sizeof bits];
    struct q2_bitmap_entry e;

    (void)state;
    memcpy(bytes, bits, sizeof bytes);
    bytes[FLAGS_OFF + 3] = 1;
    bytes[TABLE_ENTRIES_OFF + 2] = 0x20; /* 8193 entries of 64 KiB: past 512 MiB */
    assert_int_equal(decode(bytes, &e), QCOW2_E_CORRUPT);
    bytes[TABLE_ENTRIES_OFF + 3] = 0; /* 8192 */
    assert_int_equal(decode(bytes, &e), 0);
    assert_true(e.in_use);
    assert_int_equal(e.table_entries, 8192);
}

static void table_length_follows_the_disk(void **state)
{
    (void)state;
    assert_int_equal(q2_bitmap_table_entries(0, 16, 16), 0);
    assert_int_equal(q2_bitmap_table_entries(512, 9, 9), 1);
    assert_int_equal(q2_bitmap_table_entries(UINT64_C(2) << 20, 9, 9), 1);
    assert_int_equal(q2_bitmap_table_entries((UINT64_C(2) << 20) + 512, 9, 9), 2);
    assert_int_equal(q2_bitmap_table_entries(INT64_MAX, 9, 9), UINT64_C(1) << 42);
}

static void table_entry_is_one_of_four_things(void **state)
{
    uint64_t off = 1;

    (void)state;
    assert_int_equal(q2_bitmap_table_decode(0, 16, &off), Q2_BITMAP_ALL_ZEROS);
    assert_int_equal(off, 0);
    assert_int_equal(q2_bitmap_table_decode(1, 16, &off), Q2_BITMAP_ALL_ONES);
    assert_int_equal(q2_bitmap_table_decode(0x00ffffffffff0000, 16, &off), Q2_BITMAP_STORED);
    assert_true(off == UINT64_C(0x00ffffffffff0000));
    assert_int_equal(q2_bitmap_table_decode(0x200, 9, &off), Q2_BITMAP_STORED);
    assert_int_equal(off, 0x200);
    /* An offset and ones, an offset inside a cluster, reserved bits. */
    assert_int_equal(q2_bitmap_table_decode(0x10001, 16, &off), Q2_BITMAP_INVALID);
    assert_int_equal(off, 0);
    assert_int_equal(q2_bitmap_table_decode(0x200, 10, &off), Q2_BITMAP_INVALID);
    for (unsigned bit = 0; bit < 64; bit++) {
        if ((bit >= 1 && bit <= 8) || bit >= 56) {
            assert_int_equal(q2_bitmap_table_decode(UINT64_C(1) << bit, 9, &off),
                             Q2_BITMAP_INVALID);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_decoded),
        cmocka_unit_test(entry_cut_short_says_how_much_it_needs),
        cmocka_unit_test(each_rule_has_its_refusal),
        cmocka_unit_test(empty_name_is_accepted),
        cmocka_unit_test(table_of_a_bitmap_in_use_may_have_any_length),
        cmocka_unit_test(table_length_follows_the_disk),
        cmocka_unit_test(table_entry_is_one_of_four_things),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
