/* SPDX-License-Identifier: MIT */
/* bounded.c - what an image can make calls cost, at most. One line of JSON.
 *
 *     bounded STACK_KIB SUBJECT...
 *
 * Everything runs in a thread with so little stack, painted before, so that a walk that recursed on
 * image data would not come back. Of each kind of call the dearest one is told: reads of the source, bytes
 * they asked for, bytes of memory taken at a time. An image that does not open is told as that. "kept" is the
 * memory of the handle after all these calls. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "allocator.h"
#include "subject.h"

enum { PAINT = 0xA7, MOST_CALLS = 300000, PLACES = 61 };

static struct subject subject;

/* The dearest call of a kind. */
struct cost {
    const char *name;
    unsigned long calls, reads;
    unsigned long long read_bytes;
    size_t memory_bytes;
    int code;
};

static void begin_call(void)
{
    atomic_store(&subject.files.reads, 0);
    atomic_store(&subject.files.read_bytes, 0);
    allocator_watch_peak();
}

static void end_call(struct cost *cost, int code)
{
    unsigned long reads = atomic_load(&subject.files.reads);
    unsigned long long read_bytes = atomic_load(&subject.files.read_bytes);
    size_t memory_bytes = allocator_peak_bytes();

    cost->calls++;
    cost->code = code < cost->code ? code : cost->code;
    cost->reads = reads > cost->reads ? reads : cost->reads;
    cost->read_bytes = read_bytes > cost->read_bytes ? read_bytes : cost->read_bytes;
    cost->memory_bytes = memory_bytes > cost->memory_bytes ? memory_bytes : cost->memory_bytes;
}

static void tell(const struct cost *cost)
{
    printf(", \"%s\": {\"calls\": %lu, \"reads\": %lu, \"bytes\": %llu, \"memory\": %zu, "
           "\"code\": %d}",
           cost->name, cost->calls, cost->reads, cost->read_bytes, cost->memory_bytes, cost->code);
}

static void measure_reads(struct qcow2_image *image)
{
    struct cost byte = { .name = "byte" }, range = { .name = "range" };
    uint64_t size = qcow2_size(image), end = subject_end(&subject, image);

    for (uint64_t i = 0; i < PLACES && size > 0; i++) {
        begin_call();
        end_call(&byte, (int)qcow2_pread(image, subject.buffer, 1, size / PLACES * i, NULL));
    }
    tell(&byte);
    begin_call();
    end_call(&range, qcow2_pread(image, subject.buffer, (size_t)end, 0, NULL) < 0 ? -1 : 0);
    tell(&range);
}

static void measure_walks(struct qcow2_image *image)
{
    struct cost extents = { .name = "extent" }, explanations = { .name = "explanation" };
    struct qcow2_explanation explanation;
    struct qcow2_extent extent;
    uint64_t cursor = 0, step;
    int r = 1;

    while (r == 1 && extents.calls < MOST_CALLS) {
        begin_call();
        r = qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL);
        end_call(&extents, r);
    }
    tell(&extents);
    for (uint64_t i = 0; i < PLACES && qcow2_size(image) > 0; i++) {
        step = 0;
        do {
            begin_call();
            r = qcow2_next_explanation(image, qcow2_size(image) / PLACES * i, &step, &explanation,
                                       NULL);
            end_call(&explanations, r);
        } while (r == 1);
    }
    tell(&explanations);
}

