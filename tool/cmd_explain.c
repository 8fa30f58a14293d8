/* SPDX-License-Identifier: MIT */
/* cmd_explain.c - qcow2 explain: where one byte of a disk comes from, and what a byte of the file is
 * for. */
#include "commands.h"

#include <limits.h>
#include <qcow2.h>
#include <stdlib.h>

#include "confine.h"
#include "explain_print.h"
#include "keys.h"
#include "open.h"
#include "report.h"
#include "size.h"
#include "stats.h"

enum { ID_HOST = ARG_FIRST_LONG, ID_NO_LIMIT };

static const struct arg_option options[] = {
    { ID_HOST, "host", "OFFSET",
      "the way back: what in the image refers to this byte of its file? The backing files are not "
      "opened" },
    { ID_NO_LIMIT, "no-limit", NULL,
      "with --host: look at all of the disks, all snapshots and all bitmaps, however long it "
      "takes" },
    { ARG_OUTPUT, "output", "human|json", "sentences (the default), or a JSON object" },
    { 0, NULL, NULL, NULL }
};

static int explain_from_disk(struct args *args, const char *path, uint64_t offset)
{
    struct qcow2_image *image = open_image(path, &args->common, 0);
    int code;

    if (image == NULL) {
        return EXIT_FAILURE;
    }
    code = explain_guest(image, path, offset, args->common.output);
    stats_print(path, image, &args->common);
    qcow2_close(image);
    return code;
}

static int explain_from_file(struct args *args, const char *path, uint64_t offset, bool no_limit)
{
    const struct confinement needs = {
        .common = &args->common, .images = &path, .image_count = 1, .reopens = true
    };
    struct layer_files files;
    struct qcow2_image *image;
    int code = EXIT_FAILURE;

    if (args->common.snapshot != NULL) {
        return args_wrong(args, "'--host' looks at all snapshots, so '--snapshot' has no meaning");
    }
    layer_files_init(&files);
    /* Every snapshot is opened on its own, with the same keys; main forgets them. */
    args->common.keys->images_left = UINT_MAX;
    args->common.keys->remember = true;
    image = confine(&needs) ? open_image_files(path, &args->common, QCOW2_OPEN_NO_BACKING, &files)
                            : NULL;
    if (image != NULL) {
        code = explain_host(image, path, files.count > 0 ? files.fds[0] : -1, &args->common, offset,
                            no_limit);
        stats_print(path, image, &args->common);
        qcow2_close(image);
    }
    layer_files_close(&files);
    return code;
}

static int run(struct args *args)
{
    bool host = false;
    bool no_limit = false;
    uint64_t offset = 0;
    const char *problem;
    int option;

    while ((option = args_next(args)) > 0) {
        if (option == ID_NO_LIMIT) {
            no_limit = true;
            continue;
        }
        host = true;
        if (!args_size(args, &offset)) {
            return EXIT_FAILURE;
        }
    }
    if (option < 0) {
        return args->exit_code;
    }
    if (no_limit && !host) {
        return args_wrong(args, "'--no-limit' is for '--host'");
    }
    if (!host && args->operand_count == 1) {
        return args_wrong(args, "the offset is missing");
    }
    if (!args_operands(args, host ? 1 : 2, host ? 1 : 2)) {
        return EXIT_FAILURE;
    }
    if (host) {
        return explain_from_file(args, args->operands[0], offset, no_limit);
    }
    problem = size_parse(args->operands[1], &offset);
    if (problem != NULL) {
        return args_wrong(args, "the offset '%s' %s", args->operands[1], problem);
    }
    return explain_from_disk(args, args->operands[0], offset);
}

const struct command command_explain = {
    .name = "explain",
    .summary = "where one byte of a disk comes from, entry by entry",
    .operands = "IMAGE [OFFSET]",
    .text =
        "Follows one byte of the virtual disk through the tables of the image and of the files "
        "below it: which L1 entry, which L2 entry, what their bits mean, which layer decides, and "
        "at which byte of which file it is stored.\n"
        "\n"
        "With --host the question is the other way round: what is this byte of the image file for? "
        "Headers and tables are named, and so is every place of the disk and of its snapshots that "
        "is stored there.",
    .options = options,
    .examples = "  qcow2 explain disk.qcow2 1M\n"
                "      the byte at 1 MiB of the disk\n"
                "  qcow2 explain --snapshot 2 disk.qcow2 0x7fff000\n"
                "      as it was when snapshot 2 was taken\n"
                "  qcow2 explain --host 0x50000 disk.qcow2\n"
                "      what the byte at 0x50000 of the file is for\n",
    .run = run,
};
