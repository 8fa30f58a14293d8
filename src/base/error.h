/* SPDX-License-Identifier: MIT */
/* error.h - filling the caller's struct qcow2_error.
 *
 * A message is made once, where the fact is known: it names the thing, the
 * place and the rule. Layers above hand the code on and add where they stand
 * (q2_error_depth, q2_error_guest); they never write a second message.
 * All take NULL. Each q2_error_set* gives `code` back, so that failing is one
 * statement; they are macros so that compilers and analyzers see the code. */
#ifndef Q2_BASE_ERROR_H
#define Q2_BASE_ERROR_H

#include <qcow2.h>

#if defined(__GNUC__)
#define Q2_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define Q2_PRINTF(fmt, args)
#endif

/* Fills *err. With a sys_errno other than 0 its text is put behind the message; host_off may be
 * UINT64_MAX. */
void q2_error_fill(struct qcow2_error *err, int code, int sys_errno, uint64_t host_off,
                   const char *fmt, ...) Q2_PRINTF(5, 6);

static inline int q2_error_code(int code)
{
    return code;
}

#define q2_error_set(err, code, ...)                                                               \
    (q2_error_fill(err, code, 0, UINT64_MAX, __VA_ARGS__), q2_error_code(code))

/* The same with the place in the file. */
#define q2_error_set_at(err, code, host_off, ...)                                                  \
    (q2_error_fill(err, code, 0, host_off, __VA_ARGS__), q2_error_code(code))

/* The same with an errno, whose text is added behind the message; host_off may be UINT64_MAX. */
#define q2_error_set_errno(err, code, sys_errno, host_off, ...)                                    \
    (q2_error_fill(err, code, sys_errno, host_off, __VA_ARGS__), q2_error_code(code))

#define q2_error_nomem(err) q2_error_set(err, QCOW2_E_NOMEM, "out of memory")

/* What a callback told, with a code that may be another. */
void q2_error_copy(struct qcow2_error *err, const struct qcow2_error *told, int code);

void q2_error_depth(struct qcow2_error *err, int depth);
void q2_error_guest(struct qcow2_error *err, uint64_t guest_off);

/* Copies up to n bytes of image text into dst as printable ASCII, always terminated: a terminal or a
 * log must not be at the mercy of an image. Stops at a NUL. */
void q2_escape(char *dst, size_t dst_bytes, const void *text, size_t n);

#endif
