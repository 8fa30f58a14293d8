/* SPDX-License-Identifier: MIT */
/* fault.c - how the copy engine words and hands over its own errors.
 * Knows struct qcow2_error and errno; must not know what was being done.
 *
 * The engine stands on the public header alone, so it fills the public struct itself. */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* strerror_r comes in two kinds: glibc's returns the text, POSIX's puts it into the buffer. */
static const char *errno_text(int sys_errno, char *buf, size_t buf_bytes)
{
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    return strerror_r(sys_errno, buf, buf_bytes);
#else
    return strerror_r(sys_errno, buf, buf_bytes) == 0 ? buf : "unknown error";
#endif
}

int q2_fault_set(struct qcow2_error *err, int code, int sys_errno, const char *format, ...)
{
    const struct qcow2_error empty = QCOW2_ERROR_INIT;
    char reason[128] = "";
    va_list args;

    *err = empty;
    err->code = code;
    err->sys_errno = sys_errno;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (sys_errno != 0) {
        size_t used = strlen(err->message);

        snprintf(err->message + used, sizeof err->message - used, ": %s",
                 errno_text(sys_errno, reason, sizeof reason));
    }
    return code;
}

int q2_fault_publish(struct qcow2_error *to, const struct qcow2_error *from)
{
    /* A struct smaller than the first one ever published cannot be ours: leave it alone. */
    if (to != NULL && to->size >= sizeof *from) {
        size_t size = to->size;

        *to = *from;
        to->size = size;
    }
    return from->code;
}
