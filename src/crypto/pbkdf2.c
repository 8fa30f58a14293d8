/* SPDX-License-Identifier: MIT */
/* pbkdf2.c - password to key, at the speed of the hash's inner loop. Specification: RFC 8018.
 *
 * Almost all the time it takes to open a LUKS image is spent here: QEMU picks iteration counts that
 * take it two seconds, several million. An iteration is an HMAC of one digest, which is two runs of
 * the hash's compression function once the padded password has been taken in. libcrypto's
 * own PBKDF2 copies two heap-allocated contexts for each of them and takes four times as long
 * (measured with 3.0 and SHA-256: 357 ns against 2 x 44). So the SHA family is driven through
 * libcrypto's compression functions here, and everything else goes through its PBKDF2. */

/* The compression functions are only reachable through interfaces marked as deprecated. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/digest.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <qcow2.h>
#include "base/error.h"
#include "crypto/digest_evp.h"

static int derive_evp(enum q2_hash hash, const uint8_t *password, size_t password_bytes,
                      const uint8_t *salt, uint32_t iterations, uint8_t *key_ret, size_t key_bytes,
                      struct qcow2_error *err)
{
    EVP_MD *digest;
    int r;

    if (iterations > INT_MAX) {
        return q2_error_set(err, QCOW2_E_UNSUPPORTED,
                            "the crypto library cannot do %lu iterations of %s",
                            (unsigned long)iterations, q2_hash_name(hash));
    }
    r = q2_digest_fetch(hash, &digest, err);
    if (r < 0) {
        return r;
    }
    if (PKCS5_PBKDF2_HMAC((const char *)password, (int)password_bytes, salt, Q2_PBKDF2_SALT_BYTES,
                          (int)iterations, digest, (int)key_bytes, key_ret) != 1) {
        OPENSSL_cleanse(key_ret, key_bytes);
        r = q2_error_nomem(err);
    }
    EVP_MD_free(digest);
    return r;
}

#ifndef OPENSSL_NO_DEPRECATED_3_0

union sha_state {
    SHA_CTX sha1;
    SHA256_CTX sha256;
    SHA512_CTX sha512;
};

struct sha {
    size_t block_bytes;
    size_t digest_bytes;
    int (*init)(union sha_state *state);
    void (*compress)(union sha_state *state, const uint8_t *block);
    void (*store)(const union sha_state *state, uint8_t *digest, size_t digest_bytes);
};

static int init_sha1(union sha_state *state)
{
    return SHA1_Init(&state->sha1);
}

static int init_sha224(union sha_state *state)
{
    return SHA224_Init(&state->sha256);
}

static int init_sha256(union sha_state *state)
{
    return SHA256_Init(&state->sha256);
}

static int init_sha384(union sha_state *state)
{
    return SHA384_Init(&state->sha512);
}

static int init_sha512(union sha_state *state)
{
    return SHA512_Init(&state->sha512);
}

static void compress_sha1(union sha_state *state, const uint8_t *block)
{
    SHA1_Transform(&state->sha1, block);
}

static void compress_sha256(union sha_state *state, const uint8_t *block)
{
    SHA256_Transform(&state->sha256, block);
}

static void compress_sha512(union sha_state *state, const uint8_t *block)
{
    SHA512_Transform(&state->sha512, block);
}

static void store_be32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static void store_be64(uint8_t *to, uint64_t value)
{
    store_be32(to, (uint32_t)(value >> 32));
    store_be32(to + 4, (uint32_t)value);
}

static void store_sha1(const union sha_state *state, uint8_t *digest, size_t digest_bytes)
{
    (void)digest_bytes;
    store_be32(digest, (uint32_t)state->sha1.h0);
    store_be32(digest + 4, (uint32_t)state->sha1.h1);
    store_be32(digest + 8, (uint32_t)state->sha1.h2);
    store_be32(digest + 12, (uint32_t)state->sha1.h3);
    store_be32(digest + 16, (uint32_t)state->sha1.h4);
}

static void store_sha256(const union sha_state *state, uint8_t *digest, size_t digest_bytes)
{
    for (size_t i = 0; i < digest_bytes / 4; i++) {
        store_be32(digest + 4 * i, (uint32_t)state->sha256.h[i]);
    }
}

static void store_sha512(const union sha_state *state, uint8_t *digest, size_t digest_bytes)
{
    for (size_t i = 0; i < digest_bytes / 8; i++) {
        store_be64(digest + 8 * i, (uint64_t)state->sha512.h[i]);
    }
}

static const struct sha *find_sha(enum q2_hash hash)
{
    static const struct sha sha1 = { 64, 20, init_sha1, compress_sha1, store_sha1 };
    static const struct sha sha224 = { 64, 28, init_sha224, compress_sha256, store_sha256 };
    static const struct sha sha256 = { 64, 32, init_sha256, compress_sha256, store_sha256 };
    static const struct sha sha384 = { 128, 48, init_sha384, compress_sha512, store_sha512 };
    static const struct sha sha512 = { 128, 64, init_sha512, compress_sha512, store_sha512 };

    switch (hash) {
    case Q2_HASH_SHA1:
        return &sha1;
    case Q2_HASH_SHA224:
        return &sha224;
    case Q2_HASH_SHA256:
        return &sha256;
    case Q2_HASH_SHA384:
        return &sha384;
    case Q2_HASH_SHA512:
        return &sha512;
    case Q2_HASH_NONE:
    case Q2_HASH_MD5:
    case Q2_HASH_RIPEMD160:
    case Q2_HASH_SM3:
        break;
    }
    return NULL;
}

enum { MAX_BLOCK_BYTES = 128 };

/* All that holds secrets, in one place to wipe. */
struct derivation {
    union sha_state inner, outer; /* after the padded password: where every HMAC starts */
    union sha_state running;
    uint8_t block[MAX_BLOCK_BYTES];
    uint8_t sum[Q2_CRYPTO_MAX_DIGEST_BYTES];
};

