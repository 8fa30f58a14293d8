/* SPDX-License-Identifier: MIT */
/* random_reads.c - reads one image from many threads and compares every byte with a raw file.
 *
 * Knows <qcow2.h> and a raw file that somebody else (qemu-img convert) made from the same image;
 * knows nothing of how either was made. One handle serves a full sequential pass in odd chunks and
 * then, at the same time, COUNT random reads from N threads and one thread that walks the extents.
 * At the end the counters must add up. Exit status: 0 same, 1 different (stderr says where), 2 the
 * comparison could not be made.
 *
 *     random_reads [--threads N] [--count N] [--seed N] [--table-cache BYTES]
 *                  [--cluster-cache BYTES] [--max-read BYTES] [--no-sequential] IMAGE RAW */
#include "comparison.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes on both sides of a read's buffer that the library must leave alone. */
#define GUARD_BYTES 64
#define GUARD_VALUE 0xC7
#define MAX_THREADS 64

struct reader {
    struct comparison *run;
    unsigned number;
    uint64_t count;
    pthread_t thread;
};

/* 1 .. limit, every power of two as likely as the next: short reads matter as much as long. */
static uint64_t random_length(uint64_t *state, uint64_t limit)
{
    unsigned bits = 0;
    uint64_t length;

    while (bits < 63 && (limit >> bits) > 1)
        bits++;
    length = UINT64_C(1) << comparison_random(state, bits + 1);
    length += comparison_random(state, length);
    return length < limit ? length : limit;
}

static bool guards_hold(const unsigned char *whole, uint64_t count)
{
    for (size_t i = 0; i < GUARD_BYTES; i++)
        if (whole[i] != GUARD_VALUE || whole[GUARD_BYTES + count + i] != GUARD_VALUE)
            return false;
    return true;
}

/* One read at `offset`, compared with the raw file: count, bytes and guards. `whole` has room for
 * `count` bytes between two guards. */
static bool check_read(struct comparison *run, unsigned char *whole, uint64_t offset,
                       uint64_t count, const char *who)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    unsigned char *buf = whole + GUARD_BYTES;
    uint64_t expected = 0;
    ssize_t got;

    if (offset < run->size)
        expected = count < run->size - offset ? count : run->size - offset;
    memset(whole, GUARD_VALUE, GUARD_BYTES);
    memset(buf + count, GUARD_VALUE, GUARD_BYTES);
    if (count)
        memset(buf, 0x5A, count < 4096 ? (size_t)count : 4096);

    got = qcow2_pread(run->image, buf, (size_t)count, offset, &err);
    atomic_fetch_add_explicit(&run->reads_made, 1, memory_order_relaxed);
    if (got < 0) {
        comparison_fail(run,
                        "%s: read of %" PRIu64 " bytes at %" PRIu64
                        " failed at guest offset %" PRIu64 " with code %zd: %s",
                        who, count, offset, err.guest_offset, got, err.message);
        return false;
    }
    atomic_fetch_add_explicit(&run->bytes_returned, (uint64_t)got, memory_order_relaxed);
    if ((uint64_t)got != expected) {
        comparison_fail(
            run, "%s: read of %" PRIu64 " bytes at %" PRIu64 " returned %zd, expected %" PRIu64,
            who, count, offset, got, expected);
        return false;
    }
    if (!guards_hold(whole, count)) {
        comparison_fail(run,
                        "%s: read of %" PRIu64 " bytes at %" PRIu64 " wrote outside its buffer",
                        who, count, offset);
        return false;
    }
    if (expected && memcmp(buf, run->raw + offset, (size_t)expected) != 0) {
        uint64_t i = 0;

        while (buf[i] == run->raw[offset + i])
            i++;
        comparison_fail(run,
                        "%s: first difference at guest offset %" PRIu64 " (0x%" PRIx64
                        ", cluster %" PRIu64 "): expected 0x%02x, got 0x%02x (read of %" PRIu64
                        " bytes at %" PRIu64 ")",
                        who, offset + i, offset + i, (offset + i) / run->cluster_bytes,
                        run->raw[offset + i], buf[i], count, offset);
        return false;
    }
    return true;
}

