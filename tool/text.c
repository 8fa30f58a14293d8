/* SPDX-License-Identifier: MIT */
/* text.c - strings nobody vouches for, made fit for a terminal or for JSON.
 * Knows UTF-8; knows nothing of images or options. */
#include "text.h"

#include <stdlib.h>
#include <string.h>

#include "hidden.h"

int text_decode(const char *text, uint32_t *code_ret)
{
    /* Lowest code of each length: anything below is an overlong form. */
    static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *p = (const unsigned char *)text;
    uint32_t code;
    int length;

    if (p[0] < 0x80) {
        *code_ret = p[0];
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        length = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        length = 3;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        length = 4;
    } else {
        return 0;
    }
    code = p[0] & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        /* The terminating NUL fails this test too, so nothing past it is looked at. */
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3fu);
    }
    if (code < lowest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    *code_ret = code;
    return length;
}

static void put_escaped(FILE *stream, uint32_t code)
{
    switch (code) {
    case '\n':
        fputs("\\n", stream);
        break;
    case '\r':
        fputs("\\r", stream);
        break;
    case '\t':
        fputs("\\t", stream);
        break;
    default:
        fprintf(stream, code < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)code);
        break;
    }
}

void text_put(FILE *stream, const char *text)
{
    while (*text != '\0') {
        uint32_t code = 0;
        int length = text_decode(text, &code);

        if (length == 0) {
            fprintf(stream, "\\x%02x", (unsigned)(unsigned char)*text);
            length = 1;
        } else if (hidden_character(code)) {
            put_escaped(stream, code);
        } else {
            fwrite(text, 1, (size_t)length, stream);
        }
        text += length;
    }
}

/* The bytes that a character takes which begins with this one, as far as that can be told. */
static size_t length_of(unsigned char first)
{
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

void text_put_json_code(FILE *stream, uint32_t code)
{
    if (code > 0xffff) {
        fprintf(stream, "\\u%04x", (unsigned)(0xd800 + ((code - 0x10000) >> 10)));
        code = 0xdc00 + ((code - 0x10000) & 0x3ff);
    }
    fprintf(stream, "\\u%04x", (unsigned)code);
}

void text_put_json(FILE *stream, const char *text, size_t count)
{
    size_t done = 0;
    size_t i = 0;

    while (i < count) {
        unsigned char byte = (unsigned char)text[i];
        uint32_t code = byte;
        int length = 1;

        if (byte >= 0x80) {
            length = length_of(byte) <= count - i ? text_decode(text + i, &code) : 0;
        }
        if (code >= 0x7f && length > 0 && hidden_character(code)) {
            fwrite(text + done, 1, i - done, stream);
            text_put_json_code(stream, code);
            done = i + (size_t)length;
        }
        i += length > 0 ? (size_t)length : 1;
    }
    fwrite(text + done, 1, count - done, stream);
}

char *text_to_utf8(const char *text)
{
    size_t count = strlen(text);
    char *copy;
    char *out;

    /* U+FFFD takes three bytes. */
    if (count > (SIZE_MAX - 1) / 3) {
        return NULL;
    }
    copy = malloc(3 * count + 1);
    if (copy == NULL) {
        return NULL;
    }
    out = copy;
    while (*text != '\0') {
        uint32_t code = 0;
        int length = text_decode(text, &code);

        if (length == 0) {
            memcpy(out, "\xef\xbf\xbd", 3);
            out += 3;
            text++;
        } else {
            memcpy(out, text, (size_t)length);
            out += length;
            text += length;
        }
    }
    *out = '\0';
    return copy;
}
