/* SPDX-License-Identifier: MIT */
/* rows.h - the extents of a disk joined into the longest runs, in qemu-img's terms. */
#ifndef TOOL_ROWS_H
#define TOOL_ROWS_H

#include <qcow2.h>
#include <stdbool.h>

#include "holes.h"
#include "limit.h"
#include "raw_holes.h"

struct row {
    uint64_t start;
    uint64_t length;
    int depth;
    bool present; /* some layer holds it, as data or as zeros */
    bool zero;    /* reads as zeros */
    bool data;    /* has bytes stored somewhere */
    bool compressed;
    bool has_offset;
    uint64_t offset; /* of its first byte in the file of layer `depth` */
};

struct row_walk {
    struct qcow2_image *image;
    uint64_t cursor;
    uint64_t end;
    struct holes holes;
    bool guesses;          /* QEMU may take the image for preallocated, so holes has a say */
    bool joins_compressed; /* rows that differ in being compressed alone are one: nobody is told */
    uint64_t pieces, max_pieces;  /* found so far, and allowed */
    struct limit_lookups lookups; /* and so many table entries may be examined */
    struct layer_views layers;
    struct qcow2_extent extent; /* what is left of the last extent; length 0: nothing */
    struct row next;            /* read ahead; length 0: nothing */
};

/* From `start` to `end`, which must not be past the end of the disk, in at most max_pieces steps. */
void rows_begin(struct row_walk *walk, struct qcow2_image *image, uint64_t start, uint64_t end,
                uint64_t max_pieces);

/* 1 with the next row, 0 at the end, or a code; QCOW2_E_LIMIT after max_pieces. Rows are made one at a time; nothing is kept. */
int rows_next(struct row_walk *walk, struct row *row_ret, struct qcow2_error *err);

#endif
