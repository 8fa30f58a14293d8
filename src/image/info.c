/* SPDX-License-Identifier: MIT */
/* info.c - what the headers of an open image say, for callers. No I/O. */
#include "image/image.h"

#include <string.h>

#include "base/error.h"

static int no_layer(int depth, struct qcow2_error *err)
{
    return q2_error_set(err, QCOW2_E_NOT_FOUND, "the chain has no file at depth %d", depth);
}

int qcow2_get_info(const struct qcow2_image *image, int depth, struct qcow2_info *info_ret,
                   struct qcow2_error *err)
{
    const struct q2_layer *layer;
    const struct q2_header *h;
    struct qcow2_info info;
    size_t room;

    if (image == NULL || info_ret == NULL || info_ret->size == 0) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the image or the info is NULL, or its size 0");
    }
    if ((layer = q2_image_layer(image, depth)) == NULL) {
        return no_layer(depth, err);
    }
    h = &layer->header;
    room = info_ret->size;
    info = (struct qcow2_info){
        .size = room,
        .format = layer->format,
        .version = h->version,
        .source_name = layer->file.name,
        .virtual_size = layer->size_bytes,
        .header_size = h->size_bytes,
        .file_size = layer->file.size_bytes,
        .incompatible_features = h->incompatible,
        .compatible_features = h->compatible,
        .autoclear_features = h->autoclear,
        .cluster_size = h->cluster_bits != 0 ? UINT32_C(1) << h->cluster_bits : 0,
        .refcount_bits = h->version >= 2 ? UINT32_C(1) << h->refcount_order : 0,
        .header_length = h->header_bytes,
        .compression = (int)h->compression,
        .encryption = (int)h->crypt_method,
        .l1_entries = h->l1_entries,
        .l1_offset = h->l1_off,
        .refcount_table_offset = h->refcount_table_off,
        .refcount_table_clusters = h->refcount_table_clusters,
        .snapshot_count = h->snapshot_count,
        .snapshots_offset = h->snapshots_off,
        .backing_file = layer->backing_file,
        .backing_format = layer->backing_format,
        .data_file = layer->data_file_name,
    };
    memcpy(info_ret, &info, room < sizeof info ? room : sizeof info);
    return 0;
}

const char *qcow2_get_feature_name(const struct qcow2_image *image, int depth, int feature_set,
                                   int bit)
{
    const struct q2_layer *layer = image != NULL ? q2_image_layer(image, depth) : NULL;

    if (layer == NULL || feature_set < 0 || feature_set >= Q2_FEATURE_SETS || bit < 0 ||
        bit >= Q2_FEATURE_BITS) {
        return NULL;
    }
    if (layer->feature_names != NULL) {
        const char *name = layer->feature_names[feature_set * Q2_FEATURE_BITS + bit];

        if (name[0] != '\0') {
            return name;
        }
    }
    return q2_feature_name_known(feature_set, bit);
}

int qcow2_next_extension(const struct qcow2_image *image, int depth, uint64_t *cursor,
                         struct qcow2_extension *extension_ret, struct qcow2_error *err)
{
    const struct q2_layer *layer;
    struct q2_extension ext;
    uint64_t pos;
    int r;

    if (image == NULL || cursor == NULL || extension_ret == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the image, the cursor or the extension is NULL");
    }
    if ((layer = q2_image_layer(image, depth)) == NULL) {
        return no_layer(depth, err);
    }
    if (layer->format != QCOW2_FORMAT_QCOW2) {
        return 0;
    }
    /* Open has walked the whole area, so all of it is in memory and in order. */
    pos = *cursor != 0 ? *cursor : layer->header.header_bytes;
    if (pos < layer->header.header_bytes) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the cursor is none that this call has given");
    }
    r = q2_extension_next(layer->head, layer->head_bytes, &pos,
                          q2_header_extensions_end(&layer->header), &ext, err);
    if (r != 1) {
        return r == Q2_EXTENSION_NEED_MORE ? 0 : r;
    }
    *cursor = pos;
    *extension_ret = (struct qcow2_extension){
        .type = ext.type,
        .length = ext.length_bytes,
        .host_offset = ext.data_off,
        .name = q2_extension_name(ext.type),
        .data = layer->head + ext.data_off,
    };
    return 1;
}
