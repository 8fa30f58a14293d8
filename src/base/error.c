/* SPDX-License-Identifier: MIT */
/* error.c - see error.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A struct smaller than the first one ever published cannot be ours: leave it alone. */
static int usable(const struct qcow2_error *err)
{
    return err != NULL && err->size >= sizeof(struct qcow2_error);
}

/* strerror_r comes in two kinds; whichever this is, the text ends up in buf or in what it returns. */
static const char *errno_text(int sys_errno, char *buf, size_t buf_bytes)
{
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    return strerror_r(sys_errno, buf, buf_bytes);
#else
    return strerror_r(sys_errno, buf, buf_bytes) == 0 ? buf : "unknown error";
#endif
}

void q2_error_fill(struct qcow2_error *err, int code, int sys_errno, uint64_t host_off,
                   const char *fmt, ...)
{
    char text[128] = "";
    size_t used;
    int length;
    va_list args;

    if (!usable(err)) {
        return;
    }
    err->code = code;
    err->sys_errno = sys_errno;
    err->depth = 0;
    err->reserved = 0;
    err->host_offset = host_off;
    err->guest_offset = UINT64_MAX;
    va_start(args, fmt);
    length = vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    if (length < 0) {
        err->message[0] = '\0';
    }
    if (sys_errno != 0) {
        used = strlen(err->message);
        (void)snprintf(err->message + used, sizeof err->message - used, ": %s",
                       errno_text(sys_errno, text, sizeof text));
    }
}

void q2_error_copy(struct qcow2_error *err, const struct qcow2_error *told, int code)
{
    if (usable(err)) {
        size_t size = err->size;

        memcpy(err, told, sizeof *told);
        err->size = size;
        err->code = code;
        err->message[sizeof err->message - 1] = '\0';
    }
}

void q2_error_depth(struct qcow2_error *err, int depth)
{
    if (usable(err)) {
        err->depth = depth;
    }
}

void q2_error_guest(struct qcow2_error *err, uint64_t guest_off)
{
    if (usable(err)) {
        err->guest_offset = guest_off;
    }
}

void q2_escape(char *dst, size_t dst_bytes, const void *text, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *from = text;
    size_t used = 0;

    for (size_t i = 0; i < n && from[i] != '\0'; i++) {
        unsigned char c = from[i];

        if (c >= 0x20 && c < 0x7f && c != '\\') {
            if (used + 2 > dst_bytes) {
                break;
            }
            dst[used++] = (char)c;
        } else {
            if (used + 5 > dst_bytes) {
                break;
            }
            dst[used++] = '\\';
            dst[used++] = 'x';
            dst[used++] = hex[c >> 4];
            dst[used++] = hex[c & 15];
        }
    }
    dst[used] = '\0';
}

const char *qcow2_code_name(int code)
{
    static const char *const names[] = {
        "success",   "argument", "nomem",     "io",  "not-qcow2", "unsupported", "corrupt",
        "truncated", "limit",    "reference", "key", "not-found", "cancelled",
    };

    if (code >= 0) {
        return names[0];
    }
    if (code < -(int)(sizeof names / sizeof names[0] - 1)) {
        return "unknown";
    }
    return names[-code];
}
