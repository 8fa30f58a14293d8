/* SPDX-License-Identifier: MIT */
/* deflate_head.h - the first block of a deflate stream, looked at without decoding it. */
#ifndef Q2_CODEC_DEFLATE_HEAD_H
#define Q2_CODEC_DEFLATE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the code of the first block, which every encoder's is, can mean but one thing: all of its symbols
 * are ones that RFC 1951 has, and every sequence of bits is one of them. False also for the fixed code,
 * which has symbols that are reserved, and for a header that is broken or cut. */
bool q2_deflate_head_is_plain(const uint8_t *in, size_t in_bytes);

#endif
