/* SPDX-License-Identifier: MIT */
/* text.h - strings nobody vouches for, made fit for a terminal or for JSON.
 * File names come from the user, other strings from images; either may hold control characters,
 * terminal escapes, bytes that are not UTF-8, or characters that turn the text around. */
#ifndef TOOL_TEXT_H
#define TOOL_TEXT_H

#include <stdint.h>
#include <stdio.h>

/* Decodes one UTF-8 character at `text` (not empty) into *code_ret. Returns its length in bytes,
 * or 0 if the bytes there are not well-formed UTF-8. */
int text_decode(const char *text, uint32_t *code_ret);

/* Writes `text` on one line that shows what it is: control characters, invisible direction marks
 * and bytes outside UTF-8 appear as \n, \t, \xNN or \u{NNNN}; everything else as it is. */
void text_put(FILE *stream, const char *text);

/* A copy of `text` in which every byte that is not part of well-formed UTF-8 is replaced by U+FFFD.
 * NULL without memory; free() it. */
char *text_to_utf8(const char *text);

#endif
