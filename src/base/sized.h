/* SPDX-License-Identifier: MIT */
/* sized.h - taking a caller's options, whose first member is their size. Knows sizes alone. */
#ifndef Q2_BASE_SIZED_H
#define Q2_BASE_SIZED_H

#include <stddef.h>

struct qcow2_error;

/* Copies the `known` bytes of options that this version knows; `size` is what the caller's struct has as its size. What
 * lies after them must be zero: the caller would be half obeyed otherwise. 0, or QCOW2_E_ARGUMENT with `to`
 * unchanged. */
int q2_sized_copy(void *to, const void *from, size_t size, size_t known, struct qcow2_error *err);

#endif
