/* SPDX-License-Identifier: MIT */
/* source.h - a source over one file of an input, which counts, fails when it is told to, and watches that
 * the library keeps to what qcow2.h says of sources. */
#ifndef FUZZ_SOURCE_H
#define FUZZ_SOURCE_H

#include "fuzz.h"
#include "sparse.h"

/* What all sources of one execution share. */
struct fuzz_world {
    const struct fuzz_sparse *sparse;
    unsigned opens, closes;
    uint64_t reads, bytes;      /* asked for since anybody set them to 0 */
    uint64_t fail_at;           /* the read that fails, counted from 1; 0: none */
    uint64_t max_bytes;         /* reads beyond it fail; 0: none do */
    uint64_t open_memory_bytes; /* the most that opening took */
    bool failed;                /* a read has failed since anybody set this to false */
};

/* A source for file 0 or 1. Its memory goes with its close. False: there is none. */
bool fuzz_source_open(struct fuzz_world *world, unsigned file, bool no_length,
                      struct qcow2_source *source_ret);

#endif
