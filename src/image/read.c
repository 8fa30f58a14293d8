/* SPDX-License-Identifier: MIT */
/* read.c - qcow2_pread: a range of the virtual disk, run by run. */
#include "image/image.h"

#include <limits.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"

/* A read longer than this, and than four clusters, is a stream: what it decodes is not kept. */
#define STREAM_BYTES (UINT64_C(256) << 10)

static uint64_t clusters_touched(const struct q2_layer *layer, uint64_t guest_off, size_t n)
{
    unsigned cluster_bits = layer->geometry.cluster_bits;

    return ((guest_off + n - 1) >> cluster_bits) - (guest_off >> cluster_bits) + 1;
}

static int read_stored(struct q2_lane *lane, const struct q2_run *run, void *buf, size_t n,
                       struct qcow2_error *err)
{
    if (run->layer->cipher != NULL) {
        return q2_encrypted_read(lane, run, buf, n, err);
    }
    return q2_layer_read(lane, run->layer, buf, n, run->host_off, err);
}

/* One run, or what of it the caller wants. ahead_bytes: how much more this call will read. */
static int read_run(struct qcow2_image *image, struct q2_lane *lane, const struct q2_run *run,
                    void *buf, size_t n, uint64_t ahead_bytes, bool keep, struct qcow2_error *err)
{
    uint64_t clusters = clusters_touched(run->layer, run->layer_guest_off, n);

    switch (run->kind) {
    case Q2_NORMAL:
        q2_lane_count(lane, Q2_CLUSTER_STANDARD, clusters);
        return read_stored(lane, run, buf, n, err);
    case Q2_COMPRESSED:
        q2_lane_count(lane, Q2_CLUSTER_COMPRESSED, clusters);
        return q2_compressed_read(image, lane, run, buf, n, ahead_bytes, keep, err);
    case Q2_UNALLOCATED:
    case Q2_ZERO:
        break;
    }
    q2_lane_count(lane, Q2_CLUSTER_HOLES, clusters);
    memset(buf, 0, n);
    return 0;
}

/* How much of the run, n bytes at most, there is in the file: one that leaves it is read up to there, so
 * that the error of the next step names the first byte that is missing. */
static size_t clip_to_file(const struct q2_run *run, size_t n)
{
    uint64_t end = q2_layer_data(run->layer)->end;

    return run->kind == Q2_NORMAL && run->host_off < end
               ? (size_t)q2_min_u64(n, end - run->host_off)
               : n;
}

static int fail_read(const struct q2_layer *layer, uint64_t guest_off, int code,
                     struct qcow2_error *err)
{
    q2_error_depth(err, (int)layer->depth);
    q2_error_guest(err, guest_off);
    return code;
}

static int read_range(struct qcow2_image *image, struct q2_lane *lane, char *buf, size_t count,
                      uint64_t guest_off, struct qcow2_error *err)
{
    uint64_t cluster_bytes = UINT64_C(1) << image->layers[0].geometry.cluster_bits;
    bool keep = count <= STREAM_BYTES || count <= 4 * cluster_bytes;
    int direct = count > 0 ? q2_direct_read(image, lane, buf, count, guest_off, err) : 0;

    if (direct != 0) {
        return direct > 0 ? 0 : fail_read(&image->layers[0], guest_off, direct, err);
    }
    while (count > 0) {
        struct q2_run run;
        size_t n;
        int r;

        if ((r = q2_lookup(image, lane, guest_off, count, &run, err)) < 0) {
            return r;
        }
        n = clip_to_file(&run, (size_t)run.length_bytes);
        if ((r = read_run(image, lane, &run, buf, n, count - n, keep, err)) < 0) {
            return fail_read(run.layer, guest_off, r, err);
        }
        buf += n;
        guest_off += n;
        count -= n;
    }
    return 0;
}

ssize_t qcow2_pread(struct qcow2_image *image, void *buf, size_t count, uint64_t offset,
                    struct qcow2_error *err)
{
    struct q2_lane *lane;
    int r;

    if ((r = q2_image_check_readable(image, err)) < 0) {
        return r;
    }
    if ((buf == NULL && count > 0) || count > SSIZE_MAX) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the buffer is NULL or larger than SSIZE_MAX");
    }
    lane = q2_lane_check_out(&image->lanes);
    if (lane == NULL) {
        r = q2_error_nomem(err);
        q2_error_guest(err, offset);
        return r;
    }
    q2_lane_count(lane, Q2_READS, 1);
    if (offset >= image->size_bytes) {
        count = 0;
    } else {
        count = (size_t)q2_min_u64(count, image->size_bytes - offset);
    }
    r = read_range(image, lane, buf, count, offset, err);
    if (r == 0) {
        q2_lane_count(lane, Q2_BYTES_READ, count);
    }
    q2_lane_check_in(&image->lanes, lane);
    return r < 0 ? r : (ssize_t)count;
}
