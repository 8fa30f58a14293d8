/* SPDX-License-Identifier: MIT */
/* attempts.h - what a program that an image got hold of might do, one thing each. */
#ifndef TESTS_SANDBOX_ATTEMPTS_H
#define TESTS_SANDBOX_ATTEMPTS_H

#include "pinned.h"

/* Where it happens; this is the working directory, too. */
struct place {
    int directory; /* with the files below and nothing else */
    int output;    /* of "temporary", open for reading and writing */
    int image;     /* of "image", open for reading */
    int stray;     /* of "file", open for reading and writing: a descriptor that is left open */
    struct pinned_names names;
};
extern struct place place;

/* At least 0: it was done. -1: it was not, for the reason in errno. */
struct attempt {
    const char *name;
    long (*function)(void);
};

/* Each ends with a name that is NULL. */
extern const struct attempt attempts_on_files[];
extern const struct attempt attempts_on_descriptors[];
extern const struct attempt attempts_on_memory[];
extern const struct attempt attempts_on_others[];

/* A list of X(name, expression) as functions, and as the table of them. */
#define ATTEMPT_FUNCTION(name, ...)                                                                \
    static long try_##name(void)                                                                   \
    {                                                                                              \
        return (long)(__VA_ARGS__);                                                                \
    }
#define ATTEMPT_ENTRY(name, ...) { #name, try_##name },
#define ATTEMPT_TABLE(table, list)                                                                 \
    list(ATTEMPT_FUNCTION) const struct attempt table[] = { list(ATTEMPT_ENTRY){ NULL, NULL } };

#endif
