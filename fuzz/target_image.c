/* SPDX-License-Identifier: MIT */
/* target_image.c - a whole image, opened and asked everything, in three ways: as it is; with a source that
 * fails; and, in the program that defines FUZZ_NO_MEMORY, with allocations that fail at a rate that the
 * input chooses. sparse.h says what an input is. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "sparse.h"
#include "walk.h"

#ifdef FUZZ_NO_MEMORY
enum { WITHOUT_MEMORY = 1 };
#else
enum { WITHOUT_MEMORY = 0 };
#endif

static const uint64_t cache_sizes[16] = { 0x4000, 1,      0x10000, 0x2200, 0x8000, 0x40000,
                                          0x4400, 0x600,  1,       1,      0x4000, 0x4000,
                                          0x8000, 0x8000, 1,       0x1200 };

/* Opening takes no more than the files and this; a lane's buffers two clusters of output and twice that
 * of input. */
#define OPEN_BYTES (UINT64_C(4) << 20)
#define LANE_BYTES (UINT64_C(8) << 20)

static int grant(void *ctx, const struct qcow2_reference *reference,
                 struct qcow2_source *source_ret, int *format_ret, struct qcow2_error *err)
{
    struct fuzz_world *world = ctx;
    unsigned format = world->sparse->wishes[FUZZ_GRANT_FORMAT];

    FUZZ_REQUIRE(reference->name != NULL && reference->name[0] != '\0', "a request has a name");
    FUZZ_REQUIRE(reference->referrer != NULL, "and comes from somewhere");
    FUZZ_REQUIRE(reference->depth >= 0 && reference->depth < FUZZ_MAX_LAYERS, "of the chain");
    FUZZ_REQUIRE(err != NULL, "a grant can say why not");
    if ((world->sparse->wishes[FUZZ_SOURCE] & FUZZ_NO_GRANT) != 0) {
        return QCOW2_E_REFERENCE;
    }
    if (reference->kind == QCOW2_REFERENCE_BACKING_FILE && format <= QCOW2_FORMAT_PROBE) {
        *format_ret = (int)format;
    }
    if (!fuzz_source_open(world, 1, false, source_ret)) {
        err->code = QCOW2_E_NOMEM;
        (void)snprintf(err->message, sizeof err->message, "out of memory");
        return QCOW2_E_NOMEM;
    }
    return 0;
}

static int get_key(void *ctx, int depth, const char *name, char *buf, size_t buf_bytes,
                   size_t *length_ret)
{
    (void)ctx;
    FUZZ_REQUIRE(depth >= 0 && name != NULL && buf_bytes >= 4, "a key is asked for by somebody");
    memset(buf, 'k', 4);
    *length_ret = 4;
    return 0;
}

static void take_options(const struct fuzz_sparse *sparse, struct fuzz_world *world,
                         char snapshot[2], struct qcow2_options *options)
{
    const uint8_t *wishes = sparse->wishes;

    *options = (struct qcow2_options)QCOW2_OPTIONS_INIT;
    options->flags = wishes[FUZZ_OPEN_FLAGS] & 0x3f;
    options->format = wishes[FUZZ_SOURCE] & FUZZ_FORMAT_MASK;
    options->max_chain_depth = FUZZ_MAX_LAYERS;
    options->table_cache_bytes = cache_sizes[wishes[FUZZ_CACHES] & 15];
    options->cluster_cache_bytes = cache_sizes[wishes[FUZZ_CACHES] >> 4];
    options->grant = grant;
    options->grant_ctx = world;
    options->get_key = (wishes[FUZZ_SOURCE] & FUZZ_NO_KEY) == 0 ? get_key : NULL;
    /* One slot with SHA-256 and the longest key. */
    options->max_key_iterations = 40000;
    if ((options->flags & QCOW2_OPEN_SNAPSHOT_INDEX) != 0) {
        options->snapshot_index = wishes[FUZZ_SNAPSHOT];
    } else if (wishes[FUZZ_SNAPSHOT] != 0) {
        snapshot[0] = (char)wishes[FUZZ_SNAPSHOT];
        options->snapshot = snapshot;
    }
}

/* For the log: a fuzzer whose inputs do not open is as busy as another. */
static struct {
    unsigned long executions, opened;
} counts;

static void print_counts(void)
{
    (void)fprintf(stderr, "stat::images_opened: %lu of %lu\n", counts.opened, counts.executions);
}

static void count_execution(void)
{
    if (counts.executions++ == 0 && atexit(print_counts) != 0) {
        exit(1);
    }
}

struct subject {
    const struct fuzz_sparse *sparse;
    const struct qcow2_options *options;
    struct fuzz_world *world;
    bool no_length;
    uint32_t seed;
};

