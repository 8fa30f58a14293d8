/* SPDX-License-Identifier: MIT */
/* team.h - one call of the copy engine: its threads, its progress, its first failure.
 * Knows the plan; must not know where the bytes go. */
#ifndef Q2_COPY_TEAM_H
#define Q2_COPY_TEAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <qcow2.h>

#include "plan.h"

enum { Q2_COPY_MAX_THREADS = 64 };

/* The most memory that the threads of one call take, for buffers and for reading into them: 16 threads that
 * copy 2 MiB clusters to a file, the largest default there is. */
#define Q2_COPY_MEMORY_BYTES (UINT64_C(128) << 20)

struct q2_copy {
    struct qcow2_image *image;
    uint32_t flags;   /* enum qcow2_copy_flags */
    unsigned threads; /* the most there may be, the caller's included */
    uint64_t start;   /* guest address of the first byte; it lands at 0 of the target */
    uint64_t length;  /* bytes to copy */
    int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void *progress_ctx;
    struct q2_plan plan;

    atomic_bool stopping;

    pthread_mutex_t lock; /* guards all that follows */
    uint64_t done_bytes;
    uint64_t last_report_ns;
    bool reporting; /* somebody is inside progress(), or asked to stop there */
    /* The failure that comes first in guest order of all that were met. Pieces are handed out in
     * that order and a piece once begun is finished, so this is the first bad place of the disk
     * however the threads ran. */
    int code;
    uint64_t fault_sequence;
    struct qcow2_error fault;
};

/* How many processors this process may use, at most 16. */
unsigned q2_copy_processors(void);

/* Readies what the fields up to progress_ctx do not cover; they are the caller's to fill first. */
int q2_copy_init(struct q2_copy *copy, const struct q2_plan_limits *limits,
                 struct qcow2_error *err);
void q2_copy_deinit(struct q2_copy *copy);

/* How many threads the copy can use: no more than asked for, than there can be pieces, and than fit into
 * Q2_COPY_MEMORY_BYTES if each has buffers of buffer_bytes; at least 1. cluster_bytes: of the largest cluster
 * of what is read. */
unsigned q2_copy_workers(const struct q2_copy *copy, uint64_t buffer_bytes, uint64_t cluster_bytes);

/* Runs work(job, 0) .. work(job, workers - 1), each on a thread of its own, the last on this one,
 * and waits for all. Started threads receive no signals. One that cannot be started is done
 * without, so work must share the pieces out by claiming them. Then makes the last call of
 * progress; returns 0 or the code of the failure, which is copied to *err. */
int q2_copy_run(struct q2_copy *copy, unsigned workers, void (*work)(void *job, unsigned index),
                void *job, struct qcow2_error *err);

/* Notes a failure at a piece and lets nobody begin another. For a callback's wish to stop, which
 * belongs to no place, use q2_copy_cancel. */
void q2_copy_fail(struct q2_copy *copy, uint64_t sequence, const struct qcow2_error *err);
void q2_copy_cancel(struct q2_copy *copy, const char *who);

/* Whether to leave early. Never set by a copy that goes well. */
bool q2_copy_stopping(const struct q2_copy *copy);

/* Counts `bytes` of disk as dealt with and tells the caller of the library when it is time to. */
void q2_copy_account(struct q2_copy *copy, uint64_t bytes);

#endif
