/* SPDX-License-Identifier: MIT */
/* explain.c - where one guest byte comes from, entry by entry.
 *
 * The same way as lookup.c goes, one byte wide, keeping what that passes by: the
 * entries as they are stored and where they stand. */
#include "image/image.h"

#include "base/error.h"
#include "image/refcount.h"

/* The bytes of a raw file are the disk; what fills its last sector up is zeros. */
static void explain_raw(const struct q2_layer *layer, uint64_t guest_off,
                        struct qcow2_explanation *e)
{
    e->kind =
        q2_window_existing(&layer->file, guest_off, 1) > 0 ? QCOW2_EXTENT_DATA : QCOW2_EXTENT_ZERO;
    e->host_offset = guest_off;
}

/* The L1 entry; one past the end of the table is like one that names no table. */
static int explain_l1(struct qcow2_image *image, struct q2_lane *lane, const struct q2_layer *layer,
                      uint64_t guest_off, struct qcow2_explanation *e, struct qcow2_error *err)
{
    int r = 0;

    e->l1_index = guest_off >> (layer->geometry.cluster_bits + layer->geometry.l2_bits);
    if (e->l1_index >= layer->l1.entries) {
        return 0;
    }
    e->l1_offset = layer->l1.host_off + e->l1_index * 8;
    if (layer->l1.resident != NULL) {
        e->l1_entry = layer->l1.resident[e->l1_index];
    } else {
        r = q2_table_read(image, lane, layer, e->l1_offset, 1, &e->l1_entry, "L1 table", err);
    }
    return r < 0 ? r : 0;
}

/* The L2 entry, in a table that lies where a table may. */
static int explain_l2(struct qcow2_image *image, struct q2_lane *lane, const struct q2_layer *layer,
                      uint64_t guest_off, struct qcow2_explanation *e, struct qcow2_error *err)
{
    const struct q2_geometry *g = &layer->geometry;
    uint64_t table_off = q2_l1_table_off(g, e->l1_entry);
    uint64_t entry[2] = { 0, 0 };
    unsigned words = g->extended ? 2 : 1;
    int r;

    if (!g->version_1 && (table_off & ((UINT64_C(1) << g->cluster_bits) - 1)) != 0) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, table_off,
                               "L2 table at 0x%llx (L1 entry %llu) is not aligned to a cluster",
                               (unsigned long long)table_off, (unsigned long long)e->l1_index);
    }
    if ((r = q2_window_check(&layer->file, table_off, q2_l2_table_bytes(g), "L2 table", err)) < 0) {
        return r;
    }
    e->l2_index = (guest_off >> g->cluster_bits) & ((UINT64_C(1) << g->l2_bits) - 1);
    e->l2_offset = table_off + e->l2_index * words * 8;
    /* Both words of an extended entry at once: they lie in one block. */
    if ((r = q2_table_read(image, lane, layer, e->l2_offset, words, entry, "L2 table", err)) < 0) {
        return r;
    }
    e->l2_entry = entry[0];
    e->l2_bitmap = entry[1];
    return 0;
}

/* What the L2 entry says, and the refcount of the cluster it names. */
static int explain_mapping(struct qcow2_image *image, struct q2_lane *lane,
                           const struct q2_layer *layer, uint64_t guest_off,
                           struct qcow2_explanation *e, struct qcow2_error *err)
{
    const struct q2_geometry *g = &layer->geometry;
    uint64_t in_cluster = guest_off & ((UINT64_C(1) << g->cluster_bits) - 1);
    struct q2_mapping m;

    e->subcluster = (uint32_t)(in_cluster >> g->subcluster_bits);
    m = q2_l2_decode(g, e->l2_entry, e->l2_bitmap, e->subcluster, guest_off - in_cluster);
    if (m.fault != Q2_FAULT_NONE) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, e->l2_offset,
                               "L2 entry %llu (0x%016llx) is broken: %s",
                               (unsigned long long)e->l2_index, (unsigned long long)e->l2_entry,
                               q2_fault_text(m.fault));
    }
    e->kind = q2_extent_kind(m.kind);
    e->compressed_bytes = m.compressed_bytes;
    e->encrypted = m.kind == Q2_NORMAL && layer->cipher != NULL;
    if (m.host_off == Q2_NO_HOST) {
        return 0;
    }
    e->host_offset = m.kind == Q2_COMPRESSED ? m.host_off : m.host_off + in_cluster;
    e->in_data_file = g->data_file;
    if (!g->data_file && !g->version_1) {
        e->refcount = q2_refcount_lookup(image, lane, layer, m.host_off);
    }
    return 0;
}

static int explain_layer(struct qcow2_image *image, struct q2_lane *lane,
                         const struct q2_layer *layer, uint64_t guest_off,
                         struct qcow2_explanation *e, struct qcow2_error *err)
{
    int r;

    if (layer->format == QCOW2_FORMAT_RAW) {
        explain_raw(layer, guest_off, e);
        return 0;
    }
    if ((r = explain_l1(image, lane, layer, guest_off, e, err)) < 0) {
        return r;
    }
    if (q2_l1_table_off(&layer->geometry, e->l1_entry) == 0) {
        return 0;
    }
    if ((r = explain_l2(image, lane, layer, guest_off, e, err)) < 0) {
        return r;
    }
    return explain_mapping(image, lane, layer, guest_off, e, err);
}

int qcow2_next_explanation(struct qcow2_image *image, uint64_t offset, uint64_t *cursor,
                           struct qcow2_explanation *explanation_ret, struct qcow2_error *err)
{
    struct qcow2_explanation e = { .kind = QCOW2_EXTENT_HOLE };
    const struct q2_layer *layer;
    struct q2_lane *lane;
    int r;

    if ((r = q2_image_check_readable(image, err)) < 0) {
        return r;
    }
    if (cursor == NULL || explanation_ret == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the cursor or the explanation is NULL");
    }
    if (offset >= image->size_bytes) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "byte %llu lies past the end of the disk (%llu bytes)",
                            (unsigned long long)offset, (unsigned long long)image->size_bytes);
    }
    /* Behind the step that decides the cursor is past every layer. */
    if (*cursor >= image->n_layers) {
        return 0;
    }
    layer = &image->layers[*cursor];
    e.depth = (int)layer->depth;
    e.format = layer->format;
    e.l1_offset = e.l2_offset = e.host_offset = e.refcount = UINT64_MAX;
    lane = q2_lane_check_out(&image->lanes);
    if (lane == NULL) {
        r = q2_error_nomem(err);
        q2_error_guest(err, offset);
        return r;
    }
    r = explain_layer(image, lane, layer, offset + layer->guest_base, &e, err);
    q2_lane_check_in(&image->lanes, lane);
    if (r < 0) {
        q2_error_depth(err, (int)layer->depth);
        q2_error_guest(err, offset);
        return r;
    }
    /* The last one to be asked decides too: what nobody has is zeros. A disk that is shorter is not
     * asked, nor are those below it. */
    e.decides = e.kind != QCOW2_EXTENT_HOLE || *cursor + 1 == image->n_layers ||
                offset >= layer[1].size_bytes;
    *cursor = e.decides ? UINT64_MAX : *cursor + 1;
    *explanation_ret = e;
    return 1;
}
