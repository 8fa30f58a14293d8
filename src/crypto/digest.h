/* SPDX-License-Identifier: MIT */
/* digest.h - hashes and what LUKS builds from them, computed by the crypto library.
 *
 * All calls may fail with QCOW2_E_UNSUPPORTED (the crypto library lacks the hash; the message names
 * it) and QCOW2_E_NOMEM. Nothing of what they compute stays behind in memory that they used. */
#ifndef Q2_CRYPTO_DIGEST_H
#define Q2_CRYPTO_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/algorithms.h"

struct qcow2_error;

enum { Q2_PBKDF2_SALT_BYTES = 32, Q2_AF_STRIPES = 4000 };

/* The digest of one buffer; digest_ret has room for q2_hash_digest_bytes(hash). */
int q2_digest_once(enum q2_hash hash, const uint8_t *data, size_t n_bytes, uint8_t *digest_ret,
                   struct qcow2_error *err);

/* PBKDF2 with HMAC (RFC 8018), for salts of 32 bytes as LUKS has them. `password_bytes` is at most
 * INT_MAX; iterations at least 1. The work is iterations times the number of digests in the key. */
int q2_pbkdf2(enum q2_hash hash, const uint8_t *password, size_t password_bytes,
              const uint8_t salt[Q2_PBKDF2_SALT_BYTES], uint32_t iterations, uint8_t *key_ret,
              size_t key_bytes, struct qcow2_error *err);

/* LUKS's anti-forensic merge: n_stripes stripes of key_bytes (at most Q2_CRYPTO_MAX_KEY_BYTES) back
 * into one key. */
int q2_af_merge(enum q2_hash hash, const uint8_t *material, size_t key_bytes, size_t n_stripes,
                uint8_t *key_ret, struct qcow2_error *err);

#endif
