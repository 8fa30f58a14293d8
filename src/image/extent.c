/* SPDX-License-Identifier: MIT */
/* extent.c - the runs of the virtual disk, for callers. */
#include "image/image.h"

#include "base/checked.h"
#include "base/error.h"

static int extent_kind(enum q2_kind kind)
{
    switch (kind) {
    case Q2_ZERO:
        return QCOW2_EXTENT_ZERO;
    case Q2_NORMAL:
        return QCOW2_EXTENT_DATA;
    case Q2_COMPRESSED:
        return QCOW2_EXTENT_COMPRESSED;
    case Q2_UNALLOCATED:
        break;
    }
    return QCOW2_EXTENT_HOLE;
}

int qcow2_next_extent(struct qcow2_image *image, uint64_t *cursor, uint64_t end,
                      struct qcow2_extent *extent_ret, struct qcow2_error *err)
{
    struct q2_lane *lane;
    struct q2_run run;
    int r;

    if ((r = q2_image_check_readable(image, err)) < 0) {
        return r;
    }
    if (cursor == NULL || extent_ret == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the cursor or the extent is NULL");
    }
    end = q2_min_u64(end, image->size_bytes);
    if (*cursor >= end) {
        return 0;
    }
    lane = q2_lane_check_out(&image->lanes);
    if (lane == NULL) {
        return q2_error_nomem(err);
    }
    r = q2_lookup(image, lane, *cursor, end - *cursor, &run, err);
    q2_lane_check_in(&image->lanes, lane);
    if (r < 0) {
        return r;
    }
    *extent_ret = (struct qcow2_extent){
        .offset = *cursor,
        .length = run.length_bytes,
        .kind = extent_kind(run.kind),
        .depth = (int)run.layer->depth,
        /* Where a stream starts says nothing about where the extent's bytes are. */
        .host_offset = run.kind == Q2_COMPRESSED ? UINT64_MAX : run.host_off,
    };
    *cursor += run.length_bytes;
    return 1;
}

int qcow2_extent_fd(const struct qcow2_image *image, const struct qcow2_extent *extent)
{
    const struct q2_layer *layer;

    if (image == NULL || extent == NULL || extent->kind != QCOW2_EXTENT_DATA) {
        return -1;
    }
    layer = q2_image_layer(image, extent->depth);
    if (layer == NULL ||
        q2_window_existing(&layer->file, extent->host_offset, extent->length) != extent->length) {
        return -1;
    }
    return layer->file.fd;
}
