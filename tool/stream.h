/* SPDX-License-Identifier: MIT */
/* stream.h - the disk, or a part of it, onto a descriptor as it stands: from where its offset is,
 * into
 * whatever it is, never emptying a file first. */
#ifndef TOOL_STREAM_H
#define TOOL_STREAM_H

#include <qcow2.h>
#include <stdbool.h>

#include "progress.h"

struct stream {
    int fd;
    bool sparse;    /* zeros may be skipped over: a regular file that ends here */
    bool hole_open; /* skipped to the current offset, which the file does not reach yet */
    int sys_errno;  /* of the failed write, 0 if none failed */
    uint64_t done;
    uint64_t total;
    struct progress *progress; /* NULL: none */
};

void stream_begin(struct stream *stream, int fd, uint64_t total, struct progress *progress);

/* For qcow2_copy_to_callback; `ctx` is the struct. */
int stream_receive(void *ctx, const void *buf, uint64_t count, uint64_t offset);

/* Gives the file its full length. 0, or the errno value of what failed. */
int stream_finish(struct stream *stream);

#endif
