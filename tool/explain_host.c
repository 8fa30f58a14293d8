/* SPDX-License-Identifier: MIT */
/* explain_host.c - what in an image refers to a byte of its file.
 * Knows the parts that the library tells of: headers, tables, extents; and the two tables of plain
 * numbers it does not list, the refcount table and the bitmap directory. */
#include "explain_print.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "keys.h"
#include "open.h"
#include "place.h"
#include "report.h"
#include "text.h"

/* An image whose tables all point at one place would have no end. */
#define USES_MAX 1000

#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)

struct host {
    struct qcow2_info info;
    int fd;
    uint64_t offset;
    uint64_t count;
    json_t *list; /* NULL: lines are printed */
    bool failed;
};

/* Tells one use. The guest offset of UINT64_MAX: it is not one of disk. `of`: NULL, the live disk, or
 * words for another. */
__attribute__((format(printf, 5, 6))) static void use(struct host *host, const char *what,
                                                      uint64_t guest_off, const char *of,
                                                      const char *format, ...)
{
    char text[512];
    json_t *entry;
    va_list args;

    host->count++;
    if (host->count > USES_MAX) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (host->list == NULL) {
        text_put(stdout, text);
        if (of != NULL) {
            fputs(", of ", stdout);
            text_put(stdout, of);
        }
        putchar('\n');
        return;
    }
    entry = json_object();
    json_set(entry, "what", json_string(what), &host->failed);
    if (guest_off != UINT64_MAX) {
        json_set(entry, "guest-offset", json_u64(guest_off), &host->failed);
    }
    if (of != NULL) {
        json_set(entry, "of", json_text(of), &host->failed);
    }
    json_set(entry, "text", json_text(text), &host->failed);
    json_append(host->list, entry, &host->failed);
}

static bool within(uint64_t offset, uint64_t start, uint64_t bytes)
{
    return offset >= start && offset - start < bytes;
}

