/* SPDX-License-Identifier: MIT */
/* plan.c - cuts the virtual disk into pieces of work and hands them out in guest order.
 * Knows the image's extents; must not know what is done with a piece.
 *
 * All threads share one cursor that walks extents, so a hole of any size is one piece and a piece
 * of stored data is as long as a buffer wherever the tables allow. Handing out takes well under a
 * microsecond, a piece some hundred of them, so one lock serves dozens of threads. */
#include "plan.h"
#include "fault.h"

enum {
    /* How many extents one claim may join. Keeps the lock short on a disk that is one endless row
     * of empty tables. */
    MAX_JOINED = 4096
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t q2_plan_cluster_bytes(const struct qcow2_image *image)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    uint64_t largest = Q2_COPY_BLOCK_BYTES;

    for (int depth = 0; qcow2_get_info(image, depth, &info, NULL) == 0; depth++) {
        if (info.cluster_size > largest) {
            largest = info.cluster_size;
        }
    }
    return largest;
}

int q2_plan_init(struct q2_plan *plan, struct qcow2_image *image, uint64_t start, uint64_t end,
                 const struct q2_plan_limits *limits, struct qcow2_error *err)
{
    const struct q2_plan fresh = { .image = image,
                                   .limits = *limits,
                                   .start = start,
                                   .end = end,
                                   .cluster_bytes = q2_plan_cluster_bytes(image),
                                   .cursor = start,
                                   .sharing = limits->shared_bytes > 0 };

    *plan = fresh;
    if (pthread_mutex_init(&plan->lock, NULL) != 0) {
        return q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for a lock");
    }
    q2_host_holes_init(&plan->holes);
    return 0;
}

void q2_plan_deinit(struct q2_plan *plan)
{
    q2_host_holes_deinit(&plan->holes);
    pthread_mutex_destroy(&plan->lock);
}

/* Drops `bytes` from the front of the extent. */
static void advance_extent(struct qcow2_extent *extent, uint64_t bytes)
{
    extent->offset += bytes;
    extent->length -= bytes;
    if (extent->host_offset != UINT64_MAX) {
        extent->host_offset += bytes;
    }
}

/* Moves the first part of the pending extent that is of one kind into the pending run. */
static void classify(struct q2_plan *plan)
{
    struct qcow2_extent *extent = &plan->extent;
    struct q2_piece *run = &plan->run;
    bool hole = false;
    int fd = -1;

    run->guest_off = extent->offset;
    run->length = extent->length;
    if (extent->kind == QCOW2_EXTENT_HOLE || extent->kind == QCOW2_EXTENT_ZERO) {
        run->kind = Q2_PIECE_ZERO;
        advance_extent(extent, run->length);
        return;
    }
    run->kind = Q2_PIECE_STORED;
    if (extent->kind == QCOW2_EXTENT_DATA && (plan->sharing || plan->limits.host_holes)) {
        fd = qcow2_extent_fd(plan->image, extent);
    }
    if (fd >= 0 && plan->limits.host_holes) {
        run->length =
            q2_host_holes_find(&plan->holes, fd, qcow2_extent_may_seek(plan->image, extent) == 1,
                               extent->host_offset, extent->length, &hole);
        if (hole) {
            run->kind = Q2_PIECE_ZERO;
        }
    }
    /* Blocks are shared whole, so both places must lie alike within one. */
    if (fd >= 0 && !hole && plan->sharing && run->length >= plan->limits.shared_block &&
        (extent->host_offset - (extent->offset - plan->start)) % plan->limits.shared_block == 0) {
        run->kind = Q2_PIECE_SHARED;
        run->host_fd = fd;
        run->host_off = extent->host_offset;
    }
    advance_extent(extent, run->length);
}

