/* SPDX-License-Identifier: MIT */
/* holes.h - which stored clusters lie in holes of the image file.
 *
 * An image with preallocated metadata maps every cluster, but most of the places it maps have never
 * been written. QEMU guesses that an image is of this sort when it refers to clearly more clusters
 * than its file occupies, and then says "zero" for data that lies in holes of the file. */
#ifndef TOOL_HOLES_H
#define TOOL_HOLES_H

#include <qcow2.h>
#include <stdbool.h>

struct holes {
    struct qcow2_image *image;
    bool decided;
    bool active; /* the image is of this sort */
    int fd;      /* of the image file, if active; the image's own */
    /* What the file system said last: [known_start, known_end) of the file is alike. */
    uint64_t known_start;
    uint64_t known_end;
    bool known_hole;
};

void holes_begin(struct holes *holes, struct qcow2_image *image);

/* Is the first byte of `extent` in such a hole? Shortens *length (at most extent->length) to the
 * part of which the same is true. */
bool holes_clip(struct holes *holes, const struct qcow2_extent *extent, uint64_t *length);

#endif
