/* SPDX-License-Identifier: MIT */
/* reads_plan.h - which blocks a timed run reads, and in which order. */
#ifndef BENCH_READS_PLAN_H
#define BENCH_READS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reads_range;

struct reads_plan {
    /* From the command line. */
    unsigned threads;
    size_t block_bytes;
    double seconds;  /* how long each thread reads */
    bool sequential; /* blocks in order, round and round; otherwise at random */
    bool once;       /* the whole area once, in order, shared among the threads */
    bool warm;       /* read the area before the clock starts */
    bool settle;     /* make each thread's reads once before the clock starts */
    uint64_t start;  /* first byte and length of the area, counted within the ranges; */
    uint64_t span;   /* 0: to the end */
    uint64_t seed;
    const char *ranges_path; /* "OFFSET LENGTH" lines: where the disk has data; NULL: all of it */

    /* From reads_plan_prepare. */
    uint64_t blocks; /* in the area */
    struct reads_range *ranges;
    size_t range_count;
    uint64_t *offsets; /* the order, each thread's after the other's; NULL with `once` */
};

/* Reads the options; the image's path, or NULL after printing what is wrong. */
const char *reads_plan_parse(struct reads_plan *plan_ret, int argc, char **argv);

/* Lays out the area and the random order; -1 after printing what is wrong. */
int reads_plan_prepare(struct reads_plan *plan, uint64_t disk_bytes);

/* Offset in the disk of block `index` of the area. */
uint64_t reads_plan_block(const struct reads_plan *plan, uint64_t index);

/* Offset of the read number `step` of `thread`, and how many steps it may take. */
uint64_t reads_plan_offset(const struct reads_plan *plan, unsigned thread, uint64_t step);
uint64_t reads_plan_count(const struct reads_plan *plan, unsigned thread);

/* After so many steps a thread's order begins again; 0 with `once`. */
uint64_t reads_plan_distinct(const struct reads_plan *plan);

void reads_plan_free(struct reads_plan *plan);

#endif
