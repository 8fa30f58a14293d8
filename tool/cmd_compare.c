/* SPDX-License-Identifier: MIT */
/* cmd_compare.c - qcow2 compare: have two disks the same bytes, and if not, where do they part?
 * Joins the library's comparison to words; must not know how it is done. */
#include "commands.h"

#include <inttypes.h>
#include <qcow2.h>
#include <stdio.h>
#include <stdlib.h>

#include "confine.h"
#include "json.h"
#include "keys.h"
#include "open.h"
#include "place.h"
#include "progress.h"
#include "report.h"
#include "signals.h"
#include "size.h"
#include "stats.h"
#include "text.h"

enum { EXIT_DIFFERENT = 1, EXIT_ERROR = 2 };

enum { ID_SECOND_SNAPSHOT = ARG_FIRST_LONG, ID_SECOND_KEY_FILE, ID_NO_LIMIT };

static const struct arg_option options[] = {
    { 'F', "second-format", "FORMAT", "the format of the second image, as -f is of the first" },
    { ID_SECOND_SNAPSHOT, "second-snapshot", "ID|NAME",
      "a snapshot of the second image, as --snapshot is of the first" },
    { ID_SECOND_KEY_FILE, "second-key-file", "FILE",
      "the passphrase of the second image, if it is another than that of the first" },
    { 's', "strict", NULL, "disks of different sizes differ, even if the rest is zeros" },
    { ID_NO_LIMIT, "no-limit", NULL,
      "compare the disks whatever it takes: lift the limits on extents and on bytes to read, which "
      "follow the sizes of the files on disk" },
    { 'p', "progress", NULL, "show progress even if standard error is no terminal" },
    { 'm', "threads", "N", "use N threads, 1 to 64 (default: one for each processor, at most 16)" },
    { 'T', "source-cache", "MODE",
      "accepted for qemu-img's sake: one of QEMU's cache modes, which changes nothing" },
    { ARG_OUTPUT, "output", "human|json", "a few lines (the default), or a JSON object" },
    { 0, NULL, NULL, NULL }
};

struct side {
    const char *path;
    struct common_options common;
    struct qcow2_image *image;
    uint64_t size;
};

struct compare {
    struct args *args;
    struct side sides[2];
    struct keys second_keys;
    struct qcow2_copy_options options;
    struct qcow2_compare_result result;
    struct progress progress;
    int progress_mode;
    bool strict;
};

static bool read_options(struct compare *compare, const char **second_snapshot, int *second_format)
{
    struct args *args = compare->args;
    int option;

    while ((option = args_next(args)) > 0) {
        bool good = true;
        bool ignored;

        switch (option) {
        case 'F':
            good = args_format(args, second_format);
            break;
        case ID_SECOND_SNAPSHOT:
            *second_snapshot = args->value;
            break;
        case ID_SECOND_KEY_FILE:
            good = keys_add(&compare->second_keys, args->value);
            if (!good) {
                args_wrong(args, "option '--second-key-file' was given more than %d times",
                           KEY_FILES_MAX);
            }
            break;
        case ID_NO_LIMIT:
            compare->options.flags = QCOW2_COMPARE_NO_LIMIT;
            break;
        case 's':
            compare->strict = true;
            break;
        case 'p':
            compare->progress_mode = PROGRESS_FORCE;
            break;
        case 'T':
            good = args_cache_mode(args, &ignored);
            break;
        default: /* 'm' */
            good = args_number(args, 1, 64, &compare->options.threads);
            break;
        }
        if (!good) {
            args->exit_code = EXIT_ERROR;
            return false;
        }
    }
    if (option == 0 && args->operand_count == 1) {
        args_wrong(args, "the name of the second image is missing");
    }
    if (option == 0 && (args->operand_count == 1 || !args_operands(args, 2, 2))) {
        args->exit_code = EXIT_ERROR;
        return false;
    }
    return option == 0;
}

static bool open_sides(struct compare *compare)
{
    for (int i = 0; i < 2; i++) {
        struct side *side = &compare->sides[i];

        side->image = open_image(side->path, &side->common, 0);
        if (side->image == NULL) {
            return false;
        }
        side->size = qcow2_size(side->image);
    }
    return true;
}

static json_t *side_json(const struct side *side, uint64_t offset, bool differ, bool *failed)
{
    json_t *object = json_object();

    json_set(object, "filename", json_text(side->path), failed);
    json_set(object, "virtual-size", json_u64(side->size), failed);
    if (differ) {
        struct place place;

        place_find(&place, side->image, side->path, offset);
        place_json(&place, object, failed);
    }
    return object;
}

static bool print_json(const struct compare *compare, bool differ, bool at_a_byte)
{
    const struct qcow2_compare_result *result = &compare->result;
    json_t *object = json_object();
    bool failed = false;

    json_set(object, "same", json_boolean(!differ), &failed);
    if (at_a_byte) {
        json_set(object, "offset", json_u64(result->offset), &failed);
    }
    json_set(object, "first", side_json(&compare->sides[0], result->offset, at_a_byte, &failed),
             &failed);
    json_set(object, "second", side_json(&compare->sides[1], result->offset, at_a_byte, &failed),
             &failed);
    json_set(object, "read-bytes", json_u64(result->read_bytes), &failed);
    json_set(object, "skipped-bytes", json_u64(result->skipped_bytes), &failed);
    return json_print(object, failed);
}

