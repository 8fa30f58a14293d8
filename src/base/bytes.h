/* SPDX-License-Identifier: MIT */
/* bytes.h - numbers out of bytes. Everything in a qcow2 file is big-endian and
 * may stand at any address, so nothing is ever read through a cast pointer. */
#ifndef Q2_BASE_BYTES_H
#define Q2_BASE_BYTES_H

#include <stdint.h>

static inline uint16_t q2_load_be16(const void *bytes)
{
    const uint8_t *b = bytes;

    return (uint16_t)((unsigned)b[0] << 8 | b[1]);
}

static inline uint32_t q2_load_be32(const void *bytes)
{
    const uint8_t *b = bytes;

    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Compilers turn this into one load and a byte swap. */
static inline uint64_t q2_load_be64(const void *bytes)
{
    const uint8_t *b = bytes;

    return (uint64_t)b[0] << 56 | (uint64_t)b[1] << 48 | (uint64_t)b[2] << 40 |
           (uint64_t)b[3] << 32 | (uint64_t)b[4] << 24 | (uint64_t)b[5] << 16 |
           (uint64_t)b[6] << 8 | b[7];
}

static inline uint32_t q2_load_le32(const void *bytes)
{
    const uint8_t *b = bytes;

    return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

#endif
