/* SPDX-License-Identifier: MIT */
/* fixed_workload.c - three small jobs whose instructions are counted.
 *
 * usage: fixed_workload info|random|full IMAGE
 *
 * bench/instructions runs it under callgrind, which counts only what happens
 * inside workload(). One thread, fixed offsets, no clock: two runs of one
 * build give the same count on any machine, however busy. */
#include <qcow2.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_READ = 4096, RANDOM_READS = 4096, LARGE_READ = 1 << 20 };

/* Open, ask for the facts, close: what a program that lists images does. */
static int run_info(struct qcow2_image *image, struct qcow2_error *err)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct qcow2_extension extension;
    uint64_t cursor = 0;
    int result = qcow2_get_info(image, 0, &info, err);

    while (result == 0 && qcow2_next_extension(image, 0, &cursor, &extension, err) > 0)
        continue;
    return result;
}

/* 4 KiB here and there, from a generator that is part of the workload. */
static int run_random(struct qcow2_image *image, unsigned char *buf, struct qcow2_error *err)
{
    uint64_t blocks = qcow2_size(image) / SMALL_READ, state = 1;

    for (int i = 0; i < RANDOM_READS; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (qcow2_pread(image, buf, SMALL_READ, (state >> 33) % blocks * SMALL_READ, err) < 0)
            return -1;
    }
    return 0;
}

/* The whole disk in order. */
static int run_full(struct qcow2_image *image, unsigned char *buf, struct qcow2_error *err)
{
    uint64_t offset = 0;
    ssize_t got;

    while ((got = qcow2_pread(image, buf, LARGE_READ, offset, err)) > 0)
        offset += (uint64_t)got;
    return got < 0 ? -1 : 0;
}

/* Counting starts where this function is entered and ends where it returns. */
int workload(const char *name, const char *path, unsigned char *buf, struct qcow2_error *err);
__attribute__((noinline)) int workload(const char *name, const char *path, unsigned char *buf,
                                       struct qcow2_error *err)
{
    struct qcow2_image *image;
    int result = qcow2_open(path, NULL, &image, err);

    if (result < 0)
        return result;
    if (strcmp(name, "info") == 0)
        result = run_info(image, err);
    else if (strcmp(name, "random") == 0)
        result = run_random(image, buf, err);
    else
        result = run_full(image, buf, err);
    qcow2_close(image);
    return result;
}

int main(int argc, char **argv)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    unsigned char *buf = malloc(LARGE_READ);
    int result;

    if (buf == NULL || argc != 3 ||
        (strcmp(argv[1], "info") != 0 && strcmp(argv[1], "random") != 0 &&
         strcmp(argv[1], "full") != 0)) {
        fprintf(stderr, "usage: %s info|random|full IMAGE\n", argv[0]);
        free(buf);
        return 2;
    }
    result = workload(argv[1], argv[2], buf, &err);
    if (result < 0)
        fprintf(stderr, "%s: %s\n", argv[2], err.message);
    free(buf);
    return result < 0 ? 1 : 0;
}
