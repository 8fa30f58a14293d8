/* SPDX-License-Identifier: MIT */
/* cmd_info.c - qcow2 info: what an image's headers say.
 * Gathers the facts; info_human.c and info_json.c print them. */
#include "commands.h"

#include <errno.h>
#include <qcow2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "info_print.h"
#include "json_out.h"
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

/* Walks what is listed beside the headers, so that a break is told once, before anything is printed. */
static void find_problems(struct info_facts *facts)
{
    struct qcow2_snapshot snapshot;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0;

    if (info_has_snapshots(facts)) {
        while (qcow2_next_snapshot(facts->image, &cursor, &snapshot, &facts->snapshots_problem) ==
               1) {
        }
    }
    cursor = 0;
    while (qcow2_next_bitmap(facts->image, &cursor, &bitmap, &facts->bitmaps_problem) == 1) {
    }
    if (facts->info.encryption == QCOW2_ENCRYPTION_LUKS) {
        qcow2_get_luks_info(facts->image, 0, &facts->luks, &facts->luks_problem);
    }
    if (facts->snapshots_problem.code != 0) {
        report_warning(facts->path, "not all snapshots can be listed", &facts->snapshots_problem);
    }
    if (facts->bitmaps_problem.code != 0) {
        report_warning(facts->path, "not all bitmaps can be listed", &facts->bitmaps_problem);
    }
    if (facts->luks_problem.code != 0) {
        report_warning(facts->path, "the LUKS header cannot be read", &facts->luks_problem);
    }
}

/* Everything about one run. */
struct job {
    int output;
    bool chain;
    struct json_out json; /* of a chain, an array that is printed file by file */
};

static bool print_facts(struct job *job, const struct info_facts *facts, bool first)
{
    if (job->output == OUTPUT_HUMAN) {
        if (!first) {
            putchar('\n');
        }
        info_human(facts);
        return true;
    }
    if (job->chain && first) {
        json_out_open(&job->json, NULL, '[');
    }
    info_json(facts, &job->json);
    if (job->json.failed) {
        report(NULL, "out of memory");
    }
    return !job->json.failed;
}

/* `image` is the file by itself; `fd` is that of the file. */
static bool print_file(struct job *job, struct qcow2_image *image, const char *path, int fd,
                       bool first)
{
    const struct qcow2_error no_error = QCOW2_ERROR_INIT;
    struct info_facts facts = { .path = path,
                                .image = image,
                                .info = QCOW2_INFO_INIT,
                                .luks = QCOW2_LUKS_INFO_INIT,
                                .snapshots_problem = no_error,
                                .bitmaps_problem = no_error,
                                .luks_problem = no_error };
    struct qcow2_error err = QCOW2_ERROR_INIT;
    char *full_backing = NULL;
    struct stat file;
    bool good;

    if (qcow2_get_info(image, 0, &facts.info, &err) < 0) {
        report_library(path, &err);
        return false;
    }
    if (fd < 0 || fstat(fd, &file) != 0) {
        report_errno(path, fd < 0 ? EMFILE : errno, "cannot be looked at");
        return false;
    }
    facts.disk_bytes = (uint64_t)file.st_blocks * 512;
    if (facts.info.backing_file != NULL) {
        full_backing = full_backing_name(path, facts.info.backing_file);
        if (full_backing == NULL) {
            report(path, "out of memory");
            return false;
        }
        facts.full_backing = full_backing;
    }
    find_problems(&facts);
    good = print_facts(job, &facts, first);
    free(full_backing);
    return good;
}

/* A file further down is opened once more, from its descriptor and by itself: snapshots and bitmaps are
 * told of the image on top only. */
static bool print_layer(struct job *job, const struct qcow2_info *layer, int fd)
{
    struct qcow2_options alone = QCOW2_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;
    struct qcow2_image *image;
    bool good;

    alone.flags = QCOW2_OPEN_METADATA_ONLY;
    alone.format = layer->format == QCOW2_FORMAT_RAW ? QCOW2_FORMAT_RAW : QCOW2_FORMAT_QCOW2;
    if (qcow2_source_from_fd(fd, layer->source_name, 0, &source, &err) < 0 ||
        qcow2_open_source(&source, &alone, &image, &err) < 0) {
        report_library(layer->source_name, &err);
        return false;
    }
    good = print_file(job, image, layer->source_name, fd, false);
    qcow2_close(image);
    return good;
}

static bool print_chain(struct job *job, struct qcow2_image *image, const char *path,
                        const struct layer_files *files)
{
    struct qcow2_info layer = QCOW2_INFO_INIT;
    bool good;

    good = print_file(job, image, path, files->count > 0 ? files->fds[0] : -1, true);
    for (int depth = 1; good && job->chain && qcow2_get_info(image, depth, &layer, NULL) == 0;
         depth++) {
        good = print_layer(job, &layer, depth < (int)files->count ? files->fds[depth] : -1);
    }
    /* Without its end nobody takes the array for the whole chain. */
    if (good && job->chain && job->output == OUTPUT_JSON) {
        json_out_close(&job->json, ']');
    }
    return good;
}

static int run(struct args *args)
{
    struct qcow2_image *image;
    struct layer_files files;
    struct job job = { 0 };
    uint32_t flags = QCOW2_OPEN_METADATA_ONLY;
    int option;
    int code = EXIT_FAILURE;

    while ((option = args_next(args)) > 0) {
        job.chain = true;
        flags |= QCOW2_OPEN_METADATA_CHAIN;
    }
    if (option < 0) {
        return args->exit_code;
    }
    if (!args_operands(args, 1, 1)) {
        return EXIT_FAILURE;
    }
    job.output = args->common.output;
    layer_files_init(&files);
    image = open_image_files(args->operands[0], &args->common, flags, &files);
    if (image != NULL) {
        if (print_chain(&job, image, args->operands[0], &files)) {
            code = EXIT_SUCCESS;
        }
        stats_print(args->operands[0], image, &args->common);
        qcow2_close(image);
    }
    layer_files_close(&files);
    return code;
}

const struct command command_info = {
    .name = "info",
    .summary = "what an image is: sizes, features, the files it refers to",
    .operands = "IMAGE",
    .without = WITHOUT_SNAPSHOT | WITHOUT_KEY,
    .text =
        "Prints what the headers of an image say, its snapshots and its bitmaps. Nothing but the "
        "image is opened (with --backing-chain, its backing files), and no key is needed, so "
        "images whose data cannot be read here can be asked about too.\n"
        "\n"
        "A list of snapshots or bitmaps that is broken costs only what stands behind the break: "
        "it is reported on standard error, and the rest is printed.",
    .options = options,
    .examples = "  qcow2 info disk.qcow2\n"
                "      for people\n"
                "  qcow2 info --backing-chain --allow /srv/bases disk.qcow2\n"
                "      every file the disk is made of\n"
                "  qcow2 info --output=json disk.qcow2 | jq '.[\"virtual-size\"]'\n"
                "      for programs, in qemu-img's words\n",
    .run = run,
};
