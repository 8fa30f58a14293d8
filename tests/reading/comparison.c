/* SPDX-License-Identifier: MIT */
/* comparison.c - the first failure's message and the random numbers of random_reads. */
#include "comparison.h"

#include <stdarg.h>
#include <stdio.h>

void comparison_fail(struct comparison *run, const char *format, ...)
{
    va_list args;

    if (atomic_exchange(&run->failed, true))
        return;
    va_start(args, format);
    fputs("random_reads: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* splitmix64: small, and good enough to spread reads over a disk. */
uint64_t comparison_random(uint64_t *state, uint64_t limit)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return limit ? (z ^ (z >> 31)) % limit : 0;
}
