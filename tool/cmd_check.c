/* SPDX-License-Identifier: MIT */
/* cmd_check.c - qcow2 check: do the tables of an image and its refcounts agree?
 * Counts and exit codes are those of `qemu-img check`; nothing is repaired. */
#include "commands.h"

#include <inttypes.h>
#include <qcow2.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "open.h"
#include "out.h"
#include "report.h"
#include "signals.h"
#include "size.h"
#include "stats.h"
#include "text.h"

enum { EXIT_CORRUPTIONS = 2, EXIT_LEAKS = 3, EXIT_NO_CHECK = 63 };

/* So many findings are listed; the counters count all of them. A file of 33 MiB can have 20 GB of lines. */
#define FINDINGS_MAX 1000

enum { ID_MAX_MEMORY = ARG_FIRST_LONG, ID_NO_LIMIT };

static const struct arg_option options[] = {
    { ID_MAX_MEMORY, "max-memory", "SIZE",
      "memory the check may take, 4 bytes for each cluster of the file (default: 64M and the size "
      "of the file on disk, at most 1G)" },
    { ID_NO_LIMIT, "no-limit", NULL,
      "check an image whatever it takes: lift the limits on memory and on table entries, which "
      "follow the size of the file on disk" },
    { 'T', "source-cache", "MODE",
      "accepted for qemu-img's sake: one of QEMU's cache modes, which changes nothing" },
    { ARG_OUTPUT, "output", "human|json",
      "a line for each finding and a summary (the default), or JSON that equals qemu-img's; the "
      "findings stand beside it, under the key \"qcow2\"" },
    { 0, NULL, NULL, NULL }
};

struct check {
    const char *path;
    struct qcow2_info info;
    struct qcow2_check_options options;
    bool quiet;
    struct qcow2_check_result result;
    json_t *findings; /* NULL: lines are printed instead */
    uint64_t count;
    bool failed;
};

static const char *kind_name(int kind)
{
    switch (kind) {
    case QCOW2_FINDING_CORRUPTION:
        return "corruption";
    case QCOW2_FINDING_LEAK:
        return "leak";
    default:
        return "unchecked";
    }
}

static void print_finding(int kind, uint64_t host_offset, const char *message)
{
    printf("%s", kind_name(kind));
    if (host_offset != UINT64_MAX) {
        printf(" at 0x%" PRIx64, host_offset);
    }
    fputs(": ", stdout);
    text_put(stdout, message);
    putchar('\n');
}

static void list_finding(struct check *check, int kind, uint64_t host_offset, const char *message)
{
    json_t *entry = json_object();

    json_set(entry, "kind", json_string(kind_name(kind)), &check->failed);
    json_set(entry, "offset", host_offset != UINT64_MAX ? json_u64(host_offset) : json_null(),
             &check->failed);
    json_set(entry, "message", json_text(message), &check->failed);
    json_append(check->findings, entry, &check->failed);
}

/* For qcow2_check. */
static int take_finding(void *ctx, int kind, uint64_t host_offset, const char *message)
{
    struct check *check = ctx;

    check->count++;
    if (check->count <= FINDINGS_MAX && check->findings != NULL) {
        list_finding(check, kind, host_offset, message);
    } else if (check->count <= FINDINGS_MAX && !check->quiet) {
        print_finding(kind, host_offset, message);
    }
    return signals_caught() != 0 || out_failed();
}

static uint64_t not_listed(const struct check *check)
{
    return check->count > FINDINGS_MAX ? check->count - FINDINGS_MAX : 0;
}

/* Keys that qemu-img leaves out when they are 0. */
static void set_count(json_t *object, const char *key, uint64_t count, bool *failed)
{
    if (count > 0) {
        json_set(object, key, json_u64(count), failed);
    }
}

static bool print_json(struct check *check)
{
    const struct qcow2_check_result *result = &check->result;
    json_t *object = json_object();
    json_t *own = json_object();

    json_set(object, "filename", json_text(check->path), &check->failed);
    json_set(object, "format", json_string("qcow2"), &check->failed);
    json_set(object, "check-errors", json_u64(result->check_errors), &check->failed);
    set_count(object, "corruptions", result->corruptions, &check->failed);
    set_count(object, "leaks", result->leaks, &check->failed);
    set_count(object, "image-end-offset", result->image_end_offset, &check->failed);
    set_count(object, "total-clusters", result->total_clusters, &check->failed);
    set_count(object, "allocated-clusters", result->allocated_clusters, &check->failed);
    set_count(object, "fragmented-clusters", result->fragmented_clusters, &check->failed);
    set_count(object, "compressed-clusters", result->compressed_clusters, &check->failed);
    json_set(own, "findings", check->findings, &check->failed);
    check->findings = NULL;
    json_set(own, "findings-not-listed", json_u64(not_listed(check)), &check->failed);
    json_set(object, "qcow2", own, &check->failed);
    return json_print(object, check->failed);
}

static void put_share(const char *label, uint64_t part, uint64_t whole)
{
    printf("%-20s%" PRIu64, label, part);
    if (whole > 0) {
        printf(" (%.2f %%)", 100.0 * (double)part / (double)whole);
    }
    putchar('\n');
}

