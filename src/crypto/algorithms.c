/* SPDX-License-Identifier: MIT */
/* algorithms.c - the tables behind algorithms.h. Knows names and sizes, computes nothing. */
#include "crypto/algorithms.h"

#include <string.h>

/* The key lengths are those of QEMU's cipher tables, not of the algorithms' definitions: CAST5, for
 * one, could take shorter keys, but nothing writes them. */
static const struct {
    const char *name;
    size_t block_bytes;
    size_t min_key_bytes;
    size_t max_key_bytes; /* in steps of 8 from the minimum */
} families[] = {
    [Q2_CIPHER_AES] = { "aes", 16, 16, 32 },
    [Q2_CIPHER_SERPENT] = { "serpent", 16, 16, 32 },
    [Q2_CIPHER_TWOFISH] = { "twofish", 16, 16, 32 },
    [Q2_CIPHER_CAST5] = { "cast5", 8, 16, 16 },
    [Q2_CIPHER_SM4] = { "sm4", 16, 16, 16 },
};

static const char *const modes[] = {
    [Q2_MODE_ECB] = "ecb",
    [Q2_MODE_CBC] = "cbc",
    [Q2_MODE_XTS] = "xts",
    [Q2_MODE_CTR] = "ctr",
};

static const char *const ivgens[] = {
    [Q2_IVGEN_PLAIN] = "plain",
    [Q2_IVGEN_PLAIN64] = "plain64",
    [Q2_IVGEN_ESSIV] = "essiv",
};

static const struct {
    const char *name;
    size_t digest_bytes;
} hashes[] = {
    [Q2_HASH_NONE] = { NULL, 0 },        [Q2_HASH_MD5] = { "md5", 16 },
    [Q2_HASH_SHA1] = { "sha1", 20 },     [Q2_HASH_SHA224] = { "sha224", 28 },
    [Q2_HASH_SHA256] = { "sha256", 32 }, [Q2_HASH_SHA384] = { "sha384", 48 },
    [Q2_HASH_SHA512] = { "sha512", 64 }, [Q2_HASH_RIPEMD160] = { "ripemd160", 20 },
    [Q2_HASH_SM3] = { "sm3", 32 },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bool q2_cipher_family_from_name(const char *name, enum q2_cipher_family *ret)
{
    for (size_t i = 0; i < COUNT(families); i++) {
        if (strcmp(families[i].name, name) == 0) {
            *ret = (enum q2_cipher_family)i;
            return true;
        }
    }
    return false;
}

bool q2_cipher_mode_from_name(const char *name, enum q2_cipher_mode *ret)
{
    for (size_t i = 0; i < COUNT(modes); i++) {
        if (strcmp(modes[i], name) == 0) {
            *ret = (enum q2_cipher_mode)i;
            return true;
        }
    }
    return false;
}

bool q2_ivgen_from_name(const char *name, enum q2_ivgen *ret)
{
    for (size_t i = 0; i < COUNT(ivgens); i++) {
        if (strcmp(ivgens[i], name) == 0) {
            *ret = (enum q2_ivgen)i;
            return true;
        }
    }
    return false;
}

bool q2_hash_from_name(const char *name, enum q2_hash *ret)
{
    for (size_t i = Q2_HASH_NONE + 1; i < COUNT(hashes); i++) {
        if (strcmp(hashes[i].name, name) == 0) {
            *ret = (enum q2_hash)i;
            return true;
        }
    }
    return false;
}

const char *q2_cipher_family_name(enum q2_cipher_family family)
{
    return families[family].name;
}

const char *q2_cipher_mode_name(enum q2_cipher_mode mode)
{
    return modes[mode];
}

const char *q2_ivgen_name(enum q2_ivgen ivgen)
{
    return ivgens[ivgen];
}

const char *q2_hash_name(enum q2_hash hash)
{
    return hashes[hash].name;
}

bool q2_cipher_family_has_key(enum q2_cipher_family family, size_t key_bytes)
{
    return key_bytes >= families[family].min_key_bytes &&
           key_bytes <= families[family].max_key_bytes && key_bytes % 8 == 0;
}

size_t q2_cipher_family_block_bytes(enum q2_cipher_family family)
{
    return families[family].block_bytes;
}

size_t q2_hash_digest_bytes(enum q2_hash hash)
{
    return hashes[hash].digest_bytes;
}
