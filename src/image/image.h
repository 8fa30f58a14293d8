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

#include "crypto/luks.h"
#include "format/extension.h"
#include "format/header.h"
#include "format/mapping.h"
#include "image/cache.h"
#include "image/lane.h"
#include "source/window.h"

struct q2_cipher;

/* Tables are read and cached in blocks of this size, wherever they start and however large a cluster
 * is. */
enum { Q2_TABLE_BLOCK_BYTES = 4096, Q2_TABLE_BLOCK_WORDS = Q2_TABLE_BLOCK_BYTES / 8 };

/* An L1 table of this size or less is read at open and kept, unless the files before have used up
 * Q2_CHAIN_L1_BYTES; a larger one, of a disk beyond 64 TiB in the usual clusters, goes through the table
 * cache. */
#define Q2_L1_RESIDENT_BYTES (UINT64_C(1) << 20)

/* What the caches may take, unless the options say otherwise. */
#define Q2_DEFAULT_TABLE_CACHE_BYTES   (UINT64_C(8) << 20)
#define Q2_DEFAULT_CLUSTER_CACHE_BYTES (UINT64_C(16) << 20)

struct q2_l1_table {
    uint64_t host_off;
    uint32_t entries;
    uint64_t *resident; /* the entries, or NULL */
};

/* Where the bitmaps extension says that the directory is; entries 0: there are no usable bitmaps. */
struct q2_bitmap_directory {
    bool broken; /* the extension makes no sense; the rest does not count */
    uint32_t entries;
    uint64_t host_off, bytes;
};

/* One file of the chain. */
struct q2_layer {
    unsigned depth;
    int format;  /* enum qcow2_format, never PROBE */
    bool probed; /* nobody stated the format: see chain.c */
    struct q2_window file;
    struct q2_window data_file; /* the external data file, if there is one */
    struct q2_header header;    /* QCOW2 and QCOW1; of the latter, what it has in common */
    struct q2_geometry geometry;
    uint64_t size_bytes; /* of the disk it shows */
    uint64_t guest_base; /* added to guest offsets: where a VM state begins, else 0 */
    struct q2_l1_table l1;
    /* The start of the file up to the end of the header extensions, for those who ask later. */
    uint8_t *head;
    size_t head_bytes;
    char *backing_file, *backing_format, *data_file_name; /* NULL: not stated */
    char (
        *feature_names)[Q2_FEATURE_NAME_BYTES + 1]; /* 3 sets of 64; NULL: the image has no table */
    struct q2_bitmap_directory bitmaps;
    uint64_t luks_off, luks_bytes; /* of the LUKS header in the file; bytes 0: none */
    struct q2_cipher *cipher;      /* NULL: data is stored in clear */
};

struct qcow2_image {
    uint64_t size_bytes;
    uint32_t flags;
    unsigned n_layers;
    bool direct;              /* see direct.c */
    struct q2_layer *layers;  /* the image itself first */
    struct q2_cache tables;   /* blocks of tables, by (host offset / block size, depth) */
    struct q2_cache clusters; /* decoded clusters, by (compressed descriptor, depth) */
    struct q2_lanes lanes;
};

/* Where the layer's stored clusters lie. */
static inline const struct q2_window *q2_layer_data(const struct q2_layer *layer)
{
    return layer->geometry.data_file ? &layer->data_file : &layer->file;
}

/* Reads n bytes of the layer's stored clusters, as they are in the file. */
static inline int q2_layer_read(struct q2_lane *lane, const struct q2_layer *layer, void *buf,
                                size_t n, uint64_t host_off, struct qcow2_error *err)
{
    q2_lane_count(lane, Q2_SOURCE_READS, 1);
    q2_lane_count(lane, Q2_SOURCE_BYTES, n);
    return q2_window_read(q2_layer_data(layer), buf, n, host_off, "data", err);
}

/* ---- table.c ---- */

/* Reads up to n_words big-endian words of a table from host_off (a multiple of 8) on, as far as they
 * share a block; the number of words, at least 1, or a code. `what` names the table in messages. */
