/* SPDX-License-Identifier: MIT */
/* check_bitmaps.c - what dirty bitmaps refer to: their directory, their tables,
 * their clusters. A fault in them ends the check, as it does in QEMU: what they
 * refer to would look like leaks. */
#include "audit/check.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/bitmap.h"

enum { PIECE_ENTRIES = Q2_CHECK_PIECE_BYTES / 8 };

/* Counts the fault that the error tells of and passes its code on. */
static int broken(struct q2_check *check, int code, uint64_t host_off)
{
    if (code == QCOW2_E_CORRUPT) {
        q2_check_find_last(check, QCOW2_FINDING_CORRUPTION, host_off,
                           "the bitmaps are broken, so what they refer to cannot be told");
    }
    return code;
}

static int check_cluster(struct q2_check *check, uint64_t entry, uint64_t entry_off)
{
    uint64_t host_off;

    switch (q2_bitmap_table_decode(entry, check->layer->header.cluster_bits, &host_off)) {
    case Q2_BITMAP_STORED:
        return q2_check_reference(check, host_off, check->cluster_bytes, 1, "bitmap cluster");
    case Q2_BITMAP_INVALID:
        return q2_error_set_at(check->err, QCOW2_E_CORRUPT, entry_off,
                               "bitmap table entry 0x%016llx at 0x%llx is none that the format has",
                               (unsigned long long)entry, (unsigned long long)entry_off);
    default:
        return 0;
    }
}

static int check_table(struct q2_check *check, const struct q2_bitmap_entry *bitmap)
{
    uint64_t n_bytes = (uint64_t)bitmap->table_entries * 8, existing;
    int r;

    if ((r = q2_check_reference(check, bitmap->table_off, n_bytes, 1, "bitmap table")) < 0) {
        return r;
    }
    if (!q2_check_reachable(bitmap->table_off, n_bytes)) {
        return q2_error_set_at(check->err, QCOW2_E_CORRUPT, bitmap->table_off,
                               "bitmap table at 0x%llx lies beyond the largest file offset",
                               (unsigned long long)bitmap->table_off);
    }
    existing = q2_check_existing(check, bitmap->table_off, bitmap->table_entries);
    if ((r = q2_check_work(check, existing)) < 0) {
        return r;
    }
    for (uint64_t i = 0; i < existing; i++) {
        uint64_t in_piece = i % PIECE_ENTRIES;

        if (in_piece == 0 &&
            (r = q2_check_load(check, check->entry_bytes,
                               (size_t)q2_min_u64(existing - i, PIECE_ENTRIES) * 8,
                               bitmap->table_off + i * 8, "bitmap table", check->err)) < 0) {
            return r;
        }
        if ((r = check_cluster(check, q2_load_be64(check->entry_bytes + in_piece * 8),
                               bitmap->table_off + i * 8)) < 0) {
            return r;
        }
    }
    return 0;
}

/* The entry at host_off, its name included in what must be there. */
static int load_entry(struct q2_check *check, uint64_t host_off, uint64_t end,
                      struct q2_bitmap_entry *entry_ret)
{
    const struct q2_header *h = &check->layer->header;
    uint8_t bytes[Q2_BITMAP_FIXED_BYTES];
    int r;

    if (end - host_off >= sizeof bytes) {
        if ((r = q2_check_work(check, 1)) < 0 ||
            (r = q2_check_load(check, bytes, sizeof bytes, host_off, "bitmap directory",
                               check->err)) < 0 ||
            (r = q2_bitmap_entry_decode(bytes, sizeof bytes, host_off, h->cluster_bits,
                                        h->size_bytes & ~UINT64_C(511), entry_ret, check->err)) <
                0) {
            return r;
        }
        /* NEED_MORE is fine: only the name is missing. */
        if (entry_ret->entry_bytes <= end - host_off) {
            return 0;
        }
    }
    return q2_error_set_at(check->err, QCOW2_E_CORRUPT, host_off,
                           "bitmap directory entry at 0x%llx leaves the directory",
                           (unsigned long long)host_off);
}

static int walk_directory(struct q2_check *check)
{
    const struct q2_bitmap_directory *directory = &check->layer->bitmaps;
    uint64_t host_off = directory->host_off, end = host_off + directory->bytes;
    int r;

    for (uint32_t i = 0; i < directory->entries; i++) {
        struct q2_bitmap_entry entry = { .table_entries = 0 };

        if ((r = load_entry(check, host_off, end, &entry)) < 0 ||
            (r = check_table(check, &entry)) < 0) {
            return r;
        }
        host_off += entry.entry_bytes;
    }
    if (host_off != end) {
        return q2_error_set_at(check->err, QCOW2_E_CORRUPT, host_off,
                               "bitmap directory has %llu bytes behind its last entry",
                               (unsigned long long)(end - host_off));
    }
    return 0;
}

int q2_check_bitmaps(struct q2_check *check)
{
    const struct q2_bitmap_directory *directory = &check->layer->bitmaps;
    int r;

    if (directory->broken) {
        return broken(check,
                      q2_error_set(check->err, QCOW2_E_CORRUPT,
                                   "the bitmaps extension of the header makes no sense"),
                      0);
    }
    if (directory->entries == 0) {
        return 0;
    }
    if ((r = q2_check_reference(check, directory->host_off, directory->bytes, 1,
                                "bitmap directory")) < 0) {
        return r;
    }
    if (!q2_check_reachable(directory->host_off, directory->bytes)) {
        return broken(check,
                      q2_error_set_at(check->err, QCOW2_E_CORRUPT, directory->host_off,
                                      "bitmap directory at 0x%llx lies beyond the largest file "
                                      "offset",
                                      (unsigned long long)directory->host_off),
                      directory->host_off);
    }
    return broken(check, walk_directory(check), directory->host_off);
}
