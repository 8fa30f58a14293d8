/* SPDX-License-Identifier: MIT */
/* mask.c - the arithmetic of CBC, CTR and XTS, on whole sectors. Knows no keys and no cipher. */
#include "crypto/mask.h"

#include <assert.h>
#include <string.h>

/* Little-endian loads and stores. Where the machine is little-endian these must be plain copies:
 * byte by byte, gcc 12 makes the XTS mask take longer than the decryption. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline uint64_t load_le64(const uint8_t *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store_le64(uint8_t *to, uint64_t value)
{
    memcpy(to, &value, sizeof value);
}
#else
static inline uint64_t load_le64(const uint8_t *from)
{
    uint64_t value = 0;

    for (int i = 7; i >= 0; i--) {
        value = value << 8 | from[i];
    }
    return value;
}

static inline void store_le64(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}
#endif

void q2_mask_sector_numbers(uint8_t *ivs, size_t n_sectors, size_t block_bytes,
                            uint64_t first_sector, size_t number_bytes)
{
    uint64_t keep = number_bytes < 8 ? ((uint64_t)1 << (8 * number_bytes)) - 1 : UINT64_MAX;

    assert(block_bytes >= 8);
    memset(ivs, 0, n_sectors * block_bytes);
    for (size_t s = 0; s < n_sectors; s++) {
        store_le64(ivs + s * block_bytes, (first_sector + s) & keep);
    }
}

void q2_mask_cbc(uint8_t *mask, const uint8_t *ivs, const uint8_t *ciphertext, size_t n_sectors,
                 size_t block_bytes)
{
    for (size_t s = 0; s < n_sectors; s++) {
        memcpy(mask, ivs, block_bytes);
        memcpy(mask + block_bytes, ciphertext, Q2_CRYPTO_SECTOR_BYTES - block_bytes);
        mask += Q2_CRYPTO_SECTOR_BYTES;
        ciphertext += Q2_CRYPTO_SECTOR_BYTES;
        ivs += block_bytes;
    }
}

void q2_mask_ctr(uint8_t *mask, const uint8_t *ivs, size_t n_sectors, size_t block_bytes)
{
    for (size_t s = 0; s < n_sectors; s++) {
        uint8_t counter[Q2_CRYPTO_MAX_BLOCK_BYTES];

        memcpy(counter, ivs, block_bytes);
        for (size_t at = 0; at < Q2_CRYPTO_SECTOR_BYTES; at += block_bytes) {
            memcpy(mask + at, counter, block_bytes);
            for (size_t i = block_bytes; i-- > 0 && ++counter[i] == 0;) {
                ;
            }
        }
        mask += Q2_CRYPTO_SECTOR_BYTES;
        ivs += block_bytes;
    }
}

void q2_mask_xts(uint8_t *mask, const uint8_t *tweaks, size_t n_sectors)
{
    for (size_t s = 0; s < n_sectors; s++) {
        uint64_t low = load_le64(tweaks);
        uint64_t high = load_le64(tweaks + 8);

        for (size_t at = 0; at < Q2_CRYPTO_SECTOR_BYTES; at += 16) {
            /* Times x in GF(2^128): all ones if a bit falls off the top, which comes back in as
             * x^7 + x^2 + x + 1. */
            uint64_t carry = 0 - (high >> 63);

            store_le64(mask + at, low);
            store_le64(mask + at + 8, high);
            high = high << 1 | low >> 63;
            low = low << 1 ^ (carry & 0x87);
        }
        mask += Q2_CRYPTO_SECTOR_BYTES;
        tweaks += 16;
    }
}

/* Pieces of a fixed length and pointers that do not alias: what compilers need to use wide registers
 * without being asked twice. */
enum { PIECE_BYTES = 64 };

static void apply_in_place(uint8_t *restrict data, const uint8_t *restrict mask, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes; at += PIECE_BYTES) {
        for (size_t i = 0; i < PIECE_BYTES; i++) {
            data[at + i] ^= mask[at + i];
        }
    }
}

static void apply_across(uint8_t *restrict dst, const uint8_t *restrict src,
                         const uint8_t *restrict mask, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes; at += PIECE_BYTES) {
        for (size_t i = 0; i < PIECE_BYTES; i++) {
            dst[at + i] = src[at + i] ^ mask[at + i];
        }
    }
}

void q2_mask_apply(uint8_t *dst, const uint8_t *src, const uint8_t *mask, size_t n_bytes)
{
    assert(n_bytes % PIECE_BYTES == 0);
    if (dst == src) {
        apply_in_place(dst, mask, n_bytes);
    } else {
        apply_across(dst, src, mask, n_bytes);
    }
}
