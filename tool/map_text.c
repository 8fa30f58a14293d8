/* SPDX-License-Identifier: MIT */
/* map_text.c - where a disk's bytes are, row by row: as JSON that equals qemu-img's, and as a
 * table. */
#include "map_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "open.h"
#include "out.h"
#include "rows.h"
#include "text.h"

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

/* Lists run to many thousands of rows. */
static void put_row(const struct row *row, const char *before)
{
    struct line line;

    line.used = 0;
    line_text(&line, before);
    line_text(&line, "{ \"start\": ");
    line_number(&line, row->start);
    line_text(&line, ", \"length\": ");
    line_number(&line, row->length);
    line_text(&line, ", \"depth\": ");
    line_number(&line, (uint64_t)row->depth);
    line_text(&line, ", \"present\": ");
    line_text(&line, truth(row->present));
    line_text(&line, ", \"zero\": ");
    line_text(&line, truth(row->zero));
    line_text(&line, ", \"data\": ");
    line_text(&line, truth(row->data));
    if (row->has_offset) {
        line_text(&line, ", \"offset\": ");
        line_number(&line, row->offset);
    }
    line_text(&line, "}");
    line_put(&line);
}

/* The array is closed only when the list is complete, so that a list cut short by an error is no
 * JSON and cannot be taken for the whole. */
int map_print_json(struct qcow2_image *image, uint64_t start, uint64_t end, uint64_t limit,
                   struct qcow2_error *err)
{
    struct row_walk walk;
    struct row row = { .start = start };
    const char *before = "[";
    int r;

    rows_begin(&walk, image, start, end, limit);
    walk.joins_compressed = true;
    while ((r = rows_next(&walk, &row, err)) > 0) {
        put_row(&row, before);
        before = ",\n";
        if (out_failed()) {
            return 1;
        }
    }
    if (r < 0) {
        return r;
    }
    if (before[0] == '[') {
        /* An empty range has one row too, where nothing is true. */
        put_row(&row, before);
    }
    printf("]\n");
    return 0;
}

/* The file a row lies in: as the user named the image, as the chain names what is under it. A name of a
 * data file starts where its image is. */
static void put_file(struct qcow2_image *image, const char *path, int depth)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    const char *slash;

    path = open_layer_name(image, path, depth);
    if (qcow2_get_info(image, depth, &info, NULL) < 0 ||
        (info.incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) == 0 ||
        info.data_file == NULL) {
        text_put(stdout, path);
        return;
    }
    slash = strrchr(path, '/');
    if (info.data_file[0] != '/' && slash != NULL) {
        char *directory = strndup(path, (size_t)(slash - path) + 1);

        text_put(stdout, directory != NULL ? directory : "");
        free(directory);
    }
    text_put(stdout, info.data_file);
}

int map_print_table(struct qcow2_image *image, const char *path, uint64_t start, uint64_t end,
                    uint64_t limit, struct qcow2_error *err)
{
    struct row_walk walk;
    struct row row;
    int r;

    printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    rows_begin(&walk, image, start, end, limit);
    while ((r = rows_next(&walk, &row, err)) > 0) {
        if (!row.data || row.zero) {
            continue;
        }
        printf("%#-16" PRIx64 "%#-16" PRIx64, row.start, row.length);
        if (row.has_offset) {
            printf("%#-16" PRIx64, row.offset);
        } else {
            printf("%-16s", row.compressed ? "compressed" : "encrypted");
        }
        put_file(image, path, row.depth);
        putchar('\n');
        if (out_failed()) {
            return 1;
        }
    }
    return r;
}
