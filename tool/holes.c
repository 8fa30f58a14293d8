/* SPDX-License-Identifier: MIT */
/* holes.c - which stored clusters lie in holes of the image file.
 * Knows extents and lseek(2); must not know how they are printed.
 *
 * QEMU counts the clusters with a refcount. Here they are counted by what refers to them, which is the
 * same number unless the image has leaks or wrong refcounts. */
#include "holes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "limit.h"

void holes_begin(struct holes *holes, struct qcow2_image *image)
{
    memset(holes, 0, sizeof *holes);
    holes->image = image;
}

static uint64_t divide_up(uint64_t value, uint64_t by)
{
    return value / by + (value % by != 0);
}

/* How many clusters of the file anything refers to. A walk that fails returns 0: the listing will fail at the
 * same place and report it. One that reaches its limit returns the most: it does so in files that are mostly
 * hole, and what lies in a hole is zero. */
static uint64_t count_used(const struct qcow2_image *image)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    int r = qcow2_survey(image, 0, &result, NULL);

    if (r < 0) {
        return r == QCOW2_E_LIMIT ? UINT64_MAX : 0;
    }
    return result.table_clusters + result.data_clusters;
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
    /* The file does not even have so many clusters: the normal case, and decided without a look. */
    if (file_clusters < threshold) {
        return false;
    }
    return count_used(image) >= threshold;
}

/* A descriptor of the image file, by an extent of which the first byte lies within it. */
static int file_of(const struct qcow2_image *image, struct qcow2_extent extent)
{
    extent.length = 1;
    return extent.kind == QCOW2_EXTENT_DATA && extent.depth == 0 ? qcow2_extent_fd(image, &extent)
                                                                 : -1;
}

/* The same by the extent at hand or, if that lies past the end of the file, by the first that does not. -1 if
 * there is none, or no descriptor. */
static int find_file(struct qcow2_image *image, const struct qcow2_extent *at_hand)
{
    int fd = file_of(image, *at_hand);
    uint64_t left = limit_of(image, false);
    struct qcow2_extent extent;
    uint64_t cursor = 0;

    while (fd < 0 && left-- > 0 &&
           qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL) == 1) {
        fd = file_of(image, extent);
    }
    return fd;
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
        holes->fd = find_file(holes->image, extent);
        /* Pages that are in memory count as data where the file has blocks that were never written, so none
         * beside those that are asked for may be read while tables are. */
        (void)posix_fadvise(holes->fd, 0, 0, POSIX_FADV_RANDOM);
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
