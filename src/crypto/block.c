/* SPDX-License-Identifier: MIT */
/* block.c - bare block ciphers from OpenSSL's libcrypto (3.0 or later).
 *
 * Algorithms are fetched explicitly, once for each cipher object: the old by-name constants make
 * libcrypto look the algorithm up again, under its locks, whenever a context is set up. */
#include "crypto/block.h"

#include <stdbool.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/provider.h>

#include <qcow2.h>
#include "base/error.h"
#include "crypto/digest_evp.h"

struct q2_block {
    EVP_CIPHER *algorithm;
    /* Only for ciphers that libcrypto keeps in its "legacy" module: a library context of our own,
     * because loading the module into the default one would change what the whole process has. */
    OSSL_LIB_CTX *context;
    OSSL_PROVIDER *legacy;
};

struct q2_block_key {
    EVP_CIPHER_CTX *state;
};

static const char *algorithm_name(enum q2_cipher_family family, size_t key_bytes)
{
    switch (family) {
    case Q2_CIPHER_AES:
        return key_bytes == 16 ? "AES-128-ECB" : key_bytes == 24 ? "AES-192-ECB" : "AES-256-ECB";
    case Q2_CIPHER_CAST5:
        return "CAST5-ECB";
    case Q2_CIPHER_SM4:
        return "SM4-ECB";
    case Q2_CIPHER_SERPENT:
    case Q2_CIPHER_TWOFISH:
        break; /* no release of libcrypto has had these */
    }
    return NULL;
}

static bool fetch(enum q2_cipher_family family, const char *name, struct q2_block *block)
{
    if (family == Q2_CIPHER_CAST5) {
        block->context = OSSL_LIB_CTX_new();
        if (block->context == NULL) {
            return false;
        }
        block->legacy = OSSL_PROVIDER_load(block->context, "legacy");
        if (block->legacy == NULL) {
            return false;
        }
    }
    block->algorithm = EVP_CIPHER_fetch(block->context, name, NULL);
    return block->algorithm != NULL;
}

int q2_block_create(enum q2_cipher_family family, size_t key_bytes, struct q2_block **block_ret,
                    struct qcow2_error *err)
{
    const char *name = algorithm_name(family, key_bytes);
    struct q2_block *block = calloc(1, sizeof *block);
    bool found;

    if (block == NULL) {
        return q2_error_nomem(err);
    }
    found = name != NULL && fetch(family, name, block);
    if (!found) {
        q2_block_destroy(block);
        if (name != NULL && q2_evp_no_memory()) {
            return q2_error_nomem(err);
        }
        return q2_error_set(err, QCOW2_E_UNSUPPORTED,
                            "the crypto library has no cipher %s with keys of %zu bits",
                            q2_cipher_family_name(family), key_bytes * 8);
    }
    *block_ret = block;
    return 0;
}

void q2_block_destroy(struct q2_block *block)
{
    if (block == NULL) {
        return;
    }
    EVP_CIPHER_free(block->algorithm);
    if (block->legacy != NULL) {
        OSSL_PROVIDER_unload(block->legacy);
    }
    OSSL_LIB_CTX_free(block->context);
    free(block);
}

int q2_block_key_create(const struct q2_block *block, const uint8_t *key,
                        enum q2_block_direction direction, struct q2_block_key **key_ret,
                        struct qcow2_error *err)
{
    struct q2_block_key *made = malloc(sizeof *made);

    if (made == NULL) {
        return q2_error_nomem(err);
    }
    made->state = EVP_CIPHER_CTX_new();
    if (made->state == NULL ||
        EVP_CipherInit_ex2(made->state, block->algorithm, key, NULL, (int)direction, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(made->state, 0) != 1) {
        q2_block_key_destroy(made);
        return q2_error_nomem(err);
    }
    *key_ret = made;
    return 0;
}

void q2_block_key_destroy(struct q2_block_key *key)
{
    if (key == NULL) {
        return;
    }
    EVP_CIPHER_CTX_free(key->state); /* wipes the expanded key */
    free(key);
}

int q2_block_run(struct q2_block_key *key, uint8_t *dst, const uint8_t *src, size_t n_bytes)
{
    int done = 0;

    /* Without padding, whole blocks in are whole blocks out: nothing is held back. */
    if (EVP_CipherUpdate(key->state, dst, &done, src, (int)n_bytes) != 1 ||
        (size_t)done != n_bytes) {
        return QCOW2_E_NOMEM;
    }
    return 0;
}
