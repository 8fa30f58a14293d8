/* SPDX-License-Identifier: MIT */
/* plan.h - cuts the virtual disk into pieces of work and hands them out in guest order.
 * Knows the image's extents; must not know what is done with a piece. */
#ifndef Q2_COPY_PLAN_H
#define Q2_COPY_PLAN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <qcow2.h>

#include "host_holes.h"

enum {
    /* The smallest run of zeros that is worth a hole; also the alignment of buffers. */
    Q2_COPY_BLOCK_BYTES = 4096
};

enum q2_piece_kind {
    Q2_PIECE_ZERO,   /* reads as zeros, and nothing needs to be read to know it */
    Q2_PIECE_STORED, /* to be read; never longer than stored_bytes */
    Q2_PIECE_SHARED  /* as stored, and in blocks that another file might share */
};

struct q2_piece {
    uint64_t sequence; /* 0, 1, 2 and so on, in guest order */
    uint64_t guest_off;
    uint64_t length;
    uint64_t host_off; /* SHARED: where it lies */
    int host_fd;       /* SHARED: in which file */
    int kind;          /* enum q2_piece_kind */
};

/* How to cut. */
struct q2_plan_limits {
    uint64_t stored_bytes; /* longest STORED piece; at least the chain's largest cluster */
    uint64_t zero_bytes;   /* longest ZERO piece */
    uint64_t shared_bytes; /* longest SHARED piece once sharing has worked; 0: never make any */
    uint64_t shared_block; /* the target's block: only whole ones can be shared */
    bool host_holes;       /* holes of the file that stores the data are zeros as well */
};

struct q2_plan {
    struct qcow2_image *image;
    struct q2_plan_limits limits;
    uint64_t start;
    uint64_t end;
    uint64_t cluster_bytes; /* of the chain's largest cluster */

    pthread_mutex_t lock; /* guards all that follows */
    uint64_t cursor;      /* where to ask for the next extent */
    uint64_t sequence;    /* of the next piece */
    bool closed;
    bool sharing;               /* SHARED pieces are being made */
    bool sharing_works;         /* one of them was shared, so longer ones are worth making */
    struct qcow2_extent extent; /* the part of the last extent not yet looked at */
    struct q2_piece run;        /* its next part of one kind, not yet handed out; sequence unused */
    struct q2_host_holes holes;
};

/* The size of the largest cluster in the image's chain. */
uint64_t q2_plan_cluster_bytes(const struct qcow2_image *image);

/* The disk from `start` to `end`, both within it. 0, or QCOW2_E_NOMEM. */
int q2_plan_init(struct q2_plan *plan, struct qcow2_image *image, uint64_t start, uint64_t end,
                 const struct q2_plan_limits *limits, struct qcow2_error *err);
void q2_plan_deinit(struct q2_plan *plan);

/* 1 with the next piece; 0 when none are left or the plan was closed; or a code, with the sequence
 * and guest_off that the piece would have had. After a failure the plan is closed. */
int q2_plan_claim(struct q2_plan *plan, struct q2_piece *piece_ret, struct qcow2_error *err);

/* No more pieces for anyone. */
void q2_plan_close(struct q2_plan *plan);

/* What came of trying to share a piece. */
void q2_plan_note_sharing(struct q2_plan *plan, bool worked);

#endif
