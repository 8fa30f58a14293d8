/* SPDX-License-Identifier: MIT */
/* blocks.c - rounding and big-endian loads: for every number and every block size nothing wraps and
 * nothing outside the bytes is read. */
#include "any.h"
#include "base/bytes.h"
#include "base/checked.h"

int main(void)
{
    uint8_t bytes[8];
    uint64_t n, blocks, rounded;

    for (unsigned bits = 0; bits < 64; bits++) {
        n = any_u64();
        blocks = q2_blocks_for(n, bits);
        /*@ assert bits == 0 || blocks <= 9223372036854775808; */
        rounded = q2_round_up(n, bits);
        /*@ assert bits == 0 || rounded % 2 == 0 || rounded == 18446744073709551615; */
        (void)blocks;
        (void)rounded;
    }
    any_bytes(bytes, sizeof bytes);
    (void)q2_load_be16(bytes + 6);
    (void)q2_load_be32(bytes + 4);
    (void)q2_load_le32(bytes + 4);
    (void)q2_load_be64(bytes);
    return 0;
}