int q2_table_read(struct qcow2_image *image, struct q2_lane *lane, const struct q2_layer *layer,
                  uint64_t host_off, unsigned n_words, uint64_t *words_ret, const char *what,
                  struct qcow2_error *err);

/* ---- lookup.c ---- */

/* What callers call it. */
static inline int q2_extent_kind(enum q2_kind kind)
{
    switch (kind) {
    case Q2_ZERO:
        return QCOW2_EXTENT_ZERO;
    case Q2_NORMAL:
        return QCOW2_EXTENT_DATA;
    case Q2_COMPRESSED:
        return QCOW2_EXTENT_COMPRESSED;
    case Q2_UNALLOCATED:
        break;
    }
    return QCOW2_EXTENT_HOLE;
}

/* Where a run of guest bytes lives. */
struct q2_run {
    enum q2_kind kind;
    const struct q2_layer *layer; /* that decides, or that was the last to be asked */
    uint64_t length_bytes;
    uint64_t host_off; /* of the run's first byte, or Q2_NO_HOST. COMPRESSED: of the stream */
    uint32_t compressed_bytes; /* COMPRESSED: the longest the stream can be */
    uint32_t cluster_skip;     /* COMPRESSED: where in the decoded cluster the run starts */
    uint64_t layer_guest_off;  /* where the run starts in the layer's own disk */
    uint64_t descriptor;       /* COMPRESSED: the L2 entry */
};

/* The run at guest_off, at most max_bytes long (both inside the disk), in the topmost layer that has
 * something to say about it. Looks at one table block a layer. UNALLOCATED means that no layer has
 * data: zeros. A COMPRESSED run is never longer than its cluster. */
int q2_lookup(struct qcow2_image *image, struct q2_lane *lane, uint64_t guest_off,
              uint64_t max_bytes, struct q2_run *run_ret, struct qcow2_error *err);

/* For a COMPRESSED run: where in the file the input ends that the clusters behind it, up to
 * max_bytes of disk, share with it by lying right behind; at most limit_bytes from the run's own start,
 * unless that itself is longer. A hint for reading ahead: it never fails. */
uint64_t q2_lookup_compressed_end(struct qcow2_image *image, struct q2_lane *lane,
                                  const struct q2_run *run, uint64_t max_bytes,
                                  uint64_t limit_bytes);

/* ---- direct.c ---- */

/* Whether the image is of the shape that the short way knows. */
bool q2_direct_applies(const struct qcow2_image *image);

/* Reads n bytes (at least 1, inside the disk) if they lie in one stored cluster whose entry is cached and
 * holds nothing unusual: 1, or the code of a read that failed. 0: nothing was done, the general way
 * has the answer. */
int q2_direct_read(struct qcow2_image *image, struct q2_lane *lane, void *buf, size_t n,
                   uint64_t guest_off, struct qcow2_error *err);

/* ---- compressed.c ---- */

/* The most input that is fetched at once for several clusters. */
#define Q2_BATCH_BYTES (UINT64_C(256) << 10)

/* Reads n bytes of a COMPRESSED run from its start on. ahead_bytes: how much of the disk behind
 * them the same call is going to read, so that input for it can be fetched along. `keep`: worth a place
 * in the cluster cache. */
int q2_compressed_read(struct qcow2_image *image, struct q2_lane *lane, const struct q2_run *run,
                       void *buf, size_t n, uint64_t ahead_bytes, bool keep,
                       struct qcow2_error *err);

/* ---- encrypted.c ---- */

/* Reads n bytes of a NORMAL run of an encrypted layer from its start on. */
int q2_encrypted_read(struct q2_lane *lane, const struct q2_run *run, void *buf, size_t n,
                      struct qcow2_error *err);

/* ---- head.c, head_v1.c: what the start of a file says ---- */

/* What is read of a file before anything is known of it: nearly always all that open needs. */
enum { Q2_FIRST_READ_BYTES = 4096 };

