/* SPDX-License-Identifier: MIT */
/* zero.c - finding zeros in memory. Bytes in, lengths out; knows nothing else.
 *
 * The inner loop reads a fixed number of 64-bit words and joins them without a branch, a shape that
 * compilers turn into vector code for whatever processor they build for. Blocks of real data end
 * the search at their first stride, so the cost is that of the zeros, which are read at the speed
 * of memory. */
#include "zero.h"

#include <stdint.h>
#include <string.h>

enum { STRIDE_WORDS = 32, STRIDE_BYTES = STRIDE_WORDS * sizeof(uint64_t) };

const unsigned char q2_zero_bytes[Q2_ZERO_BYTES];

static bool stride_is_zero(const unsigned char *p)
{
    uint64_t joined = 0;

    for (size_t i = 0; i < STRIDE_WORDS; i++) {
        uint64_t word;

        memcpy(&word, p + i * sizeof word, sizeof word); /* any alignment */
        joined |= word;
    }
    return joined == 0;
}

bool q2_zero_all(const void *buf, size_t bytes)
{
    const unsigned char *p = buf;
    unsigned char joined = 0;

    for (; bytes >= STRIDE_BYTES; p += STRIDE_BYTES, bytes -= STRIDE_BYTES) {
        if (!stride_is_zero(p)) {
            return false;
        }
    }
    for (; bytes > 0; p++, bytes--) {
        joined |= *p;
    }
    return joined == 0;
}

size_t q2_zero_run(const void *buf, size_t bytes, size_t first_bytes, size_t block_bytes,
                   bool *zero_ret)
{
    const unsigned char *p = buf;
    size_t end = first_bytes < bytes ? first_bytes : bytes;
    bool zero = q2_zero_all(p, end);

    while (end < bytes) {
        size_t block = bytes - end < block_bytes ? bytes - end : block_bytes;

        if (q2_zero_all(p + end, block) != zero) {
            break;
        }
        end += block;
    }
    *zero_ret = zero;
    return end;
}
