/* SPDX-License-Identifier: MIT */
/* extension.h - header extensions: framing, and the small ones decoded. */
#ifndef Q2_FORMAT_EXTENSION_H
#define Q2_FORMAT_EXTENSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

struct q2_extension {
    uint32_t type;
    uint32_t length_bytes; /* of data */
    uint64_t data_off;     /* from the start of the file */
};

/* The walk met bytes that it was not given: call again with more. */
#define Q2_EXTENSION_NEED_MORE 2

/* Steps to the next extension. `bytes` is the start of the file, of which n bytes are there; *pos is
 * where the walk stands (the header's length at first) and `end` where the area ends.
 * 1: *ext_ret is one, with its data inside [0, end), and *pos is behind it. 0: no more.
 * Q2_EXTENSION_NEED_MORE, or a code for an extension that breaks its frame. */
int q2_extension_next(const uint8_t *bytes, size_t n, uint64_t *pos, uint64_t end,
                      struct q2_extension *ext_ret, struct qcow2_error *err);

/* What a type is called, or NULL. */
const char *q2_extension_name(uint32_t type);

enum { Q2_FEATURE_NAME_BYTES = 46, Q2_FEATURE_SETS = 3, Q2_FEATURE_BITS = 64 };

/* One entry of a feature name table. */
struct q2_feature {
    unsigned set, bit; /* as stored: may be out of range */
    const char *name;  /* not terminated */
    size_t name_bytes; /* 1 .. Q2_FEATURE_NAME_BYTES */
};

/* Steps through the data of a feature name table; *pos is 0 at first. False at the end. */
bool q2_feature_next(const uint8_t *table, size_t table_bytes, size_t *pos,
                     struct q2_feature *feature_ret);

/* The name that the format itself gives a bit, or NULL. */
const char *q2_feature_name_known(int set, int bit);

#endif
