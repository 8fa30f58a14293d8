/* SPDX-License-Identifier: MIT */
/* deflate_head.c - see deflate_head.h. RFC 1951, sections 3.2.2 (codes), 3.2.3 (blocks) and 3.2.7 (how a block
 * describes its code). Bytes in, yes or no out; knows nothing of what a block holds. */
#include "codec/deflate_head.h"

enum { STORED = 0, DYNAMIC = 2 };
enum { MAX_LENGTHS = 286, MAX_DISTANCES = 30, END_OF_BLOCK = 256 };
enum { MAX_CODE_BITS = 15 };

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

/* Whether the lengths, 0 being none, make a code that leaves nothing open and has nothing twice. */
static bool is_complete(const uint8_t *lengths, unsigned n, unsigned max_bits)
{
    const uint32_t all = UINT32_C(1) << max_bits;
    uint32_t used = 0, none = 0;

    for (unsigned i = 0; i < n; i++) {
        used += all >> lengths[i];
        none += lengths[i] == 0;
    }
    return used - none * all == all;
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

    for (unsigned i = 0; i < n; i++) {
        lengths[order[i]] = (uint8_t)take(bits, 3);
    }
    if (!is_complete(lengths, META_SYMBOLS, MAX_META_BITS)) {
        return false;
    }
    make_meta_table(lengths, table);
    return true;
}

/* n lengths; false if a repetition has nothing to repeat, or goes on behind them, or the input ends. */
static bool read_lengths(struct bits *bits, const struct meta_entry *table, uint8_t *lengths,
                         unsigned n)
{
    unsigned i = 0;

    while (i < n && !bits->short_of) {
        const struct meta_entry next = table[peek(bits, MAX_META_BITS)];
        unsigned times = 1;
        uint8_t length = next.symbol;

        (void)take(bits, next.length);
        if (next.symbol == REPEAT_LAST) {
            times = 3 + take(bits, 2);
            length = i > 0 ? lengths[i - 1] : UINT8_MAX;
        } else if (next.symbol >= REPEAT_ZERO) {
            times = next.symbol == REPEAT_ZERO_OFTEN ? 11 + take(bits, 7) : 3 + take(bits, 3);
            length = 0;
        }
        if (length == UINT8_MAX || times > n - i) {
            return false;
        }
        while (times-- > 0) {
            lengths[i++] = length;
        }
    }
    return !bits->short_of;
}

bool q2_deflate_head_is_plain(const uint8_t *in, size_t in_bytes)
{
    struct bits bits = { in, in + in_bytes, 0, 0, false };
    struct meta_entry table[1 << MAX_META_BITS];
    uint8_t lengths[MAX_LENGTHS + MAX_DISTANCES] = { 0 };
    unsigned type, n_lengths, n_distances;

    (void)take(&bits, 1); /* whether it is the last block, too */
    type = take(&bits, 2);
    if (type != DYNAMIC) {
        return type == STORED;
    }
    n_lengths = 257 + take(&bits, 5);
    n_distances = 1 + take(&bits, 5);
    if (n_lengths > MAX_LENGTHS || n_distances > MAX_DISTANCES || !read_meta_table(&bits, table) ||
        !read_lengths(&bits, table, lengths, n_lengths + n_distances)) {
        return false;
    }
    return lengths[END_OF_BLOCK] != 0 && is_complete(lengths, n_lengths, MAX_CODE_BITS) &&
           is_complete(lengths + n_lengths, n_distances, MAX_CODE_BITS);
}
