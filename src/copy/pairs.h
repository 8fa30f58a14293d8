/* SPDX-License-Identifier: MIT */
/* pairs.h - cuts two disks, side by side, into the pieces that have to be read to compare them.
 * Knows the images' extents; must not know what is done with a piece. */
#ifndef Q2_COPY_PAIRS_H
#define Q2_COPY_PAIRS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <qcow2.h>

#include "host_holes.h"

/* One of the two disks. */
struct q2_pair_side {
    struct qcow2_image *image;
    uint64_t size;                       /* of the disk; what lies past it counts as zeros */
    uint64_t cursor;                     /* where to ask for the next extent */
    struct qcow2_extent extent;          /* the part of the last one not yet looked at */
    uint64_t run;                        /* bytes from here on that are of one kind; 0: not known */
    bool zero;                           /* the run is zeros, without reading it */
    uint64_t runs, max_runs;             /* found so far, and allowed */
    uint64_t read_bytes, max_read_bytes; /* in pieces handed out so far, and allowed */
    uint64_t max_lookups;                /* table entries examined, as the image counts them */
    struct q2_host_holes holes;
};

struct q2_pair_piece {
    uint64_t sequence; /* 0, 1, 2 and so on, in guest order */
    uint64_t guest_off;
    uint64_t length;  /* 0: nothing to read this time */
    uint64_t skipped; /* bytes before the piece that are the same in both, as the tables say */
    bool read[2];     /* of which disk; the other reads as zeros there */
};

struct q2_pairs {
    uint64_t end;
    uint64_t piece_bytes;   /* longest piece */
    uint64_t cluster_bytes; /* of the largest cluster of both chains */

    pthread_mutex_t lock; /* guards all that follows */
    struct q2_pair_side side[2];
    uint64_t guest_off; /* of the first byte that was not handed out */
    uint64_t sequence;  /* of the next piece */
    bool closed;
};

/* The disks from `start` to `end`, which may be past the end of either; `limited`: within the limits that
 * qcow2.h states. 0, or QCOW2_E_NOMEM. */
int q2_pairs_init(struct q2_pairs *pairs, struct qcow2_image *image_a, struct qcow2_image *image_b,
                  uint64_t start, uint64_t end, bool limited, struct qcow2_error *err);
void q2_pairs_deinit(struct q2_pairs *pairs);

/* 1 with the next piece; 0 when none are left or the walk was closed; or a code, with the sequence and
 * guest_off that the piece would have had and *side_ret the disk at fault. `skipped` counts either way.
 * After a failure the walk is closed. */
int q2_pairs_claim(struct q2_pairs *pairs, struct q2_pair_piece *piece_ret, int *side_ret,
                   struct qcow2_error *err);

/* No more pieces for anyone. */
void q2_pairs_close(struct q2_pairs *pairs);

#endif
