/* SPDX-License-Identifier: MIT */
/* host_holes.h - which parts of stored data are holes of the file that stores it.
 * Knows SEEK_DATA; must not know the image, the plan or the target. */
#ifndef Q2_COPY_HOST_HOLES_H
#define Q2_COPY_HOST_HOLES_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of one file. */
struct q2_host_view {
    int fd; /* the descriptor asked about, -1: none */
    int own_fd; /* a description of that file which we may seek in, -1: it has no holes, or no way to look */
    /* What was found last: [from, to) of that file is all hole, or all not. */
    uint64_t from;
    uint64_t to;
    bool hole;
};

/* A chain of images is a handful of files, and extents may change between them at every cluster. */
struct q2_host_holes {
    struct q2_host_view view[8];
};

void q2_host_holes_init(struct q2_host_holes *holes);
void q2_host_holes_deinit(struct q2_host_holes *holes);

/* How many of the `bytes` (at least 1) of an extent at host_off are alike: in a hole of the file, and so
 * zero, or not. *hole_ret says which. Where holes cannot be seen, all of them are not. `fd` is the extent's
 * descriptor; `may_seek`: its offset may be moved (qcow2_extent_may_seek). */
uint64_t q2_host_holes_find(struct q2_host_holes *holes, int fd, bool may_seek, uint64_t host_off,
                            uint64_t bytes, bool *hole_ret);

#endif
