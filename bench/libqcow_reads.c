/* SPDX-License-Identifier: MIT */
/* libqcow_reads.c - libqcow for reads_main.c. Every read of a libqcow handle
 * takes its lock for writing, so each thread gets a handle of its own: the
 * faster way to use it. */
#include "reads.h"

#include <libqcow.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct reader {
    unsigned count;
    libqcow_file_t *handles[];
};

const char reader_name[] = "libqcow";

static void print_error(const char *what, libqcow_error_t **error)
{
    char text[512];

    if (*error == NULL || libqcow_error_sprint(*error, text, sizeof text) < 0)
        fprintf(stderr, "libqcow: %s failed\n", what);
    else
        fprintf(stderr, "libqcow: %s: %s\n", what, text);
    libqcow_error_free(error);
}

void reader_close(struct reader *reader)
{
    for (unsigned i = 0; i < reader->count; i++) {
        libqcow_file_close(reader->handles[i], NULL);
        libqcow_file_free(&reader->handles[i], NULL);
    }
    free(reader);
}

struct reader *reader_open(const char *path, unsigned threads)
{
    struct reader *reader = calloc(1, sizeof *reader + threads * sizeof reader->handles[0]);
    libqcow_error_t *error = NULL;

    if (reader == NULL) {
        fprintf(stderr, "%s: out of memory\n", path);
        return NULL;
    }
    for (; reader->count < threads; reader->count++) {
        libqcow_file_t **handle = &reader->handles[reader->count];

        if (libqcow_file_initialize(handle, &error) != 1) {
            print_error("initialize", &error);
            reader_close(reader);
            return NULL;
        }
        if (libqcow_file_open(*handle, path, LIBQCOW_OPEN_READ, &error) != 1) {
            print_error("open", &error);
            libqcow_file_free(handle, NULL);
            reader_close(reader);
            return NULL;
        }
    }
    return reader;
}

uint64_t reader_size(const struct reader *reader)
{
    size64_t size = 0;

    if (libqcow_file_get_media_size(reader->handles[0], &size, NULL) != 1)
        return 0;
    return size;
}

int reader_read(struct reader *reader, unsigned thread, void *buf, size_t count, uint64_t offset)
{
    libqcow_error_t *error = NULL;
    ssize_t got = libqcow_file_read_buffer_at_offset(reader->handles[thread], buf, count,
                                                     (off64_t)offset, &error);

    if (got == (ssize_t)count)
        return 0;
    fprintf(stderr, "read of %zu bytes at %" PRIu64 " gave %zd\n", count, offset, got);
    print_error("read", &error);
    return -1;
}
