/* SPDX-License-Identifier: MIT */
/* runs.h - a block of table entries in one cache line, where it can be said so shortly.
 *
 * Clusters that were written one after the other have entries that differ by the
 * size of a cluster, and clusters that are not there have entries that are equal.
 * Most blocks of most tables are a few such runs. A random read finds the entry
 * itself in main memory, because what was read since has pushed it out of the
 * processor's caches; a line that serves 512 entries it finds there. */
#ifndef Q2_IMAGE_RUNS_H
#define Q2_IMAGE_RUNS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/layout.h"
#include "image/seqlock.h"

enum { Q2_RUNS = 6, Q2_RUNS_PER_WORD = 4, Q2_RUN_START_BITS = 16, Q2_NO_RUN = 0xffff };

/* In ascending order of their starts; those that are not used start at Q2_NO_RUN. Words of a run that
 * names a place in the file go up by the table's step, others are all the same. */
struct q2_runs {
    _Alignas(64) _Atomic uint64_t starts[2];
    _Atomic uint64_t first[Q2_RUNS];
};

static inline unsigned q2_run_start(const uint64_t starts[2], unsigned i)
{
    return (unsigned)(starts[i / Q2_RUNS_PER_WORD] >>
                      i % Q2_RUNS_PER_WORD * (unsigned)Q2_RUN_START_BITS) &
           Q2_NO_RUN;
}

static inline uint64_t q2_run_word(uint64_t first, uint64_t step, size_t i)
{
    return (first & Q2_OFFSET_MASK) != 0 ? first + i * step : first;
}

/* Says a block of n_words words, at most Q2_NO_RUN, in runs, or that they cannot be. step: the size of a
 * cluster. */
void q2_runs_set(struct q2_runs *runs, const _Atomic uint64_t *words, size_t n_words,
                 uint64_t step);

/* No runs. */
void q2_runs_clear(struct q2_runs *runs);

/* Word `at` of the block; false if there are no runs. */
static inline bool q2_runs_get(const struct q2_runs *runs, uint64_t step, size_t at,
                               uint64_t *word_ret)
{
    const uint64_t starts[2] = { atomic_load_explicit(&runs->starts[0], Q2_WORD_LOAD),
                                 atomic_load_explicit(&runs->starts[1], Q2_WORD_LOAD) };
    unsigned n = 0;

    for (unsigned i = 0; i < Q2_RUNS; i++) {
        n += q2_run_start(starts, i) <= at;
    }
    if (n == 0) {
        return false;
    }
    *word_ret = q2_run_word(atomic_load_explicit(&runs->first[n - 1], Q2_WORD_LOAD), step,
                            at - q2_run_start(starts, n - 1));
    return true;
}

#endif
