/* SPDX-License-Identifier: MIT */
/* fuzz.h - what every fuzz target stands on: the entry point, what "must hold" means, numbers out of
 * the input. Knows neither who calls the target (libFuzzer, or standalone.c) nor what it looks at. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

/* One execution. Each target defines it; the rest of the names are libFuzzer's too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_out_size, unsigned seed);

/* An invariant. One that is broken prints its words and ends the process, which the fuzzer takes for a
 * crash: the input is kept. */
#define FUZZ_REQUIRE(condition, words)                                                             \
    ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition, words))

_Noreturn void fuzz_fail(const char *file, int line, const char *condition, const char *words);

/* An error struct full of rubbish, so that what a call leaves out is noticed. */
struct qcow2_error fuzz_error(void);

/* What a result of a public or internal call promises. r below 0: a code of the list, the same in *err, and
 * one line of printable text. Else *err is as fuzz_error made it. */
void fuzz_require_result(long long r, const struct qcow2_error *err);

/* Numbers from the front of an input; zeros when it has ended. */
struct fuzz_input {
    const uint8_t *bytes;
    size_t left;
};

uint64_t fuzz_take(struct fuzz_input *input, unsigned n_bytes);

/* A copy that ends where the memory ends, so that a read past it is noticed. Freed by free(). */
uint8_t *fuzz_exact_copy(const uint8_t *bytes, size_t n);

#endif
