/* SPDX-License-Identifier: MIT */
/* fuzz.c - see fuzz.h. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNTOUCHED = 0x55 }; /* what an error struct holds that nobody has filled */

void fuzz_fail(const char *file, int line, const char *condition, const char *words)
{
    (void)fprintf(stderr, "%s:%d: %s (%s does not hold)\n", file, line, words, condition);
    abort();
}

struct qcow2_error fuzz_error(void)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    err.code = err.sys_errno = err.depth = UNTOUCHED;
    err.message[0] = UNTOUCHED;
    return err;
}

static void require_text(const struct qcow2_error *err)
{
    size_t n = strnlen(err->message, sizeof err->message);

    FUZZ_REQUIRE(n > 0, "an error says something");
    FUZZ_REQUIRE(n < sizeof err->message, "a message is terminated");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)err->message[i];

        FUZZ_REQUIRE(c >= 0x20 && c < 0x7f, "a message is one line of printable text");
    }
}

void fuzz_require_result(long long r, const struct qcow2_error *err)
{
    if (r >= 0) {
        FUZZ_REQUIRE(err->code == UNTOUCHED, "a call that succeeds leaves the error alone");
        return;
    }
    if (err->code != r) {
        (void)fprintf(stderr, "%lld returned, %d in the error: %s\n", r, err->code, err->message);
    }
    FUZZ_REQUIRE(r >= QCOW2_E_CANCELLED, "a failure is a code of the list");
    FUZZ_REQUIRE(err->code == r, "the error has the code that was returned");
    FUZZ_REQUIRE(err->depth >= 0 && err->depth < UNTOUCHED, "the error has a depth");
    FUZZ_REQUIRE((err->code == QCOW2_E_IO) == (err->sys_errno != 0),
                 "an errno comes with an I/O error, and only then");
    require_text(err);
}

uint64_t fuzz_take(struct fuzz_input *input, unsigned n_bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n_bytes; i++) {
        value <<= 8;
        if (input->left > 0) {
            value |= *input->bytes++;
            input->left--;
        }
    }
    return value;
}

uint8_t *fuzz_exact_copy(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);

    if (copy == NULL) {
        (void)fputs("no memory for the target itself\n", stderr);
        exit(1);
    }
    if (n > 0) {
        memcpy(copy, bytes, n);
    }
    return copy;
}
