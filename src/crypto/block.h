/* SPDX-License-Identifier: MIT */
/* block.h - a bare block cipher: blocks in, blocks out, no chaining.
 *
 * All that is asked of a crypto library when it comes to ciphers. The modes are built on top, in
 * cipher.c, because the library's own cost a context reset for each sector, which takes longer than
 * decrypting it. */
#ifndef Q2_CRYPTO_BLOCK_H
#define Q2_CRYPTO_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/algorithms.h"

struct qcow2_error;

/* An algorithm with a key length, looked up once. Immutable, shared by threads. */
struct q2_block;

/* QCOW2_E_UNSUPPORTED when the crypto library lacks it (the message names it), QCOW2_E_NOMEM. */
int q2_block_create(enum q2_cipher_family family, size_t key_bytes, struct q2_block **block_ret,
                    struct qcow2_error *err);
void q2_block_destroy(struct q2_block *block);

enum q2_block_direction { Q2_BLOCK_DECRYPT = 0, Q2_BLOCK_ENCRYPT = 1 };

/* An expanded key for one direction. Used by one thread at a time; the block must outlive it. */
struct q2_block_key;

int q2_block_key_create(const struct q2_block *block, const uint8_t *key,
                        enum q2_block_direction direction, struct q2_block_key **key_ret,
                        struct qcow2_error *err);
void q2_block_key_destroy(struct q2_block_key *key);

/* Each block of src on its own into dst; n_bytes is a multiple of the block size, at most 64 KiB.
 * The buffers are the same or do not overlap. 0, or QCOW2_E_NOMEM. */
int q2_block_run(struct q2_block_key *key, uint8_t *dst, const uint8_t *src, size_t n_bytes);

#endif
