/* SPDX-License-Identifier: MIT */
/* text.h - strings nobody vouches for, made fit for a terminal or for JSON.
 * File names come from the user, other strings from images; either may hold control characters,
 * terminal escapes, bytes that are not UTF-8, or characters that turn the text around. */
#ifndef TOOL_TEXT_H
#define TOOL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Decodes one UTF-8 character at `text` (not empty) into *code_ret. Returns its length in bytes,
 * or 0 if the bytes there are not well-formed UTF-8. */
int text_decode(const char *text, uint32_t *code_ret);

/* Writes `text` on one line that shows what it is: hidden characters (hidden.h) and bytes outside UTF-8
 * appear as \n, \t, \xNN or \u{NNNN}; everything else as it is. */
void text_put(FILE *stream, const char *text);

/* Writes `count` bytes of JSON, whose strings are well-formed UTF-8, with the hidden characters of its
 * strings as \uNNNN. */
void text_put_json(FILE *stream, const char *text, size_t count);

/* Writes one character as JSON's \uNNNN, or as two of these above U+FFFF. */
void text_put_json_code(FILE *stream, uint32_t code);

/* A copy of `text` in which every byte that is not part of well-formed UTF-8 is replaced by U+FFFD.
 * NULL without memory; free() it. */
char *text_to_utf8(const char *text);

#endif
