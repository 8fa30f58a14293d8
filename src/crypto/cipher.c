/* SPDX-License-Identifier: MIT */
/* cipher.c - sectors in, plain sectors out: a block cipher, a mode and an IV generator put together.
 *
 * Knows nothing of images, headers or passphrases.
 *
 * Why the modes are ours: a sector is only 512 bytes, and a new IV for libcrypto's own XTS or CBC
 * costs as much as decrypting one (measured with 3.0: 2.0 GB/s for AES-256-XTS sector by sector,
 * against 5.9 GB/s within one long unit). The bare block cipher has no IV. So IVs are made, and
 * where needed encrypted, for many sectors in one call, the mode's mask is computed beside the data
 * (mask.c), and the block cipher runs over a stretch that fits the first-level cache. It also lets
 * every mode work with every cipher, which libcrypto does not offer (AES-192-XTS, which QEMU can
 * write). */
#include "crypto/cipher.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <qcow2.h>
#include "base/error.h"
#include "crypto/block.h"
#include "crypto/digest.h"
#include "crypto/mask.h"

enum {
    IV_BATCH_SECTORS = 64, /* 1 KiB of IVs: enough that a call's overhead does not show */
    STRETCH_SECTORS = 8    /* data, mask and IVs: about 9 KiB, half of a small L1 cache */
};

struct q2_cipher {
    struct q2_cipher_method method;
    size_t block_bytes;
    struct q2_block *data;  /* for the data, and for the tweak of XTS */
    struct q2_block *essiv; /* NULL unless the IVs are encrypted */
    size_t variant_bytes;   /* length of one key: half of key_bytes for XTS */
    uint8_t key[Q2_CRYPTO_MAX_KEY_BYTES];
    uint8_t essiv_key[Q2_CRYPTO_MAX_DIGEST_BYTES];
};

struct q2_cipher_worker {
    const struct q2_cipher *cipher;
    struct q2_block_key *data;
    struct q2_block_key *tweak; /* XTS only */
    struct q2_block_key *essiv; /* essiv only */
    uint8_t ivs[IV_BATCH_SECTORS * Q2_CRYPTO_MAX_BLOCK_BYTES];
    uint8_t mask[STRETCH_SECTORS * Q2_CRYPTO_SECTOR_BYTES];
};

/* The second cipher of essiv is of the same family, in the variant whose key is as long as the
 * digest, and keyed with the digest of the whole key. */
static int create_essiv(struct q2_cipher *cipher, const uint8_t *key, size_t key_bytes,
                        struct qcow2_error *err)
{
    enum q2_hash hash = cipher->method.ivgen_hash;
    size_t digest_bytes = q2_hash_digest_bytes(hash);
    int r;

    if (!q2_cipher_family_has_key(cipher->method.family, digest_bytes)) {
        return q2_error_set(err, QCOW2_E_CORRUPT, "no %s cipher takes the digest of %s as its key",
                            q2_cipher_family_name(cipher->method.family),
                            hash == Q2_HASH_NONE ? "no hash" : q2_hash_name(hash));
    }
    r = q2_digest_once(hash, key, key_bytes, cipher->essiv_key, err);
    if (r < 0) {
        return r;
    }
    return q2_block_create(cipher->method.family, digest_bytes, &cipher->essiv, err);
}

int q2_cipher_create(const struct q2_cipher_method *method, const uint8_t *key, size_t key_bytes,
                     struct q2_cipher **cipher_ret, struct qcow2_error *err)
{
    bool xts = method->mode == Q2_MODE_XTS;
    size_t variant_bytes = xts ? key_bytes / 2 : key_bytes;
    struct q2_cipher *cipher;
    int r;

    if (!q2_cipher_family_has_key(method->family, variant_bytes) || (xts && key_bytes % 2 != 0) ||
        (xts && q2_cipher_family_block_bytes(method->family) != 16)) {
        return q2_error_set(err, QCOW2_E_CORRUPT, "%s-%s cannot have a key of %zu bytes",
                            q2_cipher_family_name(method->family),
                            q2_cipher_mode_name(method->mode), key_bytes);
    }
    cipher = calloc(1, sizeof *cipher);
    if (cipher == NULL) {
        return q2_error_nomem(err);
    }
    cipher->method = *method;
    cipher->block_bytes = q2_cipher_family_block_bytes(method->family);
    cipher->variant_bytes = variant_bytes;
    memcpy(cipher->key, key, key_bytes);
    /* What fails inside libcrypto leaves entries in its queue of errors, where a program that uses
     * libcrypto itself would take them for its own. */
    ERR_set_mark();
    r = q2_block_create(method->family, variant_bytes, &cipher->data, err);
    if (r == 0 && method->ivgen == Q2_IVGEN_ESSIV) {
        r = create_essiv(cipher, key, key_bytes, err);
    }
    ERR_pop_to_mark();
    if (r < 0) {
        q2_cipher_destroy(cipher);
        return r;
    }
    *cipher_ret = cipher;
    return 0;
}

int q2_cipher_create_legacy_aes(const void *passphrase, size_t passphrase_bytes,
                                struct q2_cipher **cipher_ret, struct qcow2_error *err)
{
    static const struct q2_cipher_method method = { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_PLAIN64,
                                                    Q2_HASH_NONE };
    uint8_t key[16] = { 0 };
    int r;

    if (passphrase_bytes > 0) {
        memcpy(key, passphrase, passphrase_bytes < sizeof key ? passphrase_bytes : sizeof key);
    }
    r = q2_cipher_create(&method, key, sizeof key, cipher_ret, err);
    OPENSSL_cleanse(key, sizeof key);
    return r;
}

