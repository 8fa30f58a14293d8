/* SPDX-License-Identifier: MIT */
/* in_order.c - reading in parallel, delivering in order.
 * Knows pieces and their sequence; must not know where the bytes go.
 *
 * Nobody waits for a turn. A worker that has read its piece puts it into the line, at the place its
 * sequence number gives. If the head of the line is there and nobody is delivering, the worker
 * delivers, and goes on for as long as the head keeps being there; else it claims the next piece.
 * It waits only when it has no buffer: all of them are in the line.
 *
 * That cannot stand still. A worker takes its buffer before it claims, so every claimed piece has
 * what it needs to be read; the head of the line is therefore either being read or being
 * delivered, and gives its buffer back. Places in the line are more than buffers, because zeros
 * need no buffer; one who would overtake the line waits for it to move, which the owner of the
 * head never has to. */
#include "in_order.h"
#include "fault.h"

#include <stdlib.h>

enum {
    BUFFER_BYTES = 512 * 1024,
    BUFFERS_PER_WORKER = 2, /* one to read into while the other stands in line */
    PLACES_PER_WORKER = 8
};

/* A place in the line. */
struct place {
    bool ready;
    struct q2_piece piece;
    unsigned char *buffer; /* NULL: zeros */
    /* 0, or why the piece could not be read. A failure stands in line like any piece, so that
     * everything before it is delivered and the first bad place of the disk is what is reported. */
    int code;
    struct qcow2_error err;
};

struct in_order {
    struct q2_copy *copy;
    q2_deliver *deliver;
    void *ctx;
    unsigned char **buffers; /* all there are */
    unsigned buffer_count;

    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t moved; /* a buffer came free, the line moved, or the copy is to stop */
    unsigned char **spare;
    unsigned spare_count;
    struct place *line; /* the piece of sequence n stands at n modulo places */
    uint64_t places;
    uint64_t head; /* sequence of the piece to deliver next */
    bool delivering;
};

static void release_buffer(struct in_order *job, unsigned char *buffer)
{
    pthread_mutex_lock(&job->lock);
    job->spare[job->spare_count++] = buffer;
    pthread_cond_broadcast(&job->moved);
    pthread_mutex_unlock(&job->lock);
}

/* A buffer, or NULL when the copy is to stop. */
static unsigned char *acquire_buffer(struct in_order *job)
{
    unsigned char *buffer = NULL;

    pthread_mutex_lock(&job->lock);
    while (job->spare_count == 0 && !q2_copy_stopping(job->copy)) {
        pthread_cond_wait(&job->moved, &job->lock);
    }
    if (!q2_copy_stopping(job->copy)) {
        buffer = job->spare[--job->spare_count];
    }
    pthread_mutex_unlock(&job->lock);
    return buffer;
}

/* Gives the piece at the head of the line away. */
static void hand_over(struct in_order *job, struct place *place)
{
    const struct q2_piece *piece = &place->piece;

    if (place->code == 0) {
        place->code =
            job->deliver(job->ctx, place->buffer, piece->length, piece->guest_off, &place->err);
    }
    if (place->code < 0) {
        q2_copy_fail(job->copy, piece->sequence, &place->err);
    } else {
        q2_copy_account(job->copy, piece->length);
    }
}

/* Delivers for as long as the head of the line is there. Called and left with the lock held. */
static void deliver_ready(struct in_order *job)
{
    struct place *place = &job->line[job->head % job->places];

    job->delivering = true;
    while (place->ready && !q2_copy_stopping(job->copy)) {
        /* The place is this thread's until the head moves on. */
        pthread_mutex_unlock(&job->lock);
        hand_over(job, place);
        pthread_mutex_lock(&job->lock);
        if (place->buffer != NULL) {
            job->spare[job->spare_count++] = place->buffer;
        }
        place->ready = false;
        place = &job->line[++job->head % job->places];
        pthread_cond_broadcast(&job->moved);
    }
    job->delivering = false;
}

/* Puts a piece in line; `buffer` goes with it. */
static void stand_in_line(struct in_order *job, const struct q2_piece *piece, unsigned char *buffer,
                          int code, const struct qcow2_error *err)
{
    struct place *place = &job->line[piece->sequence % job->places];

    pthread_mutex_lock(&job->lock);
    while (piece->sequence - job->head >= job->places && !q2_copy_stopping(job->copy)) {
        pthread_cond_wait(&job->moved, &job->lock);
    }
    if (!q2_copy_stopping(job->copy)) {
        place->ready = true;
        place->piece = *piece;
        place->buffer = buffer;
        place->code = code;
        place->err = *err;
        if (!job->delivering) {
            deliver_ready(job);
        }
    }
    pthread_mutex_unlock(&job->lock);
}

