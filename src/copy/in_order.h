/* SPDX-License-Identifier: MIT */
/* in_order.h - reading in parallel, delivering in order. */
#ifndef Q2_COPY_IN_ORDER_H
#define Q2_COPY_IN_ORDER_H

#include "team.h"

/* Takes the next `count` bytes of the disk, zeros when buf is NULL. Negative stops the copy. Never
 * two calls at a time. */
typedef int q2_deliver(void *ctx, const void *buf, uint64_t count, uint64_t guest_off,
                       struct qcow2_error *err);

/* Hands every byte over once, ascending. The fields of *copy that are the caller's are set; the
 * rest is readied and released here. No run of zeros is longer than zero_bytes. */
int q2_copy_in_order(struct q2_copy *copy, uint64_t zero_bytes, q2_deliver *deliver, void *ctx,
                     struct qcow2_error *err);

#endif
