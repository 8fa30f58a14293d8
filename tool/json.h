/* SPDX-License-Identifier: MIT */
/* json.h - building JSON values without testing every step.
 * A builder remembers that some step ran out of memory; one test at the end is enough. */
#ifndef TOOL_JSON_H
#define TOOL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A string from anywhere: bytes that are not UTF-8 become U+FFFD, since JSON has no way to write
 * them. NULL without memory. */
json_t *json_text(const char *text);

/* A number, or its decimal digits as a string if it is 2^63 or more: readers (ours too) stop
 * there. */
json_t *json_u64(uint64_t value);

/* object[key] = value, array += value. The value is consumed. NULL for either (no memory) sets
 * *failed; nothing unsets it. */
void json_set(json_t *object, const char *key, json_t *value, bool *failed);
void json_append(json_t *array, json_t *value, bool *failed);

/* Prints `value` on stdout with a line end and gives it up. Hidden characters (hidden.h) are escaped. With `failed` set, or without memory
 * for the text, reports that there was no memory and returns false. Write errors are left to
 * out_close. */
bool json_print(json_t *value, bool failed);

/* A JSON string literal of `text`, quotes included, straight to a stream; for listings too long to
 * be built in memory. */
void json_put_text(FILE *stream, const char *text);

#endif