static void measure_lists(struct qcow2_image *image)
{
    struct cost snapshots = { .name = "snapshot" }, bitmaps = { .name = "bitmap" };
    struct cost ranges = { .name = "dirty" }, extensions = { .name = "extension" };
    struct qcow2_snapshot snapshot;
    struct qcow2_extension extension;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0, at, offset, length;
    int r = 1;

    for (cursor = 0, r = 1; r == 1;) {
        begin_call();
        r = qcow2_next_snapshot(image, &cursor, &snapshot, NULL);
        end_call(&snapshots, r);
    }
    tell(&snapshots);
    for (cursor = 0, r = 1; r == 1;) {
        begin_call();
        r = qcow2_next_bitmap(image, &cursor, &bitmap, NULL);
        end_call(&bitmaps, r);
        at = 0;
        while (r == 1 && ranges.calls < MOST_CALLS) {
            begin_call();
            r = qcow2_next_dirty(image, &bitmap, &at, UINT64_MAX, &offset, &length, NULL);
            end_call(&ranges, r);
        }
        r = r == 0 && bitmaps.code == 0 && ranges.code == 0 ? bitmaps.calls < MOST_CALLS : r;
        if (cursor == 0 || at == 0) {
            break;
        }
    }
    tell(&bitmaps);
    tell(&ranges);
    for (cursor = 0, r = 1; r == 1;) {
        begin_call();
        r = qcow2_next_extension(image, 0, &cursor, &extension, NULL);
        end_call(&extensions, r);
    }
    tell(&extensions);
}

static void measure_check(struct qcow2_image *image)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct cost check = { .name = "check" };

    begin_call();
    end_call(&check, qcow2_check(image, NULL, NULL, NULL, &result, NULL));
    tell(&check);
}

/* The smallest part of the disk that can be stored in a way of its own, and the files of the chain. */
static void tell_geometry(const struct qcow2_image *image)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    uint32_t unit = 2 << 20, largest = 512;
    int depth = 0;

    for (; qcow2_get_info(image, depth, &info, NULL) == 0; depth++) {
        uint32_t cluster = info.format == QCOW2_FORMAT_RAW ? 2 << 20 : info.cluster_size;
        bool extended = (info.incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0;

        largest = cluster > largest ? cluster : largest;
        cluster = extended ? cluster / 32 : cluster;
        unit = cluster < unit ? cluster : unit;
    }
    printf(", \"unit\": %u, \"cluster\": %u, \"layers\": %d, \"size\": %llu", unit, largest, depth,
           (unsigned long long)qcow2_size(image));
}

static void *measure(void *ctx)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct cost opening = { .name = "open" };
    struct qcow2_image *image;
    unsigned long long bytes = 0;
    long before;
    int r;

    (void)ctx;
    for (unsigned i = 0; i < subject.files.n; i++) {
        bytes += subject.files.file[i].count;
    }
    before = allocator_live_bytes();
    begin_call();
    r = subject_open(&subject, &image, &err);
    end_call(&opening, r);
    printf("{\"files\": %u, \"file_bytes\": %llu", subject.files.n, bytes);
    tell(&opening);
    if (r == 0) {
        tell_geometry(image);
        measure_reads(image);
        measure_walks(image);
        measure_lists(image);
        measure_check(image);
    }
    printf(", \"kept\": %ld", allocator_live_bytes() - before);
    qcow2_close(image);
    return NULL;
}

/* Runs measure() on a stack of so many bytes; how many of them were used. */
static size_t run_on_stack(size_t bytes)
{
    unsigned char *stack =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;
    size_t untouched = 0;

    if (stack == MAP_FAILED || pthread_attr_init(&attributes) != 0) {
        return 0;
    }
    memset(stack, PAINT, bytes);
    if (pthread_attr_setstack(&attributes, stack, bytes) == 0 &&
        pthread_create(&thread, &attributes, measure, NULL) == 0) {
        (void)pthread_join(thread, NULL);
        while (untouched < bytes && stack[untouched] == PAINT) {
            untouched++;
        }
        untouched = bytes - untouched;
    }
    (void)pthread_attr_destroy(&attributes);
    (void)munmap(stack, bytes);
    return untouched;
}

int main(int argc, char **argv)
{
    struct timespec time;
    size_t used;

    allocator_start();
    if (!subject_init(&subject, &argc, argv) || argc != 2) {
        (void)fputs("usage: bounded STACK_KIB SUBJECT...\n", stderr);
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    used = run_on_stack((size_t)strtoul(argv[1], NULL, 10) * 1024);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    printf(", \"stack\": %zu, \"sees_all\": %s, \"cpu_seconds\": %.3f}\n", used,
           allocator_sees_all() ? "true" : "false",
           (double)time.tv_sec + (double)time.tv_nsec / 1e9);
    subject_deinit(&subject);
    return used == 0;
}
