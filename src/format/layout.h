/* SPDX-License-Identifier: MIT */
/* layout.h - where the bits are. Offsets, masks and limits of the format, drawn
 * once; every other file speaks in these names. */
#ifndef Q2_FORMAT_LAYOUT_H
#define Q2_FORMAT_LAYOUT_H

#include <stdint.h>

#define Q2_MAGIC UINT32_C(0x514649fb) /* "QFI" 0xfb */

/* Header fields, in bytes from the start of the file. Version 2 ends at 72. */
enum {
    Q2_H_MAGIC = 0,
    Q2_H_VERSION = 4,
    Q2_H_BACKING_OFFSET = 8,
    Q2_H_BACKING_SIZE = 16,
    Q2_H_CLUSTER_BITS = 20,
    Q2_H_SIZE = 24,
    Q2_H_CRYPT_METHOD = 32,
    Q2_H_L1_SIZE = 36,
    Q2_H_L1_OFFSET = 40,
    Q2_H_REFCOUNT_OFFSET = 48,
    Q2_H_REFCOUNT_CLUSTERS = 56,
    Q2_H_SNAPSHOT_COUNT = 60,
    Q2_H_SNAPSHOTS_OFFSET = 64,
    Q2_H_INCOMPATIBLE = 72,
    Q2_H_COMPATIBLE = 80,
    Q2_H_AUTOCLEAR = 88,
    Q2_H_REFCOUNT_ORDER = 96,
    Q2_H_HEADER_LENGTH = 100,
    Q2_H_COMPRESSION_TYPE = 104,
    Q2_HEADER_V2_BYTES = 72,
    Q2_HEADER_V3_BYTES = 104,
    Q2_HEADER_KNOWN_BYTES = 112
};

/* Limits. They are QEMU's: an image beyond them was not written by it, and none of them is needed. */
#define Q2_MIN_CLUSTER_BITS          9U  /* 512 bytes */
#define Q2_MAX_CLUSTER_BITS          21U /* 2 MiB */
#define Q2_MIN_EXTENDED_CLUSTER_BITS 14U /* 32 subclusters of at least 512 bytes */
#define Q2_MAX_REFCOUNT_ORDER        6U
#define Q2_MAX_L1_ENTRIES            UINT32_C(4194304) /* 32 MiB of table */
#define Q2_MAX_REFCOUNT_TABLE_BYTES  (UINT64_C(8) << 20)
#define Q2_MAX_BACKING_NAME_BYTES    1023U
#define Q2_MAX_BACKING_FORMAT_BYTES  15U
#define Q2_MAX_SNAPSHOTS             UINT32_C(65536)

/* Header extension types. */
#define Q2_EXT_END            UINT32_C(0x00000000)
#define Q2_EXT_BACKING_FORMAT UINT32_C(0xe2792aca)
#define Q2_EXT_FEATURE_NAMES  UINT32_C(0x6803f857)
#define Q2_EXT_BITMAPS        UINT32_C(0x23852875)
#define Q2_EXT_ENCRYPTION     UINT32_C(0x0537be77)
#define Q2_EXT_DATA_FILE      UINT32_C(0x44415441)

#define Q2_KNOWN_INCOMPATIBLE UINT64_C(0x1f)

/* L1 entry:  | 63 copied | 62..56 reserved | 55..9 L2 table offset | 8..0 reserved | */
/* L2 entry:  | 63 copied | 62 compressed | 61..56 reserved | 55..9 host offset | 8..1 reserved | 0 zero | */
#define Q2_OFFSET_MASK      UINT64_C(0x00fffffffffffe00)
#define Q2_ENTRY_COPIED     (UINT64_C(1) << 63)
#define Q2_ENTRY_COMPRESSED (UINT64_C(1) << 62)
#define Q2_ENTRY_ZERO       (UINT64_C(1) << 0)

/* Extended L2: a second word, bit k "subcluster k is allocated", bit 32 + k "reads as zeros". */
#define Q2_SUBCLUSTERS     32U
#define Q2_SUBCLUSTER_BITS 5U

#endif
