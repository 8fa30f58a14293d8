/* SPDX-License-Identifier: MIT */
/* luks_unlock.c - passphrase to cipher, through the key slots of a LUKS header.
 *
 * A slot holds the master key spread over 4000 stripes and encrypted under a key derived from the
 * passphrase; a digest in the header tells whether what comes out is the master key. Reads through
 * the caller's function only. Specification: LUKS On-Disk Format 1.x, "Master key recovery". */
#include "crypto/luks.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <qcow2.h>
#include "base/error.h"
#include "crypto/digest.h"

/* Where keys stand while a passphrase is tried: one piece of memory to wipe, whatever happens. */
struct attempt {
    uint8_t slot_key[Q2_CRYPTO_MAX_KEY_BYTES];
    uint8_t master_key[Q2_CRYPTO_MAX_KEY_BYTES];
    uint8_t digest[Q2_LUKS_DIGEST_BYTES];
    uint8_t material[Q2_LUKS_MAX_MATERIAL_BYTES];
};

/* Decrypts a->material, whose sectors count from 0, with a->slot_key. */
static int decrypt_material(const struct q2_luks_header *header, struct attempt *a,
                            struct qcow2_error *err)
{
    struct q2_cipher *cipher = NULL;
    struct q2_cipher_worker *worker = NULL;
    int r = q2_cipher_create(&header->method, a->slot_key, header->key_bytes, &cipher, err);

    if (r == 0) {
        r = q2_cipher_worker_create(cipher, &worker, err);
    }
    if (r == 0) {
        r = q2_cipher_decrypt(worker, a->material, a->material, q2_luks_material_bytes(header), 0,
                              err);
    }
    q2_cipher_worker_destroy(worker);
    q2_cipher_destroy(cipher);
    return r;
}

/* 1: a->master_key is the master key. 0: the passphrase does not fit this slot. Or a code. */
static int try_slot(const struct q2_luks_header *header, const struct q2_luks_slot *slot,
                    const uint8_t *passphrase, size_t passphrase_bytes,
                    q2_luks_read_material *read_material, void *ctx, struct attempt *a,
                    struct qcow2_error *err)
{
    int r;

    /* Read first: a slot outside the file is to fail before seconds are spent on its key. */
    r = read_material(ctx, a->material, q2_luks_material_bytes(header), slot->material_off, err);
    if (r < 0) {
        return r;
    }
    r = q2_pbkdf2(header->hash, passphrase, passphrase_bytes, slot->salt, slot->iterations,
                  a->slot_key, header->key_bytes, err);
    if (r < 0) {
        return r;
    }
    r = decrypt_material(header, a, err);
    if (r < 0) {
        return r;
    }
    r = q2_af_merge(header->hash, a->material, header->key_bytes, Q2_LUKS_STRIPES, a->master_key,
                    err);
    if (r < 0) {
        return r;
    }
    r = q2_pbkdf2(header->hash, a->master_key, header->key_bytes, header->digest_salt,
                  header->digest_iterations, a->digest, sizeof a->digest, err);
    if (r < 0) {
        return r;
    }
    return CRYPTO_memcmp(a->digest, header->digest, sizeof a->digest) == 0;
}

/* A cipher that the crypto library lacks is to be reported before seconds are spent on keys. */
static int probe_cipher(const struct q2_luks_header *header, struct qcow2_error *err)
{
    static const uint8_t any_key[Q2_CRYPTO_MAX_KEY_BYTES];
    struct q2_cipher *cipher = NULL;
    int r = q2_cipher_create(&header->method, any_key, header->key_bytes, &cipher, err);

    q2_cipher_destroy(cipher);
    return r;
}

static int no_slot_fits(unsigned n_active, struct qcow2_error *err)
{
    if (n_active == 0) {
        return q2_error_set(err, QCOW2_E_KEY,
                            "no LUKS key slot is active: no passphrase can open the image");
    }
    return q2_error_set(err, QCOW2_E_KEY,
                        "wrong passphrase: it opens none of %u active LUKS key %s", n_active,
                        n_active == 1 ? "slot" : "slots");
}

int q2_luks_unlock(const struct q2_luks_header *header, const void *passphrase,
                   size_t passphrase_bytes, q2_luks_read_material *read_material, void *ctx,
                   struct q2_luks_work *work, struct q2_cipher **cipher_ret,
                   struct qcow2_error *err)
{
    struct attempt *a;
    unsigned n_active = 0;
    uint64_t skipped = 0; /* the work of all skipped slots; that of one is never 0 */
    int r = 0;

    if (passphrase_bytes > Q2_LUKS_MAX_PASSPHRASE_BYTES) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the passphrase is longer than %d bytes",
                            Q2_LUKS_MAX_PASSPHRASE_BYTES);
    }
    a = malloc(sizeof *a);
    if (a == NULL) {
        return q2_error_nomem(err);
    }
    ERR_set_mark(); /* as in q2_cipher_create: libcrypto's errors are not for its other users */
    r = probe_cipher(header, err);
    for (unsigned i = 0; r == 0 && i < Q2_LUKS_SLOTS; i++) {
        const struct q2_luks_slot *slot = &header->slots[i];
        const uint64_t needed = slot->active ? q2_luks_slot_work(header, slot) : 0;

        if (!slot->active) {
            continue;
        }
        n_active++;
        if (needed > work->max - work->spent) {
            skipped += needed;
            continue;
        }
        work->spent += needed;
        r = try_slot(header, slot, passphrase, passphrase_bytes, read_material, ctx, a, err);
    }
    if (r == 1) {
        r = q2_cipher_create(&header->method, a->master_key, header->key_bytes, cipher_ret, err);
    } else if (r == 0 && skipped != 0) {
        r = q2_error_set(err, QCOW2_E_LIMIT,
                         "trying all LUKS key slots, those of the files before included, takes "
                         "%llu iterations, over the limit of %llu for one open",
                         (unsigned long long)(work->spent + skipped),
                         (unsigned long long)work->max);
    } else if (r == 0) {
        r = no_slot_fits(n_active, err);
    }
    ERR_pop_to_mark();
    OPENSSL_cleanse(a, sizeof *a);
    free(a);
    return r;
}
