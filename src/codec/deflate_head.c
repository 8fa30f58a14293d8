/* SPDX-License-Identifier: MIT */
/* deflate_head.c - see deflate_head.h. RFC 1951, sections 3.2.2 (codes), 3.2.3 (blocks) and 3.2.7 (how a block
 * describes its code). Bytes in, yes or no out; knows nothing of what a block holds. */
#include "codec/deflate_head.h"

#include <limits.h>

enum { STORED = 0, DYNAMIC = 2 };
enum { MAX_LENGTHS = 286, MAX_DISTANCES = 30, END_OF_BLOCK = 256 };

/* All sequences of bits. A code of n bits takes ALL >> n of them; codes that come to all of it leave nothing
 * open, and have nothing twice. */
enum { MAX_CODE_BITS = 15, ALL = 1 << MAX_CODE_BITS };

/* The code that the lengths of the other codes are written in: 0 to 15 are lengths, the rest repeats. */
enum {
    REPEAT_LAST = 16,
    REPEAT_ZERO = 17,
    REPEAT_ZERO_OFTEN = 18,
    META_SYMBOLS = 19,
    MAX_META_BITS = 7
};

struct bits {
    const uint8_t *at, *end;
    uint64_t held;
    unsigned count;
    bool short_of; /* bits were asked for that are not there; they read as 0 */
};

static void refill(struct bits *bits)
{
    while (bits->count <= 56 && bits->at < bits->end) {
        bits->held |= (uint64_t)*bits->at++ << bits->count;
        bits->count += 8;
    }
}

/* The next n bits, of which there may be at most 16, from the lowest one on; they stay. */
static unsigned peek(struct bits *bits, unsigned n)
{
    if (bits->count < n) {
        refill(bits);
    }
    if (bits->count < n) {
        bits->short_of = true;
        bits->count = 64;
    }
    return (unsigned)(bits->held & ((UINT64_C(1) << n) - 1));
}

static unsigned take(struct bits *bits, unsigned n)
{
    unsigned value = peek(bits, n);

    bits->held >>= n;
    bits->count -= n;
    return value;
}

/* By the next bits of the stream: symbol and length of the code that they begin with. */
struct meta_entry {
    uint8_t symbol, length;
};

/* The lengths are those of a complete code, so every place is filled. Codes begin with their highest bit. */
static void make_meta_table(const uint8_t lengths[META_SYMBOLS],
                            struct meta_entry table[1 << MAX_META_BITS])
{
    unsigned code = 0;

    for (unsigned length = 1; length <= MAX_META_BITS; length++, code <<= 1) {
        for (unsigned symbol = 0; symbol < META_SYMBOLS; symbol++) {
            unsigned first = 0;

            if (lengths[symbol] != length) {
                continue;
            }
            for (unsigned bit = 0; bit < length; bit++) {
                first |= (code >> bit & 1) << (length - 1 - bit);
            }
            for (unsigned i = first; i < 1 << MAX_META_BITS; i += 1U << length) {
                table[i] = (struct meta_entry){ (uint8_t)symbol, (uint8_t)length };
            }
            code++;
        }
    }
}

static bool read_meta_table(struct bits *bits, struct meta_entry table[1 << MAX_META_BITS])
{
    static const uint8_t order[META_SYMBOLS] = { 16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                 11, 4,  12, 3, 13, 2, 14, 1, 15 };
    uint8_t lengths[META_SYMBOLS] = { 0 };
    const unsigned n = take(bits, 4) + 4;
    uint32_t used = 0;

    for (unsigned i = 0; i < n; i++) {
        uint8_t length = (uint8_t)take(bits, 3);

        lengths[order[i]] = length;
        used += length != 0 ? (uint32_t)ALL >> length : 0;
    }
    if (used != ALL) {
        return false;
    }
    make_meta_table(lengths, table);
    return true;
}

/* Reads the lengths of both codes, 0 being none. False unless both are complete and there is a code for the end
 * of the block; and if a repetition has nothing to repeat, or goes on behind the last length, or the input ends. */
static bool read_codes(struct bits *bits, const struct meta_entry *table, unsigned n_lengths,
                       unsigned n_distances)
{
    const unsigned n = n_lengths + n_distances;
    uint32_t used = 0, used_by_distances = 0;
    unsigned last = UINT_MAX;
    bool has_end = false;

    for (unsigned i = 0, times; i < n; i += times) {
        const struct meta_entry next = table[peek(bits, MAX_META_BITS)];
        unsigned length = next.symbol;

        (void)take(bits, next.length);
        times = 1;
        if (length == REPEAT_LAST) {
            times = 3 + take(bits, 2);
            length = last;
        } else if (length > REPEAT_LAST) {
            times = length == REPEAT_ZERO ? 3 + take(bits, 3) : 11 + take(bits, 7);
            length = 0;
        }
        if (length == UINT_MAX || times > n - i || bits->short_of) {
            return false;
        }
        last = length;
        if (length == 0) {
            continue;
        }
        used += times * ((uint32_t)ALL >> length);
        if (i + times > END_OF_BLOCK) {
            unsigned behind = i + times > n_lengths ? i + times - n_lengths : 0;

            has_end = has_end || i <= END_OF_BLOCK;
            used_by_distances += (behind < times ? behind : times) * ((uint32_t)ALL >> length);
        }
    }
    return has_end && used_by_distances == ALL && used - used_by_distances == ALL;
}

bool q2_deflate_head_is_plain(const uint8_t *in, size_t in_bytes)
{
    struct bits bits = { in, in + in_bytes, 0, 0, false };
    struct meta_entry table[1 << MAX_META_BITS];
    unsigned type, n_lengths, n_distances;

    (void)take(&bits, 1); /* whether it is the last block, too */
    type = take(&bits, 2);
    if (type != DYNAMIC) {
        return type == STORED && !bits.short_of;
    }
    n_lengths = 257 + take(&bits, 5);
    n_distances = 1 + take(&bits, 5);
    return n_lengths <= MAX_LENGTHS && n_distances <= MAX_DISTANCES &&
           read_meta_table(&bits, table) && read_codes(&bits, table, n_lengths, n_distances);
}
