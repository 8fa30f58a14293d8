/* SPDX-License-Identifier: MIT */
/* header_v1.h - the header of version 1, the format before qcow2. */
#ifndef Q2_FORMAT_HEADER_V1_H
#define Q2_FORMAT_HEADER_V1_H

#include <stddef.h>

#include "format/header.h"

/* Decodes the first n bytes of a version 1 file (48 are enough) into what it has in common with the later
 * versions, and the size of an L2 table, 2^*l2_bits_ret entries, which is free here. */
int q2_header_decode_v1(const void *bytes, size_t n, struct q2_header *header_ret,
                        unsigned *l2_bits_ret, struct qcow2_error *err);

#endif
