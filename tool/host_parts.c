/* SPDX-License-Identifier: MIT */
/* host_parts.c - whether a byte of the file belongs to a part of the file itself.
 * Knows the parts that the library tells of, and the two tables of plain numbers it does not list, the
 * refcount table and the bitmap directory; must not know how a use is printed. */
#include "host.h"

#include <inttypes.h>
#include <unistd.h>

/* All bitmaps may name one table, and be 65,535: what is read of tables is bounded by the sum. Those of a
 * thousand bitmaps for a disk of 1 TiB have 256 KiB. */
#define BITMAP_TABLES_MAX_BYTES (UINT64_C(256) << 20)

static uint64_t load_be(const void *bytes, int count)
{
    const unsigned char *p = bytes;
    uint64_t value = 0;

    for (int i = 0; i < count; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

static void look_at_header(struct host *host, const struct qcow2_image *image)
{
    struct qcow2_extension extension;
    uint64_t cursor = 0;

    if (host->offset < host->info.header_length) {
        host_use(host, "header", UINT64_MAX, NULL, "the header: byte %" PRIu64 " of %" PRIu32,
                 host->offset, host->info.header_length);
    }
    while (qcow2_next_extension(image, 0, &cursor, &extension, NULL) == 1) {
        if (host_within(host->offset, extension.host_offset, extension.length)) {
            host_use(host, "header-extension", UINT64_MAX, NULL, "the header extension \"%s\"",
                     extension.name != NULL ? extension.name : "of unknown type");
        }
        /* Directory of the bitmaps: count, reserved, bytes, offset. */
        if (extension.type == 0x23852875 && extension.length >= 24) {
            const unsigned char *data = extension.data;

            if (host_within(host->offset, load_be(data + 16, 8), load_be(data + 8, 8))) {
                host_use(host, "bitmap-directory", UINT64_MAX, NULL,
                         "the directory of the bitmaps");
            }
        }
    }
}

/* Looks in a table of cluster offsets, from entry *index on, for one whose cluster holds the byte. */
static bool find_in_table(const struct host *host, uint64_t table_off, uint64_t entries,
                          uint64_t mask, uint64_t *index, uint64_t *cluster_ret)
{
    unsigned char chunk[8 * 512];

    while (host->fd >= 0 && *index < entries) {
        size_t want = entries - *index < 512 ? (size_t)(entries - *index) : 512;
        ssize_t n = pread(host->fd, chunk, want * 8, (off_t)(table_off + *index * 8));

        for (ssize_t at = 0; at + 8 <= n; at += 8, (*index)++) {
            *cluster_ret = load_be(chunk + at, 8) & mask;
            if (*cluster_ret != 0 &&
                host_within(host->offset, *cluster_ret, host->info.cluster_size)) {
                return true;
            }
        }
        if (n < (ssize_t)(want * 8)) {
            break;
        }
    }
    return false;
}

static void look_at_refcounts(struct host *host)
{
    const struct qcow2_info *info = &host->info;
    uint64_t bytes = (uint64_t)info->refcount_table_clusters * info->cluster_size;
    uint64_t counted = (uint64_t)info->cluster_size * 8 / info->refcount_bits;
    uint64_t index = 0;
    uint64_t block;

    if (host_within(host->offset, info->refcount_table_offset, bytes)) {
        host_use(host, "refcount-table", UINT64_MAX, NULL, "the refcount table: entry %" PRIu64,
                 (host->offset - info->refcount_table_offset) / 8);
    }
    while (host->count <= HOST_USES_MAX &&
           find_in_table(host, info->refcount_table_offset, bytes / 8, ~UINT64_C(511), &index,
                         &block)) {
        uint64_t number = index * counted + (host->offset - block) * 8 / info->refcount_bits;

        host_use(host, "refcount-block", UINT64_MAX, NULL,
                 "a refcount block: the refcount of host cluster %" PRIu64 ", at 0x%" PRIx64,
                 number, number * info->cluster_size);
        index++;
    }
}

static void look_at_bitmaps(struct host *host, const struct qcow2_image *image)
{
    uint64_t room = BITMAP_TABLES_MAX_BYTES;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0;

    while (host->count <= HOST_USES_MAX && qcow2_next_bitmap(image, &cursor, &bitmap, NULL) == 1) {
        uint64_t table_bytes = (uint64_t)bitmap.table_entries * 8;
        uint64_t index = 0;
        uint64_t cluster;

        if (host_within(host->offset, bitmap.table_offset, table_bytes)) {
            host_use(host, "bitmap-table", UINT64_MAX, NULL,
                     "the table of the bitmap \"%s\": entry %" PRIu64, bitmap.name,
                     (host->offset - bitmap.table_offset) / 8);
        }
        if (table_bytes > room && !host->no_limit) {
            host->bitmaps_passed_over++;
            continue;
        }
        room -= table_bytes < room ? table_bytes : room;
        if (find_in_table(host, bitmap.table_offset, bitmap.table_entries, HOST_OFFSET_MASK, &index,
                          &cluster)) {
            host_use(host, "bitmap", UINT64_MAX, NULL, "bits of the bitmap \"%s\"", bitmap.name);
        }
    }
}

static void look_at_the_rest(struct host *host, const struct qcow2_image *image)
{
    struct qcow2_luks_info luks = QCOW2_LUKS_INFO_INIT;

    if (qcow2_get_luks_info(image, 0, &luks, NULL) == 0 &&
        host_within(host->offset, luks.header_offset, luks.header_length)) {
        host_use(host, "luks-header", UINT64_MAX, NULL, "the LUKS header and its key material");
    }
    /* How long the table is only its reader knows; where it begins is certain. */
    if (host->info.snapshot_count > 0 &&
        host->offset / host->info.cluster_size ==
            host->info.snapshots_offset / host->info.cluster_size) {
        host_use(host, "snapshot-table", UINT64_MAX, NULL,
                 "the cluster in which the snapshot table begins");
    }
}

void host_look_at_parts(struct host *host, const struct qcow2_image *image)
{
    look_at_header(host, image);
    look_at_refcounts(host);
    look_at_the_rest(host, image);
    look_at_bitmaps(host, image);
}
