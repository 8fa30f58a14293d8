/* SPDX-License-Identifier: MIT */
/* compare.c - are two disks the same, and if not, where do they part?
 * Knows pieces of both disks; must not know extents or files.
 *
 * Pieces are claimed in guest order and one that was begun is finished, so the lowest difference or
 * failure that anybody met is the first there is, however the threads ran. */
#include "fault.h"
#include "options.h"
#include "pairs.h"
#include "team.h"
#include "zero.h"

#include <stdlib.h>
#include <string.h>

enum { SECTOR_BYTES = 512 };

struct compare {
    struct q2_copy *copy; /* threads, progress, cancelling; its own plan is not used */
    struct q2_pairs pairs;
    unsigned char *buffers; /* two for each worker */

    pthread_mutex_t lock; /* guards all that follows */
    uint64_t read_bytes;
    uint64_t skipped_bytes;
    /* The first place in guest order where there was something to tell. */
    bool found;
    uint64_t sequence;
    int outcome; /* 1: a difference; or a code */
    uint64_t offset;
    int failed_image;
    struct qcow2_error fault;
};

/* Notes what was found in a piece and lets nobody begin another. */
static void note(struct compare *job, uint64_t sequence, int outcome, uint64_t offset,
                 int failed_image, const struct qcow2_error *fault)
{
    pthread_mutex_lock(&job->lock);
    if (!job->found || sequence < job->sequence) {
        job->found = true;
        job->sequence = sequence;
        job->outcome = outcome;
        job->offset = offset;
        job->failed_image = failed_image;
        job->fault = *fault;
    }
    pthread_mutex_unlock(&job->lock);
    q2_pairs_close(&job->pairs);
    q2_copy_fail(job->copy, sequence, fault);
}

static void note_difference(struct compare *job, uint64_t sequence, uint64_t offset)
{
    struct qcow2_error fault;

    q2_fault_set(&fault, QCOW2_E_CANCELLED, 0, "the disks differ");
    note(job, sequence, 1, offset, 0, &fault);
}

/* Reads of one disk; what lies past its end is zeros. */
static int read_side(const struct q2_pair_side *side, unsigned char *buf, uint64_t guest_off,
                     size_t bytes, struct qcow2_error *err)
{
    size_t there = 0;

    if (guest_off < side->size) {
        ssize_t n = qcow2_pread(side->image, buf, bytes, guest_off, err);

        if (n < 0) {
            return (int)n;
        }
        there = (size_t)n;
    }
    memset(buf + there, 0, bytes - there);
    return 0;
}

/* The first byte that differs, or `bytes`. */
static size_t find_difference(const unsigned char *a, const unsigned char *b, size_t bytes)
{
    enum { STEP = 4096 };
    size_t done = 0;

    while (bytes - done >= STEP && memcmp(a + done, b + done, STEP) == 0) {
        done += STEP;
    }
    while (done < bytes && a[done] == b[done]) {
        done++;
    }
    return done;
}

/* The first byte that is not zero, or `bytes`. */
static size_t find_nonzero(const unsigned char *p, size_t bytes)
{
    enum { STEP = 4096 };
    size_t done = 0;

    while (bytes - done >= STEP && q2_zero_all(p + done, STEP)) {
        done += STEP;
    }
    while (done < bytes && p[done] == 0) {
        done++;
    }
    return done;
}

/* Compares [guest_off, guest_off + bytes), which is within the piece. 0: the same. 1 with *offset_ret, or
 * a code with *failed_ret, for what was found. */
static int compare_range(const struct compare *job, const struct q2_pair_piece *piece,
                         uint64_t guest_off, size_t bytes, unsigned char *const buffers[2],
                         uint64_t *offset_ret, int *failed_ret, struct qcow2_error *err)
{
    size_t same;

    for (int i = 0; i < 2; i++) {
        if (piece->read[i]) {
            int r = read_side(&job->pairs.side[i], buffers[i], guest_off, bytes, err);

            if (r < 0) {
                *failed_ret = i;
                return r;
            }
        }
    }
    if (piece->read[0] && piece->read[1]) {
        same = find_difference(buffers[0], buffers[1], bytes);
    } else {
        same = find_nonzero(buffers[piece->read[0] ? 0 : 1], bytes);
    }
    *offset_ret = guest_off + same;
    return same < bytes ? 1 : 0;
}

static void compare_piece(struct compare *job, const struct q2_pair_piece *piece,
                          unsigned char *const buffers[2])
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint64_t end = piece->guest_off + piece->length;
    uint64_t step = piece->length;
    uint64_t offset = 0;
    int failed = 0;
    int r =
        compare_range(job, piece, piece->guest_off, (size_t)step, buffers, &offset, &failed, &err);

    if (r < 0) {
        /* Sector by sector, so that a difference in front of the one that fails is not missed. */
        step = SECTOR_BYTES;
        r = 0;
        for (uint64_t at = piece->guest_off; r == 0 && at < end; at += step) {
            size_t bytes = end - at < step ? (size_t)(end - at) : (size_t)step;

            r = compare_range(job, piece, at, bytes, buffers, &offset, &failed, &err);
        }
    }
    if (r > 0) {
        note_difference(job, piece->sequence, offset);
    } else if (r < 0) {
        note(job, piece->sequence, r, 0, failed, &err);
    }
}

/* Counts what a claim has dealt with. */
static void account(struct compare *job, const struct q2_pair_piece *piece)
{
    pthread_mutex_lock(&job->lock);
    job->read_bytes += piece->length * ((piece->read[0] ? 1U : 0U) + (piece->read[1] ? 1U : 0U));
    job->skipped_bytes += piece->skipped;
    pthread_mutex_unlock(&job->lock);
    q2_copy_account(job->copy, piece->skipped + piece->length);
}