/* Completes the one block that follows the padded password: `filled` bytes of it are the message. */
static void pad_block(const struct sha *sha, uint8_t *block, size_t filled)
{
    memset(block + filled, 0, sha->block_bytes - filled);
    block[filled] = 0x80;
    store_be64(block + sha->block_bytes - 8, 8 * (uint64_t)(sha->block_bytes + filled));
}

/* HMAC of what stands in the block, padded, into the front of the block. The outer message is as long
 * as the digest; with `same_length` the inner one was too, and the padding is right as it is. */
static void hmac_block(const struct sha *sha, struct derivation *d, bool same_length)
{
    d->running = d->inner;
    sha->compress(&d->running, d->block);
    sha->store(&d->running, d->block, sha->digest_bytes);
    if (!same_length) {
        pad_block(sha, d->block, sha->digest_bytes);
    }
    d->running = d->outer;
    sha->compress(&d->running, d->block);
    sha->store(&d->running, d->block, sha->digest_bytes);
}

static int take_password(const struct sha *sha, enum q2_hash hash, struct derivation *d,
                         const uint8_t *password, size_t password_bytes, struct qcow2_error *err)
{
    memset(d->block, 0, sizeof d->block);
    if (password_bytes > sha->block_bytes) {
        int r = q2_digest_once(hash, password, password_bytes, d->block, err);

        if (r < 0) {
            return r;
        }
    } else if (password_bytes > 0) {
        memcpy(d->block, password, password_bytes);
    }
    if (sha->init(&d->inner) != 1 || sha->init(&d->outer) != 1) {
        return q2_error_set(err, QCOW2_E_UNSUPPORTED, "the crypto library refuses hash %s",
                            q2_hash_name(hash));
    }
    for (size_t i = 0; i < sha->block_bytes; i++) {
        d->block[i] ^= 0x36;
    }
    sha->compress(&d->inner, d->block);
    for (size_t i = 0; i < sha->block_bytes; i++) {
        d->block[i] ^= 0x36 ^ 0x5c;
    }
    sha->compress(&d->outer, d->block);
    return 0;
}

static int derive_sha(const struct sha *sha, enum q2_hash hash, const uint8_t *password,
                      size_t password_bytes, const uint8_t *salt, uint32_t iterations,
                      uint8_t *key_ret, size_t key_bytes, struct qcow2_error *err)
{
    struct derivation d;
    int r = take_password(sha, hash, &d, password, password_bytes, err);

    for (size_t at = 0, number = 1; r == 0 && at < key_bytes; at += sha->digest_bytes, number++) {
        size_t piece = key_bytes - at < sha->digest_bytes ? key_bytes - at : sha->digest_bytes;

        /* 36 bytes of message and 9 of padding: one block with each of these hashes. */
        memcpy(d.block, salt, Q2_PBKDF2_SALT_BYTES);
        store_be32(d.block + Q2_PBKDF2_SALT_BYTES, (uint32_t)number);
        pad_block(sha, d.block, Q2_PBKDF2_SALT_BYTES + 4);
        hmac_block(sha, &d, false);
        memcpy(d.sum, d.block, sha->digest_bytes);
        for (uint32_t i = 1; i < iterations; i++) {
            hmac_block(sha, &d, true);
            for (size_t b = 0; b < sha->digest_bytes; b++) {
                d.sum[b] ^= d.block[b];
            }
        }
        memcpy(key_ret + at, d.sum, piece);
    }
    OPENSSL_cleanse(&d, sizeof d);
    return r;
}

#endif

int q2_pbkdf2(enum q2_hash hash, const uint8_t *password, size_t password_bytes,
              const uint8_t salt[Q2_PBKDF2_SALT_BYTES], uint32_t iterations, uint8_t *key_ret,
              size_t key_bytes, struct qcow2_error *err)
{
    assert(password_bytes <= INT_MAX && key_bytes <= Q2_CRYPTO_MAX_KEY_BYTES && iterations > 0);
#ifndef OPENSSL_NO_DEPRECATED_3_0
    const struct sha *sha = find_sha(hash);

    if (sha != NULL) {
        return derive_sha(sha, hash, password, password_bytes, salt, iterations, key_ret, key_bytes,
                          err);
    }
#endif
    return derive_evp(hash, password, password_bytes, salt, iterations, key_ret, key_bytes, err);
}
