/* SPDX-License-Identifier: MIT */
/* reads_main.c - times small reads through one reader (reads.h).
 *
 * usage: PROGRAM [options] IMAGE
 *
 * Knows threads, clocks and results; where to read is reads_plan.c's affair.
 * Prints one line of JSON. Its "checksum" covers the bytes of the first reads
 * in full and must be the same for every reader of the same disk with the same
 * options: a fast answer that is wrong is of no interest. */
#include "reads.h"
#include "reads_plan.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Reads before the clock starts, checked in full. */
enum { VERIFIED_READS = 256 };

/* The clock costs as much as a cached read, so fast readers look at it now and then only. */
enum { FAST_BATCH = 64 };
#define FAST_SECONDS 5e-6

struct worker {
    pthread_t thread;
    unsigned number;
    const struct reads_plan *plan;
    struct reader *reader;
    pthread_barrier_t *start;
    double *began; /* the same moment for all */
    uint64_t operations;
    double seconds; /* with `once`: how long it took */
    int failed;
};

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* FNV-1a over 64-bit words: cheap, and any wrong byte shows. */
static uint64_t mix(uint64_t hash, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i + 8 <= count; i += 8) {
        uint64_t word;

        memcpy(&word, bytes + i, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x100000001b3);
        hash ^= hash >> 29;
    }
    return hash;
}

static int verify(struct reader *reader, const struct reads_plan *plan, uint64_t *checksum_ret)
{
    uint64_t checksum = UINT64_C(0xcbf29ce484222325);
    unsigned char *buf = malloc(plan->block_bytes);
    int failed = buf == NULL;

    for (size_t i = 0; i < VERIFIED_READS && !failed; i++) {
        failed = reader_read(reader, 0, buf, plan->block_bytes, reads_plan_offset(plan, 0, i)) < 0;
        checksum = mix(checksum, buf, plan->block_bytes);
    }
    free(buf);
    *checksum_ret = checksum;
    return failed ? -1 : 0;
}

/* Brings a working set into the reader's caches: every block of it, twice,
 * because a cache may want to see a cluster again before it keeps it. */
static int warm(struct reader *reader, const struct reads_plan *plan)
{
    unsigned char *buf = malloc(plan->block_bytes);
    int failed = buf == NULL;

    for (int pass = 0; pass < 2; pass++)
        for (uint64_t i = 0; i < plan->blocks && !failed; i++)
            failed = reader_read(reader, 0, buf, plan->block_bytes, reads_plan_block(plan, i)) < 0;
    free(buf);
    return failed ? -1 : 0;
}

/* Makes the reads that will be timed, each once. A virtual machine's host may have taken the memory
 * behind the page cache away; it comes back when it is touched, and what that costs falls on whoever
 * touches it first. */
static void settle(struct worker *worker, unsigned char *buf)
{
    const struct reads_plan *plan = worker->plan;

    for (uint64_t i = 0; i < reads_plan_distinct(plan) && !worker->failed; i++)
        worker->failed = reader_read(worker->reader, worker->number, buf, plan->block_bytes,
                                     reads_plan_offset(plan, worker->number, i)) < 0;
}

/* Counts the reads that were finished by the common deadline. With more threads than processors
 * some wake late and finish late; what they do then, with the machine to themselves, is not part
 * of what the reader does under this load. */
static void *work(void *arg)
{
    struct worker *worker = arg;
    const struct reads_plan *plan = worker->plan;
    unsigned char *buf = aligned_alloc(4096, (plan->block_bytes + 4095) / 4096 * 4096);
    uint64_t end = reads_plan_count(plan, worker->number);
    uint64_t done = 0, batch = 1;
    double elapsed, looked = 0;

    worker->failed = buf == NULL;
    if (plan->settle)
        settle(worker, buf);
    pthread_barrier_wait(worker->start);
    if (worker->number == 0)
        *worker->began = now();
    pthread_barrier_wait(worker->start);
    while (!worker->failed && done < end) {
        uint64_t step = plan->once ? done : VERIFIED_READS + done;
        uint64_t offset = reads_plan_offset(plan, worker->number, step);

        worker->failed =
            reader_read(worker->reader, worker->number, buf, plan->block_bytes, offset) < 0;
        done++;
        if (plan->once || done < worker->operations + batch)
            continue;
        elapsed = now() - *worker->began;
        if (elapsed >= plan->seconds)
            break;
        batch = (elapsed - looked) / (double)(done - worker->operations) < FAST_SECONDS ? FAST_BATCH
                                                                                        : 1;
        looked = elapsed;
        worker->operations = done;
    }
    if (plan->once) {
        worker->operations = done;
        worker->seconds = now() - *worker->began;
    }
    free(buf);
    return NULL;
}

static int run(struct reader *reader, const struct reads_plan *plan, struct worker *workers)
{
    pthread_barrier_t start;
    double began = 0;
    unsigned started = 0;
    int failed = 0;

    if (pthread_barrier_init(&start, NULL, plan->threads) != 0)
        return -1;
    for (; started < plan->threads; started++) {
        workers[started] = (struct worker){
            .number = started, .plan = plan, .reader = reader, .start = &start, .began = &began
        };
        if (pthread_create(&workers[started].thread, NULL, work, &workers[started]) != 0) {
            /* The others wait at the barrier for good: there is nothing to save. */
            fprintf(stderr, "cannot start thread %u\n", started);
            exit(1);
        }
    }
    for (unsigned i = 0; i < plan->threads; i++) {
        pthread_join(workers[i].thread, NULL);
        failed |= workers[i].failed;
    }
    pthread_barrier_destroy(&start);
    return failed ? -1 : 0;
}

static void print_result(const struct reads_plan *plan, const struct worker *workers,
                         uint64_t checksum)
{
    double seconds = plan->once ? 0 : plan->seconds;
    uint64_t operations = 0;

    for (unsigned i = 0; i < plan->threads; i++) {
        operations += workers[i].operations;
        seconds = workers[i].seconds > seconds ? workers[i].seconds : seconds;
    }
    printf("{\"reader\": \"%s\", \"threads\": %u, \"operations\": %" PRIu64
           ", \"seconds\": %.6f, \"ops\": %.1f, \"checksum\": \"%016" PRIx64 "\"}\n",
           reader_name, plan->threads, operations, seconds, (double)operations / seconds, checksum);
}

/* Everything between opening and closing. */
static int measure(struct reader *reader, struct reads_plan *plan)
{
    struct worker *workers = calloc(plan->threads, sizeof *workers);
    uint64_t checksum = 0;
    int result = workers == NULL ? -1 : reads_plan_prepare(plan, reader_size(reader));

    if (result == 0 && !plan->once)
        result = verify(reader, plan, &checksum);
    if (result == 0 && plan->warm)
        result = warm(reader, plan);
    if (result == 0)
        result = run(reader, plan, workers);
    if (result == 0)
        print_result(plan, workers, checksum);
    reads_plan_free(plan);
    free(workers);
    return result;
}

int main(int argc, char **argv)
{
    struct reads_plan plan;
    const char *path = reads_plan_parse(&plan, argc, argv);
    struct reader *reader = path == NULL ? NULL : reader_open(path, plan.threads);
    int result;

    if (reader == NULL)
        return 1;
    result = measure(reader, &plan);
    reader_close(reader);
    return result < 0 ? 1 : 0;
}
