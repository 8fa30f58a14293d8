/* SPDX-License-Identifier: MIT */
/* luks.h - the LUKS version 1 header inside an encrypted image, and opening it with a passphrase.
 *
 * No I/O: the header comes as bytes, key material through a callback. All offsets here are relative
 * to the start of the LUKS header, whose place in the file is the caller's business.
 * Specification: LUKS On-Disk Format 1.x, with the stricter checks that QEMU makes. */
#ifndef Q2_CRYPTO_LUKS_H
#define Q2_CRYPTO_LUKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/algorithms.h"
#include "crypto/cipher.h"

struct qcow2_error;

enum {
    Q2_LUKS_HEADER_BYTES = 592, /* 208 and eight slots of 48 */
    Q2_LUKS_SLOTS = 8,
    Q2_LUKS_STRIPES = 4000, /* the only number that is ever written */
    /* The work of merging them, in iterations of PBKDF2: for a key of 64 bytes and SHA-256, 5 ms, where an
     * iteration takes 90 ns, rounded. */
    Q2_LUKS_MERGE_WORK = 4 * Q2_LUKS_STRIPES,
    Q2_LUKS_SALT_BYTES = 32,
    Q2_LUKS_DIGEST_BYTES = 20, /* whatever the hash */
    /* 64 key bytes times 4000 stripes; a multiple of 512 as it is. */
    Q2_LUKS_MAX_MATERIAL_BYTES = 256000,
    /* What cryptsetup takes from a key file at most; hashing it costs nothing beside the rest. */
    Q2_LUKS_MAX_PASSPHRASE_BYTES = 8 * 1024 * 1024
};

/* The work of trying passphrases, counted by q2_luks_slot_work. One such budget serves all headers of a
 * backing chain: a limit for each header would be multiplied by the number of files, which the image
 * chooses too. */
struct q2_luks_work {
    uint64_t max;
    uint64_t spent; /* at most max */
};

struct q2_luks_slot {
    bool active;
    uint32_t iterations; /* at least 1 if active, anything otherwise */
    uint32_t stripes;    /* Q2_LUKS_STRIPES */
    uint64_t material_off;
    uint8_t salt[Q2_LUKS_SALT_BYTES];
};

struct q2_luks_header {
    struct q2_cipher_method method;
    enum q2_hash hash;          /* of the key derivation; never Q2_HASH_NONE */
    char cipher_alg[16];        /* the cipher's name with its key length, such as "aes-256" */
    size_t key_bytes;           /* 16 to Q2_CRYPTO_MAX_KEY_BYTES */
    uint64_t payload_off;       /* says nothing about where qcow2 data is; at least 4096 */
    uint32_t digest_iterations; /* at least 1 */
    uint8_t digest[Q2_LUKS_DIGEST_BYTES];
    uint8_t digest_salt[Q2_LUKS_SALT_BYTES];
    char uuid[41]; /* untrusted text, terminated */
    struct q2_luks_slot slots[Q2_LUKS_SLOTS];
};

/* Reads a header from the first n bytes of it and checks every field, those of inactive slots
 * included. Needs no crypto library: a header can be shown where its data cannot be read.
 *
 * QCOW2_E_TRUNCATED (fewer than Q2_LUKS_HEADER_BYTES), QCOW2_E_CORRUPT, QCOW2_E_UNSUPPORTED (another
 * version; a cipher, mode, IV generator or hash of an unknown name). *header_ret is unspecified
 * then. */
int q2_luks_decode(const uint8_t *bytes, size_t n, struct q2_luks_header *header_ret,
                   struct qcow2_error *err);

/* How many bytes q2_luks_unlock reads at a slot's material_off: a multiple of 512. */
size_t q2_luks_material_bytes(const struct q2_luks_header *header);

/* Reads exactly `count` bytes at `off`, relative to the LUKS header, into `buf`. Returns 0, or a code
 * with *err filled. The range comes from an image: `off` can be as large as 2 TiB, and whether it is
 * inside the region set aside for the header is for the callee to check. */
typedef int q2_luks_read_material(void *ctx, uint8_t *buf, size_t count, uint64_t off,
                                  struct qcow2_error *err);

/* Tries the passphrase on each active slot in turn; the first that fits gives the cipher for the
 * image's data. Nothing of the passphrase or the keys is left in memory but inside that cipher.
 *
 * Each slot that is tried adds its work to work->spent, which never exceeds work->max. A slot that would
 * take more than is left is skipped, so that it cannot keep the others from being opened.
 *
 * QCOW2_E_KEY: the passphrase fits no slot, or none is active. QCOW2_E_LIMIT: it fits none that was tried, and
 * at least one was skipped. QCOW2_E_UNSUPPORTED: no crypto
 * library, or it lacks the cipher or hash. QCOW2_E_ARGUMENT: the passphrase is longer than
 * Q2_LUKS_MAX_PASSPHRASE_BYTES. QCOW2_E_NOMEM, and whatever the callback returns. */
int q2_luks_unlock(const struct q2_luks_header *header, const void *passphrase,
                   size_t passphrase_bytes, q2_luks_read_material *read_material, void *ctx,
                   struct q2_luks_work *work, struct q2_cipher **cipher_ret,
                   struct qcow2_error *err);

/* The work of trying a passphrase on a slot: the sum, over the slot's key and the digest of the master key,
 * of iterations of PBKDF2 times the number of digests that make up the result. Merging the stripes of a slot counts as
 * 16,000 iterations for its key. Four times that for all hashes but SHA-1 and
 * SHA-256, which are faster by about that factor. */
uint64_t q2_luks_slot_work(const struct q2_luks_header *header, const struct q2_luks_slot *slot);

#endif
