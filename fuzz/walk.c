/* SPDX-License-Identifier: MIT */
/* walk.c - what headers say; and what all walks do with a result. */
#include "walk.h"

#include <string.h>

#include "memory.h"

enum { MAX_EXTENSIONS = 64 };

static uint64_t mixed(uint64_t hash, uint64_t number)
{
    hash = (hash ^ number) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

/* Four words at a time, each into a number of its own: a multiplication need not wait for the one before. */
void fuzz_walk_fold(struct fuzz_walk *walk, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    uint64_t words[4], lanes[4] = { 1, 2, 3, 4 }, word = n;

    for (; n >= sizeof words; n -= sizeof words, from += sizeof words) {
        memcpy(words, from, sizeof words);
        for (unsigned i = 0; i < 4; i++) {
            lanes[i] = mixed(lanes[i], words[i]);
        }
    }
    memset(words, 0, sizeof words);
    if (n > 0) {
        memcpy(words, from, n);
    }
    for (unsigned i = 0; i < 4; i++) {
        word = mixed(word, mixed(lanes[i], words[i]));
    }
    fuzz_walk_fold_number(walk, word);
}

void fuzz_walk_fold_number(struct fuzz_walk *walk, uint64_t number)
{
    walk->hash = mixed(walk->hash, number);
}

bool fuzz_walk_result(struct fuzz_walk *walk, long long r, const struct qcow2_error *err)
{
    fuzz_require_result(r, err);
    FUZZ_REQUIRE(r != QCOW2_E_NOMEM || fuzz_memory_failed(), "there is memory");
    FUZZ_REQUIRE(r != QCOW2_E_IO || walk->world->failed || walk->no_length,
                 "the source has not failed");
    if (r == QCOW2_E_NOMEM) {
        walk->starved = true;
    }
    fuzz_walk_fold_number(walk, (uint64_t)r);
    if (r < 0) {
        fuzz_walk_fold_number(walk, err->host_offset);
        fuzz_walk_fold_number(walk, err->guest_offset);
    }
    return r >= 0;
}

void fuzz_walk_start(struct fuzz_walk *walk, struct qcow2_image *image, struct fuzz_world *world,
                     bool no_length)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    *walk = (struct fuzz_walk){ .image = image, .world = world, .no_length = no_length };
    while (qcow2_get_info(image, (int)walk->n_layers, &info, NULL) == 0) {
        FUZZ_REQUIRE(walk->n_layers < FUZZ_MAX_LAYERS, "chains have a limit");
        walk->layers[walk->n_layers++] = info;
    }
    FUZZ_REQUIRE(walk->n_layers > 0, "an image is a file at least");
    FUZZ_REQUIRE(qcow2_size(image) == walk->layers[0].virtual_size, "a size is a size");
    FUZZ_REQUIRE(qcow2_size(image) <= INT64_MAX, "disks have signed offsets");
}

bool fuzz_walk_counts(const struct fuzz_walk *walk)
{
    return !walk->starved && !walk->world->failed;
}

static void walk_names(struct fuzz_walk *walk, int depth)
{
    for (int set = -1; set <= 3; set++) {
        for (int bit = -1; bit <= 64; bit++) {
            const char *name = qcow2_get_feature_name(walk->image, depth, set, bit);

            if (name != NULL) {
                fuzz_walk_fold(walk, name, strlen(name));
            }
        }
    }
}

static void walk_extensions(struct fuzz_walk *walk, int depth)
{
    struct qcow2_extension extension;
    uint64_t cursor = 0, before = 0;
    int r = 1;

    for (int i = 0; i < MAX_EXTENSIONS && r == 1; i++) {
        struct qcow2_error err = fuzz_error();

        r = qcow2_next_extension(walk->image, depth, &cursor, &extension, &err);
        FUZZ_REQUIRE(r >= 0, "open has walked the extensions");
        (void)fuzz_walk_result(walk, r, &err);
        if (r == 1) {
            FUZZ_REQUIRE(cursor > before, "extensions go forwards");
            FUZZ_REQUIRE(extension.host_offset + extension.length <=
                             walk->layers[depth].cluster_size,
                         "extensions are in the first cluster");
            before = cursor;
            fuzz_walk_fold_number(walk, extension.type);
            fuzz_walk_fold(walk, extension.data, extension.length);
        }
    }
}

static void walk_luks(struct fuzz_walk *walk, int depth)
{
    struct qcow2_error err = fuzz_error();
    struct qcow2_luks_info info = QCOW2_LUKS_INFO_INIT;
    int r = qcow2_get_luks_info(walk->image, depth, &info, &err);

    if (fuzz_walk_result(walk, r, &err)) {
        FUZZ_REQUIRE(walk->layers[depth].encryption == QCOW2_ENCRYPTION_LUKS, "LUKS is LUKS");
        fuzz_walk_fold(walk, &info, sizeof info);
    }
}

void fuzz_walk_info(struct fuzz_walk *walk)
{
    for (int depth = 0; depth < (int)walk->n_layers; depth++) {
        const struct qcow2_info *info = &walk->layers[depth];

        fuzz_walk_fold_number(walk, info->virtual_size);
        fuzz_walk_fold_number(walk, info->header_size);
        FUZZ_REQUIRE(info->format == QCOW2_FORMAT_RAW || info->version >= 1,
                     "images have versions");
        FUZZ_REQUIRE(info->virtual_size % 512 == 0 || depth == 0, "disks are whole sectors");
        if (info->backing_file != NULL) {
            FUZZ_REQUIRE(strlen(info->backing_file) >= 1 && strlen(info->backing_file) <= 1023,
                         "names have limits");
            fuzz_walk_fold(walk, info->backing_file, strlen(info->backing_file));
        }
        walk_extensions(walk, depth);
        walk_names(walk, depth);
        walk_luks(walk, depth);
    }
}
