/* SPDX-License-Identifier: MIT */
/* json_out.c - JSON that is printed while it is made.
 * Knows how jansson lays a text out; must not know what the values mean. Write errors are left to
 * out_close. */
#include "json_out.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

enum { INDENT = 4 };

static void end_line(const struct json_out *out)
{
    printf("\n%*s", (int)out->depth * INDENT, "");
}

/* For json_dump_callback, which indents as if the value stood alone: each line end is given the depth at
 * which it stands. Within strings there are none, they are escaped. */
static int put_text(const char *text, size_t count, void *ctx)
{
    const struct json_out *out = ctx;

    while (count > 0) {
        const char *end = memchr(text, '\n', count);
        size_t n = end != NULL ? (size_t)(end - text) : count;

        text_put_json(stdout, text, n);
        if (end != NULL) {
            end_line(out);
            n++;
        }
        text += n;
        count -= n;
    }
    return 0;
}

/* What stands before a value: the comma behind the one before it, its line, its name. */
static void begin_value(struct json_out *out, const char *key)
{
    if (out->begun) {
        putchar(',');
    }
    if (out->depth > 0) {
        end_line(out);
    }
    if (key != NULL) {
        printf("\"%s\": ", key);
    }
    out->begun = true;
}

void json_out_open(struct json_out *out, const char *key, char bracket)
{
    if (!out->failed) {
        begin_value(out, key);
        putchar(bracket);
        out->depth++;
        out->begun = false;
    }
}

void json_out_put(struct json_out *out, const char *key, json_t *value)
{
    out->failed = out->failed || value == NULL;
    if (!out->failed) {
        begin_value(out, key);
        out->failed =
            json_dump_callback(value, put_text, out, JSON_INDENT(INDENT) | JSON_ENCODE_ANY) != 0;
    }
    json_decref(value);
}

void json_out_close(struct json_out *out, char bracket)
{
    if (out->failed) {
        return;
    }
    out->depth--;
    if (out->begun) {
        end_line(out);
    }
    putchar(bracket);
    out->begun = true;
    if (out->depth == 0) {
        putchar('\n');
    }
}
