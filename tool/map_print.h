/* SPDX-License-Identifier: MIT */
/* map_print.h - the three ways to print where a disk's bytes are. */
#ifndef TOOL_MAP_PRINT_H
#define TOOL_MAP_PRINT_H

#include <qcow2.h>
#include <stdbool.h>

/* Each prints the range from `start` to `end` of the disk on stdout, in memory that does not grow
 * with it, and in at most `limit` steps: QCOW2_E_LIMIT then. 0, a code with *err filled, or 1: stdout failed,
 * out_close will report it. */
int map_print_json(struct qcow2_image *image, uint64_t start, uint64_t end, uint64_t limit,
                   struct qcow2_error *err);
int map_print_table(struct qcow2_image *image, const char *path, uint64_t start, uint64_t end,
                    uint64_t limit, struct qcow2_error *err);
int map_print_html(struct qcow2_image *image, const char *path, uint64_t start, uint64_t end,
                   uint64_t limit, struct qcow2_error *err);

/* The bitmap of that name: 1, 0 if there is none, or a code. One that was not closed properly counts if
 * there is no other. */
int map_find_bitmap(const struct qcow2_image *image, const char *name,
                    struct qcow2_bitmap *bitmap_ret, struct qcow2_error *err);

/* What the bitmap marks; JSON has a row for what it does not mark, too. Outcomes as above. */
int map_print_bitmap_json(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
                          uint64_t start, uint64_t end, uint64_t limit, struct qcow2_error *err);
int map_print_bitmap_table(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
                           uint64_t start, uint64_t end, uint64_t limit, struct qcow2_error *err);

#endif
