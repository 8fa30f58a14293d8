/* SPDX-License-Identifier: MIT */
/* algorithms.h - the ciphers, modes and hashes that a LUKS header may name, and their sizes.
 *
 * Names and numbers only: whether the crypto library can compute one of them is not known here, so
 * that a header can be described even where its data cannot be read. Names are case sensitive, as
 * they are in QEMU. */
#ifndef Q2_CRYPTO_ALGORITHMS_H
#define Q2_CRYPTO_ALGORITHMS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    Q2_CRYPTO_SECTOR_BYTES = 512, /* the unit of encryption, whatever the cluster size */
    Q2_CRYPTO_MAX_BLOCK_BYTES = 16,
    Q2_CRYPTO_MAX_DIGEST_BYTES = 64,
    /* The longest key of any cipher below is 32 bytes, and XTS takes two of them. */
    Q2_CRYPTO_MAX_KEY_BYTES = 64
};

enum q2_cipher_family {
    Q2_CIPHER_AES,
    Q2_CIPHER_SERPENT,
    Q2_CIPHER_TWOFISH,
    Q2_CIPHER_CAST5,
    Q2_CIPHER_SM4
};

enum q2_cipher_mode { Q2_MODE_ECB, Q2_MODE_CBC, Q2_MODE_XTS, Q2_MODE_CTR };

/* How the initial vector of a sector is made from its number. */
enum q2_ivgen {
    Q2_IVGEN_PLAIN,   /* the low 32 bits, little endian */
    Q2_IVGEN_PLAIN64, /* all 64 bits, little endian */
    Q2_IVGEN_ESSIV    /* the plain64 block, encrypted under a hash of the key */
};

enum q2_hash {
    Q2_HASH_NONE,
    Q2_HASH_MD5,
    Q2_HASH_SHA1,
    Q2_HASH_SHA224,
    Q2_HASH_SHA256,
    Q2_HASH_SHA384,
    Q2_HASH_SHA512,
    Q2_HASH_RIPEMD160,
    Q2_HASH_SM3
};

/* Each returns false, with *ret untouched, for a name that is not in the tables. */
bool q2_cipher_family_from_name(const char *name, enum q2_cipher_family *ret);
bool q2_cipher_mode_from_name(const char *name, enum q2_cipher_mode *ret);
bool q2_ivgen_from_name(const char *name, enum q2_ivgen *ret);
bool q2_hash_from_name(const char *name, enum q2_hash *ret);

/* The names again; static storage. The name of Q2_HASH_NONE is NULL. */
const char *q2_cipher_family_name(enum q2_cipher_family family);
const char *q2_cipher_mode_name(enum q2_cipher_mode mode);
const char *q2_ivgen_name(enum q2_ivgen ivgen);
const char *q2_hash_name(enum q2_hash hash);

/* Whether the family has a variant whose key is `key_bytes` long (one key: half of an XTS key). */
bool q2_cipher_family_has_key(enum q2_cipher_family family, size_t key_bytes);

size_t q2_cipher_family_block_bytes(enum q2_cipher_family family);

/* 0 for Q2_HASH_NONE. */
size_t q2_hash_digest_bytes(enum q2_hash hash);

#endif