/* Opens the image; its source is had before memory is short. */
static int open_image(const struct subject *subject, struct qcow2_image **image_ret,
                      uint32_t fail_rate)
{
    struct qcow2_error err = fuzz_error();
    struct fuzz_world *world = subject->world;
    struct qcow2_source source;
    uint64_t n_bytes = (uint64_t)subject->sparse->sizes[0] + subject->sparse->sizes[1];
    int r;

    *world = (struct fuzz_world){ .sparse = subject->sparse };
    fuzz_memory_fail(0, 0);
    fuzz_memory_start();
    FUZZ_REQUIRE(fuzz_source_open(world, 0, subject->no_length, &source), "the target has memory");
    fuzz_memory_fail(fail_rate, subject->seed);
    r = qcow2_open_source(&source, subject->options, image_ret, &err);
    fuzz_require_result(r, &err);
    FUZZ_REQUIRE(r <= 0 && (r == 0) == (*image_ret != NULL), "an image comes with success alone");
    world->open_memory_bytes = fuzz_memory_peak();
    FUZZ_REQUIRE(fuzz_memory_peak() <= n_bytes + OPEN_BYTES, "opening takes n + 4 MiB");
    FUZZ_REQUIRE(r != QCOW2_E_NOMEM || fuzz_memory_failed(), "there is memory");
    FUZZ_REQUIRE(r != QCOW2_E_IO || subject->no_length, "no source has failed");
    if (r < 0) {
        fuzz_memory_fail(0, 0);
        FUZZ_REQUIRE(world->closes == world->opens, "sources are closed");
        FUZZ_REQUIRE(fuzz_memory_live() == 0, "nothing is left");
    }
    return r;
}

static void close_image(const struct subject *subject, struct qcow2_image *image)
{
    fuzz_memory_fail(0, 0);
    qcow2_close(image);
    FUZZ_REQUIRE(subject->world->closes == subject->world->opens, "sources are closed");
    FUZZ_REQUIRE(fuzz_memory_live() == 0, "nothing is left");
}

static bool wanted(const struct subject *subject, enum fuzz_action skip)
{
    return (subject->sparse->wishes[FUZZ_ACTIONS] & skip) == 0;
}

static bool readable(const struct subject *subject)
{
    return (subject->options->flags & QCOW2_OPEN_METADATA_ONLY) == 0;
}

/* Every question once. The walk's number is of the answers. */
static void ask(const struct subject *subject, struct fuzz_walk *walk, bool compare)
{
    fuzz_walk_info(walk);
    if (wanted(subject, FUZZ_SKIP_LISTS)) {
        fuzz_walk_lists(walk);
    }
    if (readable(subject) && wanted(subject, FUZZ_SKIP_EXTENTS)) {
        fuzz_walk_extents(walk, compare);
    }
    if (readable(subject) && wanted(subject, FUZZ_SKIP_READS)) {
        fuzz_walk_reads(walk, subject->seed);
    }
}

static void check_and_survey(const struct subject *subject, struct fuzz_walk *walk)
{
    fuzz_walk_check(walk, subject->seed);
    if (walk->world->failed) {
        /* It has had its share of reads: a failure that says nothing of the survey. */
        fuzz_walk_fold_number(walk, 1);
        walk->world->failed = false;
    }
    /* A snapshot is another disk than the one that is surveyed, and tables behind the end of the file are not
     * surveyed. */
    fuzz_walk_survey(walk, subject->options->snapshot == NULL &&
                               (subject->options->flags &
                                (QCOW2_OPEN_SNAPSHOT_INDEX | QCOW2_OPEN_ZEROS_PAST_END)) == 0);
}

/* Check and survey by themselves, and whether they find the same again: they keep nothing between two calls. */
static void ask_for_check(const struct subject *subject, struct fuzz_walk *walk)
{
    struct fuzz_walk again = *walk;

    if (!wanted(subject, FUZZ_SKIP_CHECK)) {
        return;
    }
    check_and_survey(subject, walk);
    if (subject->seed % 8 == 0 && fuzz_walk_counts(walk)) {
        check_and_survey(subject, &again);
        FUZZ_REQUIRE(!fuzz_walk_counts(&again) || again.hash == walk->hash,
                     "a check that is repeated finds the same");
    }
}

static void require_unreadable(struct qcow2_image *image)
{
    struct qcow2_error err = fuzz_error();
    struct qcow2_extent extent;
    uint64_t cursor = 0;
    char byte;

    FUZZ_REQUIRE(qcow2_pread(image, &byte, 1, 0, &err) == QCOW2_E_ARGUMENT, "metadata is no data");
    fuzz_require_result(QCOW2_E_ARGUMENT, &err);
    FUZZ_REQUIRE(qcow2_next_extent(image, &cursor, 1, &extent, &err) == QCOW2_E_ARGUMENT,
                 "nor does it have extents");
}

