/* SPDX-License-Identifier: MIT */
/* stopwatch.c - runs a program and says what it cost.
 *
 * usage: stopwatch COUNT RESULTS PROGRAM [ARGUMENT...]
 *
 * Runs the program COUNT times, one after the other, and writes one line to
 * the file RESULTS for each: wall nanoseconds, CPU microseconds (user and
 * system, of the program and all it waited for), peak resident KiB of the
 * largest of these processes, exit status as wait(2) gives it.
 *
 * Why not measure from Python: a child's peak memory begins at that of the
 * process it was forked from, and starting a child costs an interpreter more
 * than the shortest of the programs that are measured here. */
#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t microseconds(struct timeval tv)
{
    return (int64_t)tv.tv_sec * 1000000 + tv.tv_usec;
}

static int run_once(char **argv, FILE *results)
{
    int64_t began = now_ns();
    struct rusage usage;
    int status;
    pid_t pid;
    int error = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

    if (error != 0) {
        fprintf(stderr, "stopwatch: %s: %s\n", argv[0], strerror(error));
        return -1;
    }
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR) {
            fprintf(stderr, "stopwatch: wait: %s\n", strerror(errno));
            return -1;
        }
    fprintf(results, "%" PRId64 " %" PRId64 " %" PRId64 " %ld %d\n", now_ns() - began,
            microseconds(usage.ru_utime), microseconds(usage.ru_stime), usage.ru_maxrss, status);
    return 0;
}

int main(int argc, char **argv)
{
    long count = argc < 4 ? 0 : strtol(argv[1], NULL, 10);
    FILE *results;

    if (count < 1 || count > 100000) {
        fprintf(stderr, "usage: stopwatch COUNT RESULTS PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    results = fopen(argv[2], "we");
    if (results == NULL) {
        fprintf(stderr, "stopwatch: %s: %s\n", argv[2], strerror(errno));
        return 2;
    }
    while (count-- > 0)
        if (run_once(argv + 3, results) < 0)
            return 2;
    if (fclose(results) != 0) {
        fprintf(stderr, "stopwatch: %s: %s\n", argv[2], strerror(errno));
        return 2;
    }
    return 0;
}
