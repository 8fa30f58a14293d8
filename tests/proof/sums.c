/* SPDX-License-Identifier: MIT */
/* sums.c - what base/checked.h promises of its two relations, for all pairs of numbers: proved by
 * deduction (Frama-C WP), because no table of ranges can tell a sum that fits from one that does not.
 * Nothing is computed here; the contracts are proved of the functions that follow. */
#include <stdbool.h>
#include <stdint.h>

/*@ requires \valid(sum_ret);
    assigns *sum_ret;
    ensures \result != 0 <==> a + b <= 18446744073709551615;
    ensures \result != 0 ==> *sum_ret == a + b;
    ensures \result == 0 ==> *sum_ret == \old(*sum_ret); */
static inline bool q2_add_u64(uint64_t a, uint64_t b, uint64_t *sum_ret);

/*@ requires \valid(product_ret);
    assigns *product_ret;
    ensures \result != 0 <==> a * b <= 18446744073709551615;
    ensures \result != 0 ==> *product_ret == a * b;
    ensures \result == 0 ==> *product_ret == \old(*product_ret); */
static inline bool q2_mul_u64(uint64_t a, uint64_t b, uint64_t *product_ret);

/*@ assigns \nothing;
    ensures \result <= a && \result <= b && (\result == a || \result == b); */
static inline uint64_t q2_min_u64(uint64_t a, uint64_t b);

#include "base/checked.h"
