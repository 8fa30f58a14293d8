/* SPDX-License-Identifier: MIT */
/* maker.h - the writing side of encryption, for tests: sectors through libcrypto's own modes, and LUKS
 * headers with key slots. Shares nothing with src/crypto but the names of the algorithms. */
#ifndef TESTS_CRYPTO_MAKER_H
#define TESTS_CRYPTO_MAKER_H

#include <stddef.h>
#include <stdint.h>

/* What is encrypted and how, in the words of libcrypto and of a LUKS header. */
struct maker {
    const char *evp;       /* "AES-256-XTS" */
    const char *evp_essiv; /* "AES-256-ECB", or NULL for a plain IV */
    const char *evp_essiv_hash;
    unsigned number_bytes; /* of the sector number in the IV: 4 or 8 */
    size_t key_bytes;
    const char *cipher, *mode, *hash; /* as the LUKS header names them */
};

enum {
    MAKER_SLOTS = 8,
    MAKER_FIRST_SLOT = 4096,
    MAKER_SLOT_BYTES = 256 * 1024, /* the distance between slots; room for any key */
    MAKER_REGION_BYTES = MAKER_FIRST_SLOT + MAKER_SLOTS * MAKER_SLOT_BYTES
};

/* Encrypts consecutive sectors in place. */
void maker_encrypt(const struct maker *maker, const uint8_t *key, uint8_t *data, size_t n_bytes,
                   uint64_t first_sector);

/* A header in front of MAKER_REGION_BYTES, with a digest of the key and no active slot. */
void maker_write_header(const struct maker *maker, const uint8_t *master_key, uint32_t iterations,
                        uint8_t *region);

void maker_write_slot(const struct maker *maker, const uint8_t *master_key, unsigned index,
                      const char *passphrase, uint32_t iterations, uint8_t *region);

void maker_store_be32(uint8_t *to, uint32_t value);

#endif
