/* SPDX-License-Identifier: MIT */
/* head.c - the first cluster of a version 2 or 3 file: header, extensions, names.
 * Each step reads what the step before it has shown to be there. */
#include "image/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "format/bitmap.h"
#include "format/layout.h"

int q2_head_read(struct q2_layer *layer, uint64_t bytes, struct qcow2_error *err)
{
    uint64_t existing = q2_window_existing(&layer->file, 0, bytes);
    uint8_t *head = realloc(layer->head, (size_t)bytes);

    if (head == NULL) {
        return q2_error_nomem(err);
    }
    layer->head = head;
    layer->head_bytes = (size_t)bytes;
    memset(head + existing, 0, (size_t)(bytes - existing));
    return existing == 0
               ? 0
               : q2_window_read_existing(&layer->file, head, (size_t)existing, 0, "header", err);
}

static int load_header(struct q2_layer *layer, uint32_t flags, struct qcow2_error *err)
{
    size_t there = (size_t)q2_window_existing(&layer->file, 0, layer->head_bytes);
    int r;

    if ((r = q2_header_decode(layer->head, there, &layer->header, err)) < 0) {
        return r;
    }
    if (layer->header.refcount_table_clusters == 0 && (flags & QCOW2_OPEN_METADATA_ONLY) == 0) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_REFCOUNT_CLUSTERS,
                               "the image has no refcount table");
    }
    q2_window_set_clusters(&layer->file, layer->header.cluster_bits,
                           (flags & QCOW2_OPEN_ZEROS_PAST_END) != 0);
    q2_geometry_init(&layer->geometry, layer->header.version, layer->header.cluster_bits,
                     q2_header_has(&layer->header, QCOW2_INCOMPATIBLE_EXTENDED_L2),
                     q2_header_has(&layer->header, QCOW2_INCOMPATIBLE_DATA_FILE));
    layer->size_bytes = layer->header.size_bytes & ~UINT64_C(511);
    return 0;
}

int q2_head_take_string(char **string_ret, const uint8_t *bytes, size_t n, struct qcow2_error *err)
{
    free(*string_ret);
    *string_ret = NULL;
    if (n == 0 || bytes[0] == '\0') {
        return 0;
    }
    *string_ret = strndup((const char *)bytes, n);
    return *string_ret != NULL ? 0 : q2_error_nomem(err);
}

static int take_feature_names(struct q2_layer *layer, const uint8_t *table, size_t n,
                              struct qcow2_error *err)
{
    struct q2_feature feature;
    size_t pos = 0;

    free(layer->feature_names);
    layer->feature_names =
        calloc((size_t)Q2_FEATURE_SETS * Q2_FEATURE_BITS, sizeof *layer->feature_names);
    if (layer->feature_names == NULL) {
        return q2_error_nomem(err);
    }
    while (q2_feature_next(table, n, &pos, &feature)) {
        if (feature.set < Q2_FEATURE_SETS && feature.bit < Q2_FEATURE_BITS) {
            char *name = layer->feature_names[feature.set * Q2_FEATURE_BITS + feature.bit];

            memcpy(name, feature.name, feature.name_bytes);
            name[feature.name_bytes] = '\0';
        }
    }
    return 0;
}

/* Where the LUKS header is. Whether there must be one is looked at when a key is needed. */
static int take_encryption(struct q2_layer *layer, const struct q2_extension *ext,
                           const uint8_t *data, struct qcow2_error *err)
{
    if (layer->header.crypt_method != QCOW2_ENCRYPTION_LUKS || ext->length_bytes != 16 ||
        (q2_load_be64(data) & ((UINT64_C(1) << layer->header.cluster_bits) - 1)) != 0) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, ext->data_off,
                               "encryption header extension at 0x%llx is not one of a LUKS "
                               "image, not of 16 bytes, or not aligned",
                               (unsigned long long)ext->data_off);
    }
    layer->luks_off = q2_load_be64(data);
    layer->luks_bytes = q2_load_be64(data + 8);
    return 0;
}

/* Bitmaps count only while the autoclear bit vouches for them: a writer that does not know them clears
 * it. That they are broken is a matter for those who ask for them, not for readers of the disk. */
static void take_bitmaps(struct q2_layer *layer, const struct q2_extension *ext,
                         const uint8_t *data)
{
    struct q2_bitmap_directory *dir = &layer->bitmaps;

    *dir = (struct q2_bitmap_directory){ 0 };
    if (layer->header.version < 3 || (layer->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS) == 0) {
        return;
    }
    if (ext->length_bytes != 24) {
        dir->broken = true;
        return;
    }
    dir->entries = q2_load_be32(data);
    dir->bytes = q2_load_be64(data + 8);
    dir->host_off = q2_load_be64(data + 16);
    dir->broken = q2_load_be32(data + 4) != 0 || dir->entries == 0 ||
                  dir->entries > Q2_MAX_BITMAPS || dir->bytes > Q2_MAX_BITMAP_DIRECTORY_BYTES ||
                  (dir->host_off & ((UINT64_C(1) << layer->header.cluster_bits) - 1)) != 0;
}