static void print_sizes(const struct compare *compare, const char *what)
{
    char first[SIZE_TEXT_MAX];
    char second[SIZE_TEXT_MAX];

    printf("%s: %" PRIu64 " bytes (%s) and %" PRIu64 " bytes (%s)\n", what, compare->sides[0].size,
           size_format(first, compare->sides[0].size), compare->sides[1].size,
           size_format(second, compare->sides[1].size));
}

static void print_human(const struct compare *compare, bool differ, bool at_a_byte)
{
    const struct qcow2_compare_result *result = &compare->result;
    bool sizes = compare->sides[0].size != compare->sides[1].size;

    if (at_a_byte) {
        printf("the disks differ at byte %" PRIu64 " (0x%" PRIx64 "):\n", result->offset,
               result->offset);
        for (int i = 0; i < 2; i++) {
            struct place place;

            place_find(&place, compare->sides[i].image, compare->sides[i].path, result->offset);
            fputs("  ", stdout);
            text_put(stdout, compare->sides[i].path);
            fputs(": ", stdout);
            place_human(&place);
            putchar('\n');
        }
    } else if (differ) {
        print_sizes(compare, "the disks differ in size, the rest of the longer one is zeros");
    } else if (sizes) {
        print_sizes(compare, "the same bytes; the longer disk ends in zeros");
    } else {
        printf("the same bytes\n");
    }
}

static int report_failure(const struct compare *compare, const struct qcow2_error *err)
{
    const struct side *side = &compare->sides[compare->result.failed_image != 0 ? 1 : 0];

    if (signals_caught() != 0) {
        report(compare->args->command->name, "stopped by %s, not complete", signals_name());
        return signals_exit_code();
    }
    if (err->code == QCOW2_E_LIMIT) {
        report_library_more(side->path, NULL, err, "--no-limit compares them all the same");
    } else {
        open_report(side->image, side->path, err);
    }
    return EXIT_ERROR;
}

static int compare_sides(struct compare *compare)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    bool differ;
    int r;

    compare->options.progress = progress_update;
    compare->options.progress_ctx = &compare->progress;
    progress_begin(&compare->progress, compare->progress_mode);
    r = qcow2_compare(compare->sides[0].image, compare->sides[1].image, &compare->options,
                      &compare->result, &err);
    progress_end(&compare->progress);
    if (r < 0) {
        return report_failure(compare, &err);
    }
    differ = r == 1 || (compare->strict && compare->sides[0].size != compare->sides[1].size);
    if (compare->args->common.output == OUTPUT_JSON) {
        if (!print_json(compare, differ, r == 1)) {
            return EXIT_ERROR;
        }
    } else if (!compare->args->common.quiet) {
        print_human(compare, differ, r == 1);
    }
    return differ ? EXIT_DIFFERENT : EXIT_SUCCESS;
}

static int run(struct args *args)
{
    struct compare compare = { .args = args,
                               .options = QCOW2_COPY_OPTIONS_INIT,
                               .result = QCOW2_COMPARE_RESULT_INIT };
    const char *second_snapshot = NULL;
    int second_format = QCOW2_FORMAT_QCOW2;
    struct confinement needs = { .common = &args->common, .second_keys = &compare.second_keys };
    int code = EXIT_ERROR;

    if (!read_options(&compare, &second_snapshot, &second_format)) {
        return args->exit_code == EXIT_SUCCESS ? EXIT_SUCCESS : EXIT_ERROR;
    }
    if (args->common.quiet) {
        compare.progress_mode = PROGRESS_OFF;
    }
    for (int i = 0; i < 2; i++) {
        compare.sides[i].path = args->operands[i];
        compare.sides[i].common = args->common;
    }
    compare.sides[1].common.raw_option = "a raw disk needs -F raw";
    compare.sides[1].common.format = second_format;
    compare.sides[1].common.snapshot = second_snapshot;
    needs.images = (const char *const *)args->operands;
    needs.image_count = 2;
    if (compare.second_keys.file_count > 0) {
        compare.sides[1].common.keys = &compare.second_keys;
    } else {
        args->common.keys->images_left = 2;
    }
    if (confine(&needs) && open_sides(&compare)) {
        signals_catch();
        code = compare_sides(&compare);
        for (int i = 0; i < 2; i++) {
            stats_print(compare.sides[i].path, compare.sides[i].image, &args->common);
        }
    }
    keys_forget(&compare.second_keys);
    qcow2_close(compare.sides[0].image);
    qcow2_close(compare.sides[1].image);
    return code;
}

const struct command command_compare = {
    .name = "compare",
    .summary = "have two disks the same bytes, and if not, where do they part?",
    .operands = "FIRST SECOND",
    .error_code = EXIT_ERROR,
    .text =
        "Compares two virtual disks byte by byte. If they differ, tells the first byte that does, "
        "and for each side which file of its chain decides it. Where both disks call a range "
        "zeros, "
        "or keep it in the same place of the same file, nothing is read. A disk may be longer than "
        "the other if the rest is zeros.\n"
        "\n"
        "Exit code: 0 the same, 1 different, 2 an error, so that nothing is known.",
    .options = options,
    .examples = "  qcow2 compare disk.qcow2 copy.qcow2\n"
                "      two images\n"
                "  qcow2 compare -F raw disk.qcow2 disk.raw\n"
                "      an image and a raw disk\n"
                "  qcow2 compare --snapshot before disk.qcow2 disk.qcow2\n"
                "      a snapshot and the live disk\n",
    .run = run,
};
