/* SPDX-License-Identifier: MIT */
/* race.c - threads that all use one handle, for a while, and what they must still agree on.
 *
 *     race [--failing] SECONDS SUBJECT...
 *
 * 16 threads read, walk extents, explain, list and count, each by its own chance, with caches so small
 * that they throw out each other's blocks all the time (the caller's --table-cache and --cluster-cache).
 * With --failing, one read of the source in seven fails; an answer is then right or that error, and when
 * sources work again all is right. Made for the thread sanitizer, which sees what no answer shows. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "subject.h"

enum { THREADS = 16, SECTOR = 512, FAIL_ONE_IN = 7, LONGEST_READ = 40000 };

static struct subject subject;
static struct qcow2_image *image;
static uint64_t end;
static unsigned char *disk;  /* what the first reads found */
static unsigned char *kinds; /* of each sector: kind and depth of its extent */
static bool failing;
static atomic_bool stop;
static atomic_ulong done, failed;

static _Noreturn void die(const char *format, ...)
{
    va_list args;

    (void)fprintf(stderr, "%s: ", subject.path);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(1);
}

static uint64_t chance(uint64_t *state, uint64_t limit)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % limit;
}

/* Whether there is an answer to look at. A failure is one that was asked for, or the end. */
static bool answered(int code, const struct qcow2_error *err, const char *what)
{
    atomic_fetch_add_explicit(&done, 1, memory_order_relaxed);
    if (code >= 0) {
        return true;
    }
    if (!failing || code != QCOW2_E_IO || err->sys_errno != FILES_ERRNO) {
        die("%s: code %d: %s", what, code, err->message);
    }
    atomic_fetch_add_explicit(&failed, 1, memory_order_relaxed);
    return false;
}

static void read_somewhere(uint64_t *state, unsigned char *buffer)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint64_t at = chance(state, end), most = chance(state, 8) == 0 ? LONGEST_READ : 3000;
    uint64_t count = 1 + chance(state, most);
    ssize_t got = qcow2_pread(image, buffer, (size_t)count, at, &err);
    /* Behind the end of what is known nothing can be compared. */
    uint64_t known = end - at < count ? end - at : count;

    if (answered((int)got, &err, "read") && memcmp(buffer, disk + at, (size_t)known) != 0) {
        die("wrong bytes among %llu at %llu", (unsigned long long)known, (unsigned long long)at);
    }
}

static void walk_somewhere(uint64_t *state)
{
    uint64_t cursor = chance(state, end), stop_at = cursor + 1 + chance(state, end - cursor);

    while (cursor < stop_at) {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct qcow2_extent extent;
        uint64_t before = cursor;
        int r = qcow2_next_extent(image, &cursor, stop_at, &extent, &err);

        if (!answered(r, &err, "extent")) {
            return;
        }
        if (r != 1 || extent.offset != before || cursor != before + extent.length) {
            die("an extent at %llu that is none", (unsigned long long)before);
        }
        for (uint64_t at = before / SECTOR; at <= (cursor - 1) / SECTOR; at++) {
            if (kinds[at] != extent.depth * 4 + extent.kind) {
                die("another extent at sector %llu", (unsigned long long)at);
            }
        }
    }
}

static void explain_somewhere(uint64_t *state)
{
    uint64_t at = chance(state, end), cursor = 0;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_explanation e = { .depth = 0 };
    int r;

    do {
        r = qcow2_next_explanation(image, at, &cursor, &e, &err);
        if (!answered(r, &err, "explanation")) {
            return;
        }
    } while (r == 1);
    if (kinds[at / SECTOR] != e.depth * 4 + e.kind) {
        die("another explanation of byte %llu", (unsigned long long)at);
    }
}

