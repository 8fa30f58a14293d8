/* SPDX-License-Identifier: MIT */
/* line.c - a line of output put together from pieces.
 * Knows stdio; must not know what is being printed. */
#include "line.h"

#include <stdio.h>
#include <string.h>

/* As many digits as the largest number has. */
enum { MAX_DIGITS = 20 };

static void add(struct line *line, const char *bytes, size_t n)
{
    if (n <= sizeof line->text - line->used) {
        memcpy(line->text + line->used, bytes, n);
        line->used += n;
    }
}

void line_text(struct line *line, const char *text)
{
    add(line, text, strlen(text));
}

void line_number(struct line *line, uint64_t number)
{
    char digits[MAX_DIGITS];
    size_t first = MAX_DIGITS;

    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    add(line, digits + first, MAX_DIGITS - first);
}

void line_put(struct line *line)
{
    (void)fwrite(line->text, 1, line->used, stdout);
    line->used = 0;
}
