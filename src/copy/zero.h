/* SPDX-License-Identifier: MIT */
/* zero.h - finding zeros in memory. Bytes in, lengths out; knows nothing else. */
#ifndef Q2_COPY_ZERO_H
#define Q2_COPY_ZERO_H

#include <stdbool.h>
#include <stddef.h>

enum { Q2_ZERO_BYTES = 65536 };

/* Zeros to write, for those who cannot leave them out. */
extern const unsigned char q2_zero_bytes[Q2_ZERO_BYTES];

/* Whether all of `bytes` bytes are zero. True for none. */
bool q2_zero_all(const void *buf, size_t bytes);

/* Cuts the buffer into blocks of `block_bytes`, the first of them `first_bytes` long (at least 1,
 * so that blocks can lie where a file system has its own), and returns the length of the run of
 * blocks at its start that are alike: all zero, or all not. *zero_ret says which. `bytes` > 0. */
size_t q2_zero_run(const void *buf, size_t bytes, size_t first_bytes, size_t block_bytes,
                   bool *zero_ret);

#endif