void q2_cipher_destroy(struct q2_cipher *cipher)
{
    if (cipher == NULL) {
        return;
    }
    q2_block_destroy(cipher->data);
    q2_block_destroy(cipher->essiv);
    OPENSSL_cleanse(cipher, sizeof *cipher);
    free(cipher);
}

int q2_cipher_worker_create(const struct q2_cipher *cipher, struct q2_cipher_worker **worker_ret,
                            struct qcow2_error *err)
{
    /* CTR only ever runs the block cipher forwards. */
    enum q2_block_direction direction =
        cipher->method.mode == Q2_MODE_CTR ? Q2_BLOCK_ENCRYPT : Q2_BLOCK_DECRYPT;
    struct q2_cipher_worker *worker = calloc(1, sizeof *worker);
    int r;

    if (worker == NULL) {
        return q2_error_nomem(err);
    }
    worker->cipher = cipher;
    ERR_set_mark(); /* as in q2_cipher_create */
    r = q2_block_key_create(cipher->data, cipher->key, direction, &worker->data, err);
    if (r == 0 && cipher->method.mode == Q2_MODE_XTS) {
        r = q2_block_key_create(cipher->data, cipher->key + cipher->variant_bytes, Q2_BLOCK_ENCRYPT,
                                &worker->tweak, err);
    }
    if (r == 0 && cipher->essiv != NULL) {
        r = q2_block_key_create(cipher->essiv, cipher->essiv_key, Q2_BLOCK_ENCRYPT, &worker->essiv,
                                err);
    }
    ERR_pop_to_mark();
    if (r < 0) {
        q2_cipher_worker_destroy(worker);
        return r;
    }
    *worker_ret = worker;
    return 0;
}

void q2_cipher_worker_destroy(struct q2_cipher_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    q2_block_key_destroy(worker->data);
    q2_block_key_destroy(worker->tweak);
    q2_block_key_destroy(worker->essiv);
    OPENSSL_cleanse(worker, sizeof *worker);
    free(worker);
}

/* Fills worker->ivs for up to IV_BATCH_SECTORS sectors; for XTS with the tweaks made of them. */
static int make_ivs(struct q2_cipher_worker *worker, uint64_t first_sector, size_t n_sectors)
{
    const struct q2_cipher *cipher = worker->cipher;
    size_t n_bytes = n_sectors * cipher->block_bytes;
    int r = 0;

    q2_mask_sector_numbers(worker->ivs, n_sectors, cipher->block_bytes, first_sector,
                           cipher->method.ivgen == Q2_IVGEN_PLAIN ? 4 : 8);
    if (worker->essiv != NULL) {
        r = q2_block_run(worker->essiv, worker->ivs, worker->ivs, n_bytes);
    }
    if (r == 0 && worker->tweak != NULL) {
        r = q2_block_run(worker->tweak, worker->ivs, worker->ivs, n_bytes);
    }
    return r;
}

/* Decrypts up to STRETCH_SECTORS sectors with IVs that make_ivs has left. */
static int decrypt_stretch(struct q2_cipher_worker *worker, uint8_t *dst, const uint8_t *src,
                           const uint8_t *ivs, size_t n_sectors)
{
    size_t block_bytes = worker->cipher->block_bytes;
    size_t n_bytes = n_sectors * Q2_CRYPTO_SECTOR_BYTES;
    uint8_t *mask = worker->mask;
    int r = 0;

    switch (worker->cipher->method.mode) {
    case Q2_MODE_ECB:
        r = q2_block_run(worker->data, dst, src, n_bytes);
        break;
    case Q2_MODE_CBC:
        q2_mask_cbc(mask, ivs, src, n_sectors, block_bytes);
        r = q2_block_run(worker->data, dst, src, n_bytes);
        q2_mask_apply(dst, dst, mask, n_bytes);
        break;
    case Q2_MODE_XTS:
        q2_mask_xts(mask, ivs, n_sectors);
        q2_mask_apply(dst, src, mask, n_bytes);
        r = q2_block_run(worker->data, dst, dst, n_bytes);
        q2_mask_apply(dst, dst, mask, n_bytes);
        break;
    case Q2_MODE_CTR:
        q2_mask_ctr(mask, ivs, n_sectors, block_bytes);
        r = q2_block_run(worker->data, mask, mask, n_bytes);
        q2_mask_apply(dst, src, mask, n_bytes);
        break;
    }
    return r;
}

int q2_cipher_decrypt(struct q2_cipher_worker *worker, uint8_t *dst, const uint8_t *src,
                      size_t n_bytes, uint64_t first_sector, struct qcow2_error *err)
{
    size_t left = n_bytes / Q2_CRYPTO_SECTOR_BYTES;
    size_t block_bytes = worker->cipher->block_bytes;

    assert(n_bytes % Q2_CRYPTO_SECTOR_BYTES == 0);
    while (left > 0) {
        size_t batch = left < IV_BATCH_SECTORS ? left : IV_BATCH_SECTORS;
        int r = make_ivs(worker, first_sector, batch);

        for (size_t at = 0; r == 0 && at < batch; at += STRETCH_SECTORS) {
            size_t stretch = batch - at < STRETCH_SECTORS ? batch - at : STRETCH_SECTORS;

            r = decrypt_stretch(worker, dst + at * Q2_CRYPTO_SECTOR_BYTES,
                                src + at * Q2_CRYPTO_SECTOR_BYTES, worker->ivs + at * block_bytes,
                                stretch);
        }
        if (r < 0) {
            return q2_error_set(err, r, "the crypto library failed to decrypt");
        }
        dst += batch * Q2_CRYPTO_SECTOR_BYTES;
        src += batch * Q2_CRYPTO_SECTOR_BYTES;
        first_sector += batch;
        left -= batch;
    }
    return 0;
}
