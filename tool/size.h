/* SPDX-License-Identifier: MIT */
/* size.h - numbers of bytes, as people write and read them.
 * Knows text and integers; prints nothing, knows no options. */
#ifndef TOOL_SIZE_H
#define TOOL_SIZE_H

#include <stdint.h>

/* Reads "4096", "0x1000", "64K", "64KiB", "1.5G" into *bytes_ret. The suffixes K M G T P E are
 * powers of 1024, in either case; what stands before them may have a fraction. Returns NULL, or says in a few words why `text` is not a size. */
const char *size_parse(const char *text, uint64_t *bytes_ret);

/* Room for every result of the functions below. */
#define SIZE_TEXT_MAX 32

/* "512 B", "64 KiB", "1.46 GiB": three significant digits, no trailing zeros. Returns `buf`. */
const char *size_format(char buf[SIZE_TEXT_MAX], uint64_t bytes);

/* "0.8 s", "12 s", "3:07", "2:05:09". Returns `buf`. */
const char *size_format_seconds(char buf[SIZE_TEXT_MAX], double seconds);

#endif
