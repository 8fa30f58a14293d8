/* SPDX-License-Identifier: MIT */
/* cmd_info.c - qcow2 info: what an image's headers say.
 * Gathers the facts; info_human.c and info_json.c print them. */
#include "commands.h"

#include <errno.h>
#include <qcow2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "info_print.h"
#include "json.h"
#include "open.h"
#include "report.h"
#include "stats.h"

enum { ID_BACKING_CHAIN = ARG_FIRST_LONG };

static const struct arg_option options[] = {
    { ID_BACKING_CHAIN, "backing-chain", NULL,
      "tell about every file of the chain; JSON is an array then, the image itself first" },
    { ARG_OUTPUT, "output", "human|json",
      "lines to read (the default), or JSON that equals qemu-img's; our own facts stand beside it, "
      "under the key \"qcow2\"" },
    { 0, NULL, NULL, NULL }
};

const char *info_compression_name(int compression)
{
    return compression == QCOW2_COMPRESSION_ZSTD ? "zstd" : "zlib";
}

const char *info_encryption_name(int encryption)
{
    switch (encryption) {
    case QCOW2_ENCRYPTION_AES:
        return "aes";
    case QCOW2_ENCRYPTION_LUKS:
        return "luks";
    default:
        return NULL;
    }
}

/* The backing file's name as seen from the working directory, by QEMU's rule: absolute names and
 * those with a protocol ("nbd:...") stand for themselves, others start where the image is. Only the
 * name is made; nothing is opened. NULL without memory. */
static char *full_backing_name(const char *path, const char *backing)
{
    const char *slash = strrchr(path, '/');
    size_t directory = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    size_t count = strlen(backing) + 1;
    char *full;

    if (backing[0] == '/' || backing[strcspn(backing, ":/")] == ':') {
        directory = 0;
    }
    full = malloc(directory + count);
    if (full != NULL) {
        memcpy(full, path, directory);
        memcpy(full + directory, backing, count);
    }
    return full;
}

static int print_facts(const struct info_facts *facts, int output, bool chain)
{
    bool failed = false;
    json_t *value;

    if (output == OUTPUT_HUMAN) {
        info_human(facts);
        return EXIT_SUCCESS;
    }
    value = info_json(facts, &failed);
    if (chain) {
        json_t *list = json_array();

        json_append(list, value, &failed);
        value = list;
    }
    return json_print(value, failed) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_info(struct qcow2_image *image, const char *path, int output, bool chain)
{
    struct info_facts facts = { .path = path, .image = image, .info = QCOW2_INFO_INIT };
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct stat file;
    char *full_backing = NULL;
    int code;

    if (qcow2_get_info(image, 0, &facts.info, &err) < 0) {
        report_library(path, &err);
        return EXIT_FAILURE;
    }
    if (stat(path, &file) != 0) {
        report_errno(path, errno, "cannot be looked at");
        return EXIT_FAILURE;
    }
    facts.disk_bytes = (uint64_t)file.st_blocks * 512;
    if (facts.info.backing_file != NULL) {
        full_backing = full_backing_name(path, facts.info.backing_file);
        if (full_backing == NULL) {
            report(path, "out of memory");
            return EXIT_FAILURE;
        }
        facts.full_backing = full_backing;
    }
    code = print_facts(&facts, output, chain);
    free(full_backing);
    return code;
}

static int run(struct args *args)
{
    struct qcow2_image *image;
    bool chain = false;
    int option;
    int code;

    while ((option = args_next(args)) > 0) {
        chain = true;
    }
    if (option < 0) {
        return args->exit_code;
    }
    if (!args_operands(args, 1, 1)) {
        return EXIT_FAILURE;
    }
    image = open_image(args->operands[0], &args->common, QCOW2_OPEN_METADATA_ONLY);
    if (image == NULL) {
        return EXIT_FAILURE;
    }
    code = print_info(image, args->operands[0], args->common.output, chain);
    stats_print(args->operands[0], image, &args->common);
    qcow2_close(image);
    return code;
}

const struct command command_info = {
    .name = "info",
    .summary = "what an image is: sizes, features, the files it refers to",
    .operands = "IMAGE",
    .text = "Prints what the headers of an image say. Nothing but the image is opened, so images "
            "whose data cannot be read here (for want of a key or of another file) can be asked "
            "about too.",
    .options = options,
    .examples = "  qcow2 info disk.qcow2\n"
                "      for people\n"
                "  qcow2 info --output=json disk.qcow2 | jq '.[\"virtual-size\"]'\n"
                "      for programs, in qemu-img's words\n",
    .run = run,
};