static void work(void *ctx, unsigned index)
{
    struct compare *job = ctx;
    size_t bytes = (size_t)job->pairs.piece_bytes;
    unsigned char *const first = job->buffers + (size_t)index * 2 * bytes;
    unsigned char *const buffers[2] = { first, first + bytes };

    while (!q2_copy_stopping(job->copy)) {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct q2_pair_piece piece;
        int side = 0;
        int r = q2_pairs_claim(&job->pairs, &piece, &side, &err);

        if (r > 0 && piece.length > 0) {
            compare_piece(job, &piece, buffers);
        }
        account(job, &piece);
        if (r < 0) {
            note(job, piece.sequence, r, 0, side, &err);
        }
        if (r <= 0) {
            break;
        }
    }
}

/* Two buffers for each worker, or for as many as there is memory for. How many that is. */
static unsigned allocate(struct compare *job, unsigned workers)
{
    size_t pair_bytes = 2 * (size_t)job->pairs.piece_bytes;

    for (; workers > 0; workers /= 2) {
        void *memory = NULL;

        if (workers <= SIZE_MAX / pair_bytes &&
            posix_memalign(&memory, Q2_COPY_BLOCK_BYTES, workers * pair_bytes) == 0) {
            job->buffers = memory;
            return workers;
        }
    }
    return 0;
}

/* Sets the fields of *copy that come from the caller; the length is that of the longer disk. */
static int begin(struct q2_copy *copy, struct qcow2_image *image_a, struct qcow2_image *image_b,
                 const struct qcow2_copy_options *options, struct qcow2_error *err)
{
    struct qcow2_copy_options asked;
    struct qcow2_image *const images[2] = { image_a, image_b };
    uint64_t longest = 0;
    int ret;

    if (image_a == NULL || image_b == NULL) {
        return q2_fault_set(err, QCOW2_E_ARGUMENT, 0, "an image is NULL");
    }
    ret = q2_copy_read_options(options, QCOW2_COMPARE_NO_LIMIT, &asked, err);
    if (ret < 0) {
        return ret;
    }
    for (int i = 0; i < 2; i++) {
        uint64_t size = qcow2_size(images[i]);

        longest = size > longest ? size : longest;
    }
    copy->image = image_a;
    copy->flags = asked.flags;
    copy->threads = asked.threads > 0 ? asked.threads : q2_copy_processors();
    copy->start = asked.offset < longest ? asked.offset : longest;
    copy->length = longest - copy->start;
    if (asked.length > 0 && asked.length < copy->length) {
        copy->length = asked.length;
    }
    copy->progress = asked.progress;
    copy->progress_ctx = asked.progress_ctx;
    return 0;
}

/* Everything is there but the buffers. */
static int run(struct compare *job, struct qcow2_error *err)
{
    unsigned workers = allocate(
        job, q2_copy_workers(job->copy, 2 * job->pairs.piece_bytes, job->pairs.cluster_bytes));
    int ret;

    if (workers == 0) {
        return q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for buffers");
    }
    ret = q2_copy_run(job->copy, workers, work, job, err);
    free(job->buffers);
    if (job->found) {
        *err = job->fault;
        return job->outcome;
    }
    return ret;
}

static int compare(struct compare *job, struct qcow2_image *image_a, struct qcow2_image *image_b,
                   struct qcow2_error *err)
{
    const struct q2_copy *copy = job->copy;
    int ret = q2_pairs_init(&job->pairs, image_a, image_b, copy->start, copy->start + copy->length,
                            (copy->flags & QCOW2_COMPARE_NO_LIMIT) == 0, err);

    if (ret < 0) {
        return ret;
    }
    if (pthread_mutex_init(&job->lock, NULL) != 0) {
        ret = q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for a lock");
    } else {
        const struct q2_plan_limits limits = { .stored_bytes = job->pairs.piece_bytes };

        ret = q2_copy_init(job->copy, &limits, err);
        if (ret == 0) {
            ret = run(job, err);
            q2_copy_deinit(job->copy);
        }
        pthread_mutex_destroy(&job->lock);
    }
    q2_pairs_deinit(&job->pairs);
    return ret;
}

/* Fills as much as the caller's struct has room for. */
static void give_result(const struct compare *job, int outcome,
                        struct qcow2_compare_result *result_ret)
{
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;

    result.size = result_ret->size;
    result.offset = outcome == 1 ? job->offset : 0;
    result.read_bytes = job->read_bytes;
    result.skipped_bytes = job->skipped_bytes;
    result.failed_image = job->failed_image;
    memcpy(result_ret, &result, result.size < sizeof result ? result.size : sizeof result);
}

int qcow2_compare(struct qcow2_image *image_a, struct qcow2_image *image_b,
                  const struct qcow2_copy_options *options, struct qcow2_compare_result *result_ret,
                  struct qcow2_error *err)
{
    struct qcow2_error fault = QCOW2_ERROR_INIT;
    struct q2_copy copy = { .image = NULL };
    struct compare job = { .copy = &copy };
    int ret;

    if (result_ret == NULL || result_ret->size == 0) {
        q2_fault_set(&fault, QCOW2_E_ARGUMENT, 0,
                     "there is nowhere to put the result, or its size is 0");
        return q2_fault_publish(err, &fault);
    }
    ret = begin(&copy, image_a, image_b, options, &fault);
    if (ret == 0) {
        ret = compare(&job, image_a, image_b, &fault);
        give_result(&job, ret, result_ret);
    }
    return ret < 0 ? q2_fault_publish(err, &fault) : ret;
}
