/* SPDX-License-Identifier: MIT */
/* pread_reads.c - pread(2) on the raw file: the limit that no reader of an
 * uncompressed image can pass. */
#include "reads.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reader {
    int fd;
    uint64_t size;
};

const char reader_name[] = "pread";

struct reader *reader_open(const char *path, unsigned threads)
{
    struct reader *reader = malloc(sizeof *reader);
    struct stat st;

    (void)threads;
    if (reader == NULL) {
        fprintf(stderr, "%s: out of memory\n", path);
        return NULL;
    }
    reader->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0 || fstat(reader->fd, &st) < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        if (reader->fd >= 0)
            close(reader->fd);
        free(reader);
        return NULL;
    }
    reader->size = (uint64_t)st.st_size;
    return reader;
}

uint64_t reader_size(const struct reader *reader)
{
    return reader->size;
}

int reader_read(struct reader *reader, unsigned thread, void *buf, size_t count, uint64_t offset)
{
    ssize_t got = pread(reader->fd, buf, count, (off_t)offset);

    (void)thread;
    if (got == (ssize_t)count)
        return 0;
    fprintf(stderr, "pread of %zu bytes at %" PRIu64 ": %s\n", count, offset,
            got < 0 ? strerror(errno) : "short count");
    return -1;
}

void reader_close(struct reader *reader)
{
    close(reader->fd);
    free(reader);
}
