/* SPDX-License-Identifier: MIT */
/* maker.c - see maker.h. Whatever fails here is a fault of the test. */
#include "maker.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

enum { STRIPES = 4000, SECTOR = 512 };

void maker_store_be32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static void run(const char *evp, const uint8_t *key, const uint8_t *iv, uint8_t *data, int n_bytes)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, evp, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int done = 0;

    assert_non_null(cipher);
    assert_non_null(ctx);
    assert_int_equal(EVP_EncryptInit_ex2(ctx, cipher, key, iv, NULL), 1);
    assert_int_equal(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, data, &done, data, n_bytes), 1);
    assert_int_equal(done, n_bytes);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

static void digest(const char *hash, const uint8_t *data, size_t n_bytes, uint8_t *ret)
{
    EVP_MD *md = EVP_MD_fetch(NULL, hash, NULL);

    assert_non_null(md);
    assert_int_equal(EVP_Digest(data, n_bytes, ret, NULL, md, NULL), 1);
    EVP_MD_free(md);
}

static size_t digest_bytes(const char *hash)
{
    EVP_MD *md = EVP_MD_fetch(NULL, hash, NULL);
    int n;

    assert_non_null(md);
    n = EVP_MD_get_size(md);
    EVP_MD_free(md);
    return (size_t)n;
}

static void derive(const char *hash, const void *password, size_t password_bytes,
                   const uint8_t salt[32], uint32_t iterations, uint8_t *ret, size_t n_bytes)
{
    EVP_MD *md = EVP_MD_fetch(NULL, hash, NULL);

    assert_non_null(md);
    assert_int_equal(PKCS5_PBKDF2_HMAC(password, (int)password_bytes, salt, 32, (int)iterations, md,
                                       (int)n_bytes, ret),
                     1);
    EVP_MD_free(md);
}

void maker_encrypt(const struct maker *maker, const uint8_t *key, uint8_t *data, size_t n_bytes,
                   uint64_t first_sector)
{
    for (size_t at = 0; at < n_bytes; at += SECTOR) {
        uint64_t sector = first_sector + at / SECTOR;
        uint8_t iv[16] = { 0 };

        for (unsigned i = 0; i < maker->number_bytes; i++) {
            iv[i] = (uint8_t)(sector >> (8 * i));
        }
        if (maker->evp_essiv != NULL) {
            uint8_t essiv_key[EVP_MAX_MD_SIZE];

            digest(maker->evp_essiv_hash, key, maker->key_bytes, essiv_key);
            run(maker->evp_essiv, essiv_key, NULL, iv, sizeof iv);
        }
        run(maker->evp, key, iv, data + at, SECTOR);
    }
}

void maker_write_header(const struct maker *maker, const uint8_t *master_key, uint32_t iterations,
                        uint8_t *region)
{
    static const uint8_t magic_and_version[8] = { 'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1 };
    static const char uuid[] = "8b9f2f5a-0000-4000-8000-3d2c1b0a9f8e";

    memset(region, 0, MAKER_FIRST_SLOT);
    memcpy(region, magic_and_version, sizeof magic_and_version);
    (void)snprintf((char *)region + 8, 32, "%s", maker->cipher);
    (void)snprintf((char *)region + 40, 32, "%s", maker->mode);
    (void)snprintf((char *)region + 72, 32, "%s", maker->hash);
    maker_store_be32(region + 104, MAKER_REGION_BYTES / SECTOR);
    maker_store_be32(region + 108, (uint32_t)maker->key_bytes);
    memset(region + 132, 0x5a, 32);
    maker_store_be32(region + 164, iterations);
    memcpy(region + 168, uuid, sizeof uuid);
    derive(maker->hash, master_key, maker->key_bytes, region + 132, iterations, region + 112, 20);
    for (unsigned i = 0; i < MAKER_SLOTS; i++) {
        uint8_t *slot = region + 208 + (size_t)i * 48;

        maker_store_be32(slot, 0x0000dead);
        maker_store_be32(slot + 40, (MAKER_FIRST_SLOT + i * MAKER_SLOT_BYTES) / SECTOR);
        maker_store_be32(slot + 44, STRIPES);
    }
}

/* One round of the anti-forensic hash, in the simplest form. */
static void diffuse(const char *hash, uint8_t *key, size_t key_bytes)
{
    size_t step = digest_bytes(hash);

    for (size_t at = 0; at < key_bytes; at += step) {
        size_t piece = key_bytes - at < step ? key_bytes - at : step;
        uint8_t message[4 + 64], result[EVP_MAX_MD_SIZE];

        maker_store_be32(message, (uint32_t)(at / step));
        memcpy(message + 4, key + at, piece);
        digest(hash, message, 4 + piece, result);
        memcpy(key + at, result, piece);
    }
}

void maker_write_slot(const struct maker *maker, const uint8_t *master_key, unsigned index,
                      const char *passphrase, uint32_t iterations, uint8_t *region)
{
    uint8_t *slot = region + 208 + (size_t)index * 48;
    uint8_t *material = region + MAKER_FIRST_SLOT + (size_t)index * MAKER_SLOT_BYTES;
    size_t n_bytes = maker->key_bytes * STRIPES;
    uint8_t sum[64] = { 0 }, slot_key[64];

    maker_store_be32(slot, 0x00ac71f3);
    maker_store_be32(slot + 4, iterations);
    memset(slot + 8, (int)(0x30 + index), 32);
    derive(maker->hash, passphrase, strlen(passphrase), slot + 8, iterations, slot_key,
           maker->key_bytes);
    /* Any stripes will do; the last one makes the sum come out as the key. */
    for (size_t i = 0; i < n_bytes; i++) {
        material[i] = (uint8_t)(i * 167 + (i >> 8) * 13 + index);
    }
    for (size_t stripe = 0; stripe < STRIPES; stripe++) {
        uint8_t *bytes = material + stripe * maker->key_bytes;

        for (size_t i = 0; i < maker->key_bytes; i++) {
            if (stripe == STRIPES - 1) {
                bytes[i] = sum[i] ^ master_key[i];
            } else {
                sum[i] ^= bytes[i];
            }
        }
        if (stripe < STRIPES - 1) {
            diffuse(maker->hash, sum, maker->key_bytes);
        }
    }
    n_bytes = (n_bytes + SECTOR - 1) / SECTOR * SECTOR;
    maker_encrypt(maker, slot_key, material, n_bytes, 0);
}
