/* SPDX-License-Identifier: MIT */
/* refcount.h - the two levels of refcounts: an entry of the table, a value in a block. */
#ifndef Q2_FORMAT_REFCOUNT_H
#define Q2_FORMAT_REFCOUNT_H

#include <stdbool.h>
#include <stdint.h>

/* Values in a refcount block, as a power of two; a block is one cluster, a value 2^order bits. */
static inline unsigned q2_refcount_block_bits(unsigned cluster_bits, unsigned order)
{
    return cluster_bits + 3 - order;
}

/* The largest value of 2^order bits. */
static inline uint64_t q2_refcount_max(unsigned order)
{
    return UINT64_MAX >> (64 - (1U << order));
}

struct q2_refcount_entry {
    uint64_t block_off; /* 0: there is no block, its refcounts are 0 */
    bool aligned;       /* to a cluster; a block that is not cannot be used */
    bool reserved;      /* reserved bits are set, which does not matter to reading */
};

struct q2_refcount_entry q2_refcount_entry_decode(uint64_t entry, unsigned cluster_bits);

/* Value `index` of those in a big-endian word of a block: 0 .. 63 >> order. */
uint64_t q2_refcount_from_word(uint64_t word, unsigned order, unsigned index);

/* Value `index` of a block that begins at `block`. */
uint64_t q2_refcount_from_block(const uint8_t *block, unsigned order, uint64_t index);

#endif
