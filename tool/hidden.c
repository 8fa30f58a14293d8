/* SPDX-License-Identifier: MIT */
/* hidden.c - the characters that are never printed as they are.
 * Knows code points; must not know how they are encoded or escaped.
 *
 * Terminals obey controls; format characters reorder or join what stands beside them; and with a
 * character that shows nothing, two different names look the same. In the table are, of Unicode 15: all
 * controls (Cc), format characters (Cf), line and paragraph separators (Zl, Zp), surrogates, private use,
 * noncharacters, what is ignored where a font does not know it (fillers, joiners, variation selectors,
 * tags, and the codes reserved for more of them), and what is blank by its definition: a Braille pattern, a
 * Khitan filler and a musical notehead. */
#include "hidden.h"

#include <stddef.h>

static const struct {
    uint32_t first;
    uint32_t last;
} ranges[] = {
    { 0x0, 0x1f },        /* controls */
    { 0x7f, 0x9f },       /* DEL and controls */
    { 0xad, 0xad },       /* soft hyphen */
    { 0x34f, 0x34f },     /* combining grapheme joiner */
    { 0x600, 0x605 },     /* Arabic number signs */
    { 0x61c, 0x61c },     /* Arabic letter mark */
    { 0x6dd, 0x6dd },     /* Arabic end of ayah */
    { 0x70f, 0x70f },     /* Syriac abbreviation mark */
    { 0x890, 0x891 },     /* Arabic pound and piastre marks above */
    { 0x8e2, 0x8e2 },     /* Arabic disputed end of ayah */
    { 0x115f, 0x1160 },   /* Hangul fillers */
    { 0x17b4, 0x17b5 },   /* Khmer inherent vowels */
    { 0x180b, 0x180f },   /* Mongolian selectors and vowel separator */
    { 0x200b, 0x200f },   /* zero width space, joiners, direction marks */
    { 0x2028, 0x202e },   /* separators, direction embeddings and overrides */
    { 0x2060, 0x206f },   /* word joiner, invisible operators, direction isolates */
    { 0x2800, 0x2800 },   /* blank Braille pattern */
    { 0x3164, 0x3164 },   /* Hangul filler */
    { 0xd800, 0xf8ff },   /* surrogates, private use */
    { 0xfdd0, 0xfdef },   /* noncharacters */
    { 0xfe00, 0xfe0f },   /* variation selectors */
    { 0xfeff, 0xfeff },   /* byte order mark */
    { 0xffa0, 0xffa0 },   /* halfwidth Hangul filler */
    { 0xfff0, 0xfffb },   /* reserved, interlinear annotations */
    { 0xfffe, 0xffff },   /* noncharacters, the last two of each plane */
    { 0x110bd, 0x110bd }, /* Kaithi number sign */
    { 0x110cd, 0x110cd }, /* Kaithi number sign above */
    { 0x13430, 0x1343f }, /* Egyptian hieroglyph formats */
    { 0x16fe4, 0x16fe4 }, /* Khitan filler */
    { 0x1bca0, 0x1bca3 }, /* shorthand formats */
    { 0x1d159, 0x1d159 }, /* musical null notehead */
    { 0x1d173, 0x1d17a }, /* musical formats */
    { 0x1fffe, 0x1ffff },  { 0x2fffe, 0x2ffff }, { 0x3fffe, 0x3ffff }, { 0x4fffe, 0x4ffff },
    { 0x5fffe, 0x5ffff },  { 0x6fffe, 0x6ffff }, { 0x7fffe, 0x7ffff }, { 0x8fffe, 0x8ffff },
    { 0x9fffe, 0x9ffff },  { 0xafffe, 0xaffff }, { 0xbfffe, 0xbffff }, { 0xcfffe, 0xcffff },
    { 0xdfffe, 0xe0fff },  /* tags, more variation selectors, reserved */
    { 0xefffe, 0x10ffff }, /* private use */
};

bool hidden_character(uint32_t code)
{
    size_t low = 0;
    size_t high = sizeof ranges / sizeof ranges[0];

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (code > ranges[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < sizeof ranges / sizeof ranges[0] && code >= ranges[low].first;
}
