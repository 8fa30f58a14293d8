/* SPDX-License-Identifier: MIT */
/* test_copy_zero.c - finding zeros in memory, against the plainest way of looking. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "copy/zero.h"

static void one_byte_anywhere_is_seen_at_every_length_and_alignment(void **state)
{
    unsigned char buf[1200] = { 0 };

    (void)state;
    assert_true(q2_zero_all(buf, 0));
    for (size_t from = 0; from < 9; from++) {
        for (size_t bytes = 1; bytes < 1100; bytes += bytes < 300 ? 1 : 97) {
            assert_true(q2_zero_all(buf + from, bytes));
            for (size_t at = 0; at < bytes; at++) {
                buf[from + at] = 0x80;
                assert_false(q2_zero_all(buf + from, bytes));
                buf[from + at] = 0;
            }
            /* Bytes beside the range are none of its business. */
            buf[from + bytes] = 1;
            assert_true(q2_zero_all(buf + from, bytes));
            buf[from + bytes] = 0;
        }
    }
}

static void runs_end_where_blocks_change(void **state)
{
    enum { BLOCK = 512, BLOCKS = 40, BYTES = BLOCK * BLOCKS };
    unsigned char buf[BYTES];

    (void)state;
    srand(1);
    for (int round = 0; round < 200; round++) {
        size_t first = 1 + (size_t)rand() % BLOCK;
        size_t bytes = BYTES - (size_t)rand() % BLOCK;
        size_t at = 0;

        memset(buf, 0, sizeof buf);
        for (int i = 0; i < 10; i++) {
            buf[(size_t)rand() % BYTES] = (unsigned char)(1 + rand() % 255);
        }
        while (at < bytes) {
            size_t block = at == 0 ? first : BLOCK;
            size_t left = bytes - at;
            bool zero, expect_zero = true, like = true;
            size_t run = q2_zero_run(buf + at, left, block, BLOCK, &zero);
            size_t expect = 0;

            /* The same, byte by byte. */
            while (like && expect < left) {
                size_t n = expect == 0 ? block : BLOCK;
                bool block_zero = true;

                n = n < left - expect ? n : left - expect;
                for (size_t i = 0; i < n; i++) {
                    block_zero = block_zero && buf[at + expect + i] == 0;
                }
                if (expect == 0) {
                    expect_zero = block_zero;
                }
                like = block_zero == expect_zero;
                expect += like ? n : 0;
            }
            assert_int_equal(run, expect);
            assert_int_equal(zero, expect_zero);
            at += run;
        }
        assert_int_equal(at, bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_byte_anywhere_is_seen_at_every_length_and_alignment),
        cmocka_unit_test(runs_end_where_blocks_change)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
