/* SPDX-License-Identifier: MIT */
/* layer.c - one file of the chain, by itself: what it is, how large a disk it
 * shows, and where its L1 table is. What it needs from others is chain.c. */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "crypto/cipher.h"
#include "format/layout.h"

static int open_raw(struct q2_layer *layer, struct qcow2_error *err)
{
    if (layer->file.size_bytes == UINT64_MAX) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "a raw disk needs a source that knows its length");
    }
    if (layer->file.size_bytes > INT64_MAX - 511) {
        return q2_error_set(err, QCOW2_E_CORRUPT, "the file is longer than the largest offset");
    }
    /* QEMU counts disks in sectors: the last one is filled up with zeros. */
    q2_window_set_clusters(&layer->file, 9, false);
    layer->size_bytes = layer->file.end;
    layer->format = QCOW2_FORMAT_RAW;
    q2_geometry_init(&layer->geometry, 3, 16, false, false);
    return 0;
}

/* The version of a file that begins with the magic, else 0. */
static uint32_t qcow_version(const struct q2_layer *layer)
{
    return q2_load_be32(layer->head) == Q2_MAGIC ? q2_load_be32(layer->head + 4) : 0;
}

static int load(struct q2_layer *layer, int format, uint32_t flags, struct qcow2_error *err)
{
    /* The smallest cluster, where the file cannot say how long it is. */
    uint64_t bytes = layer->file.size_bytes == UINT64_MAX ? UINT64_C(1) << Q2_MIN_CLUSTER_BITS
                                                          : Q2_FIRST_READ_BYTES;
    int r;

    if (format == QCOW2_FORMAT_RAW) {
        return open_raw(layer, err);
    }
    if ((r = q2_head_read(layer, bytes, err)) < 0) {
        return r;
    }
    if (format == QCOW2_FORMAT_PROBE) {
        layer->probed = true;
        if (qcow_version(layer) == 0) {
            return open_raw(layer, err);
        }
    }
    /* An image that was opened by its user may be of any version; one that is called "qcow2" by another
     * may not, as in QEMU. */
    if (qcow_version(layer) == 1 && (layer->depth == 0 || format != QCOW2_FORMAT_QCOW2)) {
        layer->format = QCOW2_FORMAT_QCOW1;
        return q2_head_load_v1(layer, flags, err);
    }
    if (format == QCOW2_FORMAT_QCOW1) {
        return q2_error_set(err, QCOW2_E_NOT_QCOW2, "not a qcow image of version 1");
    }
    layer->format = QCOW2_FORMAT_QCOW2;
    return q2_head_load(layer, flags, err);
}

/* Counts the start of the file against the budget, if it is longer than the first read, as that of no file of
 * a known writer is. It can be 2 MiB. */
static int charge_head(const struct q2_layer *layer, struct q2_open_budget *budget,
                       struct qcow2_error *err)
{
    uint64_t bytes = layer->head_bytes > Q2_FIRST_READ_BYTES ? layer->head_bytes : 0;

    if (bytes > budget->head_bytes) {
        return q2_error_set(err, QCOW2_E_LIMIT,
                            "the header extensions of the chain take %llu bytes up to this file, "
                            "over the limit of %llu",
                            (unsigned long long)(Q2_CHAIN_HEAD_BYTES - budget->head_bytes + bytes),
                            (unsigned long long)Q2_CHAIN_HEAD_BYTES);
    }
    budget->head_bytes -= bytes;
    return 0;
}

int q2_layer_open(struct q2_layer *layer, const struct qcow2_source *source, unsigned depth,
                  int format, uint32_t flags, struct q2_open_budget *budget,
                  struct qcow2_error *err)
{
    int r;

    *layer = (struct q2_layer){ .depth = depth };
    layer->data_file.fd = -1;
    if ((r = q2_window_init(&layer->file, source, err)) < 0) {
        return r;
    }
    if ((r = load(layer, format, flags, err)) < 0 || (r = charge_head(layer, budget, err)) < 0) {
        q2_layer_close(layer);
        q2_error_depth(err, (int)depth);
    }
    return r;
}

int q2_layer_load_l1(struct q2_layer *layer, uint64_t host_off, uint32_t entries,
                     struct q2_open_budget *budget, struct qcow2_error *err)
{
    uint64_t bytes = (uint64_t)entries * 8;
    uint8_t *raw;
    int r;

    layer->l1 = (struct q2_l1_table){ .host_off = host_off, .entries = entries };
    if ((r = q2_window_check(&layer->file, host_off, bytes, "L1 table", err)) < 0 || bytes == 0 ||
        bytes > Q2_L1_RESIDENT_BYTES || bytes > budget->l1_bytes) {
        return r;
    }
    budget->l1_bytes -= bytes;
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

void q2_layer_close(struct q2_layer *layer)
{
    q2_window_deinit(&layer->file);
    q2_window_deinit(&layer->data_file);
    q2_cipher_destroy(layer->cipher);
    free(layer->l1.resident);
    free(layer->head);
    free(layer->backing_file);
    free(layer->backing_format);
    free(layer->data_file_name);
    free(layer->feature_names);
}
