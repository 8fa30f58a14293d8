/* SPDX-License-Identifier: MIT */
/* checked.h - sums on numbers that an image chose. Each says whether the result
 * is true; none ever wraps. */
#ifndef Q2_BASE_CHECKED_H
#define Q2_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* *sum_ret = a + b; false, with *sum_ret untouched, if that does not fit. */
static inline bool q2_add_u64(uint64_t a, uint64_t b, uint64_t *sum_ret)
{
    if (a > UINT64_MAX - b) {
        return false;
    }
    *sum_ret = a + b;
    return true;
}

/* *product_ret = a * b; false, with *product_ret untouched, if that does not fit. */
static inline bool q2_mul_u64(uint64_t a, uint64_t b, uint64_t *product_ret)
{
    if (b != 0 && a > UINT64_MAX / b) {
        return false;
    }
    *product_ret = a * b;
    return true;
}

/* How many blocks of 2^block_bits bytes hold n bytes; block_bits is below 64. Cannot wrap. */
static inline uint64_t q2_blocks_for(uint64_t n, unsigned block_bits)
{
    uint64_t mask = (UINT64_C(1) << block_bits) - 1;

    return (n >> block_bits) + ((n & mask) != 0);
}

/* n rounded up to a multiple of 2^block_bits, or UINT64_MAX where that does not fit. */
static inline uint64_t q2_round_up(uint64_t n, unsigned block_bits)
{
    uint64_t blocks = q2_blocks_for(n, block_bits);

    return blocks > UINT64_MAX >> block_bits ? UINT64_MAX : blocks << block_bits;
}

static inline uint64_t q2_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
