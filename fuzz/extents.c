/* SPDX-License-Identifier: MIT */
/* extents.c - the extents of the disk, against what explains them and what is read there. */
#include "walk.h"

#include <string.h>

enum { MAX_STEPS = 48, COMPARE_BYTES = 4096 };

/* One question is about so many of the smallest clusters, and behind a run that fills them, twice in a walk,
 * about all that is left; but not where an L2 table has 16,384 entries or more (the largest has 262,144). To
 * pass over those in each question takes a hundred times as long as the rest of an execution. */
enum { MAX_CLUSTERS = 2048, MAX_FAR_STEPS = 2, MAX_FAR_CLUSTER_BYTES = 1 << 16 };

static unsigned file_of(const struct fuzz_walk *walk, int depth)
{
    const struct qcow2_info *info = &walk->layers[depth];

    return depth > 0 || (info->format == QCOW2_FORMAT_QCOW2 &&
                         (info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0);
}

static void require_extent(const struct fuzz_walk *walk, const struct qcow2_extent *e,
                           uint64_t cursor)
{
    FUZZ_REQUIRE(e->offset == cursor && e->length >= 1, "an extent begins at the cursor");
    FUZZ_REQUIRE(e->length <= qcow2_size(walk->image) - e->offset, "extents are on the disk");
    FUZZ_REQUIRE(e->depth >= 0 && (unsigned)e->depth < walk->n_layers, "extents are in a layer");
    FUZZ_REQUIRE((e->kind == QCOW2_EXTENT_COMPRESSED) == (e->stream_offset != UINT64_MAX),
                 "only what is compressed has a stream");
    switch (e->kind) {
    case QCOW2_EXTENT_DATA:
        FUZZ_REQUIRE(e->host_offset != UINT64_MAX, "data is somewhere");
        break;
    case QCOW2_EXTENT_COMPRESSED:
        FUZZ_REQUIRE(e->host_offset == UINT64_MAX, "a stream is not where its bytes are");
        FUZZ_REQUIRE(e->length <= walk->layers[e->depth].cluster_size, "a stream is one cluster");
        break;
    default:
        FUZZ_REQUIRE(e->kind == QCOW2_EXTENT_HOLE || e->kind == QCOW2_EXTENT_ZERO,
                     "extents are of a kind");
    }
    FUZZ_REQUIRE(qcow2_extent_fd(walk->image, e) == -1, "memory has no descriptors");
    FUZZ_REQUIRE(qcow2_extent_same(walk->image, e, walk->image, e) == 0,
                 "nothing is known about what has no identity");
}

/* Explaining the first byte of an extent leads to the extent, and where there is none, to an error: unless
 * the source ends where it does not know to, because then it matters how much is asked of it at once. */
static void explain(struct fuzz_walk *walk, uint64_t offset, const struct qcow2_extent *extent)
{
    uint64_t cursor = 0;
    unsigned steps = 0;
    int r = 1;

    while (r == 1) {
        struct qcow2_error err = fuzz_error();
        struct qcow2_explanation e;

        r = qcow2_next_explanation(walk->image, offset, &cursor, &e, &err);
        (void)fuzz_walk_result(walk, r, &err);
        if (walk->starved || walk->world->failed || (walk->no_length && extent == NULL)) {
            return;
        }
        FUZZ_REQUIRE(r >= 0 || extent == NULL, "what has an extent can be explained");
        FUZZ_REQUIRE(r != 0 || extent != NULL, "what has no extent cannot be explained");
        if (r != 1) {
            return;
        }
        FUZZ_REQUIRE(++steps <= walk->n_layers && e.depth == (int)steps - 1,
                     "each layer is asked once");
        FUZZ_REQUIRE(e.decides || e.kind == QCOW2_EXTENT_HOLE, "only a hole asks on");
        if (e.decides) {
            FUZZ_REQUIRE(extent != NULL, "what is broken decides nothing");
            FUZZ_REQUIRE(e.depth == extent->depth && e.kind == extent->kind,
                         "the explanation is the extent's");
            FUZZ_REQUIRE(e.kind == QCOW2_EXTENT_COMPRESSED
                             ? e.host_offset == extent->stream_offset
                             : e.kind != QCOW2_EXTENT_DATA || e.host_offset == extent->host_offset,
                         "the place is the extent's");
        }
        fuzz_walk_fold_number(walk, e.l1_entry ^ e.l2_entry);
        fuzz_walk_fold_number(walk, e.refcount);
    }
}

/* The start of an extent, read: zeros are zeros, data is what lies in the file. */
static void compare(struct fuzz_walk *walk, const struct qcow2_extent *e)
{
    size_t n = e->length < COMPARE_BYTES ? (size_t)e->length : COMPARE_BYTES;
    struct qcow2_error err = fuzz_error();
    uint8_t expected[COMPARE_BYTES];
    const uint8_t *bytes;
    long long r = fuzz_pread(walk, 0, e->offset, n, &bytes, &err);

    (void)fuzz_walk_result(walk, r, &err);
    if (walk->starved || walk->world->failed) {
        return;
    }
    if (e->kind == QCOW2_EXTENT_HOLE || e->kind == QCOW2_EXTENT_ZERO) {
        FUZZ_REQUIRE(r == (long long)n, "zeros can always be read");
        memset(expected, 0, n);
        FUZZ_REQUIRE(memcmp(bytes, expected, n) == 0, "zeros are zeros");
    } else if (e->kind == QCOW2_EXTENT_DATA) {
        FUZZ_REQUIRE(r == (long long)n || r == QCOW2_E_TRUNCATED ||
                         (r == QCOW2_E_IO && walk->no_length),
                     "data can be read, unless the file has ended");
        if (r > 0 && walk->layers[e->depth].encryption == QCOW2_ENCRYPTION_NONE) {
            fuzz_sparse_read(walk->world->sparse, file_of(walk, e->depth), e->host_offset, expected,
                             n);
            FUZZ_REQUIRE(memcmp(bytes, expected, n) == 0, "data is what lies in the file");
        }
    } else {
        FUZZ_REQUIRE(r == (long long)n || r == QCOW2_E_CORRUPT || r == QCOW2_E_TRUNCATED ||
                         (r == QCOW2_E_IO && walk->no_length),
                     "a stream decodes or is broken");
        walk->compressed_bytes += r > 0 && e->depth == 0 ? e->length : 0;
    }
    if (r > 0) {
        fuzz_walk_fold(walk, bytes, n);
    }
}

/* Where questions end: near, and how often they may end far away. */
struct reach {
    uint64_t near_bytes;
    unsigned far_steps;
};

static struct reach reach_of(const struct fuzz_walk *walk)
{
    struct reach reach = { UINT64_MAX, MAX_FAR_STEPS };

    for (unsigned i = 0; i < walk->n_layers; i++) {
        const struct qcow2_info *info = &walk->layers[i];

        if (info->format != QCOW2_FORMAT_QCOW2) {
            continue;
        }
        if ((uint64_t)info->cluster_size * MAX_CLUSTERS < reach.near_bytes) {
            reach.near_bytes = (uint64_t)info->cluster_size * MAX_CLUSTERS;
        }
        if (info->cluster_size > MAX_FAR_CLUSTER_BYTES) {
            reach.far_steps = 0;
        }
    }
    return reach;
}

void fuzz_walk_extents(struct fuzz_walk *walk, bool and_compare)
{
    uint64_t cursor = 0, size = qcow2_size(walk->image);
    struct reach reach = reach_of(walk);
    bool far = false;
    int r = 1;

    for (int i = 0; i < MAX_STEPS && cursor < size && !walk->starved; i++) {
        struct qcow2_error err = fuzz_error();
        struct qcow2_extent extent;
        uint64_t before = cursor;
        uint64_t end =
            far || size - cursor < reach.near_bytes ? UINT64_MAX : cursor + reach.near_bytes;

        r = qcow2_next_extent(walk->image, &cursor, end, &extent, &err);
        far = r == 1 && cursor == end && reach.far_steps > 0;
        reach.far_steps -= far;
        (void)fuzz_walk_result(walk, r, &err);
        if (r < 0) {
            FUZZ_REQUIRE(cursor == before, "a walk that fails stays where it is");
            explain(walk, cursor, NULL);
            /* Behind what is broken there may be more. */
            cursor = (cursor / 512 + 1) * 512 + (uint64_t)i * 8192;
            continue;
        }
        FUZZ_REQUIRE(r == 1 && cursor == before + extent.length, "the disk is not over");
        FUZZ_REQUIRE(cursor <= end, "an extent ends where it is told to");
        require_extent(walk, &extent, before);
        walk->stored_bytes +=
            extent.kind == QCOW2_EXTENT_DATA && extent.depth == 0 ? extent.length : 0;
        fuzz_walk_fold_number(walk, extent.length ^ (uint64_t)extent.kind << 60);
        fuzz_walk_fold_number(walk, extent.host_offset);
        explain(walk, before, &extent);
        if (and_compare) {
            compare(walk, &extent);
        }
    }
    if (cursor >= size) {
        struct qcow2_error err = fuzz_error();
        struct qcow2_extent extent;

        r = qcow2_next_extent(walk->image, &cursor, UINT64_MAX, &extent, &err);
        FUZZ_REQUIRE(fuzz_walk_result(walk, r, &err) && r == 0, "the end is the end");
    }
}
