/* SPDX-License-Identifier: MIT */
/* comparison.h - what the parts of random_reads share: the image, the raw file, the first failure.
 * Public header only; the library's insides are not visible here. */
#ifndef COMPARISON_H
#define COMPARISON_H

#include <qcow2.h>

#include <stdatomic.h>
#include <stdbool.h>

struct comparison {
    struct qcow2_image *image;
    const unsigned char *raw; /* the whole raw file, NULL if it is empty */
    int raw_fd;
    uint64_t size; /* of the disk and of the raw file */
    uint64_t cluster_bytes;
    uint64_t seed;
    uint64_t max_read_bytes;

    _Atomic uint64_t reads_made;
    _Atomic uint64_t bytes_returned;
    _Atomic unsigned readers_running;
    atomic_bool failed; /* set once; the thread that set it has printed why */
};

/* Records a failure. The first one is printed; later ones are mostly its echo. */
__attribute__((format(printf, 2, 3))) void comparison_fail(struct comparison *run,
                                                           const char *format, ...);

/* 0 .. limit-1, from a state of one word; limit 0 gives 0. */
uint64_t comparison_random(uint64_t *state, uint64_t limit);

/* A thread's main (arg: struct comparison): walks the extents for as long as readers run, first all
 * of the disk with its bytes, then random parts of it. */
void *comparison_watch_extents(void *arg);

#endif /* COMPARISON_H */