/* Reads header, extensions and names of a version 2 or 3 file whose first bytes are in layer->head. */
int q2_head_load(struct q2_layer *layer, uint32_t flags, struct qcow2_error *err);
int q2_head_load_v1(struct q2_layer *layer, uint32_t flags, struct qcow2_error *err);

/* At least the first `bytes` bytes of the file, or what there is of them and zeros, to layer->head. */
int q2_head_read(struct q2_layer *layer, uint64_t bytes, struct qcow2_error *err);

/* A string out of the image, up to its first NUL, in place of *string_ret; one that is empty is not
 * there. */
int q2_head_take_string(char **string_ret, const uint8_t *bytes, size_t n, struct qcow2_error *err);

/* What one open may still take, all files of the chain together: a limit for each file would be multiplied
 * by the number of files, which the image chooses too. */
struct q2_open_budget {
    struct q2_luks_work keys;
    uint64_t l1_bytes;   /* left for resident L1 tables; others are read through the table cache */
    uint64_t head_bytes; /* left for header extensions; without them a file is not opened */
};
#define Q2_CHAIN_L1_BYTES   (UINT64_C(16) << 20)
#define Q2_CHAIN_HEAD_BYTES (UINT64_C(8) << 20)

/* ---- layer.c ---- */

/* Opens one file of the chain as far as it needs no other: takes the source over whatever the outcome.
 * On failure the layer needs no q2_layer_close. `format` is an enum qcow2_format; with QCOW2_FORMAT_PROBE
 * a file that is no qcow image is raw. */
int q2_layer_open(struct q2_layer *layer, const struct qcow2_source *source, unsigned depth,
                  int format, uint32_t flags, struct q2_open_budget *budget,
                  struct qcow2_error *err);
void q2_layer_close(struct q2_layer *layer);

/* Makes the table the one that the layer is read through. */
int q2_layer_load_l1(struct q2_layer *layer, uint64_t host_off, uint32_t entries,
                     struct q2_open_budget *budget, struct qcow2_error *err);

/* ---- chain.c ---- */

/* Opens the files that image->layers[0], which is open, needs for its data to be read. */
int q2_chain_open(struct qcow2_image *image, const struct qcow2_options *options,
                  struct q2_open_budget *budget, struct qcow2_error *err);

/* ---- unlock.c ---- */

/* Makes layer->cipher of what the key callback gives, if the layer is encrypted. */
int q2_layer_unlock(struct q2_layer *layer, const struct qcow2_options *options,
                    struct q2_open_budget *budget, struct qcow2_error *err);

/* Decrypts n bytes in place, the first of which is guest_off of the layer and host_off of its data. Both
 * are multiples of 512. */
int q2_layer_decrypt(struct q2_lane *lane, const struct q2_layer *layer, void *bytes, size_t n,
                     uint64_t guest_off, uint64_t host_off, struct qcow2_error *err);

/* ---- snapshot.c ---- */

/* Whether the options name a snapshot, by id, name or index. */
static inline bool q2_options_snapshot(const struct qcow2_options *options)
{
    return options->snapshot != NULL || (options->flags & QCOW2_OPEN_SNAPSHOT_INDEX) != 0;
}

/* Turns the layer, which is the image itself, to the snapshot that the options name. */
int q2_layer_select_snapshot(struct q2_layer *layer, const struct qcow2_options *options,
                             struct q2_open_budget *budget, struct qcow2_error *err);

/* ---- open.c ---- */

int q2_image_fail_readable(const struct qcow2_image *image, struct qcow2_error *err);

/* Refuses NULL, and images that were opened for metadata only. */
static inline int q2_image_check_readable(const struct qcow2_image *image, struct qcow2_error *err)
{
    return image != NULL && (image->flags & QCOW2_OPEN_METADATA_ONLY) == 0
               ? 0
               : q2_image_fail_readable(image, err);
}

static inline const struct q2_layer *q2_image_layer(const struct qcow2_image *image, int depth)
{
    return depth >= 0 && (unsigned)depth < image->n_layers ? &image->layers[depth] : NULL;
}

#endif
