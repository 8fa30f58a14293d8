/* SPDX-License-Identifier: MIT */
/* pinned.h - the two names of a conversion's output, in memory that cannot be written any more. */
#ifndef TOOL_PINNED_H
#define TOOL_PINNED_H

#include <stdbool.h>
#include <stddef.h>

struct pinned_names {
    const char *temporary; /* what it is written under */
    const char *final;     /* what it is renamed to */
    /* The page they are in: nothing of this program is mapped below its end, so "no change of memory
     * below" protects it. 0: no such place was free, the names are ordinary memory (with which
     * --require-sandbox does not put up). */
    size_t end;
    void *memory;
    size_t memory_bytes;
};

/* Copies both names. False: out of memory. */
bool pinned_create(struct pinned_names *names, const char *temporary, const char *final);
void pinned_destroy(struct pinned_names *names);

#endif
