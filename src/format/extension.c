/* SPDX-License-Identifier: MIT */
/* extension.c - header extensions: bytes in, places out. No reads, no memory. */
#include "format/extension.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "format/layout.h"

int q2_extension_next(const uint8_t *bytes, size_t n, uint64_t *pos, uint64_t end,
                      struct q2_extension *ext_ret, struct qcow2_error *err)
{
    uint64_t at = *pos;
    uint32_t type, length;

    /* The padding of the last extension may step past the end of the area. */
    if (at >= end) {
        return 0;
    }
    if (end - at < 8) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, at,
                               "header extension at 0x%llx: %llu stray bytes before the end of the "
                               "extension area",
                               (unsigned long long)at, (unsigned long long)(end - at));
    }
    if (at + 8 > n) {
        return Q2_EXTENSION_NEED_MORE;
    }
    type = q2_load_be32(bytes + at);
    length = q2_load_be32(bytes + at + 4);
    /* Before the type is looked at: an end marker with an absurd length is refused too. */
    if (length > end - (at + 8)) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, at,
                               "header extension 0x%08lx at 0x%llx: its %lu bytes leave the "
                               "extension area",
                               (unsigned long)type, (unsigned long long)at, (unsigned long)length);
    }
    if (type == Q2_EXT_END) {
        return 0;
    }
    if (at + 8 + length > n) {
        return Q2_EXTENSION_NEED_MORE;
    }
    *ext_ret = (struct q2_extension){ .type = type, .length_bytes = length, .data_off = at + 8 };
    /* Padded to 8 bytes counted from the data, wherever that starts. */
    *pos = at + 8 + (((uint64_t)length + 7) & ~UINT64_C(7));
    return 1;
}

const char *q2_extension_name(uint32_t type)
{
    switch (type) {
    case Q2_EXT_BACKING_FORMAT:
        return "backing file format";
    case Q2_EXT_FEATURE_NAMES:
        return "feature name table";
    case Q2_EXT_BITMAPS:
        return "bitmaps";
    case Q2_EXT_ENCRYPTION:
        return "encryption header";
    case Q2_EXT_DATA_FILE:
        return "external data file name";
    default:
        return NULL;
    }
}

/* An entry: which set (1 byte), which bit (1 byte), a name padded with zeros (46 bytes). The last one may
 * be cut short, which counts as more padding; an empty name ends the table. */
bool q2_feature_next(const uint8_t *table, size_t table_bytes, size_t *pos,
                     struct q2_feature *feature_ret)
{
    size_t at = *pos, room;

    if (at >= table_bytes || table_bytes - at <= 2) {
        return false;
    }
    room = table_bytes - at - 2;
    *feature_ret = (struct q2_feature){
        .set = table[at],
        .bit = table[at + 1],
        .name = (const char *)table + at + 2,
        .name_bytes = strnlen((const char *)table + at + 2,
                              room < Q2_FEATURE_NAME_BYTES ? room : Q2_FEATURE_NAME_BYTES),
    };
    *pos = at + 2 + Q2_FEATURE_NAME_BYTES;
    return feature_ret->name_bytes > 0;
}

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

const char *q2_feature_name_known(int set, int bit)
{
    static const char *const incompatible[] = { "dirty bit", "corrupt bit", "external data file",
                                                "compression type", "extended L2 entries" };
    static const char *const autoclear[] = { "bitmaps", "raw external data" };

    if (bit < 0) {
        return NULL;
    }
    switch (set) {
    case QCOW2_FEATURES_INCOMPATIBLE:
        return bit < COUNT_OF(incompatible) ? incompatible[bit] : NULL;
    case QCOW2_FEATURES_COMPATIBLE:
        return bit == 0 ? "lazy refcounts" : NULL;
    case QCOW2_FEATURES_AUTOCLEAR:
        return bit < COUNT_OF(autoclear) ? autoclear[bit] : NULL;
    default:
        return NULL;
    }
}
