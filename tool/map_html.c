/* SPDX-License-Identifier: MIT */
/* map_html.c - where a disk's bytes are, as a picture: one HTML page that needs nothing else, no
 * script and no other file.
 *
 * The disk is cut into at most 64 x 64 cells of equal size, so that the page of an exabyte is no
 * larger than that of a small disk. */
#include "map_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"
#include "rows.h"
#include "size.h"
#include "text.h"

#define COLUMNS   64
#define CELLS_MAX 4096 /* 64 lines of them */
#define CELL_SIDE 12   /* units of the drawing */
#define LEFT      90   /* room for the offsets beside the rows */

/* What a cell is filled with, from its bottom up; the rest of it is hole. */
enum fill { FILL_DATA, FILL_COMPRESSED, FILL_BACKING, FILL_ZERO, FILL_COUNT };

static const struct {
    const char *class;
    const char *label;
} fills[FILL_COUNT] = {
    { "d", "stored as it is" },
    { "c", "stored compressed" },
    { "b", "in a backing file" },
    { "z", "stored as zeros" },
};

struct picture {
    uint64_t start;
    uint64_t end;
    uint64_t cell_bytes;
    uint32_t cell_count;
    uint64_t totals[FILL_COUNT];
    uint64_t cells[CELLS_MAX][FILL_COUNT]; /* bytes of each fill */
};

/* FILL_COUNT: a hole, which is not drawn. */
static int fill_of(const struct row *row)
{
    if (!row->present) {
        return FILL_COUNT;
    }
    if (row->zero) {
        return FILL_ZERO;
    }
    if (row->depth > 0) {
        return FILL_BACKING;
    }
    return row->compressed ? FILL_COMPRESSED : FILL_DATA;
}

static void add_row(struct picture *picture, const struct row *row)
{
    int fill = fill_of(row);
    uint64_t offset = row->start - picture->start;
    uint64_t left = row->length;

    if (fill == FILL_COUNT) {
        return;
    }
    picture->totals[fill] += left;
    while (left > 0) {
        uint64_t room = picture->cell_bytes - offset % picture->cell_bytes;
        uint64_t part = left < room ? left : room;

        picture->cells[offset / picture->cell_bytes][fill] += part;
        offset += part;
        left -= part;
    }
}

/* Cells are whole clusters, so that small disks show what is really there. */
static void choose_cells(struct picture *picture, uint32_t cluster_size)
{
    uint64_t bytes = picture->end - picture->start;
    uint64_t clusters = bytes / cluster_size + (bytes % cluster_size != 0);
    uint64_t by = clusters / CELLS_MAX + (clusters % CELLS_MAX != 0);

    picture->cell_bytes = (by > 0 ? by : 1) * cluster_size;
    picture->cell_count =
        (uint32_t)(bytes / picture->cell_bytes + (bytes % picture->cell_bytes != 0));
}

static void put_head(void)
{
    printf(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width\">\n"
        "<title>qcow2 map</title>\n<style>\n"
        ":root{color-scheme:light dark;--ink:#1c2733;--back:#fff;--hole:#edf0f3;--d:#2463a8;"
        "--c:#7d4fb5;--b:#c07a1c;--z:#a9c3d9}\n"
        "@media(prefers-color-scheme:dark){:root{--ink:#dde4ea;--back:#14191f;--hole:#242c35;"
        "--d:#5a9be6;--c:#b18be4;--b:#e0a24c;--z:#46627a}}\n"
        "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);"
        "max-width:60rem;margin:2rem auto;padding:0 1rem}\n"
        "h1{font-size:1.3rem;overflow-wrap:anywhere}\n"
        "td,th{padding:.1rem 1rem .1rem 0;text-align:left;font-weight:normal}\n"
        "td.n{text-align:right;font-variant-numeric:tabular-nums}\n"
        "svg{width:100%%;height:auto}\n"
        "text{font:10px ui-monospace,monospace;fill:var(--ink)}\n"
        ".h{fill:var(--hole)}.d{fill:var(--d)}.c{fill:var(--c)}.b{fill:var(--b)}.z{fill:var(--z)}\n"
        "i{display:inline-block;width:.9em;height:.9em;margin-right:.5em;vertical-align:-.1em}\n"
        "i.h{background:var(--hole)}i.d{background:var(--d)}i.c{background:var(--c)}"
        "i.b{background:var(--b)}i.z{background:var(--z)}\n"
        "</style>\n</head>\n<body>\n");
}

/* The image's name: made printable first, then safe within HTML. False without memory. */
static bool put_name(const char *path)
{
    char *text = NULL;
    size_t count = 0;
    FILE *memory = open_memstream(&text, &count);

    if (memory == NULL) {
        return false;
    }
    text_put(memory, path);
    if (fclose(memory) != 0) {
        free(text);
        return false;
    }
    for (const char *p = text; *p != '\0'; p++) {
        switch (*p) {
        case '&':
            fputs("&amp;", stdout);
            break;
        case '<':
            fputs("&lt;", stdout);
            break;
        case '>':
            fputs("&gt;", stdout);
            break;
        default:
            putchar(*p);
            break;
        }
    }
    free(text);
    return true;
}

static void put_legend_row(const char *class, const char *label, uint64_t bytes, uint64_t all)
{
    char text[SIZE_TEXT_MAX];

    printf("<tr><th><i class=\"%s\"></i>%s</th><td class=\"n\">%s</td><td class=\"n\">%.1f %%</td>"
           "</tr>\n",
           class, label, size_format(text, bytes),
           all > 0 ? 100.0 * (double)bytes / (double)all : 0.0);
}

