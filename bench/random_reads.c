/* SPDX-License-Identifier: MIT */
/* random_reads.c - our own reader for reads_main.c: one image shared by all
 * threads, default options. Knows <qcow2.h> and nothing behind it. */
#include "reads.h"

#include <qcow2.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct reader {
    struct qcow2_image *image;
};

const char reader_name[] = "qcow2";

struct reader *reader_open(const char *path, unsigned threads)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct reader *reader = malloc(sizeof *reader);

    (void)threads;
    if (reader == NULL) {
        fprintf(stderr, "%s: out of memory\n", path);
        return NULL;
    }
    if (qcow2_open(path, NULL, &reader->image, &err) < 0) {
        fprintf(stderr, "%s: %s\n", path, err.message);
        free(reader);
        return NULL;
    }
    return reader;
}

uint64_t reader_size(const struct reader *reader)
{
    return qcow2_size(reader->image);
}

int reader_read(struct reader *reader, unsigned thread, void *buf, size_t count, uint64_t offset)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    ssize_t got = qcow2_pread(reader->image, buf, count, offset, &err);

    (void)thread;
    if (got == (ssize_t)count)
        return 0;
    fprintf(stderr, "read of %zu bytes at %" PRIu64 ": %s\n", count, offset,
            got < 0 ? err.message : "short count");
    return -1;
}

void reader_close(struct reader *reader)
{
    qcow2_close(reader->image);
    free(reader);
}
