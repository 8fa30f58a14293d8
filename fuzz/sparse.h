/* SPDX-License-Identifier: MIT */
/* sparse.h - inputs of the targets for whole images: a fixed block of wishes, then pieces of two files.
 *
 * What no piece covers is zeros, so that an image with large clusters is still a small input. The first
 * file is the image; the second is what it gets when it asks for another one. Knows nothing of qcow2.
 *
 *     FUZZ_WISHES_BYTES bytes          see enum fuzz_wish
 *     file (1) offset (4) length (2)   big-endian; then the bytes, as far as there are any
 *     ... */
#ifndef FUZZ_SPARSE_H
#define FUZZ_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where in the first bytes what stands. */
enum fuzz_wish {
    FUZZ_OPEN_FLAGS = 0, /* enum qcow2_open_flags, as far as they fit in a byte */
    FUZZ_CACHES = 1,     /* low four bits: table cache; high: cluster cache */
    FUZZ_SOURCE = 2,     /* enum fuzz_source_wish */
    FUZZ_GRANT_FORMAT =
        3,               /* below 4: what the second file is opened as; else what the image says */
    FUZZ_SIZES = 4,      /* lengths of the files, four bytes each */
    FUZZ_SEED = 12,      /* where to read, four bytes */
    FUZZ_ACTIONS = 16,   /* enum fuzz_action */
    FUZZ_FAIL_AT = 17,   /* which of the reads of the source is to fail */
    FUZZ_FAIL_RATE = 18, /* one of so many allocations fails, two bytes */
    FUZZ_SNAPSHOT = 20,  /* not 0: the character by which a snapshot is opened */
    FUZZ_WISHES_BYTES = 24
};

enum fuzz_source_wish {
    FUZZ_FORMAT_MASK = 3,    /* how the image is opened */
    FUZZ_NO_LENGTH = 1 << 2, /* the first source cannot tell its length */
    FUZZ_NO_KEY = 1 << 3,
    FUZZ_NO_GRANT = 1 << 4
};

/* What not to do, so that zeros do everything. */
enum fuzz_action {
    FUZZ_SKIP_READS = 1 << 0,
    FUZZ_SKIP_CHECK = 1 << 1,
    FUZZ_SKIP_LISTS = 1 << 2,
    FUZZ_SKIP_EXTENTS = 1 << 3,
    FUZZ_SKIP_FAILURES = 1 << 4
};

enum { FUZZ_FILES = 2, FUZZ_MAX_PIECES = 96, FUZZ_PIECE_HEAD_BYTES = 7 };

/* Files are no longer than this. */
#define FUZZ_MAX_FILE_BYTES (UINT32_C(1) << 24)

struct fuzz_piece {
    uint8_t file;
    uint32_t offset;
    size_t n;
    const uint8_t *bytes; /* in the input */
};

struct fuzz_sparse {
    uint8_t wishes[FUZZ_WISHES_BYTES];
    uint32_t sizes[FUZZ_FILES];
    unsigned n_pieces;
    struct fuzz_piece pieces[FUZZ_MAX_PIECES];
};

/* False if the input is too short for anything. The struct points into the input. */
bool fuzz_sparse_parse(const uint8_t *data, size_t size, struct fuzz_sparse *sparse_ret);

/* Writes it as an input, leaving out the pieces that do not fit; the length. `data` must not overlap what
 * the pieces point to. */
size_t fuzz_sparse_write(const struct fuzz_sparse *sparse, uint8_t *data, size_t max_size);

/* Bytes of a file, zeros where there is no piece or no file. Later pieces lie above earlier ones. */
void fuzz_sparse_read(const struct fuzz_sparse *sparse, unsigned file, uint64_t offset, void *buf,
                      size_t count);

#endif
