/* SPDX-License-Identifier: MIT */
/* target.h - what kind of thing a descriptor leads to, and writing to those that have positions.
 * Knows files and block devices; must not know images or pieces. */
#ifndef Q2_COPY_TARGET_H
#define Q2_COPY_TARGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <qcow2.h>

enum q2_target_kind {
    Q2_TARGET_FILE,   /* a regular file: emptied first, so all that is not written is zero */
    Q2_TARGET_DEVICE, /* a block device: holds what it held, unless we are told otherwise */
    Q2_TARGET_STREAM  /* anything else: takes bytes in order and nothing more */
};

struct q2_target {
    int fd;
    int kind;           /* enum q2_target_kind */
    size_t block_bytes; /* the unit in which it can leave holes, 4096 .. 65536 */
    bool zero_already;  /* what is not written reads as zeros */
    size_t least_zeros; /* zeros inside data are written as data when there are fewer */
    atomic_int how;     /* DEVICE: the way to make zeros that is tried next, see target_write.c */
    atomic_bool reserving; /* FILE: blocks are allocated before they are written */
    pthread_mutex_t turn;  /* FILE: of the one that writes */
};

/* Looks at fd, without changing anything. QCOW2_E_ARGUMENT: not a descriptor, not open for writing,
 * or open for appending to something that has positions; QCOW2_E_NOMEM. */
int q2_target_inspect(struct q2_target *target, int fd, struct qcow2_error *err);
void q2_target_deinit(struct q2_target *target);

/* Makes a FILE empty and `length` bytes long, or finds out whether a DEVICE is large enough.
 * is_zero: the caller says that the target reads as zeros. Not for a STREAM. */
int q2_target_prepare(struct q2_target *target, uint64_t length, bool is_zero,
                      struct qcow2_error *err);

/* Writes all of the bytes, or those that are not zeros worth leaving out. */
int q2_target_write(struct q2_target *target, const void *buf, size_t bytes, uint64_t target_off,
                    struct qcow2_error *err);
int q2_target_write_sparse(struct q2_target *target, const void *buf, size_t bytes,
                           uint64_t target_off, struct qcow2_error *err);

/* Makes the range read as zeros. */
int q2_target_zero(struct q2_target *target, uint64_t bytes, uint64_t target_off,
                   struct qcow2_error *err);

#endif
