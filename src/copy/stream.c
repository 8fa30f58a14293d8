/* SPDX-License-Identifier: MIT */
/* stream.c - writing bytes in order to a descriptor that may take few, or none just now.
 * Knows pipes, sockets and character devices; must not know images, pieces or threads. */
#include "stream.h"
#include "fault.h"
#include "zero.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/uio.h>
#include <unistd.h>

/* Zeros go out many at a time from one small buffer. */
enum { ZERO_VECTORS = 16 };

static ssize_t write_some(int fd, const void *buf, uint64_t count)
{
    struct iovec vector[ZERO_VECTORS];
    int used = 0;

    if (buf != NULL) {
        return write(fd, buf, count < SSIZE_MAX ? (size_t)count : (size_t)SSIZE_MAX);
    }
    for (; used < ZERO_VECTORS && count > 0; used++) {
        size_t n = count < Q2_ZERO_BYTES ? (size_t)count : Q2_ZERO_BYTES;

        vector[used].iov_base = (void *)q2_zero_bytes; /* only read from */
        vector[used].iov_len = n;
        count -= n;
    }
    return writev(fd, vector, used);
}

int q2_stream_write(int fd, const void *buf, uint64_t count, struct qcow2_error *err)
{
    const unsigned char *p = buf;

    while (count > 0) {
        ssize_t n = write_some(fd, p, count);

        if (n > 0) {
            count -= (uint64_t)n;
            if (p != NULL) {
                p += n;
            }
            continue;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) { /* or EWOULDBLOCK, which is the same wherever this runs */
            struct pollfd room = { .fd = fd, .events = POLLOUT };

            /* Whatever poll says, writing again tells: room, or the reason why there is none. */
            if (poll(&room, 1, -1) >= 0 || errno == EINTR || errno == EAGAIN) {
                continue;
            }
        }
        return q2_fault_set(err, QCOW2_E_IO, n < 0 ? errno : EIO, "cannot write to the target");
    }
    return 0;
}

void q2_stream_guard_enter(struct q2_stream_guard *guard)
{
    sigset_t pending, pipe_only;

    sigemptyset(&pending);
    sigpending(&pending);
    guard->was_pending = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &guard->before);
}

void q2_stream_guard_leave(const struct q2_stream_guard *guard)
{
    sigset_t pending, pipe_only;
    int taken;

    /* Only one can be pending, so if there was one before, that is the one there is now. */
    sigemptyset(&pending);
    sigpending(&pending);
    if (!guard->was_pending && sigismember(&pending, SIGPIPE) == 1) {
        sigemptyset(&pipe_only);
        sigaddset(&pipe_only, SIGPIPE);
        sigwait(&pipe_only, &taken);
    }
    pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}
