/* SPDX-License-Identifier: MIT */
/* reads.h - what a reader must offer to be timed by reads_main.c.
 *
 * One program is built for each reader, from reads_main.c and one file that
 * implements these five names. So every reader meets the same offsets, the
 * same clock and the same loop, and the ratio of two programs is the ratio of
 * two readers. */
#ifndef BENCH_READS_H
#define BENCH_READS_H

#include <stddef.h>
#include <stdint.h>

struct reader;

extern const char reader_name[];

/* Opens `path` for `threads` threads, numbered from 0. Prints the reason and
 * returns NULL on failure. */
struct reader *reader_open(const char *path, unsigned threads);

/* Size of the disk in bytes. */
uint64_t reader_size(const struct reader *reader);

/* Reads exactly `count` bytes for `thread`. Prints the reason and returns -1
 * on failure. Called from many threads at once, never twice for one thread. */
int reader_read(struct reader *reader, unsigned thread, void *buf, size_t count, uint64_t offset);

void reader_close(struct reader *reader);

#endif
