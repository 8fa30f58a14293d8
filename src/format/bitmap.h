/* SPDX-License-Identifier: MIT */
/* bitmap.h - dirty bitmaps: an entry of their directory, an entry of their table. */
#ifndef Q2_FORMAT_BITMAP_H
#define Q2_FORMAT_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

/* Limits, all QEMU's. */
enum {
    Q2_MAX_BITMAPS = 65535,
    Q2_MAX_BITMAP_NAME_BYTES = 1023,
    Q2_MIN_BITMAP_GRANULARITY_BITS = 9,
    Q2_MAX_BITMAP_GRANULARITY_BITS = 31
};
#define Q2_MAX_BITMAP_DIRECTORY_BYTES (UINT64_C(65535) * 1024)
#define Q2_MAX_BITMAP_TABLE_ENTRIES   (UINT32_C(1) << 27)
#define Q2_MAX_BITMAP_BYTES           (UINT64_C(512) << 20) /* all clusters of one bitmap */

enum { Q2_BITMAP_FIXED_BYTES = 24 }; /* what every directory entry begins with */

struct q2_bitmap_entry {
    uint64_t table_off; /* a cluster's start, never 0 */
    uint32_t table_entries;
    bool in_use; /* not closed properly: the content means nothing */
    bool automatic;
    unsigned granularity_bits; /* bytes of disk to a bit, as a power of two */
    uint32_t name_off;         /* text, not terminated, from the start of the entry */
    uint32_t name_bytes;
    uint32_t entry_bytes; /* with the padding: the next one begins there */
};

/* The entry is longer than the bytes given: call again with entry_ret->entry_bytes of them. */
#define Q2_BITMAP_NEED_MORE 2

/* Decodes the directory entry that begins at `bytes`, of which n are there; host_off is where they lie
 * in the file. disk_bytes is the size of the disk as it is shown, cluster_bits the image's: a bitmap
 * that is not in use must have just the table that the disk needs. 0; Q2_BITMAP_NEED_MORE, at most
 * twice for one entry; or a code. */
int q2_bitmap_entry_decode(const uint8_t *bytes, size_t n, uint64_t host_off, unsigned cluster_bits,
                           uint64_t disk_bytes, struct q2_bitmap_entry *entry_ret,
                           struct qcow2_error *err);

/* How many entries the table of a bitmap over disk_bytes has. granularity_bits is within the limits. */
uint64_t q2_bitmap_table_entries(uint64_t disk_bytes, unsigned granularity_bits,
                                 unsigned cluster_bits);

/* What a table entry says about its cluster of bits. */
enum q2_bitmap_cluster {
    Q2_BITMAP_ALL_ZEROS,
    Q2_BITMAP_ALL_ONES,
    Q2_BITMAP_STORED, /* at *host_off_ret */
    Q2_BITMAP_INVALID /* reserved bits, ones with an offset, or an offset inside a cluster */
};

/* *host_off_ret is 0 unless STORED. */
enum q2_bitmap_cluster q2_bitmap_table_decode(uint64_t entry, unsigned cluster_bits,
                                              uint64_t *host_off_ret);

#endif
