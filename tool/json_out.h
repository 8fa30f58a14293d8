/* SPDX-License-Identifier: MIT */
/* json_out.h - JSON that is printed while it is made, for lists too long to be held in memory.
 * The text is the one that json_print has for the same values. */
#ifndef TOOL_JSON_OUT_H
#define TOOL_JSON_OUT_H

#include <jansson.h>
#include <stdbool.h>

/* All zero: nothing is printed yet. */
struct json_out {
    unsigned depth; /* objects and arrays that are open */
    bool begun;     /* the innermost of them has something in it */
    bool failed; /* no memory: nothing more is printed, so that the text does not look complete */
};

/* Opens an object ('{') or an array ('['). `key`, here and below: in an object the name, which must need no
 * escapes; in an array and on the outside NULL. */
void json_out_open(struct json_out *out, const char *key, char bracket);

/* Prints a value and gives it up. NULL (no memory) is a failure. */
void json_out_put(struct json_out *out, const char *key, json_t *value);

/* Closes what was opened last, with its bracket. The outermost ends its line. */
void json_out_close(struct json_out *out, char bracket);

#endif
