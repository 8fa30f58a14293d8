/* SPDX-License-Identifier: MIT */
/* cmd_map.c - qcow2 map: which parts of a disk are stored, and where. */
#include "commands.h"

#include <qcow2.h>
#include <stdlib.h>

#include "limit.h"
#include "map_print.h"
#include "open.h"
#include "report.h"
#include "stats.h"

enum { ID_BITMAP = ARG_FIRST_LONG, ID_NO_LIMIT };

static const struct arg_option options[] = {
    { 's', "start-offset", "OFFSET", "begin at this byte of the disk (default 0)" },
    { 'l', "max-length", "LENGTH", "cover so many bytes (default: to the end of the disk)" },
    { ID_BITMAP, "bitmap", "NAME",
      "show what this dirty bitmap marks instead; opens nothing but the image, and needs no key" },
    { ID_NO_LIMIT, "no-limit", NULL,
      "list the disk however long it takes: lift the limit on extents, which follows the sizes of "
      "the "
      "files on disk" },
    { ARG_OUTPUT, "output", "human|json|html",
      "a table of what holds data (the default); every row, in JSON equal to qemu-img's; or one "
      "HTML "
      "page that draws the disk" },
    { 0, NULL, NULL, NULL }
};

static int print_map(struct qcow2_image *image, const char *path, uint64_t start, uint64_t end,
                     uint64_t limit, int output)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    int r;

    if (output == OUTPUT_JSON) {
        r = map_print_json(image, start, end, limit, &err);
    } else if (output == OUTPUT_HTML) {
        r = map_print_html(image, path, start, end, limit, &err);
    } else {
        r = map_print_table(image, path, start, end, limit, &err);
    }
    if (r == QCOW2_E_LIMIT) {
        report_library_more(path, NULL, &err, LIMIT_ADVICE);
    } else if (r < 0) {
        open_report(image, path, &err);
    }
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_bitmap(const struct qcow2_image *image, const char *path, const char *name,
                        uint64_t start, uint64_t end, uint64_t limit, int output)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_bitmap bitmap;
    int r = map_find_bitmap(image, name, &bitmap, &err);

    if (r == 0) {
        report(path, "has no bitmap named '%s'; 'qcow2 info' lists them", name);
        return EXIT_FAILURE;
    }
    if (r == 1) {
        r = output == OUTPUT_JSON ? map_print_bitmap_json(image, &bitmap, start, end, limit, &err)
                                  : map_print_bitmap_table(image, &bitmap, start, end, limit, &err);
    }
    if (r == QCOW2_E_LIMIT) {
        report_library_more(path, NULL, &err, LIMIT_ADVICE);
    } else if (r < 0) {
        report_library(path, &err);
    }
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct args *args)
{
    struct qcow2_image *image;
    const char *bitmap = NULL;
    uint64_t start = 0;
    uint64_t length = UINT64_MAX;
    uint64_t end;
    uint64_t limit;
    bool no_limit = false;
    int option;
    int code;

    while ((option = args_next(args)) > 0) {
        if (option == ID_BITMAP) {
            bitmap = args->value;
        } else if (option == ID_NO_LIMIT) {
            no_limit = true;
        } else if (!args_size(args, option == 's' ? &start : &length)) {
            return EXIT_FAILURE;
        }
    }
    if (option < 0) {
        return args->exit_code;
    }
    if (!args_operands(args, 1, 1)) {
        return EXIT_FAILURE;
    }
    if (bitmap != NULL && (args->common.snapshot != NULL || args->common.output == OUTPUT_HTML)) {
        return args_wrong(args,
                          "'--bitmap' goes neither with '--snapshot', since bitmaps are about "
                          "the live disk, nor with '--output=html'");
    }
    image =
        open_image(args->operands[0], &args->common, bitmap != NULL ? QCOW2_OPEN_METADATA_ONLY : 0);
    if (image == NULL) {
        return EXIT_FAILURE;
    }
    limit = limit_of(image, no_limit);
    end = qcow2_size(image);
    if (start < end && length < end - start) {
        end = start + length;
    }
    code =
        bitmap != NULL
            ? print_bitmap(image, args->operands[0], bitmap, start, end, limit, args->common.output)
            : print_map(image, args->operands[0], start, end, limit, args->common.output);
    stats_print(args->operands[0], image, &args->common);
    qcow2_close(image);
    return code;
}

const struct command command_map = {
    .name = "map",
    .summary = "which parts of a disk are stored, and where",
    .operands = "IMAGE",
    .text =
        "Lists the parts of the virtual disk that hold data, with their place in the file. No data "
        "is read; the cost follows the tables of the image, not the size of the disk.\n"
        "\n"
        "The table has a row for each run of bytes that is stored and not known to be zero; what "
        "is stored compressed has no single place and says so. With --output=json every part of "
        "the disk has a row, holes and zeros too, with the names and values of qemu-img map. "
        "Offsets "
        "are those of the file at the row's depth: 0 is the image, 1 its backing file, and so on.\n"
        "\n"
        "With --bitmap the rows are what a dirty bitmap marks as changed; in JSON, \"dirty\" says "
        "so of every part of the disk.",
    .options = options,
    .examples = "  qcow2 map disk.qcow2\n"
                "      a table: offset and length in the disk, offset in the file\n"
                "  qcow2 map -s 1G -l 64M --output=json disk.qcow2\n"
                "      64 MiB of it, from 1 GiB on, as JSON\n"
                "  qcow2 map --bitmap backup-1 disk.qcow2\n"
                "      what has changed since that bitmap was made\n"
                "  qcow2 map --output=html disk.qcow2 > disk.html\n"
                "      a picture of the whole disk, for a browser\n",
    .run = run,
};
