/* SPDX-License-Identifier: MIT */
/* walk.h - everything that can be asked of an open image, each question with what its answer promises.
 *
 * The answers are folded into a number, so that two walks can be compared: over one handle at two times,
 * or over two handles. On qcow2.h only. */
#ifndef FUZZ_WALK_H
#define FUZZ_WALK_H

#include "fuzz.h"
#include "source.h"

enum { FUZZ_MAX_LAYERS = 4 };

struct fuzz_walk {
    struct qcow2_image *image;
    struct fuzz_world *world;
    bool no_length; /* the first source cannot tell its length: reads past the end may fail there */
    unsigned n_layers;
    struct qcow2_info layers[FUZZ_MAX_LAYERS];
    uint64_t hash;
    bool starved; /* something failed for want of memory: the number says nothing */
    /* What the walk over the extents has seen of the image's own data, as far as it went. */
    uint64_t stored_bytes, compressed_bytes;
};

/* Begins a walk; looks at the layers. */
void fuzz_walk_start(struct fuzz_walk *walk, struct qcow2_image *image, struct fuzz_world *world,
                     bool no_length);

/* Whether the results so far may be compared with those of another walk. */
bool fuzz_walk_counts(const struct fuzz_walk *walk);

/* Folds a result into the number and requires what every result promises. True if it is r >= 0. */
bool fuzz_walk_result(struct fuzz_walk *walk, long long r, const struct qcow2_error *err);
void fuzz_walk_fold(struct fuzz_walk *walk, const void *bytes, size_t n);
void fuzz_walk_fold_number(struct fuzz_walk *walk, uint64_t number);

/* walk.c: headers, extensions, feature names, LUKS headers. */
void fuzz_walk_info(struct fuzz_walk *walk);

/* lists.c: snapshots; bitmaps with their ranges; the check. */
void fuzz_walk_lists(struct fuzz_walk *walk);
void fuzz_walk_check(struct fuzz_walk *walk, uint32_t seed);

/* survey.c; comparable: its sums bound what the walk has seen. */
void fuzz_walk_survey(struct fuzz_walk *walk, bool comparable);

/* extents.c: the disk from its start on, as far as a number of steps leads, each extent explained and, with
 * `compare`, read and compared with what it says. */
void fuzz_walk_extents(struct fuzz_walk *walk, bool compare);

/* reads.c: ranges that the input's seed chooses. */
void fuzz_walk_reads(struct fuzz_walk *walk, uint32_t seed);
/* The same, while the fail_at-th read of the source fails; and then not. */
void fuzz_walk_failing_reads(struct fuzz_walk *walk, uint32_t seed, unsigned fail_at);

/* One read, with what it promises of work and result: into memory that ends where the range does. The
 * bytes live until the next read into the same of the two places. */
enum { FUZZ_MAX_READ_BYTES = 1 << 16 };
long long fuzz_pread(struct fuzz_walk *walk, unsigned place, uint64_t offset, size_t count,
                     const uint8_t **bytes_ret, struct qcow2_error *err);

#endif