/* Looks into the extensions that reading depends on. Of a type that occurs twice the last one counts,
 * as it does in QEMU. */
static int take_extension(struct q2_layer *layer, const struct q2_extension *ext,
                          struct qcow2_error *err)
{
    const uint8_t *data = layer->head + ext->data_off;

    switch (ext->type) {
    case Q2_EXT_BACKING_FORMAT:
        if (ext->length_bytes > Q2_MAX_BACKING_FORMAT_BYTES) {
            return q2_error_set_at(err, QCOW2_E_CORRUPT, ext->data_off,
                                   "backing file format of %lu bytes is longer than %u",
                                   (unsigned long)ext->length_bytes, Q2_MAX_BACKING_FORMAT_BYTES);
        }
        return q2_head_take_string(&layer->backing_format, data, ext->length_bytes, err);
    case Q2_EXT_DATA_FILE:
        return q2_head_take_string(&layer->data_file_name, data, ext->length_bytes, err);
    case Q2_EXT_FEATURE_NAMES:
        return take_feature_names(layer, data, ext->length_bytes, err);
    case Q2_EXT_ENCRYPTION:
        return take_encryption(layer, ext, data, err);
    case Q2_EXT_BITMAPS:
        take_bitmaps(layer, ext, data);
        return 0;
    default:
        return 0;
    }
}

/* Keeps what the extensions use, `end` being where they do, of all that was read in search of them. */
static void trim_head(struct q2_layer *layer, uint64_t end)
{
    uint8_t *head;

    if (end >= layer->head_bytes || layer->head_bytes <= Q2_FIRST_READ_BYTES) {
        return;
    }
    if (end < Q2_FIRST_READ_BYTES) {
        end = Q2_FIRST_READ_BYTES;
    }
    head = realloc(layer->head, (size_t)end);
    if (head != NULL) {
        layer->head = head;
        layer->head_bytes = (size_t)end;
    }
}

static int load_extensions(struct q2_layer *layer, struct qcow2_error *err)
{
    uint64_t end = q2_header_extensions_end(&layer->header);
    uint64_t pos = layer->header.header_bytes;
    struct q2_extension ext;
    int r;

    while ((r = q2_extension_next(layer->head, layer->head_bytes, &pos, end, &ext, err)) != 0) {
        if (r == Q2_EXTENSION_NEED_MORE) {
            /* The area never leaves the first cluster: 2 MiB at the most. */
            r = q2_head_read(layer, end, err);
        } else if (r == 1) {
            r = take_extension(layer, &ext, err);
        }
        if (r < 0) {
            return r;
        }
    }
    trim_head(layer, pos + 8); /* the end marker is 8 bytes */
    return 0;
}

static int load_backing_name(struct q2_layer *layer, struct qcow2_error *err)
{
    uint8_t name[Q2_MAX_BACKING_NAME_BYTES];
    const struct q2_header *h = &layer->header;
    int r;

    if (h->backing_off == 0 || h->backing_bytes == 0) {
        return 0;
    }
    if ((r = q2_window_read(&layer->file, name, h->backing_bytes, h->backing_off,
                            "backing file name", err)) < 0) {
        return r;
    }
    return q2_head_take_string(&layer->backing_file, name, h->backing_bytes, err);
}

static int refuse_unknown_features(const struct q2_layer *layer, struct qcow2_error *err)
{
    uint64_t unknown = layer->header.incompatible & ~Q2_KNOWN_INCOMPATIBLE;
    char list[160] = "";
    size_t used = 0;

    if (unknown == 0) {
        return 0;
    }
    for (int bit = 0; bit < Q2_FEATURE_BITS; bit++) {
        char name[64] = "";

        if (((unknown >> bit) & 1) == 0) {
            continue;
        }
        if (layer->feature_names != NULL) {
            q2_escape(name, sizeof name, layer->feature_names[bit], Q2_FEATURE_NAME_BYTES);
        }
        /* What does not fit is left out; the first few say enough. */
        if (used < sizeof list) {
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s%sbit %d%s",
                                     used > 0 ? ", " : "", name, name[0] != '\0' ? " (" : "", bit,
                                     name[0] != '\0' ? ")" : "");
        }
    }
    return q2_error_set_at(err, QCOW2_E_UNSUPPORTED, Q2_H_INCOMPATIBLE,
                           "the image uses unknown incompatible features: %s", list);
}

int q2_head_load(struct q2_layer *layer, uint32_t flags, struct qcow2_error *err)
{
    int r;

    if ((r = load_header(layer, flags, err)) < 0 || (r = load_extensions(layer, err)) < 0 ||
        (r = refuse_unknown_features(layer, err)) < 0) {
        return r;
    }
    return load_backing_name(layer, err);
}
