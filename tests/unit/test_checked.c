/* SPDX-License-Identifier: MIT */
/* test_checked.c - base/checked.h and base/bytes.h: sums that never wrap, loads from any address. */
#include "unit.h"

#include "base/bytes.h"
#include "base/checked.h"

static void add_that_fits_is_the_sum(void **state)
{
    uint64_t sum = 0;

    (void)state;
    assert_true(q2_add_u64(UINT64_MAX - 5, 5, &sum));
    assert_true(sum == UINT64_MAX);
    assert_true(q2_add_u64(0, 0, &sum));
    assert_true(sum == 0);
}

static void add_that_wraps_is_refused_and_leaves_the_result_alone(void **state)
{
    uint64_t sum = 42;

    (void)state;
    assert_false(q2_add_u64(UINT64_MAX, 1, &sum));
    assert_false(q2_add_u64(1, UINT64_MAX, &sum));
    assert_false(q2_add_u64(UINT64_C(1) << 63, UINT64_C(1) << 63, &sum));
    assert_true(sum == 42);
}

static void product_that_wraps_is_refused(void **state)
{
    uint64_t product = 42;

    (void)state;
    assert_false(q2_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &product));
    assert_false(q2_mul_u64(UINT64_MAX, 2, &product));
    assert_true(product == 42);
    assert_true(q2_mul_u64(UINT64_MAX, 1, &product));
    assert_true(product == UINT64_MAX);
    assert_true(q2_mul_u64(UINT64_MAX, 0, &product));
    assert_true(product == 0);
    assert_true(q2_mul_u64((UINT64_C(1) << 32) - 1, UINT64_C(1) << 32, &product));
    assert_true(product == UINT64_MAX - UINT32_MAX);
}

static void blocks_are_counted_without_wrapping(void **state)
{
    (void)state;
    assert_true(q2_blocks_for(0, 9) == 0);
    assert_true(q2_blocks_for(1, 9) == 1);
    assert_true(q2_blocks_for(512, 9) == 1);
    assert_true(q2_blocks_for(513, 9) == 2);
    assert_true(q2_blocks_for(UINT64_MAX, 9) == UINT64_C(1) << 55);
    assert_true(q2_blocks_for(UINT64_MAX, 63) == 2);
    assert_true(q2_blocks_for(7, 0) == 7);
}

static void rounding_up_stops_at_the_largest_number(void **state)
{
    (void)state;
    assert_true(q2_round_up(0, 16) == 0);
    assert_true(q2_round_up(1, 16) == 65536);
    assert_true(q2_round_up(65536, 16) == 65536);
    assert_true(q2_round_up(65537, 16) == 131072);
    assert_true(q2_round_up(UINT64_MAX, 16) == UINT64_MAX);
    assert_true(q2_round_up(UINT64_MAX - 65535, 16) == UINT64_MAX - 65535);
    assert_true(q2_round_up(UINT64_MAX - 65534, 16) == UINT64_MAX);
}

static void loads_are_big_endian_at_every_address(void **state)
{
    unsigned char bytes[24];

    (void)state;
    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(0xF0 + i);
    }
    for (unsigned at = 0; at < 8; at++) {
        uint64_t want = 0;

        for (unsigned i = 0; i < 8; i++) {
            want = want << 8 | bytes[at + i];
        }
        assert_true(q2_load_be64(bytes + at) == want);
        assert_int_equal(q2_load_be32(bytes + at), want >> 32);
        assert_int_equal(q2_load_be16(bytes + at), want >> 48);
    }
    assert_int_equal(q2_load_le32(bytes), 0xF3F2F1F0u);
    assert_true(q2_load_be64("\xff\xff\xff\xff\xff\xff\xff\xff") == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_that_fits_is_the_sum),
        cmocka_unit_test(add_that_wraps_is_refused_and_leaves_the_result_alone),
        cmocka_unit_test(product_that_wraps_is_refused),
        cmocka_unit_test(blocks_are_counted_without_wrapping),
        cmocka_unit_test(rounding_up_stops_at_the_largest_number),
        cmocka_unit_test(loads_are_big_endian_at_every_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
