/* SPDX-License-Identifier: MIT */
/* line.h - a line of output put together from pieces, where printf would take most of the time. */
#ifndef TOOL_LINE_H
#define TOOL_LINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct line {
    size_t used;
    char text[512];
};

/* Adds n bytes to the end of the line. What does not fit is left out: lines are made of words that the
 * program itself chose, and numbers, so that they all fit. */
static inline void line_add(struct line *line, const char *bytes, size_t n)
{
    if (n <= sizeof line->text - line->used) {
        memcpy(line->text + line->used, bytes, n);
        line->used += n;
    }
}

/* The length of a constant is known when this is compiled. */
static inline void line_text(struct line *line, const char *text)
{
    line_add(line, text, strlen(text));
}

void line_number(struct line *line, uint64_t number);

/* Writes the line to standard output and empties it. out_failed tells whether that worked. */
void line_put(struct line *line);

#endif