/* The whole disk in ascending chunks of odd sizes, then the edges of the disk. */
static void read_sequentially(struct comparison *run, bool whole_disk)
{
    static const uint64_t chunks[] = { 1, 3, 511, 512, 513, 4097, 65537, 262147 };
    static const size_t chunk_count = sizeof chunks / sizeof chunks[0];
    const uint64_t edges[][2] = {
        { run->size, 1 },       { run->size, 4096 },
        { run->size + 1, 512 }, { UINT64_MAX, 1 },
        { UINT64_MAX - 5, 64 }, { run->size ? run->size - 1 : 0, 4096 },
        { run->size, 0 },       { 0, 0 },
    };
    unsigned char *whole = malloc((size_t)chunks[chunk_count - 1] + 2 * GUARD_BYTES);
    uint64_t offset = 0;

    if (!whole) {
        comparison_fail(run, "out of memory");
        return;
    }
    for (size_t i = 0; whole_disk && offset < run->size; i = (i + 1) % chunk_count) {
        if (!check_read(run, whole, offset, chunks[i], "sequential pass"))
            break;
        offset += chunks[i];
    }
    for (size_t i = 0; i < sizeof edges / sizeof edges[0] && !atomic_load(&run->failed); i++)
        check_read(run, whole, edges[i][0], edges[i][1], "edge of the disk");
    free(whole);
}

/* Where a random read starts: anywhere, on a sector, on a cluster, next to a cluster border, or
 * near the end of the disk (and sometimes past it). */
static uint64_t random_offset(const struct comparison *run, uint64_t *state)
{
    uint64_t offset = comparison_random(state, run->size);

    switch (comparison_random(state, 10)) {
    case 0:
    case 1:
        return offset - offset % 512;
    case 2:
        return offset - offset % run->cluster_bytes;
    case 3:
        offset -= offset % run->cluster_bytes;
        offset += run->cluster_bytes;
        return offset -
               comparison_random(state, run->cluster_bytes < 512 ? run->cluster_bytes : 512);
    case 4:
        offset = comparison_random(state, 2 * run->cluster_bytes);
        return run->size > offset ? run->size - offset : run->size + offset;
    default:
        return offset;
    }
}

static void *read_randomly(void *arg)
{
    struct reader *reader = arg;
    struct comparison *run = reader->run;
    uint64_t state = run->seed + reader->number * UINT64_C(0xD1B54A32D192ED03);
    unsigned char *whole = malloc((size_t)run->max_read_bytes + 2 * GUARD_BYTES);
    char who[32];

    snprintf(who, sizeof who, "thread %u", reader->number);
    if (!whole)
        comparison_fail(run, "%s: out of memory", who);
    for (uint64_t i = 0; whole && i < reader->count && !atomic_load(&run->failed); i++) {
        uint64_t offset = random_offset(run, &state);
        uint64_t limit = run->max_read_bytes;

        /* Most reads stay near one cluster, or a disk of 2 MiB clusters would take minutes. */
        if (comparison_random(&state, 4) != 0 && limit > 65536)
            limit = 65536;
        if (!check_read(run, whole, offset, random_length(&state, limit), who))
            break;
    }
    free(whole);
    atomic_fetch_sub(&run->readers_running, 1);
    return NULL;
}

/* Whether the counters add up now that nobody reads. */
static void check_stats(struct comparison *run)
{
    struct qcow2_stats stats = QCOW2_STATS_INIT;

    qcow2_get_stats(run->image, &stats);
    if (stats.reads != run->reads_made)
        comparison_fail(run, "stats: %" PRIu64 " reads counted, %" PRIu64 " made", stats.reads,
                        run->reads_made);
    if (stats.bytes_read != run->bytes_returned)
        comparison_fail(run, "stats: %" PRIu64 " bytes counted, %" PRIu64 " returned",
                        stats.bytes_read, run->bytes_returned);
    if (stats.cluster_reads !=
        stats.cluster_holes + stats.cluster_standard + stats.cluster_compressed)
        comparison_fail(run,
                        "stats: %" PRIu64 " cluster reads, but %" PRIu64 " holes + %" PRIu64
                        " standard + %" PRIu64 " compressed",
                        stats.cluster_reads, stats.cluster_holes, stats.cluster_standard,
                        stats.cluster_compressed);
    if (stats.comp_cache_hits + stats.comp_cache_misses != stats.cluster_compressed)
        comparison_fail(run,
                        "stats: %" PRIu64 " compressed steps, but %" PRIu64 " cache hits + %" PRIu64
                        " misses",
                        stats.cluster_compressed, stats.comp_cache_hits, stats.comp_cache_misses);
}

