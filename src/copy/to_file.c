/* SPDX-License-Identifier: MIT */
/* to_file.c - copying into something with positions: every worker writes its own pieces.
 * Knows pieces and targets; must not know how either is made.
 *
 * A worker reads a piece into the one buffer it has and writes from there what is not zero. The
 * buffer is small enough to stay in the processor's cache between the two, and used again and
 * again, because first use of memory is what costs. */
#include "to_file.h"
#include "fault.h"
#include "share.h"

#include <stdlib.h>

enum {
    BUFFER_BYTES = 1024 * 1024,
    /* Zeroing a device takes time in proportion, and progress must move meanwhile. */
    DEVICE_ZERO_BYTES = 256 * 1024 * 1024,
    /* Sharing takes a time that follows the number of extents the host file is in. */
    SHARED_BYTES = 64 * 1024 * 1024
};

struct to_target {
    struct q2_copy *copy;
    struct q2_target *target;
    unsigned char *buffer[Q2_COPY_MAX_THREADS];
};

/* Reads up to a bufferful and writes it. */
static int copy_stored(struct to_target *job, unsigned char *buffer, uint64_t guest_off,
                       size_t bytes, struct qcow2_error *err)
{
    struct q2_copy *copy = job->copy;
    uint64_t target_off = guest_off - copy->start;
    /* At the same place within a block as in the target, so that writes are aligned in memory
     * where they are in the file: what a descriptor opened with O_DIRECT asks for. */
    unsigned char *p = buffer + target_off % Q2_COPY_BLOCK_BYTES;
    ssize_t n = qcow2_pread(copy->image, p, bytes, guest_off, err);

    if (n < 0) {
        return (int)n;
    }
    if ((size_t)n < bytes) {
        return q2_fault_set(err, QCOW2_E_TRUNCATED, 0, "the disk ended during the copy");
    }
    if (copy->flags & QCOW2_COPY_KEEP_ZEROS) {
        return q2_target_write(job->target, p, bytes, target_off, err);
    }
    return q2_target_write_sparse(job->target, p, bytes, target_off, err);
}

/* A range of any length, by the bufferful. */
static int copy_range(struct to_target *job, unsigned char *buffer, uint64_t guest_off,
                      uint64_t bytes, struct qcow2_error *err)
{
    const uint64_t most = job->copy->plan.limits.stored_bytes;

    while (bytes > 0) {
        size_t n = (size_t)(bytes < most ? bytes : most);
        int ret = copy_stored(job, buffer, guest_off, n, err);

        if (ret < 0) {
            return ret;
        }
        q2_copy_account(job->copy, n);
        guest_off += n;
        bytes -= n;
    }
    return 0;
}

/* Shares the whole blocks of the piece and copies what is left of it at either end. */
static int copy_shared(struct to_target *job, unsigned char *buffer, const struct q2_piece *piece,
                       struct qcow2_error *err)
{
    struct q2_copy *copy = job->copy;
    uint64_t block = copy->plan.limits.shared_block;
    uint64_t target_off = piece->guest_off - copy->start;
    uint64_t head = (block - target_off % block) % block;
    uint64_t body = 0;
    int ret;

    if (head < piece->length) {
        body = (piece->length - head) / block * block;
    }
    if (body > 0) {
        bool shared = q2_share_range(job->target->fd, target_off + head, piece->host_fd,
                                     piece->host_off + head, body);

        q2_plan_note_sharing(&copy->plan, shared);
        if (!shared) {
            body = 0;
        }
    }
    if (body == 0) {
        return copy_range(job, buffer, piece->guest_off, piece->length, err);
    }
    ret = copy_range(job, buffer, piece->guest_off, head, err);
    if (ret < 0) {
        return ret;
    }
    q2_copy_account(copy, body);
    return copy_range(job, buffer, piece->guest_off + head + body, piece->length - head - body,
                      err);
}

static int copy_piece(struct to_target *job, unsigned char *buffer, const struct q2_piece *piece,
                      struct qcow2_error *err)
{
    int ret = 0;

    switch (piece->kind) {
    case Q2_PIECE_SHARED:
        return copy_shared(job, buffer, piece, err);
    case Q2_PIECE_ZERO:
        if (!job->target->zero_already) {
            ret = q2_target_zero(job->target, piece->length, piece->guest_off - job->copy->start,
                                 err);
        }
        if (ret == 0) {
            q2_copy_account(job->copy, piece->length);
        }
        return ret;
    default:
        return copy_range(job, buffer, piece->guest_off, piece->length, err);
    }
}

static void work(void *ctx, unsigned index)
{
    struct to_target *job = ctx;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_piece piece;
    int ret;

    while ((ret = q2_plan_claim(&job->copy->plan, &piece, &err)) > 0) {
        ret = copy_piece(job, job->buffer[index], &piece, &err);
        if (ret < 0) {
            break;
        }
    }
    if (ret < 0) {
        q2_copy_fail(job->copy, piece.sequence, &err);
    }
}

/* As many buffers as there are workers, or as memory allows: how many there are. */
static unsigned allocate(struct to_target *job, unsigned workers, uint64_t bytes)
{
    unsigned count = 0;

    while (count < workers) {
        void *memory;

        if (posix_memalign(&memory, Q2_COPY_BLOCK_BYTES, (size_t)bytes) != 0) {
            break;
        }
        job->buffer[count++] = memory;
    }
    return count;
}

int q2_copy_to_target(struct q2_copy *copy, struct q2_target *target, struct qcow2_error *err)
{
    const bool keep_zeros = (copy->flags & QCOW2_COPY_KEEP_ZEROS) != 0;
    const bool is_zero = (copy->flags & QCOW2_COPY_TARGET_IS_ZERO) != 0;
    const bool can_share = target->kind == Q2_TARGET_FILE && q2_share_possible();
    uint64_t cluster_bytes = q2_plan_cluster_bytes(copy->image);
    struct q2_plan_limits limits = {
        .stored_bytes = cluster_bytes > BUFFER_BYTES ? cluster_bytes : BUFFER_BYTES,
        .zero_bytes = target->kind == Q2_TARGET_FILE || is_zero ? UINT64_MAX : DEVICE_ZERO_BYTES,
        .shared_bytes = can_share ? SHARED_BYTES : 0,
        .shared_block = target->block_bytes,
        .host_holes = !keep_zeros
    };
    struct to_target job = { .copy = copy, .target = target };
    unsigned workers;
    int ret = q2_copy_init(copy, &limits, err);

    if (ret < 0) {
        return ret;
    }
    workers = allocate(&job, q2_copy_workers(copy, limits.stored_bytes, cluster_bytes),
                       limits.stored_bytes + Q2_COPY_BLOCK_BYTES);
    if (workers == 0) {
        ret = q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for a copy buffer");
    }
    if (ret == 0) {
        ret = q2_target_prepare(target, copy->length, is_zero, err);
    }
    if (ret == 0) {
        ret = q2_copy_run(copy, workers, work, &job, err);
    }
    while (workers > 0) {
        free(job.buffer[--workers]);
    }
    q2_copy_deinit(copy);
    return ret;
}
