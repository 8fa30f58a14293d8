/* SPDX-License-Identifier: MIT */
/* error.h - filling the caller's struct qcow2_error.
 *
 * A message is made once, where the fact is known: it names the thing, the
 * place and the rule. Layers above hand the code on and add where they stand
 * (q2_error_depth, q2_error_guest); they never write a second message.
 * All take NULL. Each q2_error_set* returns `code`, so that failing is one
 * statement. */
#ifndef Q2_BASE_ERROR_H
#define Q2_BASE_ERROR_H

#include <qcow2.h>

#if defined(__GNUC__)
#define Q2_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define Q2_PRINTF(fmt, args)
#endif

int q2_error_set(struct qcow2_error *err, int code, const char *fmt, ...) Q2_PRINTF(3, 4);

/* The same with the place in the file. */
int q2_error_set_at(struct qcow2_error *err, int code, uint64_t host_off, const char *fmt, ...)
    Q2_PRINTF(4, 5);

/* The same with an errno, whose text is added behind the message; host_off may be UINT64_MAX. */
int q2_error_set_errno(struct qcow2_error *err, int code, int sys_errno, uint64_t host_off,
                       const char *fmt, ...) Q2_PRINTF(5, 6);

int q2_error_nomem(struct qcow2_error *err);

void q2_error_depth(struct qcow2_error *err, int depth);
void q2_error_guest(struct qcow2_error *err, uint64_t guest_off);

/* Copies up to n bytes of image text into dst as printable ASCII, always terminated: a terminal or a
 * log must not be at the mercy of an image. Stops at a NUL. */
void q2_escape(char *dst, size_t dst_bytes, const void *text, size_t n);

#endif