static int read_piece(struct in_order *job, const struct q2_piece *piece, unsigned char *buffer,
                      struct qcow2_error *err)
{
    ssize_t n = qcow2_pread(job->copy->image, buffer, (size_t)piece->length, piece->guest_off, err);

    if (n < 0) {
        return (int)n;
    }
    if ((uint64_t)n < piece->length) {
        return q2_fault_set(err, QCOW2_E_TRUNCATED, 0, "the disk ended during the copy");
    }
    return 0;
}

static void work(void *ctx, unsigned index)
{
    struct in_order *job = ctx;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    unsigned char *buffer = NULL;
    struct q2_piece piece;
    int ret = 0;

    (void)index;
    while (ret >= 0) {
        if (buffer == NULL) {
            buffer = acquire_buffer(job);
        }
        if (buffer == NULL) {
            return;
        }
        ret = q2_plan_claim(&job->copy->plan, &piece, &err);
        if (ret == 0) {
            break;
        }
        if (ret > 0 && piece.kind == Q2_PIECE_STORED) {
            ret = read_piece(job, &piece, buffer, &err);
            stand_in_line(job, &piece, buffer, ret, &err);
            buffer = NULL;
        } else {
            stand_in_line(job, &piece, NULL, ret < 0 ? ret : 0, &err);
        }
        if (ret < 0) {
            q2_plan_close(&job->copy->plan);
        }
    }
    /* Somebody may be waiting for one, if only to learn that nothing is left to read. */
    if (buffer != NULL) {
        release_buffer(job, buffer);
    }
}

static void release(struct in_order *job)
{
    while (job->buffer_count > 0) {
        free(job->buffers[--job->buffer_count]);
    }
    free(job->buffers);
    free(job->spare);
    free(job->line);
}

/* Memory for as many workers as there are, or as it lasts for: how many that is. */
static unsigned allocate(struct in_order *job, unsigned workers, size_t bytes)
{
    size_t most = (size_t)workers * BUFFERS_PER_WORKER;

    job->buffers = calloc(most, sizeof *job->buffers);
    job->spare = calloc(most, sizeof *job->spare);
    job->line = calloc((size_t)workers * PLACES_PER_WORKER, sizeof *job->line);
    job->places = (uint64_t)workers * PLACES_PER_WORKER;
    if (job->buffers == NULL || job->spare == NULL || job->line == NULL) {
        return 0;
    }
    while (job->buffer_count < most) {
        void *memory;

        if (posix_memalign(&memory, Q2_COPY_BLOCK_BYTES, bytes) != 0) {
            break;
        }
        job->buffers[job->buffer_count++] = memory;
        job->spare[job->spare_count++] = memory;
    }
    return job->buffer_count < workers ? job->buffer_count : workers;
}

/* Everything is there but the locks. */
static int run(struct in_order *job, unsigned workers, struct qcow2_error *err)
{
    int ret;

    if (pthread_mutex_init(&job->lock, NULL) != 0) {
        return q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for a lock");
    }
    if (pthread_cond_init(&job->moved, NULL) != 0) {
        pthread_mutex_destroy(&job->lock);
        return q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for a lock");
    }
    ret = q2_copy_run(job->copy, workers, work, job, err);
    pthread_cond_destroy(&job->moved);
    pthread_mutex_destroy(&job->lock);
    return ret;
}

int q2_copy_in_order(struct q2_copy *copy, uint64_t zero_bytes, q2_deliver *deliver, void *ctx,
                     struct qcow2_error *err)
{
    uint64_t cluster_bytes = q2_plan_cluster_bytes(copy->image);
    const struct q2_plan_limits limits = {
        .stored_bytes = cluster_bytes > BUFFER_BYTES ? cluster_bytes : BUFFER_BYTES,
        .zero_bytes = zero_bytes,
        .host_holes = (copy->flags & QCOW2_COPY_KEEP_ZEROS) == 0
    };
    struct in_order job = { .copy = copy, .deliver = deliver, .ctx = ctx };
    unsigned workers;
    int ret = q2_copy_init(copy, &limits, err);

    if (ret < 0) {
        return ret;
    }
    workers = allocate(
        &job, q2_copy_workers(copy, BUFFERS_PER_WORKER * limits.stored_bytes, cluster_bytes),
        (size_t)limits.stored_bytes);
    if (workers == 0) {
        ret = q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for copy buffers");
    } else {
        ret = run(&job, workers, err);
    }
    release(&job);
    q2_copy_deinit(copy);
    return ret;
}
