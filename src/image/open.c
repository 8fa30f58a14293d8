/* SPDX-License-Identifier: MIT */
/* open.c - from options and a source to an image, and back. */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sized.h"
#include "format/layout.h"

/* The caller's options in a struct of ours: what it did not know of is zero, and what we do not know of
 * must be. */
static int take_options(const struct qcow2_options *from, struct qcow2_options *options_ret,
                        struct qcow2_error *err)
{
    const size_t known = sizeof *options_ret;
    const uint32_t flags = QCOW2_OPEN_NO_BACKING | QCOW2_OPEN_METADATA_ONLY |
                           QCOW2_OPEN_ZEROS_PAST_END | QCOW2_OPEN_VM_STATE |
                           QCOW2_OPEN_METADATA_CHAIN | QCOW2_OPEN_SNAPSHOT_INDEX;
    bool by_index;
    int r;

    *options_ret = (struct qcow2_options)QCOW2_OPTIONS_INIT;
    if (from == NULL) {
        return 0;
    }
    if ((r = q2_sized_copy(options_ret, from, from->size, known, err)) < 0) {
        return r;
    }
    options_ret->size = known; /* what lies behind is the caller's, and not copied */
    if ((from->flags & ~flags) != 0) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the options' flags 0x%lx are not all known to this version",
                            (unsigned long)from->flags);
    }
    by_index = (from->flags & QCOW2_OPEN_SNAPSHOT_INDEX) != 0;
    if ((by_index && from->snapshot != NULL) || (!by_index && from->snapshot_index != 0)) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the options name a snapshot twice, or an index without its flag");
    }
    if (from->format > QCOW2_FORMAT_PROBE || from->format == QCOW2_FORMAT_QCOW1 ||
        ((from->flags & QCOW2_OPEN_VM_STATE) != 0 && !q2_options_snapshot(from)) ||
        ((from->flags & QCOW2_OPEN_METADATA_ONLY) != 0 && q2_options_snapshot(from)) ||
        ((from->flags & QCOW2_OPEN_METADATA_CHAIN) != 0 &&
         (from->flags & QCOW2_OPEN_METADATA_ONLY) == 0)) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the options do not fit together: an unknown format, a VM state of no "
                            "snapshot, or a snapshot with, or a metadata chain without, "
                            "\"metadata only\"");
    }
    return 0;
}

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
    return value != 0 ? value : fallback;
}

/* The largest clusters of the chain that can be compressed: what a block of their cache has to hold. */
static size_t largest_cluster(const struct qcow2_image *image)
{
    unsigned bits = Q2_MIN_CLUSTER_BITS;

    for (unsigned i = 0; i < image->n_layers; i++) {
        const struct q2_layer *layer = &image->layers[i];

        if (layer->format != QCOW2_FORMAT_RAW && layer->geometry.cluster_bits > bits) {
            bits = layer->geometry.cluster_bits;
        }
    }
    return (size_t)1 << bits;
}

static int open_caches(struct qcow2_image *image, const struct qcow2_options *options,
                       struct qcow2_error *err)
{
    if (q2_lanes_init(&image->lanes) < 0 ||
        q2_cache_init(&image->tables,
                      or_default(options->table_cache_bytes, Q2_DEFAULT_TABLE_CACHE_BYTES),
                      Q2_TABLE_BLOCK_BYTES, true) < 0 ||
        q2_cache_init(&image->clusters,
                      or_default(options->cluster_cache_bytes, Q2_DEFAULT_CLUSTER_CACHE_BYTES),
                      largest_cluster(image), false) < 0) {
        return q2_error_nomem(err);
    }
    return 0;
}

/* Everything after the source has been found to be one. */
static int open_image(const struct qcow2_source *source, const struct qcow2_options *options,
                      struct qcow2_image **image_ret, struct qcow2_error *err)
{
    struct q2_open_budget budget = {
        .keys = { .max =
                      or_default(options->max_key_iterations, QCOW2_DEFAULT_MAX_KEY_ITERATIONS) },
        .l1_bytes = Q2_CHAIN_L1_BYTES,
        .head_bytes = Q2_CHAIN_HEAD_BYTES,
    };
    struct qcow2_image *image = calloc(1, sizeof *image);
    int r;

