/* SPDX-License-Identifier: MIT */
/* nbd_reads.c - qemu-nbd through libnbd for reads_main.c. Each thread has a
 * server of its own, started by socket activation and ended with the handle,
 * so that no thread waits for another one's requests. */
#include "reads.h"

#include <libnbd.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct reader {
    uint64_t size;
    unsigned count;
    struct nbd_handle *handles[];
};

const char reader_name[] = "qemu-nbd";

void reader_close(struct reader *reader)
{
    for (unsigned i = 0; i < reader->count; i++) {
        nbd_shutdown(reader->handles[i], 0);
        nbd_close(reader->handles[i]);
    }
    free(reader);
}

struct reader *reader_open(const char *path, unsigned threads)
{
    struct reader *reader = calloc(1, sizeof *reader + threads * sizeof reader->handles[0]);
    char *argv[] = { "qemu-nbd", "--read-only", "--format=qcow2", NULL, NULL };
    int64_t size;

    if (reader == NULL) {
        fprintf(stderr, "%s: out of memory\n", path);
        return NULL;
    }
    argv[3] = (char *)(uintptr_t)path; /* libnbd takes char ** and does not write to it */
    for (; reader->count < threads; reader->count++) {
        struct nbd_handle *nbd = nbd_create();

        if (nbd == NULL || nbd_connect_systemd_socket_activation(nbd, argv) < 0) {
            fprintf(stderr, "qemu-nbd: %s\n", nbd_get_error());
            nbd_close(nbd);
            reader_close(reader);
            return NULL;
        }
        reader->handles[reader->count] = nbd;
    }
    size = nbd_get_size(reader->handles[0]);
    if (size < 0) {
        fprintf(stderr, "qemu-nbd: %s\n", nbd_get_error());
        reader_close(reader);
        return NULL;
    }
    reader->size = (uint64_t)size;
    return reader;
}

uint64_t reader_size(const struct reader *reader)
{
    return reader->size;
}

int reader_read(struct reader *reader, unsigned thread, void *buf, size_t count, uint64_t offset)
{
    if (nbd_pread(reader->handles[thread], buf, count, offset, 0) == 0)
        return 0;
    fprintf(stderr, "read of %zu bytes at %" PRIu64 ": %s\n", count, offset, nbd_get_error());
    return -1;
}