static void list_things(void)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct qcow2_snapshot snapshot;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0, offset, length, listed = 0;
    int r;

    if (qcow2_get_info(image, 0, &info, &err) != 0) {
        die("no info");
    }
    while ((r = qcow2_next_snapshot(image, &cursor, &snapshot, &err)) == 1) {
        listed++;
    }
    if (answered(r, &err, "snapshot") && listed != info.snapshot_count) {
        die("%llu snapshots of %u", (unsigned long long)listed, info.snapshot_count);
    }
    cursor = 0;
    r = qcow2_next_bitmap(image, &cursor, &bitmap, &err);
    if (answered(r, &err, "bitmap") && r == 1) {
        cursor = 0;
        r = qcow2_next_dirty(image, &bitmap, &cursor, UINT64_MAX, &offset, &length, &err);
        (void)answered(r, &err, "dirty range");
    }
}

static void count_things(uint64_t *reads_before)
{
    struct qcow2_stats stats = QCOW2_STATS_INIT;

    qcow2_get_stats(image, &stats);
    if (stats.reads < *reads_before || stats.cluster_reads < stats.cluster_holes) {
        die("counters that went back");
    }
    *reads_before = stats.reads;
    atomic_fetch_add_explicit(&done, 1, memory_order_relaxed);
}

static void *use(void *ctx)
{
    const unsigned *number = ctx;
    uint64_t state = *number * UINT64_C(77) + failing, reads_before = 0;
    unsigned char *buffer = malloc(LONGEST_READ + 1);

    while (buffer != NULL && !atomic_load(&stop)) {
        switch (chance(&state, 16)) {
        case 0:
            list_things();
            break;
        case 1:
            count_things(&reads_before);
            break;
        case 2:
        case 3:
            explain_somewhere(&state);
            break;
        case 4:
        case 5:
        case 6:
            walk_somewhere(&state);
            break;
        default:
            read_somewhere(&state, buffer);
        }
    }
    free(buffer);
    return NULL;
}

/* All bytes and extents, as one thread alone finds them; they are what the others must find. */
static void look_alone(bool first)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_extent extent;
    unsigned char *into = first ? disk : subject.buffer;
    uint64_t cursor = 0;

    if (qcow2_pread(image, into, (size_t)end, 0, &err) != (ssize_t)end) {
        die("%s", err.message);
    }
    if (!first && memcmp(into, disk, (size_t)end) != 0) {
        die("other bytes than before");
    }
    if (first && subject.raw != NULL && memcmp(into, subject.raw, (size_t)end) != 0) {
        die("wrong bytes");
    }
    while (qcow2_next_extent(image, &cursor, end, &extent, &err) == 1) {
        for (uint64_t at = extent.offset / SECTOR; at <= (cursor - 1) / SECTOR; at++) {
            unsigned char kind = (unsigned char)(extent.depth * 4 + extent.kind);

            if (!first && kinds[at] != kind) {
                die("other extents than before");
            }
            kinds[at] = kind;
        }
    }
    if (cursor != end) {
        die("%s", err.message);
    }
}

static void race(double seconds)
{
    struct timespec time = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];

    if (failing) {
        atomic_store(&subject.files.fail_one_in, FAIL_ONE_IN);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, use, &numbers[i]) != 0) {
            die("a thread could not be started");
        }
    }
    (void)nanosleep(&time, NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    files_reset(&subject.files);
}

int main(int argc, char **argv)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    if (!subject_init(&subject, &argc, argv) || argc < 2) {
        (void)fputs("usage: race [--failing] SECONDS SUBJECT...\n", stderr);
        return 2;
    }
    failing = strcmp(argv[1], "--failing") == 0;
    if (subject_open(&subject, &image, &err) < 0) {
        die("%s", err.message);
    }
    end = subject_end(&subject, image);
    disk = malloc((size_t)end);
    kinds = calloc((size_t)end / SECTOR + 1, 1);
    if (disk == NULL || kinds == NULL || end == 0) {
        die("nothing to read, or no memory");
    }
    look_alone(true);
    race(strtod(argv[argc - 1], NULL));
    look_alone(false);
    qcow2_close(image);
    free(disk);
    free(kinds);
    subject_deinit(&subject);
    printf("%lu calls, %lu failed\n", atomic_load(&done), atomic_load(&failed));
    return atomic_load(&done) == 0 || failing != (atomic_load(&failed) > 0);
}
