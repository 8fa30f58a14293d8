/* SPDX-License-Identifier: MIT */
/* source.c - see source.h. */
#include "source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct opened {
    struct fuzz_world *world;
    unsigned file;
    bool no_length;
};

static int read_at(void *ctx, void *buf, size_t count, uint64_t offset)
{
    const struct opened *opened = ctx;
    struct fuzz_world *world = opened->world;
    uint64_t size = world->sparse->sizes[opened->file];
    bool inside = offset <= size && count <= size - offset;

    FUZZ_REQUIRE(count >= 1, "a source is asked for at least a byte");
    FUZZ_REQUIRE(inside || opened->no_length, "a source is not asked for what it does not have");
    FUZZ_REQUIRE(offset <= INT64_MAX && count <= (size_t)INT64_MAX - offset,
                 "a source is asked for places that files have");
    world->reads++;
    world->bytes += count;
    if (world->reads == world->fail_at ||
        (world->max_bytes != 0 && world->bytes > world->max_bytes)) {
        world->failed = true;
        memset(buf, 0xee, count);
        return EIO;
    }
    if (!inside) {
        return EIO;
    }
    fuzz_sparse_read(world->sparse, opened->file, offset, buf, count);
    return 0;
}

static int get_size(void *ctx, uint64_t *bytes_ret)
{
    const struct opened *opened = ctx;

    *bytes_ret = opened->world->sparse->sizes[opened->file];
    return 0;
}

static void close_source(void *ctx)
{
    struct opened *opened = ctx;

    opened->world->closes++;
    free(opened);
}

bool fuzz_source_open(struct fuzz_world *world, unsigned file, bool no_length,
                      struct qcow2_source *source_ret)
{
    struct opened *opened = malloc(sizeof *opened);

    if (opened == NULL) {
        return false;
    }
    *opened = (struct opened){ .world = world, .file = file, .no_length = no_length };
    *source_ret = (struct qcow2_source){
        .size = sizeof *source_ret,
        .ctx = opened,
        .name = file == 0 ? "image" : "other",
        .read_at = read_at,
        .get_size = no_length ? NULL : get_size,
        .close = close_source,
    };
    world->opens++;
    return true;
}
