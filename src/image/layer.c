/* SPDX-License-Identifier: MIT */
/* layer.c - opening one file of the chain: header, extensions, names, L1 table.
 * Each step reads what the step before it has shown to be there. */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"

/* What is read of a file before anything is known of it: nearly always all that open needs. */
enum { FIRST_READ_BYTES = 4096 };

/* The first bytes of the file, at least `bytes` of them unless the file is shorter (zeros follow then,
 * as behind the end of any file), in layer->head. */
static int load_head(struct q2_layer *layer, uint64_t bytes, struct qcow2_error *err)
{
    uint64_t existing = q2_window_existing(&layer->file, 0, bytes);
    uint8_t *head = realloc(layer->head, (size_t)bytes);
    int r;

    if (head == NULL) {
        return q2_error_nomem(err);
    }
    layer->head = head;
    layer->head_bytes = (size_t)bytes;
    memset(head + existing, 0, (size_t)(bytes - existing));
    if (existing == 0) {
        return 0;
    }
    r = q2_window_read_existing(&layer->file, head, (size_t)existing, 0, "header", err);
    return r;
}

static int load_header(struct q2_layer *layer, uint32_t flags, struct qcow2_error *err)
{
    /* The smallest cluster, where the file cannot say how long it is. */
    uint64_t bytes = layer->file.size_bytes == UINT64_MAX ? UINT64_C(1) << Q2_MIN_CLUSTER_BITS
                                                          : FIRST_READ_BYTES;
    int r;

    if ((r = load_head(layer, bytes, err)) < 0 ||
        (r = q2_header_decode(layer->head, (size_t)q2_window_existing(&layer->file, 0, bytes),
                              &layer->header, err)) < 0) {
        return r;
    }
    q2_window_set_clusters(&layer->file, layer->header.cluster_bits,
                           (flags & QCOW2_OPEN_ZEROS_PAST_END) != 0);
    q2_geometry_init(&layer->geometry, layer->header.version, layer->header.cluster_bits,
                     q2_header_has(&layer->header, QCOW2_INCOMPATIBLE_EXTENDED_L2),
                     q2_header_has(&layer->header, QCOW2_INCOMPATIBLE_DATA_FILE));
    layer->size_bytes = layer->header.size_bytes & ~UINT64_C(511);
    return 0;
}

/* A string out of the image, up to its first NUL; one that is empty is not there. */
static int take_string(char **string_ret, const uint8_t *bytes, size_t n, struct qcow2_error *err)
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
        return take_string(&layer->backing_format, data, ext->length_bytes, err);
    case Q2_EXT_DATA_FILE:
        return take_string(&layer->data_file, data, ext->length_bytes, err);
    case Q2_EXT_FEATURE_NAMES:
        return take_feature_names(layer, data, ext->length_bytes, err);
    case Q2_EXT_ENCRYPTION:
        if (layer->header.crypt_method != QCOW2_ENCRYPTION_LUKS || ext->length_bytes != 16 ||
            (q2_load_be64(data) & ((UINT64_C(1) << layer->header.cluster_bits) - 1)) != 0) {
            return q2_error_set_at(err, QCOW2_E_CORRUPT, ext->data_off,
                                   "encryption header extension at 0x%llx is not one of a LUKS "
                                   "image, not of 16 bytes, or not aligned",
                                   (unsigned long long)ext->data_off);
        }
        return 0;
    default:
        return 0;
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
            r = load_head(layer, end, err);
        } else if (r == 1) {
            r = take_extension(layer, &ext, err);
        }
        if (r < 0) {
            return r;
        }
    }
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
    return take_string(&layer->backing_file, name, h->backing_bytes, err);
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

/* What is well formed, but not learnt yet. Reading on would give wrong bytes. */
static int refuse_unsupported(const struct q2_layer *layer, uint32_t flags, struct qcow2_error *err)
{
    char name[128];

    if ((flags & QCOW2_OPEN_METADATA_ONLY) != 0) {
        return 0;
    }
    if (layer->header.crypt_method != QCOW2_ENCRYPTION_NONE) {
        return q2_error_set_at(err, QCOW2_E_UNSUPPORTED, Q2_H_CRYPT_METHOD,
                               "the image is encrypted (%s), which this version cannot read",
                               layer->header.crypt_method == QCOW2_ENCRYPTION_LUKS ? "LUKS"
                                                                                   : "AES");
    }
    if (layer->geometry.data_file) {
        q2_escape(name, sizeof name, layer->data_file != NULL ? layer->data_file : "(no name)",
                  sizeof name);
        return q2_error_set_at(err, QCOW2_E_UNSUPPORTED, Q2_H_INCOMPATIBLE,
                               "the data is in an external file, \"%s\", which this version cannot "
                               "read",
                               name);
    }
    if (layer->backing_file != NULL && (flags & QCOW2_OPEN_NO_BACKING) == 0) {
        q2_escape(name, sizeof name, layer->backing_file, sizeof name);
        return q2_error_set_at(err, QCOW2_E_UNSUPPORTED, layer->header.backing_off,
                               "the image stands on a backing file, \"%s\", which this version "
                               "cannot read; without it the top layer alone can be read",
                               name);
    }
    return 0;
}

static int load_l1(struct q2_layer *layer, uint64_t host_off, uint32_t entries,
                   struct qcow2_error *err)
{
    uint64_t bytes = (uint64_t)entries * 8;
    uint8_t *raw;
    int r;

    layer->l1 = (struct q2_l1_table){ .host_off = host_off, .entries = entries };
    if ((r = q2_window_check(&layer->file, host_off, bytes, "L1 table", err)) < 0 || bytes == 0 ||
        bytes > Q2_L1_RESIDENT_BYTES) {
        return r;
    }
    layer->l1.resident = malloc((size_t)bytes);
    if (layer->l1.resident == NULL) {
        return q2_error_nomem(err);
    }
    raw = (uint8_t *)layer->l1.resident;
    if ((r = q2_window_read(&layer->file, raw, (size_t)bytes, host_off, "L1 table", err)) < 0) {
        return r;
    }
    /* In place: each number is read before it is written. */
    for (uint32_t i = 0; i < entries; i++) {
        layer->l1.resident[i] = q2_load_be64(raw + (size_t)i * 8);
    }
    return 0;
}

int q2_layer_open(struct q2_layer *layer, const struct qcow2_source *source, unsigned depth,
                  uint32_t flags, struct qcow2_error *err)
{
    int r;

    *layer = (struct q2_layer){ .depth = depth };
    if ((r = q2_window_init(&layer->file, source, err)) < 0) {
        return r;
    }
    if ((r = load_header(layer, flags, err)) < 0 || (r = load_extensions(layer, err)) < 0 ||
        (r = refuse_unknown_features(layer, err)) < 0 || (r = load_backing_name(layer, err)) < 0 ||
        (r = refuse_unsupported(layer, flags, err)) < 0 ||
        ((flags & QCOW2_OPEN_METADATA_ONLY) == 0 &&
         (r = load_l1(layer, layer->header.l1_off, layer->header.l1_entries, err)) < 0)) {
        q2_error_depth(err, (int)depth);
        q2_layer_close(layer);
    }
    return r;
}

void q2_layer_close(struct q2_layer *layer)
{
    q2_window_deinit(&layer->file);
    free(layer->l1.resident);
    free(layer->head);
    free(layer->backing_file);
    free(layer->backing_format);
    free(layer->data_file);
    free(layer->feature_names);
}
