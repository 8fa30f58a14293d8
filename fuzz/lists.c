/* SPDX-License-Identifier: MIT */
/* lists.c - snapshots, bitmaps, the check: what reads tables beside the disk's own. */
#include "walk.h"

#include <string.h>

enum { MAX_SNAPSHOTS = 16, MAX_BITMAPS = 16, MAX_RANGES = 64, MAX_FINDINGS = 256 };

/* A small file may name the same large part of itself again and again, which is work within the stated
 * bounds, but not worth a fuzzer's time: a source that fails ends it. */
#define MAX_BYTES (UINT64_C(256) << 10)

static void start(struct fuzz_walk *walk)
{
    walk->world->reads = walk->world->bytes = 0;
    walk->world->max_bytes = MAX_BYTES;
}

static void walk_snapshots(struct fuzz_walk *walk)
{
    uint64_t cursor = 0, before = 0;
    int r = 1;

    for (int i = 0; i < MAX_SNAPSHOTS && r == 1; i++) {
        struct qcow2_error err = fuzz_error();
        struct qcow2_snapshot snapshot;

        start(walk);
        r = qcow2_next_snapshot(walk->image, &cursor, &snapshot, &err);
        FUZZ_REQUIRE(walk->world->reads <= 3, "an entry is read at most thrice");
        (void)fuzz_walk_result(walk, r, &err);
        if (r == 1) {
            FUZZ_REQUIRE(cursor > before, "snapshots go forwards");
            FUZZ_REQUIRE(strnlen(snapshot.id, sizeof snapshot.id) < sizeof snapshot.id &&
                             strnlen(snapshot.name, sizeof snapshot.name) < sizeof snapshot.name,
                         "texts are terminated");
            FUZZ_REQUIRE(snapshot.disk_size % 512 == 0, "disks are whole sectors");
            before = cursor;
            fuzz_walk_fold(walk, &snapshot, sizeof snapshot);
        } else {
            FUZZ_REQUIRE(cursor == before, "a walk that ends stays where it is");
        }
    }
}

static void walk_ranges(struct fuzz_walk *walk, const struct qcow2_bitmap *bitmap)
{
    uint64_t cursor = 0, end = 0, disk = walk->layers[0].header_size;
    int r = 1;

    for (int i = 0; i < MAX_RANGES && r == 1; i++) {
        struct qcow2_error err = fuzz_error();
        uint64_t offset, length;

        r = qcow2_next_dirty(walk->image, bitmap, &cursor, UINT64_MAX, &offset, &length, &err);
        (void)fuzz_walk_result(walk, r, &err);
        if (r == 1) {
            FUZZ_REQUIRE(length >= 1 && offset >= end && offset + length <= disk,
                         "ranges ascend, on the disk");
            FUZZ_REQUIRE(cursor == offset + length, "a range ends where the cursor is");
            end = cursor;
            fuzz_walk_fold_number(walk, offset);
            fuzz_walk_fold_number(walk, length);
        }
    }
}

static void walk_bitmaps(struct fuzz_walk *walk)
{
    uint64_t cursor = 0, before = 0;
    int r = 1;

    for (int i = 0; i < MAX_BITMAPS && r == 1; i++) {
        struct qcow2_error err = fuzz_error();
        struct qcow2_bitmap bitmap;

        start(walk);
        r = qcow2_next_bitmap(walk->image, &cursor, &bitmap, &err);
        FUZZ_REQUIRE(walk->world->reads <= 1, "an entry is read once");
        (void)fuzz_walk_result(walk, r, &err);
        if (r == 1) {
            FUZZ_REQUIRE(cursor > before, "bitmaps go forwards");
            FUZZ_REQUIRE(strnlen(bitmap.name, sizeof bitmap.name) < sizeof bitmap.name,
                         "texts are terminated");
            before = cursor;
            fuzz_walk_fold(walk, bitmap.name, sizeof bitmap.name);
            fuzz_walk_fold_number(walk, bitmap.granularity);
            walk_ranges(walk, &bitmap);
        }
    }
}

void fuzz_walk_lists(struct fuzz_walk *walk)
{
    walk_snapshots(walk);
    walk_bitmaps(walk);
    walk->world->max_bytes = 0;
}

struct findings {
    struct fuzz_walk *walk;
    uint64_t of_kind[3], max_messages;
    unsigned n;
};

static int take_finding(void *ctx, int kind, uint64_t host_offset, const char *message)
{
    struct findings *findings = ctx;

    FUZZ_REQUIRE(kind >= 0 && kind < 3, "findings are of a kind");
    findings->of_kind[kind]++;
    fuzz_walk_fold_number(findings->walk, host_offset);
    if (findings->max_messages != 0 && findings->n >= findings->max_messages) {
        FUZZ_REQUIRE(message == NULL, "sentences have a limit");
    } else {
        FUZZ_REQUIRE(message != NULL && message[0] != '\0' && strlen(message) < 256,
                     "a finding says something");
        fuzz_walk_fold(findings->walk, message, strlen(message));
    }
    return ++findings->n == MAX_FINDINGS;
}

/* Some seeds ask for few sentences, or for little work. */
void fuzz_walk_check(struct fuzz_walk *walk, uint32_t seed)
{
    struct qcow2_error err = fuzz_error();
    struct qcow2_check_options options = QCOW2_CHECK_OPTIONS_INIT;
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct findings findings = { .walk = walk };
    int r;

    start(walk);
    options.max_memory_bytes = UINT64_C(1) << 20;
    options.max_messages = findings.max_messages = seed % 4 == 1 ? 3 : 0;
    options.max_entries = seed % 16 == 2 ? 1000 : 0;
    r = qcow2_check(walk->image, &options, take_finding, &findings, &result, &err);
    walk->world->max_bytes = 0;
    if (!fuzz_walk_result(walk, r, &err)) {
        return;
    }
    FUZZ_REQUIRE(r == 0, "a check is done or fails");
    FUZZ_REQUIRE(findings.of_kind[0] <= result.corruptions && findings.of_kind[1] <= result.leaks &&
                     findings.of_kind[2] <= result.check_errors,
                 "what is told is counted");
    FUZZ_REQUIRE((result.corruptions > 0) == (findings.of_kind[0] > 0) &&
                     (result.leaks > 0) == (findings.of_kind[1] > 0) &&
                     (result.check_errors > 0) == (findings.of_kind[2] > 0),
                 "what is counted is told");
    fuzz_walk_fold(walk, &result, sizeof result);
}
