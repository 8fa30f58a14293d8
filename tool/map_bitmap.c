/* SPDX-License-Identifier: MIT */
/* map_bitmap.c - what a dirty bitmap marks, as JSON and as a table.
 * Knows how ranges are joined and printed; must not know options. */
#include "map_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "limit.h"
#include "out.h"

int map_find_bitmap(const struct qcow2_image *image, const char *name,
                    struct qcow2_bitmap *bitmap_ret, struct qcow2_error *err)
{
    struct qcow2_bitmap unusable;
    uint64_t cursor = 0;
    int found = 0;
    int r;

    /* Names are unique but for those of bitmaps that were not closed properly. */
    while ((r = qcow2_next_bitmap(image, &cursor, bitmap_ret, err)) == 1) {
        if (strcmp(bitmap_ret->name, name) != 0) {
            continue;
        }
        if ((bitmap_ret->flags & QCOW2_BITMAP_IN_USE) == 0) {
            return 1;
        }
        unusable = *bitmap_ret;
        found = 1;
    }
    if (found) {
        *bitmap_ret = unusable;
        return 1;
    }
    return r;
}

/* A walk over the ranges of a bitmap. */
struct ranges {
    const struct qcow2_image *image;
    const struct qcow2_bitmap *bitmap;
    uint64_t cursor, end;
    uint64_t steps, max_steps; /* taken so far, and allowed */
    uint64_t start, length;    /* of a range read ahead; length 0: none */
};

/* One range as the library returns it. */
static int take_range(struct ranges *walk, struct qcow2_error *err)
{
    /* All entries of a bitmap's table may name one cluster. */
    if (walk->steps >= walk->max_steps) {
        return limit_reached(err, "ranges in the bitmap", walk->max_steps);
    }
    walk->steps++;
    return qcow2_next_dirty(walk->image, walk->bitmap, &walk->cursor, walk->end, &walk->start,
                            &walk->length, err);
}

/* The longest range at or behind the cursor: 1, 0 at the end, or a code. */
static int next_range(struct ranges *walk, uint64_t *start_ret, uint64_t *length_ret,
                      struct qcow2_error *err)
{
    int r = walk->length > 0 ? 1 : take_range(walk, err);

    if (r <= 0) {
        return r;
    }
    *start_ret = walk->start;
    *length_ret = 0;
    while (r == 1 && walk->start == *start_ret + *length_ret) {
        *length_ret += walk->length;
        walk->length = 0;
        r = take_range(walk, err);
    }
    return r < 0 ? r : 1;
}

static void put_json_row(uint64_t start, uint64_t end, bool dirty, const char **before)
{
    if (start < end) {
        printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"dirty\": %s}", *before,
               start, end - start, dirty ? "true" : "false");
        *before = ",\n";
    }
}

/* As in map_text.c, the array is closed only when the list is complete. */
int map_print_bitmap_json(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
                          uint64_t start, uint64_t end, uint64_t limit, struct qcow2_error *err)
{
    const char *before = "[";
    struct ranges walk = {
        .image = image, .bitmap = bitmap, .cursor = start, .end = end, .max_steps = limit
    };
    uint64_t done = start;
    uint64_t at;
    uint64_t length;
    int r;

    while ((r = next_range(&walk, &at, &length, err)) == 1) {
        put_json_row(done, at, false, &before);
        put_json_row(at, at + length, true, &before);
        done = at + length;
        if (out_failed()) {
            return 1;
        }
    }
    if (r < 0) {
        return r;
    }
    put_json_row(done, end, false, &before);
    printf("%s]\n", before[0] == '[' ? "[" : "");
    return 0;
}

int map_print_bitmap_table(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
                           uint64_t start, uint64_t end, uint64_t limit, struct qcow2_error *err)
{
    struct ranges walk = {
        .image = image, .bitmap = bitmap, .cursor = start, .end = end, .max_steps = limit
    };
    uint64_t at;
    uint64_t length;
    int r;

    printf("%-16s%s\n", "Offset", "Length");
    while ((r = next_range(&walk, &at, &length, err)) == 1) {
        printf("%#-16" PRIx64 "%#" PRIx64 "\n", at, length);
        if (out_failed()) {
            return 1;
        }
    }
    return r;
}
