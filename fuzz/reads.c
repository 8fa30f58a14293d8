/* SPDX-License-Identifier: MIT */
/* reads.c - qcow2_pread: what comes back, what it costs, what is left behind by failures. */
#include "walk.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum { RANGES = 6 };

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
    static uint8_t *places[2];
    struct fuzz_world *world = walk->world;
    uint64_t size = qcow2_size(walk->image);
    uint8_t *buf;
    long long r;

    if (places[place] == NULL) {
        /* Kept until the end, and not to be counted or refused. */
        fuzz_memory_fail(0, 0);
        places[place] = malloc(FUZZ_MAX_READ_BYTES);
        FUZZ_REQUIRE(places[place] != NULL, "the target has memory of its own");
        fuzz_memory_start();
    }
    buf = places[place] + (FUZZ_MAX_READ_BYTES - count);
    memset(buf, place == 0 ? 0xa5 : 0x5a, count);
    world->reads = world->bytes = 0;
    r = qcow2_pread(walk->image, buf, count, offset, err);
    FUZZ_REQUIRE(world->reads <= max_source_reads(walk, count), "reads are bounded by what is asked");
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

/* Where a read fails, all before it can be read, and the byte itself cannot. */
static void require_place(struct fuzz_walk *walk, uint64_t offset, size_t count,
                          const struct qcow2_error *err)
{
    struct qcow2_error other = fuzz_error();
    const uint8_t *bytes;
    uint64_t before;
    long long r;

    FUZZ_REQUIRE(err->guest_offset >= offset && err->guest_offset - offset < count,
                 "an error has its place in what was asked for");
    before = err->guest_offset - offset;
    r = fuzz_pread(walk, 1, offset, (size_t)before, &bytes, &other);
    if (!walk->world->failed && !fuzz_memory_failed()) {
        FUZZ_REQUIRE(r == (long long)before, "what is before the place of an error can be read");
        other = fuzz_error();
        r = fuzz_pread(walk, 1, err->guest_offset, 1, &bytes, &other);
        FUZZ_REQUIRE(r == err->code, "what is at the place of an error cannot");
    }
}

static void read_range(struct fuzz_walk *walk, uint64_t offset, size_t count)
{
    struct qcow2_error err = fuzz_error(), again = fuzz_error();
    const uint8_t *bytes, *same;
    long long r = fuzz_pread(walk, 0, offset, count, &bytes, &err), r2;

    (void)fuzz_walk_result(walk, r, &err);
    if (walk->starved || walk->world->failed || fuzz_memory_failed()) {
        return;
    }
    if (r > 0) {
        fuzz_walk_fold(walk, bytes, (size_t)r);
    }
    r2 = fuzz_pread(walk, 1, offset, count, &same, &again);
    FUZZ_REQUIRE(r2 == r, "a read that is repeated gives the same");
    FUZZ_REQUIRE(r <= 0 || memcmp(bytes, same, (size_t)r) == 0, "and the same bytes");
    if (r > 1) {
        size_t half = (size_t)r / 2;

        FUZZ_REQUIRE(fuzz_pread(walk, 1, offset, half, &same, &again) == (long long)half &&
                         memcmp(bytes, same, half) == 0,
                     "a part of what can be read can be read");
        FUZZ_REQUIRE(fuzz_pread(walk, 1, offset + half, (size_t)r - half, &same, &again) ==
                             r - (long long)half &&
                         memcmp(bytes + half, same, (size_t)r - half) == 0,
                     "and so can the rest");
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
    static const uint16_t counts[] = { 1, 512, 1000, 4096, 9000, 16384, 40000, 65535 };
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
        range.offset = size != 0 ? ((uint64_t)next_noise(noise) << 24 | next_noise(noise)) % size : 0;
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
        struct qcow2_error err = fuzz_error(), later = fuzz_error();
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
            long long again;
            const uint8_t *same;

            again = fuzz_pread(walk, 1, range.offset, range.count, &same, &later);
            FUZZ_REQUIRE(again == r && memcmp(bytes, same, (size_t)r) == 0,
                         "a read that is repeated gives the same");
        }
        world->failed = false;
        /* Now that the source works again, so does the image: twice, from source and cache. */
        before = after = *walk;
        read_range(&before, range.offset, range.count);
        read_range(&after, range.offset, range.count);
        FUZZ_REQUIRE(before.hash == after.hash, "a failure leaves nothing behind");
    }
}
