/* SPDX-License-Identifier: MIT */
/* chain.c - the files behind an image: backing files, one below the other, and
 * external data files.
 *
 * A name in an image is a request. It goes to the caller's grant callback, which
 * opens the file or says no; nothing here ever opens a path. */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define DEFAULT_MAX_CHAIN_DEPTH 256U

static int format_of(const char *name, int *format_ret, struct qcow2_error *err)
{
    char text[64];

    if (name == NULL) {
        *format_ret = QCOW2_FORMAT_PROBE;
    } else if (strcmp(name, "qcow2") == 0) {
        *format_ret = QCOW2_FORMAT_QCOW2;
    } else if (strcmp(name, "raw") == 0 || strcmp(name, "file") == 0) {
        /* "file" is how QEMU calls the bytes of a file themselves. */
        *format_ret = QCOW2_FORMAT_RAW;
    } else if (strcmp(name, "qcow") == 0) {
        *format_ret = QCOW2_FORMAT_QCOW1;
    } else {
        q2_escape(text, sizeof text, name, SIZE_MAX);
        return q2_error_set(err, QCOW2_E_UNSUPPORTED,
                            "the backing file has the format \"%s\", which cannot be read", text);
    }
    return 0;
}

/* Hands the request to the caller. The message is the callback's if it wrote one. */
static int ask(const struct q2_layer *layer, int kind, const char *name, const char *format,
               const struct qcow2_options *options, struct qcow2_source *source_ret,
               int *format_ret, struct qcow2_error *err)
{
    struct qcow2_reference reference = {
        .size = sizeof reference,
        .kind = kind,
        .depth = (int)layer->depth,
        .name = name,
        .format = format,
        .referrer = layer->file.name,
    };
    struct qcow2_error told = QCOW2_ERROR_INIT;
    char text[128];
    int r;

    q2_escape(text, sizeof text, name, SIZE_MAX);
    (void)q2_error_set(&told, QCOW2_E_REFERENCE, "%s \"%s\" was not granted to the image",
                       kind == QCOW2_REFERENCE_DATA_FILE ? "data file" : "backing file", text);
    *source_ret = (struct qcow2_source){ .size = sizeof *source_ret };
    r = options->grant == NULL
            ? QCOW2_E_REFERENCE
            : options->grant(options->grant_ctx, &reference, source_ret, format_ret, &told);
    if (r != 0) {
        q2_error_copy(err, &told, r < 0 ? r : QCOW2_E_REFERENCE);
        return r < 0 ? r : QCOW2_E_REFERENCE;
    }
    return 0;
}

static int open_data_file(struct q2_layer *layer, const struct qcow2_options *options,
                          struct qcow2_error *err)
{
    struct qcow2_source source;
    int format = QCOW2_FORMAT_RAW, r;

    if (layer->data_file_name == NULL) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "the data is in an external file, but the image does not name it");
    }
    if (layer->probed) {
        return q2_error_set(err, QCOW2_E_REFERENCE,
                            "a file whose format nobody stated is not granted a data file");
    }
    if ((r = ask(layer, QCOW2_REFERENCE_DATA_FILE, layer->data_file_name, "raw", options, &source,
                 &format, err)) < 0 ||
        (r = q2_window_init(&layer->data_file, &source, err)) < 0) {
        return r;
    }
    if (q2_identity_same(&layer->file.identity, &layer->data_file.identity)) {
        return q2_error_set(err, QCOW2_E_REFERENCE, "the image names itself as its data file");
    }
    q2_window_set_clusters(&layer->data_file, layer->geometry.cluster_bits,
                           (options->flags & QCOW2_OPEN_ZEROS_PAST_END) != 0);
    return 0;
}

/* Everything that reading the layer's own data needs. */
static int open_data(struct q2_layer *layer, const struct qcow2_options *options,
                     struct q2_open_budget *budget, struct qcow2_error *err)
{
    const struct q2_header *h = &layer->header;
    const bool as_snapshot = layer->depth == 0 && q2_options_snapshot(options);
    int r;

    /* A raw disk has no snapshots either, and is not shown in place of one. */
    if (layer->format == QCOW2_FORMAT_RAW && !as_snapshot) {
        return 0;
    }
    if ((h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) != 0 && !layer->geometry.data_file) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "the image promises a raw external data file, but has none");
    }
    if (layer->geometry.data_file && (r = open_data_file(layer, options, err)) < 0) {
        return r;
    }
    if ((r = q2_layer_unlock(layer, options, budget, err)) < 0) {
        return r;
    }
    if (as_snapshot) {
        return q2_layer_select_snapshot(layer, options, budget, err);
    }
    return q2_layer_load_l1(layer, h->l1_off, h->l1_entries, budget, err);
}