static uint64_t load_be(const void *bytes, int count)
{
    const unsigned char *p = bytes;
    uint64_t value = 0;

    for (int i = 0; i < count; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

/* ---- the parts of the file itself ---- */

static void look_at_header(struct host *host, const struct qcow2_image *image)
{
    struct qcow2_extension extension;
    uint64_t cursor = 0;

    if (host->offset < host->info.header_length) {
        use(host, "header", UINT64_MAX, NULL, "the header: byte %" PRIu64 " of %" PRIu32,
            host->offset, host->info.header_length);
    }
    while (qcow2_next_extension(image, 0, &cursor, &extension, NULL) == 1) {
        if (within(host->offset, extension.host_offset, extension.length)) {
            use(host, "header-extension", UINT64_MAX, NULL, "the header extension \"%s\"",
                extension.name != NULL ? extension.name : "of unknown type");
        }
        /* Directory of the bitmaps: count, reserved, bytes, offset. */
        if (extension.type == 0x23852875 && extension.length >= 24) {
            const unsigned char *data = extension.data;

            if (within(host->offset, load_be(data + 16, 8), load_be(data + 8, 8))) {
                use(host, "bitmap-directory", UINT64_MAX, NULL, "the directory of the bitmaps");
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
            if (*cluster_ret != 0 && within(host->offset, *cluster_ret, host->info.cluster_size)) {
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

    if (within(host->offset, info->refcount_table_offset, bytes)) {
        use(host, "refcount-table", UINT64_MAX, NULL, "the refcount table: entry %" PRIu64,
            (host->offset - info->refcount_table_offset) / 8);
    }
    while (find_in_table(host, info->refcount_table_offset, bytes / 8, ~UINT64_C(511), &index,
                         &block)) {
        uint64_t number = index * counted + (host->offset - block) * 8 / info->refcount_bits;

        use(host, "refcount-block", UINT64_MAX, NULL,
            "a refcount block: the refcount of host cluster %" PRIu64 ", at 0x%" PRIx64, number,
            number * info->cluster_size);
        index++;
    }
}

static void look_at_bitmaps(struct host *host, const struct qcow2_image *image)
{
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0;

    while (qcow2_next_bitmap(image, &cursor, &bitmap, NULL) == 1) {
        uint64_t index = 0;
        uint64_t cluster;

        if (within(host->offset, bitmap.table_offset, (uint64_t)bitmap.table_entries * 8)) {
            use(host, "bitmap-table", UINT64_MAX, NULL,
                "the table of the bitmap \"%s\": entry %" PRIu64, bitmap.name,
                (host->offset - bitmap.table_offset) / 8);
        }
        if (find_in_table(host, bitmap.table_offset, bitmap.table_entries, OFFSET_MASK, &index,
                          &cluster)) {
            use(host, "bitmap", UINT64_MAX, NULL, "bits of the bitmap \"%s\"", bitmap.name);
        }
    }
}

static void look_at_the_rest(struct host *host, const struct qcow2_image *image)
{
    struct qcow2_luks_info luks = QCOW2_LUKS_INFO_INIT;

    if (qcow2_get_luks_info(image, 0, &luks, NULL) == 0 &&
        within(host->offset, luks.header_offset, luks.header_length)) {
        use(host, "luks-header", UINT64_MAX, NULL, "the LUKS header and its key material");
    }
    /* How long the table is only its reader knows; where it begins is certain. */
    if (host->info.snapshot_count > 0 &&
        host->offset / host->info.cluster_size ==
            host->info.snapshots_offset / host->info.cluster_size) {
        use(host, "snapshot-table", UINT64_MAX, NULL,
            "the cluster in which the snapshot table begins");
    }
}

/* ---- one disk: the live one, or a snapshot's ---- */

/* The L1 table, and the L2 tables that it names. */
static void look_at_tables(struct host *host, struct qcow2_image *image, const char *of)
{
    const struct qcow2_info *info = &host->info;
    uint64_t entry_bytes =
        (info->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0 ? 16 : 8;
    uint64_t span = info->cluster_size / entry_bytes * info->cluster_size;
    uint64_t size = qcow2_size(image);

    for (uint64_t guest_off = 0; guest_off < size; guest_off += span) {
        struct qcow2_explanation step;
        uint64_t cursor = 0;
        uint64_t table;

        if (qcow2_next_explanation(image, guest_off, &cursor, &step, NULL) != 1 ||
            step.l1_offset == UINT64_MAX) {
            continue;
        }
        if (within(host->offset, step.l1_offset, 8)) {
            use(host, "l1-table", guest_off, of,
                "the L1 table: entry %" PRIu64 ", which maps the disk from 0x%" PRIx64 " on",
                step.l1_index, guest_off);
        }
        table = step.l1_entry & OFFSET_MASK;
        if (table != 0 && within(host->offset, table, info->cluster_size)) {
            uint64_t index = (host->offset - table) / entry_bytes;

            use(host, "l2-table", guest_off + index * info->cluster_size, of,
                "an L2 table (L1 entry %" PRIu64 "): entry %" PRIu64
                ", which maps the disk from 0x%" PRIx64 " on",
                step.l1_index, index, guest_off + index * info->cluster_size);
        }
        if (size - guest_off <= span) {
            break;
        }
    }
}

/* How much of the file a compressed extent may use. */
static uint64_t stream_bytes(struct qcow2_image *image, uint64_t guest_off)
{
    struct qcow2_explanation step;
    uint64_t cursor = 0;

    return qcow2_next_explanation(image, guest_off, &cursor, &step, NULL) == 1
               ? step.compressed_bytes
               : 0;
}

static int look_at_extents(struct host *host, struct qcow2_image *image, const char *of,
                           struct qcow2_error *err)
{
    const char *where = (host->info.incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0
                            ? "in the data file, at the same offset: "
                            : "";
    struct qcow2_extent extent;
    uint64_t cursor = 0;
    int r;

    while ((r = qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, err)) == 1 &&
           host->count <= USES_MAX) {
        if (extent.kind == QCOW2_EXTENT_COMPRESSED) {
            if (host->offset >= extent.stream_offset &&
                host->offset - extent.stream_offset < 2 * (uint64_t)host->info.cluster_size &&
                within(host->offset, extent.stream_offset, stream_bytes(image, extent.offset))) {
                use(host, "compressed", extent.offset, of,
                    "compressed data: the cluster at 0x%" PRIx64
                    " of the disk (its stream begins at "
                    "0x%" PRIx64 ", and may end before this byte)",
                    extent.offset, extent.stream_offset);
            }
        } else if (extent.host_offset != UINT64_MAX &&
                   within(host->offset, extent.host_offset, extent.length)) {
            uint64_t guest_off = extent.offset + (host->offset - extent.host_offset);

            use(host, extent.kind == QCOW2_EXTENT_DATA ? "data" : "set-aside", guest_off, of,
                "%s%s at 0x%" PRIx64 " of the disk", where,
                extent.kind == QCOW2_EXTENT_DATA ? "data: the byte"
                                                 : "set aside, but read as zeros: the byte",
                guest_off);
        }
    }
    return r < 0 ? r : 0;
}

static int look_at_disk(struct host *host, struct qcow2_image *image, const char *of,
                        struct qcow2_error *err)
{
    look_at_tables(host, image, of);
    return look_at_extents(host, image, of, err);
}

/* A snapshot's disk and, if it was saved, its VM state. What cannot be opened is reported and passed
 * over. */
static void look_at_snapshot(struct host *host, const char *path,
                             const struct common_options *common,
                             const struct qcow2_snapshot *snapshot)
{
    for (uint32_t state = 0; state <= (snapshot->vm_state_size > 0 ? 1U : 0U); state++) {
        struct common_options one = *common;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct qcow2_image *image;
        char of[512];

        one.snapshot = snapshot->id;
        snprintf(of, sizeof of, "%ssnapshot %s (\"%s\")", state != 0 ? "the VM state of " : "",
                 snapshot->id, snapshot->name);
        image = open_image(
            path, &one, QCOW2_OPEN_NO_BACKING | (state != 0 ? (uint32_t)QCOW2_OPEN_VM_STATE : 0));
        if (image == NULL) {
            return;
        }
        if (look_at_disk(host, image, of, &err) < 0) {
            report_library(path, &err);
        }
        qcow2_close(image);
    }
}

static void look_everywhere(struct host *host, struct qcow2_image *image, const char *path,
                            const struct common_options *common)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_snapshot snapshot;
    uint64_t cursor = 0;

    look_at_header(host, image);
    look_at_refcounts(host);
    look_at_the_rest(host, image);
    look_at_bitmaps(host, image);
    if (look_at_disk(host, image, NULL, &err) < 0) {
        report_library(path, &err);
    }
    while (host->count <= USES_MAX && qcow2_next_snapshot(image, &cursor, &snapshot, NULL) == 1) {
        look_at_snapshot(host, path, common, &snapshot);
    }
}

static int print_json(struct host *host, const char *path)
{
    json_t *object = json_object();

    json_set(object, "filename", json_text(path), &host->failed);
    json_set(object, "host-offset", json_u64(host->offset), &host->failed);
    json_set(object, "uses", host->list, &host->failed);
    json_set(object, "uses-not-listed", json_boolean(host->count > USES_MAX), &host->failed);
    return json_print(object, host->failed) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int explain_host(struct qcow2_image *image, const char *path, int fd,
                 const struct common_options *common, uint64_t offset)
{
    struct host host = { .info = QCOW2_INFO_INIT, .fd = fd, .offset = offset };
    struct qcow2_error err = QCOW2_ERROR_INIT;

    if (qcow2_get_info(image, 0, &host.info, &err) < 0) {
        report_library(path, &err);
        return EXIT_FAILURE;
    }
    if (host.info.format != QCOW2_FORMAT_QCOW2) {
        report(path, "'--host' is for qcow2 images of version 2 and 3");
        return EXIT_FAILURE;
    }
    if (common->output == OUTPUT_JSON) {
        host.list = json_array();
        if (host.list == NULL) {
            report(NULL, "out of memory");
            return EXIT_FAILURE;
        }
    } else {
        printf("byte %" PRIu64 " (0x%" PRIx64 ") of ", offset, offset);
        text_put(stdout, path);
        printf(", host cluster %" PRIu64 ":\n", offset / host.info.cluster_size);
    }
    look_everywhere(&host, image, path, common);
    if (host.list != NULL) {
        return print_json(&host, path);
    }
    if (host.count > USES_MAX) {
        printf("and more, which are not listed\n");
    } else if (host.count == 0) {
        printf("%s\n", offset >= host.info.file_size
                           ? "past the end of the file"
                           : "nothing refers to it: free, leaked, or the padding of its cluster");
    }
    return EXIT_SUCCESS;
}