static int compare(struct comparison *run, unsigned threads, uint64_t count, bool sequential)
{
    struct reader readers[MAX_THREADS];
    pthread_t watcher;
    unsigned started = 0;
    bool watching;

    read_sequentially(run, sequential);
    atomic_store(&run->readers_running, threads);
    watching = pthread_create(&watcher, NULL, comparison_watch_extents, run) == 0;
    for (; started < threads; started++) {
        struct reader *reader = &readers[started];

        reader->run = run;
        reader->number = started;
        reader->count = count / threads + (started < count % threads);
        if (pthread_create(&reader->thread, NULL, read_randomly, reader) != 0)
            break;
    }
    if (!watching || started < threads) {
        comparison_fail(run, "a thread could not be started");
        atomic_store(&run->readers_running, 0);
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(readers[i].thread, NULL);
    if (watching)
        pthread_join(watcher, NULL);
    if (!atomic_load(&run->failed))
        check_stats(run);
    return atomic_load(&run->failed) ? 1 : 0;
}

static bool parse_number(const char *text, uint64_t *value_ret)
{
    char *end;

    errno = 0;
    *value_ret = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0';
}

static int open_raw(struct comparison *run, const char *path)
{
    struct stat st;
    void *mapped;

    run->raw_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (run->raw_fd < 0 || fstat(run->raw_fd, &st) != 0) {
        fprintf(stderr, "random_reads: %s: %s\n", path, strerror(errno));
        return 2;
    }
    if ((uint64_t)st.st_size != run->size) {
        fprintf(stderr, "random_reads: the disk has %" PRIu64 " bytes, %s has %jd\n", run->size,
                path, (intmax_t)st.st_size);
        return 1;
    }
    if (st.st_size == 0)
        return 0;
    mapped = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, run->raw_fd, 0);
    if (mapped == MAP_FAILED) {
        fprintf(stderr, "random_reads: %s: %s\n", path, strerror(errno));
        return 2;
    }
    /* No read-ahead: in a sparse file of a terabyte it would fill the page cache with zeros. */
    (void)madvise(mapped, (size_t)st.st_size, MADV_RANDOM);
    run->raw = mapped;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "threads", required_argument, NULL, 't' },
        { "count", required_argument, NULL, 'c' },
        { "seed", required_argument, NULL, 's' },
        { "table-cache", required_argument, NULL, 'T' },
        { "cluster-cache", required_argument, NULL, 'C' },
        { "max-read", required_argument, NULL, 'M' },
        { "no-sequential", no_argument, NULL, 'S' },
        { 0 },
    };
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct comparison run = { .raw_fd = -1, .seed = 1 };
    uint64_t threads = 8, count = 10000, value = 0;
    bool sequential = true;
    int option, status;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == '?' || (optarg && !parse_number(optarg, &value)))
            return 2;
        if (option == 't')
            threads = value;
        else if (option == 'c')
            count = value;
        else if (option == 's')
            run.seed = value;
        else if (option == 'T')
            options.table_cache_bytes = value;
        else if (option == 'C')
            options.cluster_cache_bytes = value;
        else if (option == 'M')
            run.max_read_bytes = value;
        else
            sequential = false;
    }
    if (argc - optind != 2 || threads < 1 || threads > MAX_THREADS ||
        run.max_read_bytes > SIZE_MAX / 4) {
        fputs("usage: random_reads [--threads 1..64] [--count N] [--seed N] [--table-cache BYTES]\n"
              "                    [--cluster-cache BYTES] [--max-read BYTES] [--no-sequential]\n"
              "                    IMAGE RAW\n",
              stderr);
        return 2;
    }
    if (qcow2_open(argv[optind], &options, &run.image, &err) < 0 ||
        qcow2_get_info(run.image, 0, &info, &err) < 0) {
        fprintf(stderr, "random_reads: %s: %s\n", argv[optind], err.message);
        qcow2_close(run.image);
        return 2;
    }
    run.size = qcow2_size(run.image);
    run.cluster_bytes = info.cluster_size;
    if (run.max_read_bytes == 0)
        run.max_read_bytes = 4 * run.cluster_bytes < 16384 ? 16384 : 4 * run.cluster_bytes;

    status = open_raw(&run, argv[optind + 1]);
    if (status == 0)
        status = compare(&run, (unsigned)threads, count, sequential);
    if (run.raw)
        munmap((void *)(uintptr_t)run.raw, (size_t)run.size);
    if (run.raw_fd >= 0)
        close(run.raw_fd);
    qcow2_close(run.image);
    return status;
}
