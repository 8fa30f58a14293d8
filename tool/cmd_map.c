/* SPDX-License-Identifier: MIT */
/* cmd_map.c - qcow2 map: which parts of a disk are stored, and where. */
#include "commands.h"

#include <qcow2.h>
#include <stdlib.h>

#include "map_print.h"
#include "open.h"
#include "report.h"
#include "stats.h"

static const struct arg_option options[] = {
    { 's', "start-offset", "OFFSET", "begin at this byte of the disk (default 0)" },
    { 'l', "max-length", "LENGTH", "cover so many bytes (default: to the end of the disk)" },
    { ARG_OUTPUT, "output", "human|json|html",
      "a table of what holds data (the default); every row, in JSON equal to qemu-img's; or one "
      "HTML "
      "page that draws the disk" },
    { 0, NULL, NULL, NULL }
};

static int print_map(struct qcow2_image *image, const char *path, uint64_t start, uint64_t end,
                     int output)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    int r;

    if (output == OUTPUT_JSON) {
        r = map_print_json(image, start, end, &err);
    } else if (output == OUTPUT_HTML) {
        r = map_print_html(image, path, start, end, &err);
    } else {
        r = map_print_table(image, path, start, end, &err);
    }
    if (r < 0) {
        report_library(path, &err);
    }
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct args *args)
{
    struct qcow2_image *image;
    uint64_t start = 0;
    uint64_t length = UINT64_MAX;
    uint64_t end;
    int option;
    int code;

    while ((option = args_next(args)) > 0) {
        if (!args_size(args, option == 's' ? &start : &length)) {
            return EXIT_FAILURE;
        }
    }
    if (option < 0) {
        return args->exit_code;
    }
    if (!args_operands(args, 1, 1)) {
        return EXIT_FAILURE;
    }
    image = open_image(args->operands[0], &args->common, 0);
    if (image == NULL) {
        return EXIT_FAILURE;
    }
    end = qcow2_size(image);
    if (start < end && length < end - start) {
        end = start + length;
    }
    code = print_map(image, args->operands[0], start, end, args->common.output);
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
        "the disk has a row, holes and zeros too, with the names and values of qemu-img map.",
    .options = options,
    .examples = "  qcow2 map disk.qcow2\n"
                "      a table: offset and length in the disk, offset in the file\n"
                "  qcow2 map -s 1G -l 64M --output=json disk.qcow2\n"
                "      64 MiB of it, from 1 GiB on, as JSON\n"
                "  qcow2 map --output=html disk.qcow2 > disk.html\n"
                "      a picture of the whole disk, for a browser\n",
    .run = run,
};
