/* SPDX-License-Identifier: MIT */
/* host_disks.c - whether a byte of the file belongs to a disk: the live one, or a snapshot's.
 * Knows tables and extents as the library returns them; must not know how a use is printed.
 *
 * A disk is followed from L1 entry to L1 entry. Each L2 table is walked once, whichever disks name it, and
 * for each disk that does its matches are reported once: a table that several L1 entries of one disk name has
 * a line with their number. */
#include "host.h"

#include <inttypes.h>
#include <stdio.h>

#include "limit.h"
#include "open.h"
#include "report.h"

/* So many snapshots are looked at. Each is opened by its index, for which the table is read from the
 * start: where it is longer than this, as many as keep the entries that are read within a bound, which
 * would else grow with the square of their number. */
#define SNAPSHOTS_MAX 1024
#define SEARCHED_MAX  ((uint64_t)SNAPSHOTS_MAX * SNAPSHOTS_MAX)

/* One disk that is followed. */
struct disk {
    struct host *host;
    struct qcow2_image *image;
    const char *of;  /* words for it; NULL: the live disk */
    uint64_t number; /* from 1 on */
    uint64_t size;
    uint64_t entry_bytes, span; /* of an L2 entry; of disk that an L2 table maps */
    struct qcow2_error err;     /* the first that was met */
    bool whole;                 /* none was met */
};

/* Whether the search goes on: it has steps left, and lines. */
static bool take_step(struct host *host)
{
    if (host->steps_left == 0) {
        host->limit_reached = true;
    } else {
        host->steps_left--;
    }
    return !host->limit_reached && host->count <= HOST_USES_MAX;
}

static void note_failure(struct disk *disk, const struct qcow2_error *err)
{
    if (disk->whole) {
        disk->err = *err;
    }
    disk->whole = false;
}

static void note_memory(struct disk *disk)
{
    disk->host->failed = true;
    disk->whole = false;
}

/* The step that explains how the disk maps guest_off: 1, 0 behind the end of the L1 table, or a code. */
static int explain_slot(const struct disk *disk, uint64_t guest_off,
                        struct qcow2_explanation *step_ret, struct qcow2_error *err)
{
    uint64_t cursor = 0;
    int r = qcow2_next_explanation(disk->image, guest_off, &cursor, step_ret, err);

    return r == 1 && step_ret->l1_offset == UINT64_MAX ? 0 : r;
}

/* Whether the byte is one of `entries` L1 entries, of which the first was explained by `step` and maps the disk
 * from guest_off on. Those without an L2 table may go on past the end of the L1 table. */
static void look_at_l1(const struct disk *disk, const struct qcow2_explanation *step,
                       uint64_t guest_off, uint64_t entries)
{
    struct host *host = disk->host;
    struct qcow2_explanation other;
    uint64_t index;

    if (host->offset < step->l1_offset || (host->offset - step->l1_offset) / 8 >= entries) {
        return;
    }
    index = (host->offset - step->l1_offset) / 8;
    guest_off += index * disk->span;
    if (index > 0 && explain_slot(disk, guest_off, &other, NULL) != 1) {
        return;
    }
    host_use(host, "l1-table", guest_off, disk->of,
             "the L1 table: entry %" PRIu64 ", which maps the disk from 0x%" PRIx64 " on",
             step->l1_index + index, guest_off);
}

static void use_table(const struct disk *disk, const struct host_table *table, uint64_t l1_index,
                      uint64_t guest_off)
{
    struct host *host = disk->host;
    uint64_t index = (host->offset - table->host_off) / disk->entry_bytes;
    uint64_t mapped = guest_off + index * host->info.cluster_size;

    host_use(host, "l2-table", mapped, disk->of,
             "an L2 table (L1 entry %" PRIu64 "): entry %" PRIu64
             ", which maps the disk from 0x%" PRIx64 " on",
             l1_index, index, mapped);
}