/* Makes sure that there is a pending run: 1; 0 at the end; or a code. */
static int peek(struct q2_plan *plan, struct qcow2_error *err)
{
    if (plan->run.length == 0) {
        if (plan->extent.length == 0) {
            int more = qcow2_next_extent(plan->image, &plan->cursor, plan->end, &plan->extent, err);

            if (more <= 0) {
                return more;
            }
        }
        classify(plan);
    }
    return 1;
}

/* Moves up to `bytes` from the pending run to the end of the piece. */
static void take(struct q2_plan *plan, struct q2_piece *piece, uint64_t bytes)
{
    bytes = min_u64(bytes, plan->run.length);
    piece->length += bytes;
    plan->run.guest_off += bytes;
    plan->run.host_off += bytes;
    plan->run.length -= bytes;
}

/* Whether the pending run can go on the end of the piece. */
static bool joins(const struct q2_plan *plan, const struct q2_piece *piece)
{
    const struct q2_piece *run = &plan->run;

    switch (piece->kind) {
    case Q2_PIECE_ZERO:
        return run->kind == Q2_PIECE_ZERO;
    case Q2_PIECE_SHARED:
        return run->kind == Q2_PIECE_SHARED && run->host_fd == piece->host_fd &&
               run->host_off == piece->host_off + piece->length;
    default:
        /* Zeros too short to become a hole are read along with their neighbours, so that images
         * with tiny clusters do not fall into tiny pieces. */
        return run->kind == Q2_PIECE_STORED ||
               (run->kind == Q2_PIECE_ZERO && run->length < Q2_COPY_BLOCK_BYTES);
    }
}

/* The longest that a piece beginning like the pending run may become. */
static uint64_t longest(const struct q2_plan *plan)
{
    uint64_t start = plan->run.guest_off;
    uint64_t limit = plan->limits.stored_bytes;

    if (plan->run.kind == Q2_PIECE_ZERO) {
        return plan->limits.zero_bytes;
    }
    if (plan->run.kind == Q2_PIECE_SHARED && plan->sharing_works) {
        return plan->limits.shared_bytes;
    }
    /* Ends on a cluster, so that no cluster is decoded for two pieces. */
    if (limit <= UINT64_MAX - start) {
        limit -= (start + limit) % plan->cluster_bytes;
    }
    return limit;
}

int q2_plan_claim(struct q2_plan *plan, struct q2_piece *piece_ret, struct qcow2_error *err)
{
    int more = 0;

    pthread_mutex_lock(&plan->lock);
    if (!plan->closed) {
        more = peek(plan, err);
    }
    *piece_ret = plan->run;
    piece_ret->length = 0;
    piece_ret->sequence = plan->sequence;
    if (more > 0) {
        uint64_t limit = longest(plan);

        /* A failure on the way ends the piece; the next claim meets it again and reports it. */
        for (int joined = 0; joined < MAX_JOINED && more > 0; joined++) {
            if (joined > 0 && !joins(plan, piece_ret)) {
                break;
            }
            take(plan, piece_ret, limit - piece_ret->length);
            if (piece_ret->length == limit) {
                break;
            }
            more = peek(plan, NULL);
        }
        plan->sequence++;
        more = 1;
    } else {
        piece_ret->guest_off = plan->cursor;
        plan->closed = true;
    }
    pthread_mutex_unlock(&plan->lock);
    return more;
}

void q2_plan_close(struct q2_plan *plan)
{
    pthread_mutex_lock(&plan->lock);
    plan->closed = true;
    pthread_mutex_unlock(&plan->lock);
}

void q2_plan_note_sharing(struct q2_plan *plan, bool worked)
{
    pthread_mutex_lock(&plan->lock);
    if (worked) {
        plan->sharing_works = true;
    } else if (!plan->sharing_works) {
        /* Never has, so the file system cannot: what is left is ordinary stored data. */
        plan->sharing = false;
        if (plan->run.kind == Q2_PIECE_SHARED) {
            plan->run.kind = Q2_PIECE_STORED;
        }
    }
    pthread_mutex_unlock(&plan->lock);
}
