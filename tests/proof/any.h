/* SPDX-License-Identifier: MIT */
/* any.h - values that may be anything, for the proofs in this directory. Frama-C's analyser takes each
 * call for all values at once; compiled as a program this would be nothing. Knows nothing of qcow2. */
#ifndef PROOF_ANY_H
#define PROOF_ANY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <__fc_builtin.h>

static inline uint64_t any_u64(void)
{
    return Frama_C_unsigned_long_interval(0, UINT64_MAX);
}

static inline uint32_t any_u32(void)
{
    return Frama_C_unsigned_int_interval(0, UINT32_MAX);
}

static inline size_t any_size(size_t most)
{
    return Frama_C_unsigned_long_interval(0, most);
}

static inline unsigned any_unsigned(unsigned least, unsigned most)
{
    return Frama_C_unsigned_int_interval(least, most);
}

static inline bool any_bool(void)
{
    return Frama_C_interval(0, 1) != 0;
}

/* Fills memory with bytes that may be anything. */
static inline void any_bytes(void *bytes, size_t count)
{
    Frama_C_make_unknown(bytes, count);
}

#endif
