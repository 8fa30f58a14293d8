/* SPDX-License-Identifier: MIT */
/* extent.c - the runs of the virtual disk, for callers. */
#include "image/image.h"

#include "base/checked.h"
#include "base/error.h"

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
        r = q2_error_nomem(err);
        q2_error_guest(err, *cursor);
        return r;
    }
    r = q2_lookup(image, lane, *cursor, end - *cursor, &run, err);
    q2_lane_check_in(&image->lanes, lane);
    if (r < 0) {
        return r;
    }
    *extent_ret = (struct qcow2_extent){
        .offset = *cursor,
        .length = run.length_bytes,
        .kind = q2_extent_kind(run.kind),
        .depth = (int)run.layer->depth,
        /* Where a stream starts says nothing about where the extent's bytes are. */
        .host_offset = run.kind == Q2_COMPRESSED ? UINT64_MAX : run.host_off,
        .stream_offset = run.kind == Q2_COMPRESSED ? run.host_off : UINT64_MAX,
    };
    *cursor += run.length_bytes;
    return 1;
}

/* What a walk has besides those that its image's entries account for: L1 tables are passed over in steps, and
 * some file systems count blocks late or compress. */
#define SPARE_EXTENTS (UINT64_C(1) << 20)

/* An entry of 16 bytes describes up to 32 extents, one of 8 bytes one; the rest is for compression. */
enum { EXTENTS_PER_BYTE = 4 };

/* Of the entries that a walk examines: 2 GiB of tables, two seconds. */
#define SPARE_LOOKUPS (UINT64_C(1) << 28)
enum { LOOKUPS_PER_EXTENT = 4 };

/* UINT64_MAX where there is no bound. */
static uint64_t add_stored(uint64_t sum, const struct q2_window *file)
{
    uint64_t extents;

    return q2_mul_u64(file->stored_bytes, EXTENTS_PER_BYTE, &extents) &&
                   q2_add_u64(sum, extents, &sum)
               ? sum
               : UINT64_MAX;
}

uint64_t qcow2_max_extents(const struct qcow2_image *image)
{
    uint64_t sum = SPARE_EXTENTS;

    if (image == NULL) {
        return 0;
    }
    for (unsigned i = 0; i < image->n_layers; i++) {
        const struct q2_layer *layer = &image->layers[i];

        sum = add_stored(sum, &layer->file);
        if (layer->geometry.data_file) {
            sum = add_stored(sum, &layer->data_file);
        }
    }
    return sum;
}

uint64_t qcow2_max_lookups(const struct qcow2_image *image)
{
    uint64_t each, all, sum;

    if (image == NULL) {
        return 0;
    }
    return q2_mul_u64(qcow2_max_extents(image), LOOKUPS_PER_EXTENT, &each) &&
                   q2_mul_u64(each, image->n_layers, &all) && q2_add_u64(all, SPARE_LOOKUPS, &sum)
               ? sum
               : UINT64_MAX;
}

int qcow2_extent_fd(const struct qcow2_image *image, const struct qcow2_extent *extent)
{
    const struct q2_layer *layer;

    if (image == NULL || extent == NULL || extent->kind != QCOW2_EXTENT_DATA) {
        return -1;
    }
    layer = q2_image_layer(image, extent->depth);
    /* What the descriptor gives of an encrypted layer is ciphertext. */
    if (layer == NULL || layer->cipher != NULL ||
        q2_window_existing(q2_layer_data(layer), extent->host_offset, extent->length) !=
            extent->length) {
        return -1;
    }
    return q2_layer_data(layer)->fd;
}

int qcow2_extent_may_seek(const struct qcow2_image *image, const struct qcow2_extent *extent)
{
    return qcow2_extent_fd(image, extent) >= 0 &&
           q2_layer_data(q2_image_layer(image, extent->depth))->own_offset;
}

int qcow2_extent_same(const struct qcow2_image *image_a, const struct qcow2_extent *a,
                      const struct qcow2_image *image_b, const struct qcow2_extent *b)
{
    const struct q2_layer *layer_a, *layer_b;

    if (image_a == NULL || image_b == NULL || a == NULL || b == NULL || a->kind != b->kind ||
        (layer_a = q2_image_layer(image_a, a->depth)) == NULL ||
        (layer_b = q2_image_layer(image_b, b->depth)) == NULL) {
        return 0;
    }
    /* The same bytes in the file are the same bytes of disk if they are read in the same way. */
    if (!q2_identity_same(&q2_layer_data(layer_a)->identity, &q2_layer_data(layer_b)->identity) ||
        layer_a->format != layer_b->format || layer_a->cipher != NULL || layer_b->cipher != NULL) {
        return 0;
    }
    switch (a->kind) {
    case QCOW2_EXTENT_DATA:
        return a->host_offset == b->host_offset;
    case QCOW2_EXTENT_COMPRESSED:
        return a->stream_offset == b->stream_offset && a->offset == b->offset &&
               layer_a->header.compression == layer_b->header.compression &&
               layer_a->geometry.cluster_bits == layer_b->geometry.cluster_bits;
    default:
        return 0;
    }
}