static void print_human(const struct check *check)
{
    const struct qcow2_check_result *result = &check->result;
    uint64_t cluster = check->info.cluster_size;
    char size[SIZE_TEXT_MAX];

    if (not_listed(check) > 0 && !check->quiet) {
        printf("and %" PRIu64 " more, which are not listed\n", not_listed(check));
    }
    if (result->corruptions == 0 && result->leaks == 0 && result->check_errors == 0) {
        printf("clean: tables and refcounts agree\n");
    }
    if (result->corruptions > 0) {
        printf("%-20s%" PRIu64 " (data may be wrong, or go wrong when the image is written to)\n",
               "corruptions:", result->corruptions);
    }
    if (result->leaks > 0) {
        printf("%-20s%" PRIu64 " (%s that nothing refers to; harmless)\n",
               "leaked clusters:", result->leaks,
               size_format(size, result->leaks > UINT64_MAX / cluster ? UINT64_MAX
                                                                      : result->leaks * cluster));
    }
    if (result->check_errors > 0) {
        printf("%-20s%" PRIu64 " (places that could not be checked)\n",
               "not checked:", result->check_errors);
    }
    printf("%-20s%" PRIu64 "\n", "clusters of disk:", result->total_clusters);
    put_share("  allocated:", result->allocated_clusters, result->total_clusters);
    put_share("  compressed:", result->compressed_clusters, result->allocated_clusters);
    put_share("  fragmented:", result->fragmented_clusters, result->allocated_clusters);
    printf("%-20s0x%" PRIx64 " (%s)\n", "image ends at:", result->image_end_offset,
           size_format(size, result->image_end_offset));
}

static int exit_code(const struct qcow2_check_result *result)
{
    if (result->check_errors > 0) {
        return EXIT_FAILURE;
    }
    if (result->corruptions > 0) {
        return EXIT_CORRUPTIONS;
    }
    return result->leaks > 0 ? EXIT_LEAKS : EXIT_SUCCESS;
}

static int report_failure(const struct check *check, const struct qcow2_error *err)
{
    if (signals_caught() != 0) {
        report(check->path, "stopped by %s, not complete", signals_name());
        return signals_exit_code();
    }
    if (err->code == QCOW2_E_LIMIT) {
        report_library_more(check->path, NULL, err,
                            check->options.max_entries == 0
                                ? "--max-memory allows more memory, --no-limit lifts all limits"
                                : NULL);
    } else if (err->code != QCOW2_E_CANCELLED) {
        report_library(check->path, err);
    }
    return EXIT_FAILURE;
}

static int check_image(struct check *check, struct qcow2_image *image, int output)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    if (qcow2_get_info(image, 0, &check->info, &err) < 0) {
        return report_failure(check, &err);
    }
    if (check->info.format != QCOW2_FORMAT_QCOW2) {
        report(check->path, "%s has no refcounts, so there is nothing to check",
               check->info.format == QCOW2_FORMAT_RAW ? "a raw disk" : "qcow version 1");
        return EXIT_NO_CHECK;
    }
    if (output == OUTPUT_JSON) {
        check->findings = json_array();
        check->failed = check->findings == NULL;
    }
    if (qcow2_check(image, &check->options, take_finding, check, &check->result, &err) < 0) {
        json_decref(check->findings);
        return report_failure(check, &err);
    }
    if (output != OUTPUT_JSON) {
        print_human(check);
    } else if (!print_json(check)) {
        return EXIT_FAILURE;
    }
    return exit_code(&check->result);
}

static int run(struct args *args)
{
    struct check check = { .info = QCOW2_INFO_INIT,
                           .options = QCOW2_CHECK_OPTIONS_INIT,
                           .result = QCOW2_CHECK_RESULT_INIT };
    struct qcow2_image *image;
    bool no_limit = false;
    int option;
    int code;

    while ((option = args_next(args)) > 0) {
        bool ignored;

        if (option == ID_NO_LIMIT) {
            no_limit = true;
        } else if (option == 'T' ? !args_cache_mode(args, &ignored)
                                 : !args_size(args, &check.options.max_memory_bytes)) {
            return EXIT_FAILURE;
        }
    }
    if (option < 0) {
        return args->exit_code;
    }
    if (!args_operands(args, 1, 1)) {
        return EXIT_FAILURE;
    }
    args->common.raw_option = NULL; /* it has nothing to check either */
    if (no_limit) {
        check.options.max_entries = UINT64_MAX;
        if (check.options.max_memory_bytes == 0) {
            check.options.max_memory_bytes = UINT64_MAX;
        }
    }
    check.options.max_messages = FINDINGS_MAX;
    check.path = args->operands[0];
    check.quiet = args->common.quiet;
    image = open_image(check.path, &args->common, QCOW2_OPEN_METADATA_ONLY);
    if (image == NULL) {
        return EXIT_FAILURE;
    }
    signals_catch();
    code = check_image(&check, image, args->common.output);
    stats_print(check.path, image, &args->common);
    qcow2_close(image);
    return code;
}

const struct command command_check = {
    .name = "check",
    .summary = "do the tables of an image and its refcounts agree?",
    .operands = "IMAGE",
    .without = WITHOUT_SNAPSHOT,
    .text = "Follows every reference of the image, those of its snapshots and bitmaps too, and "
            "compares "
            "what it finds with the refcounts that are stored. Nothing is repaired. Only the image "
            "itself is opened: no other file and no key is needed.\n"
            "\n"
            "Exit code: 0 clean, 1 the check could not be completed, 2 corruptions were found, 3 "
            "nothing "
            "but leaks, 63 the format has nothing to check.",
    .options = options,
    .examples = "  qcow2 check disk.qcow2\n"
                "      a line for each finding, and a summary\n"
                "  qcow2 check -q disk.qcow2 && echo good\n"
                "      the summary alone, and the exit code\n"
                "  qcow2 check --output=json disk.qcow2 | jq .leaks\n"
                "      for programs, in qemu-img's words\n",
    .run = run,
};
