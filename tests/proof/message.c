/* SPDX-License-Identifier: MIT */
/* message.c - in place of base/error.c: the proofs are about what is decoded, not about printf. What is
 * handed over has been computed by the caller, so that its sums are looked at all the same. */
#include "base/error.h"

void q2_error_fill(struct qcow2_error *err, int code, int sys_errno, uint64_t host_off,
                   const char *fmt, ...)
{
    if (err != NULL) {
        err->code = code;
        err->sys_errno = sys_errno;
        err->host_offset = host_off;
        err->message[0] = fmt[0];
    }
}
