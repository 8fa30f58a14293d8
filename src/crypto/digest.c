/* SPDX-License-Identifier: MIT */
/* digest.c - single digests and the anti-forensic merge, on libcrypto's EVP calls. Knows no LUKS
 * header. Specification: LUKS On-Disk Format 1.x, "AF splitter". */
#include "crypto/digest.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <qcow2.h>
#include "base/error.h"
#include "crypto/digest_evp.h"

int q2_digest_fetch(enum q2_hash hash, EVP_MD **digest_ret, struct qcow2_error *err)
{
    /* libcrypto knows all our hashes by the names LUKS uses. */
    const char *name = q2_hash_name(hash);

    *digest_ret = name != NULL ? EVP_MD_fetch(NULL, name, NULL) : NULL;
    if (*digest_ret == NULL && name != NULL && q2_evp_no_memory()) {
        return q2_error_nomem(err);
    }
    if (*digest_ret == NULL) {
        return q2_error_set(err, QCOW2_E_UNSUPPORTED, "the crypto library has no hash %s",
                            name != NULL ? name : "of no name");
    }
    return 0;
}

int q2_digest_once(enum q2_hash hash, const uint8_t *data, size_t n_bytes, uint8_t *digest_ret,
                   struct qcow2_error *err)
{
    EVP_MD *digest;
    int r = q2_digest_fetch(hash, &digest, err);

    if (r < 0) {
        return r;
    }
    if (EVP_Digest(data, n_bytes, digest_ret, NULL, digest, NULL) != 1) {
        r = q2_error_nomem(err);
    }
    EVP_MD_free(digest);
    return r;
}

/* Replaces each digest-sized piece of `key` by the hash of its number and itself. */
static bool diffuse(EVP_MD_CTX *state, const EVP_MD *digest, size_t digest_bytes, uint8_t *key,
                    size_t key_bytes)
{
    uint8_t result[EVP_MAX_MD_SIZE];
    bool ok = true;

    for (size_t at = 0, number = 0; ok && at < key_bytes; at += digest_bytes, number++) {
        /* The last piece is as short as what is left, and so is what it becomes. */
        size_t piece = key_bytes - at < digest_bytes ? key_bytes - at : digest_bytes;
        uint8_t prefix[4] = { 0, 0, 0, (uint8_t)number }; /* at most 64 pieces of a byte each */

        ok = EVP_DigestInit_ex2(state, digest, NULL) == 1 &&
             EVP_DigestUpdate(state, prefix, sizeof prefix) == 1 &&
             EVP_DigestUpdate(state, key + at, piece) == 1 &&
             EVP_DigestFinal_ex(state, result, NULL) == 1;
        if (ok) {
            memcpy(key + at, result, piece);
        }
    }
    OPENSSL_cleanse(result, sizeof result);
    return ok;
}

int q2_af_merge(enum q2_hash hash, const uint8_t *material, size_t key_bytes, size_t n_stripes,
                uint8_t *key_ret, struct qcow2_error *err)
{
    EVP_MD *digest;
    EVP_MD_CTX *state;
    bool ok;
    int r = q2_digest_fetch(hash, &digest, err);

    if (r < 0) {
        return r;
    }
    assert(key_bytes <= Q2_CRYPTO_MAX_KEY_BYTES);
    state = EVP_MD_CTX_new();
    ok = state != NULL;
    memset(key_ret, 0, key_bytes);
    for (size_t stripe = 0; ok && stripe < n_stripes; stripe++) {
        for (size_t i = 0; i < key_bytes; i++) {
            key_ret[i] ^= material[stripe * key_bytes + i];
        }
        if (stripe + 1 < n_stripes) {
            ok = diffuse(state, digest, q2_hash_digest_bytes(hash), key_ret, key_bytes);
        }
    }
    EVP_MD_CTX_free(state);
    EVP_MD_free(digest);
    if (!ok) {
        OPENSSL_cleanse(key_ret, key_bytes);
        return q2_error_nomem(err);
    }
    return 0;
}
