/* SPDX-License-Identifier: MIT */
/* extents.c - what qcow2_next_extent says about a disk, against the disk's own bytes.
 *
 * Extents touch, ascend and cover everything; holes and zeros are zeros; stored data is found
 * through the descriptor where there is one. Runs beside the reading threads. */
#include "comparison.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static bool is_zero(const unsigned char *bytes, uint64_t count)
{
    return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)count - 1) == 0);
}

/* That the raw file is zero in [offset, offset + length), without reading its own holes. */
static bool raw_is_zero(const struct comparison *run, uint64_t offset, uint64_t length,
                        uint64_t *first_ret)
{
    uint64_t end = offset + length;

    while (offset < end) {
        off_t data = lseek(run->raw_fd, (off_t)offset, SEEK_DATA);
        off_t hole;

        if (data < 0 || (uint64_t)data >= end)
            return true; /* ENXIO: no data until the end */
        hole = lseek(run->raw_fd, data, SEEK_HOLE);
        if (hole < 0 || (uint64_t)hole > end)
            hole = (off_t)end;
        if (!is_zero(run->raw + data, (uint64_t)(hole - data))) {
            *first_ret = (uint64_t)data;
            while (run->raw[*first_ret] == 0)
                ++*first_ret;
            return false;
        }
        offset = (uint64_t)hole;
    }
    return true;
}

/* A DATA extent with a descriptor: pread there must give the disk's bytes. */
static bool fd_gives_the_bytes(struct comparison *run, const struct qcow2_extent *extent)
{
    unsigned char buf[4096];
    int fd = qcow2_extent_fd(run->image, extent);
    uint64_t done = 0;

    while (fd >= 0 && done < extent->length) {
        size_t count =
            extent->length - done < sizeof buf ? (size_t)(extent->length - done) : sizeof buf;
        ssize_t got = pread(fd, buf, count, (off_t)(extent->host_offset + done));

        if (got != (ssize_t)count || memcmp(buf, run->raw + extent->offset + done, count) != 0) {
            comparison_fail(
                run,
                "extents: the descriptor does not give the disk's bytes at guest offset %" PRIu64
                " (host offset %" PRIu64 ")",
                extent->offset + done, extent->host_offset + done);
            return false;
        }
        done += count;
    }
    return true;
}

static bool check_extent(struct comparison *run, const struct qcow2_extent *extent,
                         uint64_t cursor_before, uint64_t cursor_after, uint64_t end,
                         bool with_bytes)
{
    uint64_t stop = end < run->size ? end : run->size;
    uint64_t first;

    if (extent->offset != cursor_before || extent->length == 0 ||
        extent->length > stop - cursor_before || cursor_after != cursor_before + extent->length) {
        comparison_fail(run,
                        "extents: asked at %" PRIu64 " (end %" PRIu64 "), got [%" PRIu64
                        ", +%" PRIu64 ") and a cursor of %" PRIu64,
                        cursor_before, end, extent->offset, extent->length, cursor_after);
        return false;
    }
    if (extent->kind < QCOW2_EXTENT_HOLE || extent->kind > QCOW2_EXTENT_COMPRESSED ||
        extent->depth < 0) {
        comparison_fail(run, "extents: kind %d, depth %d at %" PRIu64, extent->kind, extent->depth,
                        extent->offset);
        return false;
    }
    if ((extent->kind == QCOW2_EXTENT_DATA && extent->host_offset == UINT64_MAX) ||
        (extent->kind == QCOW2_EXTENT_COMPRESSED && extent->host_offset != UINT64_MAX)) {
        comparison_fail(run, "extents: kind %d with host offset %" PRIu64 " at %" PRIu64,
                        extent->kind, extent->host_offset, extent->offset);
        return false;
    }
    if (!with_bytes)
        return true;
    if (extent->kind == QCOW2_EXTENT_HOLE || extent->kind == QCOW2_EXTENT_ZERO) {
        if (!raw_is_zero(run, extent->offset, extent->length, &first)) {
            comparison_fail(run, "extents: kind %d, but the disk has data at guest offset %" PRIu64,
                            extent->kind, first);
            return false;
        }
    }
    if (extent->kind == QCOW2_EXTENT_DATA)
        return fd_gives_the_bytes(run, extent);
    if (qcow2_extent_fd(run->image, extent) >= 0) {
        comparison_fail(run, "extents: a descriptor for kind %d at %" PRIu64, extent->kind,
                        extent->offset);
        return false;
    }
    return true;
}

/* One walk over [from, end): the extents touch, ascend and cover all of it. */
static bool walk_extents(struct comparison *run, uint64_t from, uint64_t end, bool with_bytes)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint64_t cursor = from;
    uint64_t stop = end < run->size ? end : run->size;

    for (;;) {
        struct qcow2_extent extent;
        uint64_t before = cursor;
        int r;

        memset(&extent, 0xA5, sizeof extent);
        r = qcow2_next_extent(run->image, &cursor, end, &extent, &err);
        if (r < 0) {
            comparison_fail(run, "extents: code %d at %" PRIu64 ": %s", r, before, err.message);
            return false;
        }
        if (r == 0) {
            if (cursor != before || (before < stop)) {
                comparison_fail(
                    run, "extents: the walk to %" PRIu64 " ended at %" PRIu64 ", cursor %" PRIu64,
                    stop, before, cursor);
                return false;
            }
            return true;
        }
        if (before >= stop) {
            comparison_fail(run, "extents: an extent at %" PRIu64 ", past the end of the walk",
                            before);
            return false;
        }
        if (!check_extent(run, &extent, before, cursor, end, with_bytes))
            return false;
    }
}

void *comparison_watch_extents(void *arg)
{
    struct comparison *run = arg;
    uint64_t state = ~run->seed;
    struct qcow2_stats stats = QCOW2_STATS_INIT;
    uint64_t reads_before = 0;

    if (!walk_extents(run, 0, UINT64_MAX, true))
        return NULL;
    do {
        uint64_t from = comparison_random(&state, run->size + 1);

        if (!walk_extents(run, from, from + comparison_random(&state, 16 * run->cluster_bytes),
                          false))
            break;
        qcow2_get_stats(run->image, &stats);
        if (stats.reads < reads_before) {
            comparison_fail(run, "the counter of reads went from %" PRIu64 " to %" PRIu64,
                            reads_before, stats.reads);
            break;
        }
        reads_before = stats.reads;
    } while (atomic_load(&run->readers_running) > 0 && !atomic_load(&run->failed));
    return NULL;
}
