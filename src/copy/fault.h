/* SPDX-License-Identifier: MIT */
/* fault.h - how the copy engine words and hands over its own errors.
 * Knows struct qcow2_error and errno; must not know what was being done. */
#ifndef Q2_COPY_FAULT_H
#define Q2_COPY_FAULT_H

#include <qcow2.h>

#if defined(__GNUC__)
#define Q2_COPY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define Q2_COPY_PRINTF(fmt, args)
#endif

/* Fills *err (never NULL: inside the engine every thread has one) and returns `code`. With a
 * sys_errno other than 0 its text is put after the sentence. */
int q2_fault_set(struct qcow2_error *err, int code, int sys_errno, const char *format, ...)
    Q2_COPY_PRINTF(4, 5);

/* Copies `from` into what the caller of the library gave, which may be NULL or a larger struct of a
 * newer program. Returns from->code. */
int q2_fault_publish(struct qcow2_error *to, const struct qcow2_error *from);

#endif
