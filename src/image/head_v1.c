/* SPDX-License-Identifier: MIT */
/* head_v1.c - what the start of a version 1 file says. */
#include "image/image.h"

#include "format/header_v1.h"
#include "format/layout.h"

int q2_head_load_v1(struct q2_layer *layer, uint32_t flags, struct qcow2_error *err)
{
    size_t there = (size_t)q2_window_existing(&layer->file, 0, layer->head_bytes);
    const struct q2_header *h = &layer->header;
    uint8_t name[Q2_MAX_BACKING_NAME_BYTES];
    unsigned l2_bits;
    int r;

    if ((r = q2_header_decode_v1(layer->head, there, &layer->header, &l2_bits, err)) < 0) {
        return r;
    }
    q2_window_set_clusters(&layer->file, h->cluster_bits, (flags & QCOW2_OPEN_ZEROS_PAST_END) != 0);
    q2_geometry_init_v1(&layer->geometry, h->cluster_bits, l2_bits);
    layer->size_bytes = h->size_bytes & ~UINT64_C(511);
    if (h->backing_off == 0 || h->backing_bytes == 0) {
        return 0;
    }
    if ((r = q2_window_read(&layer->file, name, h->backing_bytes, h->backing_off,
                            "backing file name", err)) < 0) {
        return r;
    }
    return q2_head_take_string(&layer->backing_file, name, h->backing_bytes, err);
}
