/* SPDX-License-Identifier: MIT */
/* line.c - a line of output put together from pieces.
 * Knows stdio; must not know what is being printed. */
#include "line.h"

#include <stdio.h>

/* As many digits as the largest number has. */
enum { MAX_DIGITS = 20 };

/* A division takes longer than all else there is to do for a digit: one for two digits. */
static const char two_digits[] = "00010203040506070809101112131415161718192021222324"
                                 "25262728293031323334353637383940414243444546474849"
                                 "50515253545556575859606162636465666768697071727374"
                                 "75767778798081828384858687888990919293949596979899";

void line_number(struct line *line, uint64_t number)
{
    char digits[MAX_DIGITS];
    size_t first = MAX_DIGITS;

    while (number >= 10) {
        first -= 2;
        memcpy(digits + first, two_digits + number % 100 * 2, 2);
        number /= 100;
    }
    /* Nothing is left of a number of an even count of digits, and 0 has one. */
    if (number > 0 || first == MAX_DIGITS) {
        digits[--first] = (char)('0' + number);
    }
    line_add(line, digits + first, MAX_DIGITS - first);
}

void line_put(struct line *line)
{
    (void)fwrite(line->text, 1, line->used, stdout);
    line->used = 0;
}
