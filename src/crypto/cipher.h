/* SPDX-License-Identifier: MIT */
/* cipher.h - decryption of 512-byte sectors.
 *
 * Two objects. A q2_cipher is a method and a key: immutable, shared by all threads. A
 * q2_cipher_worker is what one thread needs to use it: expanded keys and scratch space, about
 * 7 KiB. Any number of workers may use one cipher, which must outlive them.
 *
 * A sector's number is the caller's choice of counting, which differs: method 1 images count guest
 * sectors, LUKS images count sectors of the file the data lies in (the image file, or its external
 * data file), from that file's start. */
#ifndef Q2_CRYPTO_CIPHER_H
#define Q2_CRYPTO_CIPHER_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/algorithms.h"

struct qcow2_error;
struct q2_cipher;
struct q2_cipher_worker;

/* The memory of one worker is less: 5 KiB, and three keys of libcrypto's of at most 700 bytes. */
enum { Q2_CIPHER_WORKER_BYTES = 8 * 1024 };

struct q2_cipher_method {
    enum q2_cipher_family family;
    enum q2_cipher_mode mode;
    enum q2_ivgen ivgen;
    enum q2_hash ivgen_hash; /* for essiv; otherwise without effect */
};

/* Makes a cipher; the key is copied. `key_bytes` says which variant: one of the family's key
 * lengths, or twice that for XTS.
 *
 * QCOW2_E_UNSUPPORTED: the crypto library lacks the cipher or the hash, or there is no crypto
 * library. QCOW2_E_CORRUPT: the parts do not fit each other (q2_luks_decode never lets such a method
 * through). QCOW2_E_NOMEM. */
int q2_cipher_create(const struct q2_cipher_method *method, const uint8_t *key, size_t key_bytes,
                     struct q2_cipher **cipher_ret, struct qcow2_error *err);

/* The cipher of encryption method 1: AES-128 in CBC mode, keyed with the bytes of the passphrase
 * itself, cut or zero padded to 16. Every passphrase is accepted: there is nothing to check it
 * against, and a wrong one gives noise. Sectors are numbered in the guest's disk. */
int q2_cipher_create_legacy_aes(const void *passphrase, size_t passphrase_bytes,
                                struct q2_cipher **cipher_ret, struct qcow2_error *err);

/* Wipes the key. NULL is fine. */
void q2_cipher_destroy(struct q2_cipher *cipher);

/* QCOW2_E_NOMEM. */
int q2_cipher_worker_create(const struct q2_cipher *cipher, struct q2_cipher_worker **worker_ret,
                            struct qcow2_error *err);

/* Wipes the expanded keys. NULL is fine. */
void q2_cipher_worker_destroy(struct q2_cipher_worker *worker);

/* Decrypts n_bytes at src into dst: consecutive sectors, the first of which has the number
 * first_sector. n_bytes is a multiple of 512 (0 is fine). The buffers are the same or do not
 * overlap; no alignment is asked for. The longer the call, the better: 4 KiB and up run at full
 * speed.
 *
 * QCOW2_E_NOMEM is the only failure, should the crypto library give up; dst is unspecified then and
 * the worker can be used again. */
int q2_cipher_decrypt(struct q2_cipher_worker *worker, uint8_t *dst, const uint8_t *src,
                      size_t n_bytes, uint64_t first_sector, struct qcow2_error *err);

#endif
