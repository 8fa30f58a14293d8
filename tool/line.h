/* SPDX-License-Identifier: MIT */
/* line.h - a line of output put together from pieces, where printf would take most of the time. */
#ifndef TOOL_LINE_H
#define TOOL_LINE_H

#include <stddef.h>
#include <stdint.h>

struct line {
    size_t used;
    char text[512];
};

/* Each adds to the end of the line. What does not fit is left out: lines are made of words that the
 * program itself chose, and numbers, so that they all fit. */
void line_text(struct line *line, const char *text);
void line_number(struct line *line, uint64_t number);

/* Writes the line to standard output and empties it. out_failed tells whether that worked. */
void line_put(struct line *line);

#endif
