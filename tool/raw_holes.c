/* SPDX-License-Identifier: MIT */
/* raw_holes.c - what the layers of a chain add to an extent: holes of raw files, and encryption.
 * Knows extents, layers and lseek(2); must not know how they are printed.
 *
 * A raw file tells by its holes what was never written, and QEMU's map shows them. */
#include "raw_holes.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void layer_views_begin(struct layer_views *views, struct qcow2_image *image)
{
    memset(views, 0, sizeof *views);
    views->image = image;
}

/* NULL: there is nothing to know about such a layer. */
static struct layer_view *view_of(struct layer_views *views, int depth)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct layer_view *view;

    if (depth < 0 || depth >= LAYER_VIEWS_MAX) {
        return NULL;
    }
    view = &views->views[depth];
    if (!view->known) {
        if (qcow2_get_info(views->image, depth, &info, NULL) < 0) {
            return NULL;
        }
        view->known = true;
        view->raw = info.format == QCOW2_FORMAT_RAW;
        view->encrypted = info.encryption != QCOW2_ENCRYPTION_NONE;
    }
    return view;
}

#ifdef SEEK_DATA
/* Finds out about the run of data or hole that begins at `offset` or before. */
static void look(struct layer_view *view, int fd, uint64_t offset)
{
    off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
    off_t hole;

    view->start = offset;
    view->end = UINT64_MAX;
    if (data < 0) {
        view->hole = errno == ENXIO; /* no data from here to the end */
        return;
    }
    view->hole = (uint64_t)data > offset;
    if (view->hole) {
        view->end = (uint64_t)data;
        return;
    }
    hole = lseek(fd, (off_t)offset, SEEK_HOLE);
    if (hole > data) {
        view->end = (uint64_t)hole;
    }
}
#else
static void look(struct layer_view *view, int fd, uint64_t offset)
{
    (void)fd;
    view->start = offset;
    view->end = UINT64_MAX;
    view->hole = false;
}
#endif

bool layer_views_clip(struct layer_views *views, const struct qcow2_extent *extent,
                      uint64_t *length)
{
    struct layer_view *view = view_of(views, extent->depth);
    uint64_t offset = extent->host_offset;

    if (view == NULL || !view->raw || extent->kind != QCOW2_EXTENT_DATA) {
        return false;
    }
    if (offset < view->start || offset >= view->end) {
        int fd = qcow2_extent_fd(views->image, extent);

        if (fd < 0) {
            return false;
        }
        look(view, fd, offset);
    }
    if (view->end - offset < *length) {
        *length = view->end - offset;
    }
    return view->hole;
}

bool layer_views_encrypted(struct layer_views *views, int depth)
{
    const struct layer_view *view = view_of(views, depth);

    return view != NULL && view->encrypted;
}
