/* SPDX-License-Identifier: MIT */
/* memory.h - how much memory the library has, less for it than it wants, and, where no address sanitizer
 * does it better, what it writes past the end of a block. The linker sends its calls (and the target's own)
 * here: --wrap. What shared libraries take for themselves is not seen. */
#ifndef FUZZ_MEMORY_H
#define FUZZ_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes taken and not given back, and the most there have been since fuzz_memory_start. */
void fuzz_memory_start(void);
uint64_t fuzz_memory_live(void);
uint64_t fuzz_memory_peak(void);

/* From now on one of `rate` allocations fails, which ones being up to the seed; 0: none do. */
void fuzz_memory_fail(uint32_t rate, uint32_t seed);

/* Whether one has failed since the last call of fuzz_memory_fail. */
bool fuzz_memory_failed(void);

#endif
