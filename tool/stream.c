/* SPDX-License-Identifier: MIT */
/* stream.c - the disk, or a part of it, onto a descriptor as it stands.
 * Knows write(2) and holes; must not know where the bytes come from. */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Several pipe buffers: few calls, and small enough to stay in the processor's cache. */
static const char zeros[256 * 1024];

/* Shorter runs of zeros are written: a hole smaller than a block saves nothing. */
#define HOLE_MIN_BYTES 4096

void stream_begin(struct stream *stream, int fd, uint64_t total, struct progress *progress)
{
    struct stat info;
    off_t position = lseek(fd, 0, SEEK_CUR);
    int flags = fcntl(fd, F_GETFL);

    memset(stream, 0, sizeof *stream);
    stream->fd = fd;
    stream->total = total;
    stream->progress = progress;
    stream->sparse = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && position >= info.st_size &&
                     flags != -1 && (flags & O_APPEND) == 0;
}

/* 0 or an errno value. */
static int write_all(int fd, const char *buf, size_t count)
{
    while (count > 0) {
        ssize_t written = write(fd, buf, count);

        if (written >= 0) {
            buf += written;
            count -= (size_t)written;
        } else if (errno == EAGAIN) {
            /* Somebody else made the pipe non-blocking. */
            struct pollfd wait = { fd, POLLOUT, 0 };

            if (poll(&wait, 1, -1) < 0 && errno != EINTR) {
                return errno;
            }
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

static int skip(struct stream *stream, uint64_t count)
{
    if (count > INT64_MAX || lseek(stream->fd, (off_t)count, SEEK_CUR) < 0) {
        return EFBIG;
    }
    stream->hole_open = true;
    return 0;
}

static int write_part(struct stream *stream, const void *buf, uint64_t count)
{
    if (buf != NULL) {
        stream->hole_open = false;
        return write_all(stream->fd, buf, (size_t)count);
    }
    if (stream->sparse && count >= HOLE_MIN_BYTES) {
        return skip(stream, count);
    }
    stream->hole_open = false;
    return write_all(stream->fd, zeros, (size_t)count);
}

int stream_receive(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    struct stream *stream = ctx;

    (void)offset;
    while (count > 0) {
        uint64_t part = count;

        if (buf == NULL && !stream->sparse && part > sizeof zeros) {
            part = sizeof zeros;
        }
        stream->sys_errno = write_part(stream, buf, part);
        if (stream->sys_errno != 0) {
            return 1;
        }
        count -= part;
        stream->done += part;
        if (stream->progress != NULL &&
            progress_update(stream->progress, stream->done, stream->total) != 0) {
            return 1;
        }
    }
    return 0;
}

int stream_finish(struct stream *stream)
{
    if (stream->hole_open) {
        off_t end = lseek(stream->fd, 0, SEEK_CUR);

        if (end < 0 || ftruncate(stream->fd, end) != 0) {
            return errno;
        }
    }
    return 0;
}
