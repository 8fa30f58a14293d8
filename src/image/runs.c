/* SPDX-License-Identifier: MIT */
/* runs.c - see runs.h. */
#include "image/runs.h"

static void put_start(uint64_t starts[2], unsigned i, uint64_t start)
{
    unsigned shift = i % Q2_RUNS_PER_WORD * (unsigned)Q2_RUN_START_BITS;

    starts[i / Q2_RUNS_PER_WORD] &= ~((uint64_t)Q2_NO_RUN << shift);
    starts[i / Q2_RUNS_PER_WORD] |= start << shift;
}

static void store_starts(struct q2_runs *runs, uint64_t first, uint64_t second)
{
    atomic_store_explicit(&runs->starts[0], first, Q2_WORD_STORE);
    atomic_store_explicit(&runs->starts[1], second, Q2_WORD_STORE);
}

void q2_runs_clear(struct q2_runs *runs)
{
    store_starts(runs, UINT64_MAX, UINT64_MAX);
}

void q2_runs_set(struct q2_runs *runs, const _Atomic uint64_t *words, size_t n_words, uint64_t step)
{
    uint64_t starts[2] = { UINT64_MAX, UINT64_MAX };
    uint64_t first = 0;
    size_t start = 0;
    unsigned n = 0;

    for (size_t i = 0; i < n_words; i++) {
        uint64_t word = atomic_load_explicit(&words[i], memory_order_relaxed);

        if (i > 0 && word == q2_run_word(first, step, i - start)) {
            continue;
        }
        if (n == Q2_RUNS) {
            q2_runs_clear(runs);
            return;
        }
        first = word;
        start = i;
        put_start(starts, n, start);
        atomic_store_explicit(&runs->first[n], first, Q2_WORD_STORE);
        n++;
    }
    store_starts(runs, starts[0], starts[1]);
}
