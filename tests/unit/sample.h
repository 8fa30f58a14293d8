/* SPDX-License-Identifier: MIT */
/* sample.h - small qcow2 images in memory, and sources that count and fail on request.
 * Writes the format on its own; knows the public header and nothing inside the library. */
#ifndef UNIT_SAMPLE_H
#define UNIT_SAMPLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

struct sample {
    unsigned char *file; /* the image */
    size_t file_bytes;
    unsigned char *disk; /* what a reader must see */
    uint64_t size;
    uint64_t cluster_bytes;
    uint64_t data_off; /* of the first cluster's bytes in the file, wherever that cluster is */
};

/* One character for each cluster: D stored, Z zero, C compressed, anything else unallocated. The disk
 * ends cut_bytes before its last cluster does. compression: enum qcow2_compression. Exits when memory
 * runs out. */
void sample_init(struct sample *sample, unsigned cluster_bits, int compression, const char *layout,
                 uint64_t cut_bytes);
void sample_deinit(struct sample *sample);

/* A source over the bytes of a sample, or of any memory. */
struct sample_source {
    const unsigned char *bytes;
    size_t count;
    uint64_t size_told;  /* what get_size answers; sample_source_init sets it to count */
    int size_errno;      /* what get_size fails with, 0: it does not */
    unsigned fail_from;  /* the first read to fail, counted from 1; 0: none does */
    unsigned fail_count; /* how many fail from there on */
    atomic_uint reads;   /* made so far */
    atomic_uint closes;  /* how often close has run */
    atomic_bool strayed; /* a read reached past size_told, or was of no bytes */
    struct qcow2_source source;
};

void sample_source_init(struct sample_source *source, const void *bytes, size_t count);

/* Opens the sample through *source; fails the test on error. */
struct qcow2_image *sample_open(struct sample_source *source, const struct sample *sample,
                                const struct qcow2_options *options);

/* Reads [offset, offset + count) and compares it with the sample; fails the test on any difference. */
void sample_check_read(struct qcow2_image *image, const struct sample *sample, uint64_t offset,
                       size_t count);

/* Stores a big-endian number of `bytes` bytes. */
void sample_store(void *to, uint64_t value, unsigned bytes);

#endif
