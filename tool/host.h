/* SPDX-License-Identifier: MIT */
/* host.h - looking for all that refers to one byte of an image's file.
 * Shared by the parts of `qcow2 explain --host`. */
#ifndef TOOL_HOST_H
#define TOOL_HOST_H

#include <jansson.h>
#include <qcow2.h>
#include <stdbool.h>
#include <stdint.h>

#include "args.h"
#include "host_tables.h"

/* An image whose tables all point at one place would have no end. */
#define HOST_USES_MAX 1000

/* The offset in an entry of an L1 table or of a bitmap's. */
#define HOST_OFFSET_MASK UINT64_C(0x00fffffffffffe00)

struct host {
    struct qcow2_info info;
    int fd;
    uint64_t offset;
    uint64_t count; /* uses, those that are not listed too */
    /* What was not looked at, or not to its end: because of a bound, or because it is broken. */
    uint64_t snapshots_passed_over;
    uint64_t bitmaps_passed_over;
    bool disk_passed_over; /* the live disk */
    bool no_limit;
    bool limit_reached;  /* there were no steps left */
    uint64_t steps_left; /* of looking at L1 entries and at extents, of all disks together */
    uint64_t disks;      /* looked at so far, VM states counted as such */
    struct host_tables tables;
    json_t *list; /* NULL: lines are printed */
    bool failed;
};

/* Tells one use. The guest offset of UINT64_MAX: it is not one of disk. `of`: NULL, the live disk, or
 * words for another. */
__attribute__((format(printf, 5, 6))) void host_use(struct host *host, const char *what,
                                                    uint64_t guest_off, const char *of,
                                                    const char *format, ...);

bool host_within(uint64_t offset, uint64_t start, uint64_t bytes);

/* The parts of the file itself: headers, refcounts, and bitmaps as far as their bound allows. */
void host_look_at_parts(struct host *host, const struct qcow2_image *image);

/* The live disk, and the disks of the snapshots, as many as their bound allows, which are opened from
 * `path`. What cannot be read is reported and passed over. */
void host_look_at_disks(struct host *host, struct qcow2_image *image, const char *path,
                        const struct common_options *common);

#endif
