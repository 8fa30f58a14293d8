/* SPDX-License-Identifier: MIT */
/* image.h - what an open image is made of, and the words its files speak in.
 *
 * Fixed after open: everything in struct q2_layer, and all of struct
 * qcow2_image but its caches and lanes, which look after themselves. */
#ifndef Q2_IMAGE_IMAGE_H
#define Q2_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "format/extension.h"
#include "format/header.h"
#include "format/mapping.h"
#include "image/cache.h"
#include "image/lane.h"
#include "source/window.h"

/* Tables are read and cached in blocks of this size, wherever they start and however large a cluster
 * is. */
enum { Q2_TABLE_BLOCK_BYTES = 4096, Q2_TABLE_BLOCK_WORDS = Q2_TABLE_BLOCK_BYTES / 8 };

/* An L1 table of this size or less is read at open and kept; a larger one, of a disk beyond 64 TiB in
 * the usual clusters, goes through the table cache. */
#define Q2_L1_RESIDENT_BYTES (UINT64_C(1) << 20)

struct q2_l1_table {
    uint64_t host_off;
    uint32_t entries;
    uint64_t *resident; /* the entries, or NULL */
};

/* One file of the chain. */
struct q2_layer {
    unsigned depth;
    struct q2_window file;
    struct q2_header header;
    struct q2_geometry geometry;
    uint64_t size_bytes; /* of the disk it shows */
    struct q2_l1_table l1;
    /* The start of the file up to the end of the header extensions, for those who ask later. */
    uint8_t *head;
    size_t head_bytes;
    char *backing_file, *backing_format, *data_file; /* NULL: not stated */
    char (
        *feature_names)[Q2_FEATURE_NAME_BYTES + 1]; /* 3 sets of 64; NULL: the image has no table */
};

struct qcow2_image {
    uint64_t size_bytes;
    uint32_t flags;
    unsigned n_layers;
    struct q2_layer *layers;  /* the image itself first */
    struct q2_cache tables;   /* blocks of tables, by (host offset / block size, depth) */
    struct q2_cache clusters; /* decoded clusters, by (compressed descriptor, depth) */
    struct q2_lanes lanes;
};

/* ---- table.c ---- */

/* Reads up to n_words big-endian words of a table from host_off (a multiple of 8) on, as far as they
 * share a block; the number of words, at least 1, or a code. `what` names the table in messages. */
int q2_table_read(struct qcow2_image *image, struct q2_lane *lane, const struct q2_layer *layer,
                  uint64_t host_off, unsigned n_words, uint64_t *words_ret, const char *what,
                  struct qcow2_error *err);

/* ---- lookup.c ---- */

/* Where a run of guest bytes lives. */
struct q2_run {
    enum q2_kind kind;
    const struct q2_layer *layer; /* that decides, or that was the last to be asked */
    uint64_t length_bytes;
    uint64_t host_off; /* of the run's first byte, or Q2_NO_HOST. COMPRESSED: of the stream */
    uint32_t compressed_bytes; /* COMPRESSED: the longest the stream can be */
    uint32_t cluster_skip;     /* COMPRESSED: where in the decoded cluster the run starts */
    uint64_t descriptor;       /* COMPRESSED: the L2 entry */
};

/* The run at guest_off, at most max_bytes long (both inside the disk), in the topmost layer that has
 * something to say about it. Looks at one table block a layer. UNALLOCATED means that no layer has
 * data: zeros. A COMPRESSED run is never longer than its cluster. */
int q2_lookup(struct qcow2_image *image, struct q2_lane *lane, uint64_t guest_off,
              uint64_t max_bytes, struct q2_run *run_ret, struct qcow2_error *err);

/* For a COMPRESSED run at guest_off: where in the file the input ends that the clusters behind it, up to
 * max_bytes of disk, share with it by lying right behind; at most limit_bytes from the run's own start,
 * unless that itself is longer. A hint for reading ahead: it never fails. */
uint64_t q2_lookup_compressed_end(struct qcow2_image *image, struct q2_lane *lane,
                                  const struct q2_run *run, uint64_t guest_off, uint64_t max_bytes,
                                  uint64_t limit_bytes);

/* ---- compressed.c ---- */

/* Reads n bytes of a COMPRESSED run that starts at guest_off. ahead_bytes: how much of the disk behind
 * them the same call is going to read, so that input for it can be fetched along. `keep`: worth a place
 * in the cluster cache. */
int q2_compressed_read(struct qcow2_image *image, struct q2_lane *lane, const struct q2_run *run,
                       void *buf, size_t n, uint64_t guest_off, uint64_t ahead_bytes, bool keep,
                       struct qcow2_error *err);

/* ---- layer.c ---- */

/* Opens one file of the chain: takes the source over whatever the outcome. On failure the layer needs
 * no q2_layer_close. */
int q2_layer_open(struct q2_layer *layer, const struct qcow2_source *source, unsigned depth,
                  uint32_t flags, struct qcow2_error *err);
void q2_layer_close(struct q2_layer *layer);

/* ---- open.c ---- */

/* Refuses NULL, and images that were opened for metadata only. */
int q2_image_check_readable(const struct qcow2_image *image, struct qcow2_error *err);

static inline const struct q2_layer *q2_image_layer(const struct qcow2_image *image, int depth)
{
    return depth >= 0 && (unsigned)depth < image->n_layers ? &image->layers[depth] : NULL;
}

#endif