static void put_legend(const struct picture *picture)
{
    uint64_t all = picture->end - picture->start;
    uint64_t hole = all;
    char text[SIZE_TEXT_MAX];

    printf("<p>%s of the disk, from offset 0x%" PRIx64 " to 0x%" PRIx64 ". ",
           size_format(text, all), picture->start, picture->end);
    printf("Each square is %s.</p>\n<table>\n", size_format(text, picture->cell_bytes));
    for (int fill = 0; fill < FILL_COUNT; fill++) {
        if (picture->totals[fill] > 0) {
            put_legend_row(fills[fill].class, fills[fill].label, picture->totals[fill], all);
        }
        hole -= picture->totals[fill];
    }
    put_legend_row("h", "hole: allocated nowhere, reads as zeros", hole, all);
    printf("</table>\n");
}

/* One cell: what fills it, from the bottom up, and what it holds when pointed at. */
static void put_cell(const struct picture *picture, uint32_t index)
{
    const uint64_t *cell = picture->cells[index];
    uint64_t offset = picture->start + index * picture->cell_bytes;
    uint64_t bytes =
        picture->end - offset < picture->cell_bytes ? picture->end - offset : picture->cell_bytes;
    uint32_t x = LEFT + index % COLUMNS * CELL_SIDE;
    uint32_t line = index / COLUMNS;
    double bottom = (double)line * CELL_SIDE + CELL_SIDE - 1;
    char text[SIZE_TEXT_MAX];
    bool empty = true;

    for (int fill = 0; fill < FILL_COUNT; fill++) {
        double height = (CELL_SIDE - 1) * ((double)cell[fill] / (double)bytes);

        if (cell[fill] == 0) {
            continue;
        }
        if (empty) {
            printf("<g><title>0x%" PRIx64, offset);
            for (int i = fill; i < FILL_COUNT; i++) {
                if (cell[i] > 0) {
                    printf(", %s %s", size_format(text, cell[i]), fills[i].label);
                }
            }
            printf("</title>");
            empty = false;
        }
        /* A single cluster in a terabyte is still a line to be seen. */
        height = height < 0.5 ? 0.5 : height;
        bottom -= height;
        printf("<rect class=\"%s\" x=\"%" PRIu32 "\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"/>",
               fills[fill].class, x, bottom, CELL_SIDE - 1, height);
    }
    if (!empty) {
        printf("</g>\n");
    }
}

static int put_drawing(const struct picture *picture)
{
    uint32_t lines = (picture->cell_count + COLUMNS - 1) / COLUMNS;

    printf("<svg viewBox=\"0 0 %d %" PRIu32 "\" role=\"img\" aria-label=\"map of the disk\">\n",
           LEFT + COLUMNS * CELL_SIDE, lines * CELL_SIDE);
    for (uint32_t line = 0; line < lines; line++) {
        uint32_t first = line * COLUMNS;
        uint32_t count = picture->cell_count - first;

        count = count < COLUMNS ? count : COLUMNS;
        if (line % 4 == 0) {
            printf("<text x=\"0\" y=\"%" PRIu32 "\">0x%" PRIx64 "</text>\n",
                   line * CELL_SIDE + CELL_SIDE - 3, picture->start + first * picture->cell_bytes);
        }
        printf("<rect class=\"h\" x=\"%d\" y=\"%" PRIu32 "\" width=\"%" PRIu32
               "\" height=\"%d\"/>\n",
               LEFT, line * CELL_SIDE, count * CELL_SIDE - 1, CELL_SIDE - 1);
        for (uint32_t i = 0; i < count; i++) {
            put_cell(picture, first + i);
        }
        if (out_failed()) {
            return 1;
        }
    }
    printf("</svg>\n");
    return 0;
}

static int put_page(const struct picture *picture, const char *path, struct qcow2_error *err)
{
    int r;

    put_head();
    printf("<h1>");
    if (!put_name(path)) {
        err->code = QCOW2_E_NOMEM;
        snprintf(err->message, sizeof err->message, "out of memory");
        return QCOW2_E_NOMEM;
    }
    printf("</h1>\n");
    put_legend(picture);
    r = put_drawing(picture);
    printf("<p>Drawn by qcow2 %s.</p>\n</body>\n</html>\n", qcow2_version());
    return r;
}

int map_print_html(struct qcow2_image *image, const char *path, uint64_t start, uint64_t end,
                   uint64_t limit, struct qcow2_error *err)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct picture *picture;
    struct row_walk walk;
    struct row row;
    int r = qcow2_get_info(image, 0, &info, err);

    if (r < 0) {
        return r;
    }
    picture = calloc(1, sizeof *picture);
    if (picture == NULL) {
        err->code = QCOW2_E_NOMEM;
        snprintf(err->message, sizeof err->message, "out of memory");
        return QCOW2_E_NOMEM;
    }
    /* The range may be empty, also by starting past the end of the disk. */
    picture->start = start < end ? start : end;
    picture->end = end;
    choose_cells(picture, info.cluster_size);
    rows_begin(&walk, image, picture->start, end, limit);
    while ((r = rows_next(&walk, &row, err)) > 0) {
        add_row(picture, &row);
    }
    if (r == 0) {
        r = put_page(picture, path, err);
    }
    free(picture);
    return r;
}
