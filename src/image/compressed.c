/* SPDX-License-Identifier: MIT */
/* compressed.c - bytes of compressed clusters, through the cluster cache.
 *
 * A read of a part decodes the cluster once and keeps it; a long read that
 * wants whole clusters has them decoded into its own buffer and leaves the cache
 * to others. Input for neighbouring clusters is fetched in one piece. */
#include "image/image.h"

#include <string.h>

#include "base/checked.h"
#include "base/error.h"

/* Scratch memory grows in these steps, so that streams of slightly different length fit what is there. */
#define GRAIN_BITS 16

/* The stream of a run in memory, or NULL and a code. What a file has no longer is not invented: the
 * decoder gets the bytes that exist. */
static const uint8_t *fetch(struct qcow2_image *image, struct q2_lane *lane,
                            const struct q2_run *run, uint64_t ahead_bytes, size_t *bytes_ret,
                            int *code_ret, struct qcow2_error *err)
{
    const struct q2_window *file = &run->layer->file;
    uint64_t existing = q2_window_existing(file, run->host_off, run->compressed_bytes);
    uint64_t end, count;

    *bytes_ret = (size_t)existing;
    if (run->compressed_bytes == 0) {
        /* Only version 1 can say so. */
        *code_ret = q2_error_set_at(err, QCOW2_E_CORRUPT, run->host_off,
                                    "compressed cluster at 0x%llx has no length",
                                    (unsigned long long)run->host_off);
        return NULL;
    }
    if (existing == 0) {
        *code_ret = q2_error_set_at(
            err, QCOW2_E_TRUNCATED, run->host_off,
            "compressed cluster at 0x%llx lies past the end of the file (%llu bytes)",
            (unsigned long long)run->host_off, (unsigned long long)file->size_bytes);
        return NULL;
    }
    if (lane->held_bytes > 0 && lane->held_depth == run->layer->depth &&
        run->host_off >= lane->held_off &&
        run->host_off + existing <= lane->held_off + lane->held_bytes) {
        return lane->compressed.bytes + (run->host_off - lane->held_off);
    }
    lane->held_bytes = 0;
    end = q2_lookup_compressed_end(image, lane, run, ahead_bytes, Q2_BATCH_BYTES);
    count = q2_window_existing(file, run->host_off, end - run->host_off);
    if (!q2_lane_reserve(lane, &lane->compressed, (size_t)q2_round_up(count, GRAIN_BITS))) {
        *code_ret = q2_error_nomem(err);
        return NULL;
    }
    q2_lane_count(lane, Q2_SOURCE_READS, 1);
    q2_lane_count(lane, Q2_SOURCE_BYTES, count);
    *code_ret = q2_window_read_existing(file, lane->compressed.bytes, (size_t)count, run->host_off,
                                        "compressed clusters", count > existing ? NULL : err);
    if (*code_ret < 0 && count > existing) {
        /* What lies ahead must not cost this cluster: a source may fail there, or end, if it does not
         * know its length. */
        count = existing;
        q2_lane_count(lane, Q2_SOURCE_READS, 1);
        q2_lane_count(lane, Q2_SOURCE_BYTES, count);
        *code_ret = q2_window_read_existing(file, lane->compressed.bytes, (size_t)count,
                                            run->host_off, "compressed clusters", err);
    }
    if (*code_ret < 0) {
        return NULL;
    }
    lane->held_depth = run->layer->depth;
    lane->held_off = run->host_off;
    lane->held_bytes = (size_t)count;
    return lane->compressed.bytes;
}

/* Decodes the run's cluster to `to`, which has room for all of it. */
static int decode(struct qcow2_image *image, struct q2_lane *lane, const struct q2_run *run,
                  uint64_t ahead_bytes, void *to, struct qcow2_error *err)
{
    const struct q2_header *header = &run->layer->header;
    size_t cluster_bytes = (size_t)1 << header->cluster_bits, bytes = 0;
    int code = 0;
    const uint8_t *stream = fetch(image, lane, run, ahead_bytes, &bytes, &code, err);

    if (stream == NULL) {
        return code;
    }
    lane->grew = true; /* the decoder might */
    switch (q2_codec_decode(&lane->decoder, (int)header->compression, stream, bytes,
                            bytes < run->compressed_bytes, to, cluster_bytes)) {
    case Q2_CODEC_OK:
        return 0;
    case Q2_CODEC_NOMEM:
        return q2_error_nomem(err);
    case Q2_CODEC_BAD:
        break;
    }
    if (bytes < run->compressed_bytes) {
        return q2_error_set_at(err, QCOW2_E_TRUNCATED, run->host_off,
                               "compressed cluster at 0x%llx is cut short by the end of the file",
                               (unsigned long long)run->host_off);
    }
    return q2_error_set_at(err, QCOW2_E_CORRUPT, run->host_off,
                           "compressed cluster at 0x%llx (%lu bytes of %s) does not decode to one "
                           "cluster of %zu bytes",
                           (unsigned long long)run->host_off, (unsigned long)run->compressed_bytes,
                           header->compression == QCOW2_COMPRESSION_ZSTD ? "zstd" : "deflate",
                           cluster_bytes);
}

int q2_compressed_read(struct qcow2_image *image, struct q2_lane *lane, const struct q2_run *run,
                       void *buf, size_t n, uint64_t ahead_bytes, bool keep,
                       struct qcow2_error *err)
{
    size_t cluster_bytes = (size_t)1 << run->layer->geometry.cluster_bits;
    struct q2_cache_key key = { .place = run->descriptor, .owner = run->layer->depth };
    bool whole = n == cluster_bytes;
    void *to = buf;
    int r;

    if (q2_cache_get_bytes(&image->clusters, key, run->cluster_skip, n, buf,
                           &lane->last_cluster_slot)) {
        q2_lane_count(lane, Q2_COMP_HITS, 1);
        return 0;
    }
    q2_lane_count(lane, Q2_COMP_MISSES, 1);
    if (!whole) {
        if (!q2_lane_reserve(lane, &lane->cluster, cluster_bytes)) {
            return q2_error_nomem(err);
        }
        to = lane->cluster.bytes;
    }
    if ((r = decode(image, lane, run, ahead_bytes, to, err)) < 0) {
        return r;
    }
    if (!whole) {
        memcpy(buf, (const char *)to + run->cluster_skip, n);
    }
    if (keep) {
        q2_cache_put(&image->clusters, key, to, cluster_bytes, &lane->last_cluster_slot);
    }
    return 0;
}