/* One match, in the table that maps the disk from guest_off on. */
static void use_match(const struct disk *disk, const struct host_match *match, uint64_t guest_off)
{
    const struct qcow2_extent *extent = &match->extent;
    struct host *host = disk->host;
    const char *where = (host->info.incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0
                            ? "in the data file, at the same offset: "
                            : "";
    bool data = extent->kind == QCOW2_EXTENT_DATA;

    guest_off += extent->offset;
    if (guest_off >= disk->size) {
        return; /* of a longer disk that has the same table */
    }
    if (extent->kind == QCOW2_EXTENT_COMPRESSED) {
        host_use(host, "compressed", guest_off, disk->of,
                 "compressed data: the cluster at 0x%" PRIx64
                 " of the disk (its stream begins at 0x%" PRIx64 ", and may end before this byte)",
                 guest_off, extent->stream_offset);
        return;
    }
    guest_off += host->offset - extent->host_offset;
    host_use(host, data ? "data" : "set-aside", guest_off, disk->of,
             "%s%s at 0x%" PRIx64 " of the disk", where,
             data ? "data: the byte" : "set aside, but read as zeros: the byte", guest_off);
}

/* How much of the file a compressed extent may use. */
static uint64_t stream_bytes(const struct disk *disk, uint64_t guest_off)
{
    struct qcow2_explanation step;

    return explain_slot(disk, guest_off, &step, NULL) == 1 ? step.compressed_bytes : 0;
}

static bool holds_byte(const struct disk *disk, const struct qcow2_extent *extent)
{
    const struct host *host = disk->host;

    if (extent->kind == QCOW2_EXTENT_COMPRESSED) {
        return host->offset >= extent->stream_offset &&
               host->offset - extent->stream_offset < 2 * (uint64_t)host->info.cluster_size &&
               host_within(host->offset, extent->stream_offset, stream_bytes(disk, extent->offset));
    }
    return extent->host_offset != UINT64_MAX &&
           host_within(host->offset, extent->host_offset, extent->length);
}

/* Looks for the byte in what a table maps, which is the disk from guest_off on, after what was looked at
 * before. */
static void walk_table(struct disk *disk, struct host_table *table, uint64_t guest_off)
{
    uint64_t rest = disk->size - guest_off;
    uint64_t end = guest_off + (rest < disk->span ? rest : disk->span);
    uint64_t cursor = guest_off + table->walked;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_extent extent;
    int r = 0;

    /* With more matches the search is at its end, as soon as they are reported. */
    while (cursor < end && !table->broken && table->n_matches <= HOST_USES_MAX &&
           take_step(disk->host) &&
           (r = qcow2_next_extent(disk->image, &cursor, end, &extent, &err)) == 1) {
        if (holds_byte(disk, &extent)) {
            extent.offset -= guest_off;
            if (!host_table_add(table, &extent)) {
                note_memory(disk);
                return;
            }
        }
        table->walked = cursor - guest_off;
    }
    if (r < 0) {
        table->broken = true;
        note_failure(disk, &err);
    }
}

static void look_at_table(struct disk *disk, uint64_t host_off, uint64_t l1_index,
                          uint64_t guest_off)
{
    struct host *host = disk->host;
    struct host_table *table = host_tables_get(&host->tables, host_off);

    if (table == NULL) {
        note_memory(disk);
        return;
    }
    if (table->disk != disk->number) {
        table->disk = disk->number;
        table->entries = 0;
        table->reported = false;
    }
    table->entries++;
    if (table->broken) {
        disk->whole = false;
    }
    walk_table(disk, table, guest_off);
    if (table->reported) {
        return;
    }
    if (host_within(host->offset, host_off, host->info.cluster_size)) {
        use_table(disk, table, l1_index, guest_off);
        table->reported = true;
    }
    for (const struct host_match *match = table->matches; match != NULL; match = match->next) {
        use_match(disk, match, guest_off);
        table->reported = true;
    }
}

/* The tables reported for the disk that more than one of its L1 entries name. */
static void report_shared(const struct disk *disk)
{
    struct host *host = disk->host;

    for (size_t i = 0; i < host->tables.capacity; i++) {
        const struct host_table *table = &host->tables.slots[i];

        if (table->disk == disk->number && table->reported && table->entries > 1) {
            host_use(host, "shared-table", UINT64_MAX, disk->of,
                     "the L2 table at 0x%" PRIx64 " is named by %" PRIu64
                     " L1 entries, so what it maps is there as often",
                     table->host_off, table->entries);
        }
    }
}

/* How far the part of the disk goes that begins at guest_off and for which there is no L2 table. */
static uint64_t skip_empty(const struct disk *disk, uint64_t guest_off)
{
    struct qcow2_extent extent;
    uint64_t cursor = guest_off;

    return qcow2_next_extent(disk->image, &cursor, UINT64_MAX, &extent, NULL) == 1 &&
                   extent.length > disk->span
               ? extent.length - extent.length % disk->span
               : disk->span;
}

/* A snapshot's L1 table may be much shorter than its disk, whose size is no more than the image's word: what
 * ends this are the entries that exist. */
static void follow(struct disk *disk)
{
    uint64_t guest_off = 0, passed;

    disk->size = qcow2_size(disk->image);
    if (disk->size == 0) {
        return;
    }
    for (; guest_off < disk->size && take_step(disk->host); guest_off += passed) {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct qcow2_explanation step;
        uint64_t table;
        int r = explain_slot(disk, guest_off, &step, &err);

        passed = disk->span;
        if (r == 0) {
            break;
        }
        if (r < 0) {
            note_failure(disk, &err);
            if (r != QCOW2_E_CORRUPT && r != QCOW2_E_TRUNCATED && r != QCOW2_E_IO) {
                break; /* not the fault of this entry, so the others would fail too, without end */
            }
        } else if ((table = step.l1_entry & HOST_OFFSET_MASK) != 0) {
            look_at_l1(disk, &step, guest_off, 1);
            look_at_table(disk, table, step.l1_index, guest_off);
        } else {
            passed = skip_empty(disk, guest_off);
            look_at_l1(disk, &step, guest_off, passed / disk->span);
        }
        if (passed >= disk->size - guest_off) {
            break;
        }
    }
    report_shared(disk);
}

/* False if not all of it could be looked at; what was in the way is reported. */
static bool look_at_disk(struct host *host, struct qcow2_image *image, const char *path,
                         const char *of)
{
    const struct qcow2_info *info = &host->info;
    bool extended = (info->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0;
    struct disk disk = { .host = host, .image = image, .of = of, .whole = true };

    disk.number = ++host->disks;
    disk.entry_bytes = extended ? 16 : 8;
    disk.span = info->cluster_size / disk.entry_bytes * info->cluster_size;
    follow(&disk);
    if (!disk.whole && disk.err.code < 0) {
        report_library(path, &disk.err);
    }
    return disk.whole && !host->limit_reached;
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
        whole = look_at_disk(host, image, path, of) && whole;
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

    most = host->no_limit ? count : most;
    for (uint32_t i = 0; i < most && host->count <= HOST_USES_MAX && !host->limit_reached; i++) {
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
    host->steps_left = limit_of(image, host->no_limit);
    host->disk_passed_over = !look_at_disk(host, image, path, NULL);
    look_at_snapshots(host, image, path, common);
    host_tables_free(&host->tables);
}