    if (image != NULL) {
        image->layers = calloc(1, sizeof *image->layers);
    }
    if (image == NULL || image->layers == NULL) {
        free(image);
        if (source->close != NULL) {
            source->close(source->ctx);
        }
        return q2_error_nomem(err);
    }
    image->flags = options->flags;
    r = q2_layer_open(&image->layers[0], source, 0, (int)options->format, options->flags, &budget,
                      err);
    if (r == 0) {
        image->n_layers = 1;
        r = q2_chain_open(image, options, &budget, err);
    }
    if (r == 0) {
        image->size_bytes = image->layers[0].size_bytes;
        image->direct = q2_direct_applies(image);
        if ((options->flags & QCOW2_OPEN_METADATA_ONLY) == 0) {
            r = open_caches(image, options, err);
        }
    }
    if (r < 0) {
        qcow2_close(image);
        return r;
    }
    *image_ret = image;
    return 0;
}

int qcow2_open_source(const struct qcow2_source *source, const struct qcow2_options *options,
                      struct qcow2_image **image_ret, struct qcow2_error *err)
{
    struct qcow2_options known;
    int r;

    if (image_ret != NULL) {
        *image_ret = NULL;
    }
    if (source == NULL || source->size < sizeof *source || source->read_at == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the source is NULL, of a wrong size, or has no read_at");
    }
    if (image_ret == NULL) {
        r = q2_error_set(err, QCOW2_E_ARGUMENT, "there is nowhere to put the image");
    } else {
        r = take_options(options, &known, err);
    }
    if (r < 0) {
        if (source->close != NULL) {
            source->close(source->ctx);
        }
        return r;
    }
    return open_image(source, &known, image_ret, err);
}

/* Grants what lies beneath the image's own directory, which `path` up to `last` names. */
static int open_in_own_directory(const char *path, const char *last, int directory,
                                 const struct qcow2_source *source,
                                 const struct qcow2_options *options,
                                 struct qcow2_image **image_ret, struct qcow2_error *err)
{
    struct qcow2_options mine = *options;
    struct qcow2_grant_directories own = { .size = sizeof own, .count = 1, .fds = &directory };
    char *directory_name = strndup(path, strlen(path) - strlen(last));
    const char *const names[] = { directory_name };
    int r;

    if (directory_name == NULL) {
        source->close(source->ctx);
        return q2_error_nomem(err);
    }
    own.names = names;
    mine.grant = qcow2_grant_beneath;
    mine.grant_ctx = &own;
    r = qcow2_open_source(source, &mine, image_ret, err);
    free(directory_name);
    return r;
}

int qcow2_open(const char *path, const struct qcow2_options *options,
               struct qcow2_image **image_ret, struct qcow2_error *err)
{
    struct qcow2_options mine = QCOW2_OPTIONS_INIT;
    struct qcow2_source source;
    const char *last;
    int directory, is_own, r;

    if (image_ret != NULL) {
        *image_ret = NULL;
    }
    if ((r = take_options(options, &mine, err)) < 0 ||
        (is_own = qcow2_open_directory_of(path, &directory, &last, err)) < 0) {
        return r < 0 ? r : is_own;
    }
    r = qcow2_source_from_path_at(directory, last, path, &source, err);
    if (r == 0 && mine.grant == NULL && is_own) {
        r = open_in_own_directory(path, last, directory, &source, &mine, image_ret, err);
    } else if (r == 0) {
        r = qcow2_open_source(&source, &mine, image_ret, err);
    }
    (void)close(directory);
    return r;
}

void qcow2_close(struct qcow2_image *image)
{
    if (image == NULL) {
        return;
    }
    q2_cache_deinit(&image->tables);
    q2_cache_deinit(&image->clusters);
    q2_lanes_deinit(&image->lanes);
    for (unsigned i = 0; i < image->n_layers; i++) {
        q2_layer_close(&image->layers[i]);
    }
    free(image->layers);
    free(image);
}

uint64_t qcow2_size(const struct qcow2_image *image)
{
    return image != NULL ? image->size_bytes : 0;
}

int q2_image_fail_readable(const struct qcow2_image *image, struct qcow2_error *err)
{
    return q2_error_set(err, QCOW2_E_ARGUMENT,
                        image == NULL ? "the image is NULL"
                                      : "the image was opened for metadata only");
}