static void require_stats(struct qcow2_image *image)
{
    struct qcow2_stats stats = QCOW2_STATS_INIT;

    qcow2_get_stats(image, &stats);
    FUZZ_REQUIRE(stats.cluster_reads ==
                     stats.cluster_holes + stats.cluster_standard + stats.cluster_compressed,
                 "every cluster is counted as something");
    FUZZ_REQUIRE(stats.comp_cache_hits + stats.comp_cache_misses <= stats.cluster_compressed,
                 "compressed clusters are found or not");
}

static void with_memory(const struct subject *subject)
{
    struct qcow2_image *image;
    struct fuzz_walk first, second;
    uint64_t caches = subject->options->table_cache_bytes + subject->options->cluster_cache_bytes;

    if (open_image(subject, &image, 0) < 0) {
        return;
    }
    counts.opened++;
    fuzz_walk_start(&first, image, subject->world, subject->no_length);
    ask(subject, &first, true);
    FUZZ_REQUIRE(fuzz_memory_peak() <= (uint64_t)subject->sparse->sizes[0] +
                                           subject->sparse->sizes[1] + OPEN_BYTES + LANE_BYTES +
                                           caches,
                 "memory is bounded");
    if (!readable(subject)) {
        require_unreadable(image);
    } else if (wanted(subject, FUZZ_SKIP_FAILURES)) {
        subject->world->failed = false;
        second = first;
        fuzz_walk_failing_reads(&second, subject->seed,
                                1 + subject->sparse->wishes[FUZZ_FAIL_AT] % 8);
    }
    /* Everything again, from caches that are full now, and after failures. */
    if (fuzz_walk_counts(&first)) {
        subject->world->failed = false;
        fuzz_walk_start(&second, image, subject->world, subject->no_length);
        ask(subject, &second, true);
        FUZZ_REQUIRE(first.hash == second.hash, "what is asked again is answered again");
    }
    ask_for_check(subject, &first);
    require_stats(image);
    close_image(subject, image);
}

/* Without memory everything fails for that reason or is right; when there is some again, all is right. */
static void without_memory(const struct subject *subject)
{
    uint32_t rate = (uint32_t)subject->sparse->wishes[FUZZ_FAIL_RATE] << 8 |
                    subject->sparse->wishes[FUZZ_FAIL_RATE + 1];
    struct qcow2_image *image;
    struct fuzz_walk right, starved, later;
    int r = open_image(subject, &image, 0), r2;

    rate = 1 + rate % 512;
    if (r == 0) {
        counts.opened++;
        fuzz_walk_start(&right, image, subject->world, subject->no_length);
        ask(subject, &right, false);
        close_image(subject, image);
    }
    r2 = open_image(subject, &image, rate);
    FUZZ_REQUIRE(r2 == r || r2 == QCOW2_E_NOMEM,
                 "a failure is for want of memory, or was one before");
    if (r2 < 0) {
        return;
    }
    fuzz_walk_start(&starved, image, subject->world, subject->no_length);
    ask(subject, &starved, false);
    FUZZ_REQUIRE(starved.starved || !fuzz_walk_counts(&right) || !fuzz_walk_counts(&starved) ||
                     starved.hash == right.hash,
                 "what does not fail is right");
    ask_for_check(subject, &starved);
    fuzz_memory_fail(0, 0);
    subject->world->failed = false;
    fuzz_walk_start(&later, image, subject->world, subject->no_length);
    ask(subject, &later, false);
    FUZZ_REQUIRE(!fuzz_walk_counts(&right) || later.hash == right.hash,
                 "with memory everything is as it was");
    ask_for_check(subject, &later);
    close_image(subject, image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_sparse sparse;
    struct fuzz_world world;
    struct qcow2_options options;
    char snapshot[2] = "";
    struct subject subject = { .sparse = &sparse, .options = &options, .world = &world };

    if (!fuzz_sparse_parse(data, size, &sparse)) {
        return 0;
    }
    take_options(&sparse, &world, snapshot, &options);
    subject.no_length = (sparse.wishes[FUZZ_SOURCE] & FUZZ_NO_LENGTH) != 0;
    for (unsigned i = 0; i < 4; i++) {
        subject.seed = subject.seed << 8 | sparse.wishes[FUZZ_SEED + i];
    }
    count_execution();
    if (WITHOUT_MEMORY) {
        without_memory(&subject);
    } else {
        with_memory(&subject);
    }
    return 0;
}
