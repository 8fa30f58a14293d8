/* SPDX-License-Identifier: MIT */
/* test_refcount.c - refcounts of all seven widths, and refcount table entries. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "format/refcount.h"

static const uint8_t block[16] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                   0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10 };

static void narrow_values_begin_at_the_low_end_of_a_byte(void **state)
{
    static const uint64_t ones[] = { 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0 };
    static const uint64_t twos[] = { 1, 0, 0, 0, 3, 0, 2, 0, 1, 1, 0, 1 };
    static const uint64_t fours[] = { 1, 0, 3, 2, 5, 4, 7, 6, 9, 8 };

    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(q2_refcount_from_block(block, 0, i), ones[i]);
    }
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(q2_refcount_from_block(block, 1, i), twos[i]);
    }
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(q2_refcount_from_block(block, 2, i), fours[i]);
    }
    /* Behind the first word. */
    assert_int_equal(q2_refcount_from_block(block, 0, 64), 0);
    assert_int_equal(q2_refcount_from_block(block, 0, 65), 1);
    assert_int_equal(q2_refcount_from_block(block, 0, 127), 0);
    assert_int_equal(q2_refcount_from_block(block, 1, 33), 3);
    assert_int_equal(q2_refcount_from_block(block, 1, 32), 2);
    assert_int_equal(q2_refcount_from_block(block, 2, 16), 14);
    assert_int_equal(q2_refcount_from_block(block, 2, 31), 1);
}

static void wide_values_are_big_endian(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(q2_refcount_from_block(block, 3, i), block[i]);
    }
    assert_int_equal(q2_refcount_from_block(block, 4, 0), 0x0123);
    assert_int_equal(q2_refcount_from_block(block, 4, 3), 0xcdef);
    assert_int_equal(q2_refcount_from_block(block, 4, 4), 0xfedc);
    assert_int_equal(q2_refcount_from_block(block, 5, 1), 0x89abcdef);
    assert_int_equal(q2_refcount_from_block(block, 5, 2), 0xfedcba98);
    assert_true(q2_refcount_from_block(block, 6, 0) == UINT64_C(0x0123456789abcdef));
    assert_true(q2_refcount_from_block(block, 6, 1) == UINT64_C(0xfedcba9876543210));
}

/* What the format says, byte by byte. */
static uint64_t from_bytes(const uint8_t *bytes, unsigned bits, unsigned index)
{
    uint64_t value = 0;

    if (bits < 8) {
        unsigned per_byte = 8 / bits;

        return ((unsigned)bytes[index / per_byte] >> (index % per_byte * bits)) &
               ((1U << bits) - 1);
    }
    for (unsigned i = 0; i < bits / 8; i++) {
        value = value << 8 | bytes[index * (bits / 8) + i];
    }
    return value;
}

static void word_and_bytes_agree_at_every_index(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 6; order++) {
        for (unsigned i = 0; i < 64U >> order; i++) {
            uint64_t expected = from_bytes(block, 1U << order, i);

            assert_true(q2_refcount_from_word(q2_load_be64(block), order, i) == expected);
            assert_true(q2_refcount_from_block(block, order, i) == expected);
        }
    }
}

static void largest_value_fills_the_width(void **state)
{
    (void)state;
    assert_int_equal(q2_refcount_max(0), 1);
    assert_int_equal(q2_refcount_max(1), 3);
    assert_int_equal(q2_refcount_max(2), 15);
    assert_int_equal(q2_refcount_max(3), 255);
    assert_int_equal(q2_refcount_max(4), 65535);
    assert_int_equal(q2_refcount_max(5), UINT32_MAX);
    assert_true(q2_refcount_max(6) == UINT64_MAX);
}

static void block_covers_what_the_format_says(void **state)
{
    (void)state;
    assert_int_equal(q2_refcount_block_bits(16, 4), 15);
    assert_int_equal(q2_refcount_block_bits(9, 6), 6);
    assert_int_equal(q2_refcount_block_bits(21, 0), 24);
}

static void table_entry_has_an_offset_of_55_bits(void **state)
{
    struct q2_refcount_entry e = q2_refcount_entry_decode(0, 16);

    (void)state;
    assert_int_equal(e.block_off, 0);
    assert_true(e.aligned);
    assert_false(e.reserved);

    e = q2_refcount_entry_decode(UINT64_C(0xffffffffffff0000), 16);
    assert_true(e.block_off == UINT64_C(0xffffffffffff0000));
    assert_true(e.aligned);
    assert_false(e.reserved);

    e = q2_refcount_entry_decode(0x20200, 16);
    assert_int_equal(e.block_off, 0x20200);
    assert_false(e.aligned);
    assert_false(e.reserved);
    assert_true(q2_refcount_entry_decode(0x20200, 9).aligned);

    for (unsigned bit = 0; bit < 9; bit++) {
        e = q2_refcount_entry_decode(0x20000 | UINT64_C(1) << bit, 16);
        assert_int_equal(e.block_off, 0x20000);
        assert_true(e.aligned);
        assert_true(e.reserved);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrow_values_begin_at_the_low_end_of_a_byte),
        cmocka_unit_test(wide_values_are_big_endian),
        cmocka_unit_test(word_and_bytes_agree_at_every_index),
        cmocka_unit_test(largest_value_fills_the_width),
        cmocka_unit_test(block_covers_what_the_format_says),
        cmocka_unit_test(table_entry_has_an_offset_of_55_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
