/* SPDX-License-Identifier: MIT */
/* host_disks.c - whether a byte of the file belongs to a disk: the live one, or a snapshot's.
 * Knows tables and extents as the library tells of them; must not know how a use is printed. */
#include "host.h"

#include <inttypes.h>
#include <stdio.h>

#include "open.h"
#include "report.h"

/* So many snapshots are looked at. Each is opened by its index, for which the table is read from the
 * start: where it is longer than this, as many as keep the entries that are read within a bound, which
 * would else grow with the square of their number. */
#define SNAPSHOTS_MAX 1024
#define SEARCHED_MAX  ((uint64_t)SNAPSHOTS_MAX * SNAPSHOTS_MAX)

/* One L1 entry, and the L2 table that it names. */
static void look_at_entry(struct host *host, const struct qcow2_explanation *step,
                          uint64_t guest_off, uint64_t entry_bytes, const char *of)
{
    uint64_t table = step->l1_entry & HOST_OFFSET_MASK;

    if (host_within(host->offset, step->l1_offset, 8)) {
        host_use(host, "l1-table", guest_off, of,
                 "the L1 table: entry %" PRIu64 ", which maps the disk from 0x%" PRIx64 " on",
                 step->l1_index, guest_off);
    }
    if (table != 0 && host_within(host->offset, table, host->info.cluster_size)) {
        uint64_t index = (host->offset - table) / entry_bytes;
        uint64_t mapped = guest_off + index * host->info.cluster_size;

        host_use(host, "l2-table", mapped, of,
                 "an L2 table (L1 entry %" PRIu64 "): entry %" PRIu64
                 ", which maps the disk from 0x%" PRIx64 " on",
                 step->l1_index, index, mapped);
    }
}

/* The L1 table, and the L2 tables that it names. A snapshot's table may be much shorter than its disk,
 * whose size is no more than the image's word: what ends this are the entries that exist. */
static void look_at_tables(struct host *host, struct qcow2_image *image, const char *of)
{
    const struct qcow2_info *info = &host->info;
    uint64_t entry_bytes =
        (info->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0 ? 16 : 8;
    uint64_t span = info->cluster_size / entry_bytes * info->cluster_size;
    uint64_t size = qcow2_size(image);
    uint64_t guest_off = 0;

    while (guest_off < size && host->count <= HOST_USES_MAX) {
        struct qcow2_explanation step;
        uint64_t cursor = 0;
        int r = qcow2_next_explanation(image, guest_off, &cursor, &step, NULL);

        if (r == 1 && step.l1_offset == UINT64_MAX) {
            return;
        }
        if (r == 1) {
            look_at_entry(host, &step, guest_off, entry_bytes, of);
        } else if (r != QCOW2_E_CORRUPT && r != QCOW2_E_TRUNCATED && r != QCOW2_E_IO) {
            return; /* not the fault of this entry, so the others would fail too, without end */
        }
        if (size - guest_off <= span) {
            return;
        }
        guest_off += span;
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
           host->count <= HOST_USES_MAX) {
        if (extent.kind == QCOW2_EXTENT_COMPRESSED) {
            if (host->offset >= extent.stream_offset &&
                host->offset - extent.stream_offset < 2 * (uint64_t)host->info.cluster_size &&
                host_within(host->offset, extent.stream_offset,
                            stream_bytes(image, extent.offset))) {
                host_use(host, "compressed", extent.offset, of,
                         "compressed data: the cluster at 0x%" PRIx64
                         " of the disk (its stream begins at "
                         "0x%" PRIx64 ", and may end before this byte)",
                         extent.offset, extent.stream_offset);
            }
        } else if (extent.host_offset != UINT64_MAX &&
                   host_within(host->offset, extent.host_offset, extent.length)) {
            uint64_t guest_off = extent.offset + (host->offset - extent.host_offset);

            host_use(host, extent.kind == QCOW2_EXTENT_DATA ? "data" : "set-aside", guest_off, of,
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

/* A snapshot's disk and, if it was saved, its VM state. What cannot be opened or read to its end is
 * reported; false then. By index: of several with one id, the id opens the first. */
static bool look_at_snapshot(struct host *host, const char *path,
                             const struct common_options *common, uint32_t index,
                             const struct qcow2_snapshot *snapshot)
{
    bool whole = true;

    for (uint32_t state = 0; state <= (snapshot->vm_state_size > 0 ? 1U : 0U); state++) {
        struct common_options one = *common;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct qcow2_image *image;
        char of[512];

        one.snapshot_index = &index;
        snprintf(of, sizeof of, "%ssnapshot %s (\"%s\")", state != 0 ? "the VM state of " : "",
                 snapshot->id, snapshot->name);
        image = open_image(
            path, &one, QCOW2_OPEN_NO_BACKING | (state != 0 ? (uint32_t)QCOW2_OPEN_VM_STATE : 0));
        if (image == NULL) {
            return false;
        }
        if (look_at_disk(host, image, of, &err) < 0) {
            report_library(path, &err);
            whole = false;
        }
        qcow2_close(image);
    }
    return whole;
}

static void look_at_snapshots(struct host *host, const struct qcow2_image *image, const char *path,
                              const struct common_options *common)
{
    uint64_t count = host->info.snapshot_count;
    uint64_t most = count > SNAPSHOTS_MAX ? SEARCHED_MAX / count : SNAPSHOTS_MAX;
    struct qcow2_snapshot snapshot;
    uint64_t cursor = 0;
    uint64_t done = 0;

    for (uint32_t i = 0; i < most && host->count <= HOST_USES_MAX; i++) {
        if (qcow2_next_snapshot(image, &cursor, &snapshot, NULL) != 1) {
            break;
        }
        done += look_at_snapshot(host, path, common, i, &snapshot) ? 1 : 0;
    }
    host->snapshots_passed_over = count - done;
}

void host_look_at_disks(struct host *host, struct qcow2_image *image, const char *path,
                        const struct common_options *common)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    if (look_at_disk(host, image, NULL, &err) < 0) {
        report_library(path, &err);
    }
    look_at_snapshots(host, image, path, common);
}
