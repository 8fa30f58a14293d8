/* SPDX-License-Identifier: MIT */
/* direct.c - the short way for the read that programs make most: a few bytes
 * out of one stored cluster of an image of the usual shape.
 *
 * It knows one kind of entry and no error of the mapping: whatever is not plainly
 * that kind is left to the general way (lookup.c), which gives all answers. So it
 * can be slow to agree, but never says anything else. Between a program and its
 * pread(2) stand some 400 instructions instead of 650. */
#include "image/image.h"

#include "base/checked.h"

bool q2_direct_applies(const struct qcow2_image *image)
{
    const struct q2_layer *layer = &image->layers[0];
    const struct q2_geometry *g = &layer->geometry;

    return layer->format == QCOW2_FORMAT_QCOW2 && !g->extended && !g->data_file &&
           layer->cipher == NULL && layer->guest_base == 0 && layer->l1.resident != NULL;
}

/* Whether [host_off, host_off + bytes), the L2 table of an L1 entry, is one and lies in the file. */
static bool is_table(const struct q2_layer *layer, uint64_t host_off, uint64_t bytes)
{
    return host_off != 0 && (host_off & (bytes - 1)) == 0 &&
           q2_window_below(layer->file.end, host_off, bytes);
}

/* Where the file has the clusters that this cached entry names; 0: not in the plain way, or the entry
 * is not cached. */
static uint64_t stored_at(struct qcow2_image *image, struct q2_lane *lane,
                          const struct q2_layer *layer, uint64_t entry_off)
{
    const struct q2_cache_key key = { .place = entry_off / Q2_TABLE_BLOCK_BYTES };
    const uint64_t in_cluster = (UINT64_C(1) << layer->geometry.cluster_bits) - 1;
    uint64_t entry;

    if (!q2_cache_get_word(&image->tables, key,
                           (size_t)(entry_off % Q2_TABLE_BLOCK_BYTES / sizeof entry), &entry,
                           &lane->last_table_slot) ||
        (entry & (Q2_ENTRY_COMPRESSED | Q2_ENTRY_ZERO)) != 0) {
        return 0;
    }
    entry &= Q2_OFFSET_MASK;
    return (entry & in_cluster) == 0 ? entry : 0;
}

int q2_direct_read(struct qcow2_image *image, struct q2_lane *lane, void *buf, size_t n,
                   uint64_t guest_off, struct qcow2_error *err)
{
    const struct q2_layer *layer = &image->layers[0];
    const unsigned cluster_bits = layer->geometry.cluster_bits;
    const unsigned l2_bits = layer->geometry.l2_bits;
    const uint64_t cluster_bytes = UINT64_C(1) << cluster_bits;
    const uint64_t in_cluster = guest_off & (cluster_bytes - 1);
    const uint64_t index = guest_off >> cluster_bits;
    uint64_t table_off, host_off;
    int r;

    if (!image->direct || n > cluster_bytes - in_cluster || index >> l2_bits >= layer->l1.entries) {
        return 0;
    }
    table_off = layer->l1.resident[index >> l2_bits] & Q2_OFFSET_MASK;
    if (!is_table(layer, table_off, cluster_bytes)) {
        return 0;
    }
    host_off = stored_at(image, lane, layer,
                         table_off + (index & ((UINT64_C(1) << l2_bits) - 1)) * sizeof(uint64_t));
    if (host_off == 0 || !q2_window_below(layer->file.size_bytes, host_off + in_cluster, n)) {
        return 0;
    }
    q2_lane_count(lane, Q2_L2_HITS, 1);
    q2_lane_count(lane, Q2_CLUSTER_STANDARD, 1);
    r = q2_layer_read(lane, layer, buf, n, host_off + in_cluster, err);
    return r < 0 ? r : 1;
}
