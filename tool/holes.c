/* SPDX-License-Identifier: MIT */
/* holes.c - which stored clusters lie in holes of the image file.
 * Knows extents and lseek(2); must not know how they are printed.
 *
 * QEMU counts the clusters with a refcount. Here they are counted by what refers to them: the
 * disk's own clusters and tables. That is the same number unless the image has snapshots, leaks or
 * compressed clusters; those are missing from the count, so that such an image is taken for
 * preallocated less readily than QEMU would. */
#include "holes.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void holes_begin(struct holes *holes, struct qcow2_image *image)
{
    memset(holes, 0, sizeof *holes);
    holes->image = image;
}

static uint64_t divide_up(uint64_t value, uint64_t by)
{
    return value / by + (value % by != 0);
}

/* Header, L1 table, refcount table, and the refcount blocks it takes to count the whole file. */
static uint64_t count_fixed(const struct qcow2_info *info, uint64_t file_clusters)
{
    uint64_t counted_by_block = (uint64_t)info->cluster_size * 8 / info->refcount_bits;

    return 1 + divide_up((uint64_t)info->l1_entries * 8, info->cluster_size) +
           info->refcount_table_clusters + divide_up(file_clusters, counted_by_block);
}

/* Does the disk refer to at least `threshold` clusters of its own file, with `count` known before
 * the walk? A walk that fails says no; the listing will fail at the same place and report it. */
static bool refers_to(struct qcow2_image *image, const struct qcow2_info *info, uint64_t file_bytes,
                      uint64_t count, uint64_t threshold)
{
    uint64_t entry_bytes =
        (info->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0 ? 16 : 8;
    uint64_t table_maps = info->cluster_size / entry_bytes * info->cluster_size;
    uint64_t next_table = 0; /* tables below are counted */
    uint64_t cursor = 0;
    struct qcow2_extent extent;

    while (count < threshold && qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL) == 1) {
        uint64_t first = extent.offset / table_maps;
        uint64_t last = (extent.offset + extent.length - 1) / table_maps;

        if (extent.depth != 0 || extent.kind == QCOW2_EXTENT_HOLE) {
            continue;
        }
        first = first < next_table ? next_table : first;
        count += last + 1 - first;
        next_table = last + 1;
        /* What lies past the end of the file is not counted there either. */
        if (extent.host_offset < file_bytes) {
            uint64_t inside = file_bytes - extent.host_offset;

            inside = inside < extent.length ? inside : extent.length;
            count += divide_up(inside, info->cluster_size);
        }
    }
    return count >= threshold;
}

/* QEMU's rule: a tenth more clusters, and at least two more, than the file has room for. */
static bool is_preallocated(struct qcow2_image *image, int fd)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct stat file;
    uint64_t file_bytes;
    uint64_t real;
    uint64_t threshold;
    uint64_t file_clusters;

    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) ||
        qcow2_get_info(image, 0, &info, NULL) < 0) {
        return false;
    }
    file_bytes = (uint64_t)file.st_size;
    real = (uint64_t)file.st_blocks * 512 / info.cluster_size;
    threshold = real * 10 / 9 > real + 2 ? real * 10 / 9 : real + 2;
    file_clusters = divide_up(file_bytes, info.cluster_size);
    /* The file does not even have so many clusters: the normal case, and decided without a walk. */
    if (file_clusters < threshold) {
        return false;
    }
    return refers_to(image, &info, file_bytes, count_fixed(&info, file_clusters), threshold);
}

/* A descriptor of the image file: that of the first byte of data which lies within it. -1 if there
 * is none, or no descriptor. */
static int find_file(struct qcow2_image *image)
{
    struct qcow2_extent extent;
    uint64_t cursor = 0;

    while (qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL) == 1) {
        if (extent.kind == QCOW2_EXTENT_DATA && extent.depth == 0) {
            int fd;

            extent.length = 1;
            fd = qcow2_extent_fd(image, &extent);
            if (fd >= 0) {
                return fd;
            }
        }
    }
    return -1;
}

#ifdef SEEK_DATA
/* Finds out about the run of data or hole that begins at `offset` or before. */
static void look(struct holes *holes, uint64_t offset)
{
    off_t data = lseek(holes->fd, (off_t)offset, SEEK_DATA);
    off_t hole;

    holes->known_start = offset;
    holes->known_end = UINT64_MAX;
    holes->known_hole = data >= 0 || errno == ENXIO; /* ENXIO: no data from here to the end */
    if (data < 0) {
        return;
    }
    if ((uint64_t)data > offset) {
        holes->known_end = (uint64_t)data;
        return;
    }
    holes->known_hole = false;
    hole = lseek(holes->fd, (off_t)offset, SEEK_HOLE);
    if (hole > data) {
        holes->known_end = (uint64_t)hole;
    }
}
#else
static void look(struct holes *holes, uint64_t offset)
{
    holes->known_start = offset;
    holes->known_end = UINT64_MAX;
    holes->known_hole = false;
}
#endif

bool holes_clip(struct holes *holes, const struct qcow2_extent *extent, uint64_t *length)
{
    uint64_t offset = extent->host_offset;

    if (extent->kind != QCOW2_EXTENT_DATA || extent->depth != 0 || offset == UINT64_MAX) {
        return false;
    }
    /* Only now, so that a disk without data is never looked at this way. */
    if (!holes->decided) {
        holes->decided = true;
        holes->fd = find_file(holes->image);
        holes->active = holes->fd >= 0 && is_preallocated(holes->image, holes->fd);
    }
    if (!holes->active) {
        return false;
    }
    if (offset < holes->known_start || offset >= holes->known_end) {
        look(holes, offset);
    }
    if (holes->known_end - offset < *length) {
        *length = holes->known_end - offset;
    }
    return holes->known_hole;
}
