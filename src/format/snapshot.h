/* SPDX-License-Identifier: MIT */
/* snapshot.h - one entry of the table of internal snapshots. */
#ifndef Q2_FORMAT_SNAPSHOT_H
#define Q2_FORMAT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

/* Limits beyond those of layout.h, QEMU's too: of one entry's extra data, and of the whole table with
 * each entry but the last padded to 8 bytes. */
enum { Q2_MAX_SNAPSHOT_EXTRA_BYTES = 1024 };
#define Q2_MAX_SNAPSHOT_TABLE_BYTES (UINT64_C(64) << 20)

enum {
    Q2_SNAPSHOT_FIXED_BYTES = 40, /* what every entry begins with */
    /* Version 3 wants at least this much extra data: a wide VM state size and the disk size. */
    Q2_SNAPSHOT_V3_EXTRA_BYTES = 16,
    /* No entry is longer. */
    Q2_MAX_SNAPSHOT_ENTRY_BYTES =
        Q2_SNAPSHOT_FIXED_BYTES + Q2_MAX_SNAPSHOT_EXTRA_BYTES + 2 * UINT16_MAX
};

struct q2_snapshot_entry {
    uint64_t l1_off; /* as stored: its use must check it, and l1_entries */
    uint32_t l1_entries;
    uint32_t date_seconds; /* since 1970 */
    uint32_t date_nanoseconds;
    uint64_t vm_clock_nanoseconds;
    uint64_t vm_state_bytes;
    bool has_disk_size;        /* without, the disk had the size that it has now */
    uint64_t disk_bytes;       /* 0 without */
    uint64_t icount;           /* UINT64_MAX: not recorded */
    uint32_t extra_bytes;      /* of extra data, known or not */
    uint32_t id_off, id_bytes; /* text, not terminated, from the start of the entry */
    uint32_t name_off, name_bytes;
    uint32_t entry_bytes; /* all of it, without the padding up to the next */
};

/* The entry is longer than the bytes given: call again with entry_ret->entry_bytes of them. */
#define Q2_SNAPSHOT_NEED_MORE 2

/* Decodes the entry that begins at `bytes`, of which n are there; host_off is where they lie in the
 * file. 0; Q2_SNAPSHOT_NEED_MORE, at most twice for one entry; or a code. */
int q2_snapshot_decode(const uint8_t *bytes, size_t n, uint64_t host_off,
                       struct q2_snapshot_entry *entry_ret, struct qcow2_error *err);

/* Where the entry behind one of entry_bytes at host_off begins. */
static inline uint64_t q2_snapshot_next_off(uint64_t host_off, uint32_t entry_bytes)
{
    return host_off + (((uint64_t)entry_bytes + 7) & ~UINT64_C(7));
}

#endif
