/* SPDX-License-Identifier: MIT */
/* map_bitmap.c - what a dirty bitmap marks, as JSON and as a table.
 * Knows how ranges are joined and printed; must not know options. */
#include "map_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

/* The longest range at or behind *cursor: 1, 0 at the end, or a code. */
static int next_range(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
                      uint64_t *cursor, uint64_t end, uint64_t *start_ret, uint64_t *length_ret,
                      struct qcow2_error *err)
{
    int r = qcow2_next_dirty(image, bitmap, cursor, end, start_ret, length_ret, err);

    while (r == 1) {
        uint64_t ahead = *cursor;
        uint64_t start;
        uint64_t length;

        r = qcow2_next_dirty(image, bitmap, &ahead, end, &start, &length, err);
        if (r < 0) {
            return r;
        }
        if (r == 0 || start != *start_ret + *length_ret) {
            return 1;
        }
        *length_ret += length;
        *cursor = ahead;
    }
    return r;
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
                          uint64_t start, uint64_t end, struct qcow2_error *err)
{
    const char *before = "[";
    uint64_t cursor = start;
    uint64_t done = start;
    uint64_t at;
    uint64_t length;
    int r;

    while ((r = next_range(image, bitmap, &cursor, end, &at, &length, err)) == 1) {
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
                           uint64_t start, uint64_t end, struct qcow2_error *err)
{
    uint64_t cursor = start;
    uint64_t at;
    uint64_t length;
    int r;

    printf("%-16s%s\n", "Offset", "Length");
    while ((r = next_range(image, bitmap, &cursor, end, &at, &length, err)) == 1) {
        printf("%#-16" PRIx64 "%#" PRIx64 "\n", at, length);
        if (out_failed()) {
            return 1;
        }
    }
    return r;
}