static int grow(struct qcow2_image *image, struct qcow2_error *err)
{
    struct q2_layer *layers = realloc(image->layers, (image->n_layers + 1) * sizeof *image->layers);

    if (layers == NULL) {
        return q2_error_nomem(err);
    }
    image->layers = layers;
    return 0;
}

/* Has the backing file of a layer granted. */
static int ask_for_backing(const struct q2_layer *layer, const struct qcow2_options *options,
                           struct qcow2_source *source_ret, int *format_ret,
                           struct qcow2_error *err)
{
    int r;

    if (layer->probed) {
        return q2_error_set(err, QCOW2_E_REFERENCE,
                            "the format of this file was found by probing, so it is not granted a "
                            "backing file; whoever refers to it must state its format");
    }
    if ((r = format_of(layer->backing_format, format_ret, err)) < 0) {
        return r;
    }
    return ask(layer, QCOW2_REFERENCE_BACKING_FILE, layer->backing_file, layer->backing_format,
               options, source_ret, format_ret, err);
}

/* Opens the backing file of the last layer as the next one. */
static int open_below(struct qcow2_image *image, const struct qcow2_options *options,
                      struct q2_open_budget *budget, struct qcow2_error *err)
{
    unsigned depth = image->n_layers - 1;
    struct qcow2_source source;
    int format, r;

    if ((r = grow(image, err)) < 0) {
        return r;
    }
    if ((r = ask_for_backing(&image->layers[depth], options, &source, &format, err)) < 0) {
        q2_error_depth(err, (int)depth);
        return r;
    }
    if ((r = q2_layer_open(&image->layers[depth + 1], &source, depth + 1, format, options->flags,
                           budget, err)) == 0) {
        image->n_layers++;
    }
    return r;
}

/* A chain that comes back to a file of its own would never end. */
static int check_loop(const struct qcow2_image *image, struct qcow2_error *err)
{
    const struct q2_layer *last = &image->layers[image->n_layers - 1];

    for (unsigned i = 0; i + 1 < image->n_layers; i++) {
        if (q2_identity_same(&image->layers[i].file.identity, &last->file.identity)) {
            return q2_error_set(err, QCOW2_E_REFERENCE,
                                "the backing chain is a loop: the file at depth %u is the one at "
                                "depth %u",
                                last->depth, i);
        }
    }
    return 0;
}

int q2_chain_open(struct qcow2_image *image, const struct qcow2_options *options,
                  struct q2_open_budget *budget, struct qcow2_error *err)
{
    const bool metadata_only = (options->flags & QCOW2_OPEN_METADATA_ONLY) != 0;
    const bool follow = metadata_only ? (options->flags & QCOW2_OPEN_METADATA_CHAIN) != 0
                                      : (options->flags & QCOW2_OPEN_NO_BACKING) == 0;
    const uint32_t max_depth =
        options->max_chain_depth != 0 ? options->max_chain_depth : DEFAULT_MAX_CHAIN_DEPTH;

    for (;;) {
        struct q2_layer *layer = &image->layers[image->n_layers - 1];
        unsigned depth = layer->depth;
        int r = metadata_only ? 0 : open_data(layer, options, budget, err);

        if (r == 0 && (!follow || layer->backing_file == NULL ||
                       (options->flags & QCOW2_OPEN_VM_STATE) != 0)) {
            return 0;
        }
        if (r == 0 && image->n_layers >= max_depth) {
            r = q2_error_set(err, QCOW2_E_LIMIT, "the backing chain is longer than %lu files",
                             (unsigned long)max_depth);
        }
        if (r < 0) {
            q2_error_depth(err, (int)depth);
            return r;
        }
        if ((r = open_below(image, options, budget, err)) < 0 || (r = check_loop(image, err)) < 0) {
            return r;
        }
    }
}

int qcow2_has_file(const struct qcow2_image *image, int fd)
{
    const struct q2_identity identity = q2_identity_of(fd);

    for (unsigned i = 0; image != NULL && i < image->n_layers; i++) {
        if (q2_identity_same(&image->layers[i].file.identity, &identity) ||
            q2_identity_same(&image->layers[i].data_file.identity, &identity)) {
            return 1;
        }
    }
    return 0;
}
