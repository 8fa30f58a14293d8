/* SPDX-License-Identifier: MIT */
/* stream.h - writing bytes in order to a descriptor that may take few, or none just now.
 * Knows pipes, sockets and character devices; must not know images, pieces or threads. */
#ifndef Q2_COPY_STREAM_H
#define Q2_COPY_STREAM_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <qcow2.h>

/* Writes `count` bytes at `buf`, or as many zeros when buf is NULL. Waits as long as it takes, also
 * on a descriptor that does not block. The thread must have SIGPIPE blocked. */
int q2_stream_write(int fd, const void *buf, uint64_t count, struct qcow2_error *err);

/* Keeps SIGPIPE from the calling thread, so that a reader that went away is an error code on every
 * thread alike; and gives the thread back as it was, without a signal that writing left behind. */
struct q2_stream_guard {
    sigset_t before;
    bool was_pending;
};
void q2_stream_guard_enter(struct q2_stream_guard *guard);
void q2_stream_guard_leave(const struct q2_stream_guard *guard);

#endif
