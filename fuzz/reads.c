/* SPDX-License-Identifier: MIT */
/* reads.c - qcow2_pread: what comes back, what it costs, what is left behind by failures. */
#include "walk.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum { RANGES = 5 };

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* How many reads of the source a read of `count` bytes may take. A run ends where a layer's subclusters
 * do, or its disk or file; for each, every layer is asked for L1 entries and then, 16 entries at a time,
 * for L2 entries; and data takes at most four. */
static uint64_t max_source_reads(const struct fuzz_walk *walk, size_t count)
{
    uint64_t runs = 1, steps = 4;

    for (unsigned i = 0; i < walk->n_layers; i++) {
        const struct qcow2_info *info = &walk->layers[i];
        uint64_t cluster = larger(info->cluster_size, 512);
        uint64_t unit = (info->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0
                            ? cluster / 32
                            : cluster;

        runs += count / unit + 4;
        /* The smallest table of all versions has 64 entries. */
        steps += count / (16 * cluster) + count / (64 * cluster) + 4;
    }
    return runs * steps;
}

/* How many bytes each of them may be of: a block of a table, input for compressed clusters, or data. */
static uint64_t max_read_bytes(const struct fuzz_walk *walk, size_t count)
{
    uint64_t bytes = larger(256 << 10, (uint64_t)count + 1024);

    for (unsigned i = 0; i < walk->n_layers; i++) {
        bytes = larger(bytes, UINT64_C(2) * walk->layers[i].cluster_size);
    }
    return bytes;
}

long long fuzz_pread(struct fuzz_walk *walk, unsigned place, uint64_t offset, size_t count,
                     const uint8_t **bytes_ret, struct qcow2_error *err)
{
    /* Two, not one of twice the size: each is followed by memory that must not be touched. */
    static uint8_t first[FUZZ_MAX_READ_BYTES], second[FUZZ_MAX_READ_BYTES];
    struct fuzz_world *world = walk->world;
    uint64_t size = qcow2_size(walk->image);
    uint8_t *buf;
    long long r;

    buf = (place == 0 ? first : second) + (FUZZ_MAX_READ_BYTES - count);
    memset(buf, place == 0 ? 0xa5 : 0x5a, count);
    world->reads = world->bytes = 0;
    r = qcow2_pread(walk->image, buf, count, offset, err);
    FUZZ_REQUIRE(world->reads <= max_source_reads(walk, count),
                 "reads are bounded by what is asked");
    FUZZ_REQUIRE(world->bytes <= world->reads * max_read_bytes(walk, count),
                 "so are the bytes of each");
    if (r >= 0) {
        uint64_t there = offset < size ? size - offset : 0;

        FUZZ_REQUIRE((uint64_t)r == (count < there ? count : there),
                     "a count is short only where the disk ends");
    }
    *bytes_ret = buf;
    return r;
}

/* Whether nothing that is beyond the image has failed: otherwise any read may. */
static bool undisturbed(const struct fuzz_walk *walk)
{
    return !walk->starved && !walk->world->failed && !fuzz_memory_failed();
}

/* Requires that a range reads as `r` bytes (or the code r) and, if it does, as `bytes`. */
static void require_same(struct fuzz_walk *walk, uint64_t offset, size_t count, long long r,
                         const uint8_t *bytes, const char *words)
{
    struct qcow2_error err = fuzz_error();
    const uint8_t *same;
    long long again = fuzz_pread(walk, 1, offset, count, &same, &err);

    if (undisturbed(walk)) {
        FUZZ_REQUIRE(again == r, words);
        FUZZ_REQUIRE(r <= 0 || bytes == NULL || memcmp(bytes, same, (size_t)r) == 0, words);
    }
}

/* Where a read fails, all before it can be read, and the byte itself cannot. */
static void require_place(struct fuzz_walk *walk, uint64_t offset, size_t count,
                          const struct qcow2_error *err)
{
    uint64_t before = err->guest_offset - offset;

    FUZZ_REQUIRE(err->guest_offset >= offset && before < count,
                 "an error has its place in what was asked for");
    require_same(walk, offset, (size_t)before, (long long)before, NULL,
                 "what is before the place of an error can be read");
    /* A source that ends where it does not know to says no to more than the byte. */
    if (err->code != QCOW2_E_IO) {
        require_same(walk, err->guest_offset, 1, err->code, NULL,
                     "what is at the place of an error cannot be read");
    }
}

static void read_range(struct fuzz_walk *walk, uint64_t offset, size_t count)
{
    struct qcow2_error err = fuzz_error();
    const uint8_t *bytes;
    long long r = fuzz_pread(walk, 0, offset, count, &bytes, &err);

    (void)fuzz_walk_result(walk, r, &err);
    if (r > 0) {
        fuzz_walk_fold(walk, bytes, (size_t)r);
    }
    if (!undisturbed(walk)) {
        return;
    }
    require_same(walk, offset, count, r, bytes, "a read that is repeated gives the same");
    if (r > 1) {
        size_t half = (size_t)r / 2;

        require_same(walk, offset, half, (long long)half, bytes, "a half reads as in the whole");
        require_same(walk, offset + half, (size_t)r - half, r - (long long)half, bytes + half,
                     "so does the other");
    } else if (r < 0) {
        require_place(walk, offset, count, &err);
    }
}

struct range {
    uint64_t offset;
    size_t count;
};

static uint32_t next_noise(uint32_t *noise)
{
    *noise = *noise * 1664525 + 1013904223;
    return *noise >> 8;
}

/* Mostly small, mostly near the start of the disk or of a table, sometimes across the end. */
static struct range choose(const struct fuzz_walk *walk, uint32_t *noise)
{
    static const uint16_t counts[] = { 1, 100, 512, 1000, 2048, 4096, 9000, 33000 };
    uint64_t size = qcow2_size(walk->image);
    uint64_t cluster = larger(walk->layers[0].cluster_size, 512);
    struct range range = { 0, counts[next_noise(noise) % 8] };

    switch (next_noise(noise) % 6) {
    case 0:
        range.offset = next_noise(noise) % (4 * cluster);
        break;
    case 1:
        range.offset = next_noise(noise) % 64 * cluster;
        break;
    case 2:
        range.offset = cluster * (cluster / 8) * (next_noise(noise) % 4) - cluster;
        break;
    case 3:
        range.offset = size - next_noise(noise) % (2 * cluster);
        break;
    case 4:
        range.offset =
            size != 0 ? ((uint64_t)next_noise(noise) << 24 | next_noise(noise)) % size : 0;
        break;
    default:
        range.offset = next_noise(noise) % 65536;
    }
    return range;
}

void fuzz_walk_reads(struct fuzz_walk *walk, uint32_t seed)
{
    for (int i = 0; i < RANGES; i++) {
        struct range range = choose(walk, &seed);

        read_range(walk, range.offset, range.count);
    }
}

void fuzz_walk_failing_reads(struct fuzz_walk *walk, uint32_t seed, unsigned fail_at)
{
    struct fuzz_world *world = walk->world;

    for (int i = 0; i < 2; i++) {
        struct range range = choose(walk, &seed);
        struct qcow2_error err = fuzz_error();
        const uint8_t *bytes;
        struct fuzz_walk before, after;
        long long r;

        world->fail_at = fail_at;
        r = fuzz_pread(walk, 0, range.offset, range.count, &bytes, &err);
        world->fail_at = 0;
        (void)fuzz_walk_result(walk, r, &err);
        FUZZ_REQUIRE(r != QCOW2_E_IO || world->failed || walk->no_length, "it was the source");
        if (walk->starved) {
            return;
        }
        if (r > 0 && !world->failed) {
            require_same(walk, range.offset, range.count, r, bytes, "a cache gives the same");
        }
        world->failed = false;
        /* Now that the source works again, so does the image: twice, from source and cache. */
        before = after = *walk;
        read_range(&before, range.offset, range.count);
        read_range(&after, range.offset, range.count);
        FUZZ_REQUIRE(before.hash == after.hash, "a failure leaves nothing behind");
    }
}
