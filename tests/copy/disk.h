/* SPDX-License-Identifier: MIT */
/* disk.h - small qcow2 images built in memory, and sources that misbehave on request.
 * Writes the format field by field, on its own; knows the public header and nothing inside. */
#ifndef COPY_TEST_DISK_H
#define COPY_TEST_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <qcow2.h>

enum disk_cluster {
    DISK_HOLE,    /* unallocated */
    DISK_ZERO,    /* the zero flag */
    DISK_DATA,    /* stored as it is */
    DISK_NOTHING, /* stored as it is, and nothing but zeros */
    DISK_PACKED   /* compressed with deflate */
};

struct disk {
    unsigned cluster_bits;
    uint64_t size;
    unsigned char *file; /* the image */
    size_t file_bytes;
    unsigned char *content; /* what a reader must see, or NULL for a disk too large to hold */
    uint64_t *host_off;     /* of each cluster's bytes in the file, 0: none; NULL likewise */
};

/* Decides what cluster number `index` is. */
typedef enum disk_cluster disk_layout(uint64_t index);

/* A disk whose clusters are as `layout` says, NULL: empty, with content that differs from cluster
 * to cluster and has runs of zeros in it. Exits when memory runs out. */
void disk_build(struct disk *disk, unsigned cluster_bits, uint64_t size, disk_layout *layout);
void disk_free(struct disk *disk);

/* Every kind of cluster, singly and in runs. */
enum disk_cluster disk_mixed(uint64_t index);

/* A source that serves the image from memory, without a descriptor. */
struct disk_source {
    const struct disk *disk;
    /* Reads that touch [bad_from, bad_to) of the file fail with bad_errno. */
    uint64_t bad_from;
    uint64_t bad_to;
    int bad_errno;
    /* A second bad place, as long as the first. */
    uint64_t also_bad_from;
    bool dawdle; /* reads take a while, and not always the same */
    atomic_uint reads;
};

/* Opens disk through *source, whose fields but disk the caller has set. Fails the test on error. */
struct qcow2_image *disk_open(const struct disk *disk, struct disk_source *source);

/* Opens the disk from a file of its own in the temporary directory, already unlinked. */
struct qcow2_image *disk_open_file(const struct disk *disk);

/* A new, empty, unlinked file in the temporary directory, open for reading and writing. */
int disk_temporary_file(void);

/* Whether `bytes` of the file at its start are those at `content`, and the file ends there. */
bool disk_file_is(int fd, const unsigned char *content, uint64_t bytes);

#endif
