/* SPDX-License-Identifier: MIT */
/* size.c - numbers of bytes, as people write and read them.
 * Knows text and integers; prints nothing, knows no options. */
#include "size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char suffixes[] = "KMGTPE";

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return 99;
}

/* The power of 1024 that `text` stands for: 0 for "" and "B", -1 if it is no suffix. "KB" is
 * refused: some read it as 1000. */
static int suffix_power(const char *text)
{
    const char *found;
    char upper;

    if (text[0] == '\0' || strcmp(text, "B") == 0) {
        return 0;
    }
    upper = (char)(text[0] >= 'a' && text[0] <= 'z' ? text[0] - 'a' + 'A' : text[0]);
    found = strchr(suffixes, upper);
    if (found == NULL || (text[1] != '\0' && strcmp(text + 1, "iB") != 0)) {
        return -1;
    }
    return (int)(found - suffixes) + 1;
}

/* The digits behind `point` as a part of `unit`, rounded as qemu-img does it. */
static uint64_t part_of(const char *point, uint64_t unit)
{
    return (uint64_t)(strtod(point, NULL) * (double)unit + 0.5);
}

const char *size_parse(const char *text, uint64_t *bytes_ret)
{
    const char *p = text;
    const char *point = NULL;
    uint64_t value = 0;
    int base = 10;
    int digits = 0;
    int power;

    if (*p == '-') {
        return "must not be negative";
    }
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
        base = 16;
        p += 2;
    }
    for (; digit_value(*p) < base; p++, digits++) {
        uint64_t digit = (uint64_t)digit_value(*p);

        if (value > (UINT64_MAX - digit) / (uint64_t)base) {
            return "is too large";
        }
        value = value * (uint64_t)base + digit;
    }
    if (digits == 0) {
        return "is not a size (such as 4096, 0x1000, 64K or 1.5G)";
    }
    if (*p == '.' && base == 10) {
        point = p++;
        digits = (int)strspn(p, "0123456789");
        p += digits;
    }
    /* 'E' is a hexadecimal digit, so 0x10E is 270: hexadecimal numbers take no suffix. */
    power = base == 16 && *p != '\0' ? -1 : suffix_power(p);
    /* There are no parts of a byte. */
    if (power < 0 || (point != NULL && (power == 0 || digits == 0))) {
        return "is not a size (such as 4096, 0x1000, 64K or 1.5G)";
    }
    if (power > 0 && value > UINT64_MAX >> (10 * power)) {
        return "is too large";
    }
    value <<= 10 * power;
    if (point != NULL) {
        value += part_of(point, UINT64_C(1) << (10 * power));
    }
    if (value > INT64_MAX) {
        return "is too large";
    }
    *bytes_ret = value;
    return NULL;
}

const char *size_format(char buf[SIZE_TEXT_MAX], uint64_t bytes)
{
    double value = (double)bytes;
    int power = 0;

    /* 999.5 and more would need a fourth digit. */
    while (power < 6 && value >= (power == 0 ? 1024.0 : 999.5)) {
        value /= 1024.0;
        power++;
    }
    if (power == 0) {
        snprintf(buf, SIZE_TEXT_MAX, "%d B", (int)bytes);
    } else {
        snprintf(buf, SIZE_TEXT_MAX, "%.3g %ciB", value, suffixes[power - 1]);
    }
    return buf;
}

const char *size_format_seconds(char buf[SIZE_TEXT_MAX], double seconds)
{
    /* Beyond four weeks the figure says nothing, and the bound keeps the conversion defined. */
    unsigned long whole = seconds < 2419200.0 ? (unsigned long)seconds : 2419200;

    if (seconds < 9.95) {
        snprintf(buf, SIZE_TEXT_MAX, "%.1f s", seconds);
    } else if (whole < 60) {
        snprintf(buf, SIZE_TEXT_MAX, "%lu s", whole);
    } else if (whole < 3600) {
        snprintf(buf, SIZE_TEXT_MAX, "%lu:%02lu", whole / 60, whole % 60);
    } else {
        snprintf(buf, SIZE_TEXT_MAX, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
    }
    return buf;
}
