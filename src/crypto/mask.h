/* SPDX-License-Identifier: MIT */
/* mask.h - what the modes of operation add to a block cipher, as bytes to be XORed.
 *
 * CBC, XTS and CTR all decrypt as "block cipher, and XOR with something that does not depend on the
 * result". That something is computed here, for whole sectors. Pure arithmetic: no keys, no crypto
 * library, no memory but the caller's. All sectors are 512 bytes; IVs stand one after the other,
 * block_bytes each. */
#ifndef Q2_CRYPTO_MASK_H
#define Q2_CRYPTO_MASK_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/algorithms.h"

/* IVs of the sectors from first_sector on: number_bytes (4 or 8) of the number, little endian, then
 * zeros. */
void q2_mask_sector_numbers(uint8_t *ivs, size_t n_sectors, size_t block_bytes,
                            uint64_t first_sector, size_t number_bytes);

/* CBC: each block is masked with the ciphertext before it, the first one of a sector with its IV. */
void q2_mask_cbc(uint8_t *mask, const uint8_t *ivs, const uint8_t *ciphertext, size_t n_sectors,
                 size_t block_bytes);

/* CTR, before the block cipher has run over it: a big-endian counter that starts at the IV. */
void q2_mask_ctr(uint8_t *mask, const uint8_t *ivs, size_t n_sectors, size_t block_bytes);

/* XTS: the tweak, doubled from block to block. Blocks of 16 bytes; `tweaks` are the encrypted IVs. */
void q2_mask_xts(uint8_t *mask, const uint8_t *tweaks, size_t n_sectors);

/* dst = src XOR mask, for a multiple of 64 bytes. dst may be src, otherwise nothing overlaps. */
void q2_mask_apply(uint8_t *dst, const uint8_t *src, const uint8_t *mask, size_t n_bytes);

#endif
