/* SPDX-License-Identifier: MIT */
/* raw_holes.h - what the layers of a chain add to an extent: holes of raw files, and offsets that
 * mean nothing because the bytes there are encrypted. */
#ifndef TOOL_RAW_HOLES_H
#define TOOL_RAW_HOLES_H

#include <qcow2.h>
#include <stdbool.h>

/* One layer. */
struct layer_view {
    bool known;
    bool raw;
    bool encrypted;
    /* What the file system said last: [start, end) of a raw file is alike. */
    uint64_t start;
    uint64_t end;
    bool hole;
};

#define LAYER_VIEWS_MAX 256 /* the longest chain the library opens */

struct layer_views {
    struct qcow2_image *image;
    struct layer_view views[LAYER_VIEWS_MAX];
};

void layer_views_begin(struct layer_views *views, struct qcow2_image *image);

/* Is the first byte of `extent` in a hole of a raw file? Shortens *length (at most extent->length) to
 * the part of which the same is true. */
bool layer_views_clip(struct layer_views *views, const struct qcow2_extent *extent,
                      uint64_t *length);

/* Is what the layer at `depth` stores encrypted? */
bool layer_views_encrypted(struct layer_views *views, int depth);

#endif
