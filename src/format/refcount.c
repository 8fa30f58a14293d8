/* SPDX-License-Identifier: MIT */
/* refcount.c - refcounts: words and bytes in, numbers out. No reads, no memory.
 *
 * Values of a byte or more are big-endian numbers. Smaller ones share a byte,
 * the first in its lowest bits: within a byte the order is the other way round
 * than between bytes. */
#include "format/refcount.h"

#include "base/bytes.h"

/* Refcount table entry:  | 63..9 block offset | 8..0 reserved |: more offset bits than in an L1 entry. */
#define ENTRY_RESERVED UINT64_C(0x1ff)

struct q2_refcount_entry q2_refcount_entry_decode(uint64_t entry, unsigned cluster_bits)
{
    uint64_t block_off = entry & ~ENTRY_RESERVED;

    return (struct q2_refcount_entry){
        .block_off = block_off,
        .aligned = (block_off & ((UINT64_C(1) << cluster_bits) - 1)) == 0,
        .reserved = (entry & ENTRY_RESERVED) != 0,
    };
}

uint64_t q2_refcount_from_word(uint64_t word, unsigned order, unsigned index)
{
    unsigned bit = index << order; /* from the first byte on */
    unsigned shift = order >= 3 ? 64 - (bit + (1U << order)) : 56 - (bit & ~7U) + (bit & 7U);

    return (word >> shift) & q2_refcount_max(order);
}

uint64_t q2_refcount_from_block(const uint8_t *block, unsigned order, uint64_t index)
{
    unsigned word_bits = 6 - order; /* values in a word, as a power of two */
    uint64_t word = q2_load_be64(block + (index >> word_bits) * 8);

    return q2_refcount_from_word(word, order, (unsigned)(index & ((1U << word_bits) - 1)));
}
