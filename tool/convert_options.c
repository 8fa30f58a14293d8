/* SPDX-License-Identifier: MIT */
/* convert_options.c - what the command line of qcow2 convert says.
 * Knows qemu-img's options and what comes nearest to them here; must not know how it is done. */
#include "convert_options.h"

#include <stdlib.h>
#include <string.h>

#include "progress.h"

enum { ID_KEEP_ZEROS = ARG_FIRST_LONG, ID_TARGET_IS_ZERO, ID_SYNC, ID_FORCE };

const struct arg_option convert_option_table[] = {
    { 'p', "progress", NULL, "show progress even if standard error is no terminal" },
    { 'm', "threads", "N", "use N threads, 1 to 64 (default: one for each processor, at most 16)" },
    { 'O', "output-format", "FORMAT", "the format to write; raw is the only one" },
    { ID_KEEP_ZEROS, "keep-zeros", NULL,
      "write stored zeros as zeros; only what the image calls a hole or zero becomes a hole" },
    { ID_TARGET_IS_ZERO, "target-is-zero", NULL,
      "the target device is known to read as zeros: write data only" },
    { ID_SYNC, "sync", NULL, "finish only when everything has reached the medium (fsync)" },
    { ID_FORCE, "force", NULL, "write a disk to a terminal if asked to" },
    { 'l', "internal-snapshot", "SNAPSHOT",
      "as --snapshot, in qemu-img's words: ID, NAME, snapshot.id=ID, snapshot.name=NAME, or both "
      "with a comma between" },
    { 'n', "no-create", NULL,
      "the output is there already: for a device or pipe, which is written in place with and "
      "without this option; a file is always replaced as a whole" },
    { 'o', "options", "preallocation=MODE",
      "off (the default): a file has holes; falloc or full: all of it is allocated" },
    { 'S', "sparse-size", "SIZE",
      "0: a file has no holes, zeros are not looked for; any other: holes as always, of at least "
      "4K" },
    { 't', "target-cache", "MODE",
      "none, writeback, directsync or writethrough: as --sync; unsafe: without (the default)" },
    { 'T', "source-cache", "MODE",
      "accepted for qemu-img's sake: the same words, which change nothing" },
    { 'W', "out-of-order", NULL,
      "accepted for qemu-img's sake and always so: files and devices are written in any order" },
    { 'C', "copy-offload", NULL,
      "accepted for qemu-img's sake and always so: data is shared where the file system can" },
    { 0, NULL, NULL, NULL }
};

/* "preallocation=MODE", the one creation option that raw files have beside their size. */
static bool read_creation(const struct args *args, bool *allocate_ret)
{
    static const char key[] = "preallocation=";
    const char *mode = args->value + sizeof key - 1;

    if (strncmp(args->value, key, sizeof key - 1) != 0) {
        args_wrong(args, "'--options' takes preallocation=off, =falloc or =full, not '%s'",
                   args->value);
        return false;
    }
    if (strcmp(mode, "falloc") == 0 || strcmp(mode, "full") == 0) {
        *allocate_ret = true;
        return true;
    }
    if (strcmp(mode, "off") == 0) {
        *allocate_ret = false;
        return true;
    }
    args_wrong(args, "'preallocation' is off, falloc or full, not '%s'", mode);
    return false;
}

static bool read_sparse_size(const struct args *args, bool *dense_ret)
{
    uint64_t bytes;

    if (!args_size(args, &bytes)) {
        return false;
    }
    *dense_ret = bytes == 0;
    return true;
}

/* What the options say before they are put together: the last of each counts. */
struct said {
    bool dense;
    bool preallocated;
    bool flush;
};

static bool take(struct convert_options *options, struct said *said, struct args *args, int option)
{
    bool ignored;

    switch (option) {
    case 'p':
        options->progress_mode = PROGRESS_FORCE;
        return true;
    case 'm':
        return args_number(args, 1, 64, &options->copy.threads);
    case 'O':
        return args_only(args, "raw", "this program writes nothing else");
    case ID_KEEP_ZEROS:
        options->copy.flags |= QCOW2_COPY_KEEP_ZEROS;
        return true;
    case ID_TARGET_IS_ZERO:
        options->copy.flags |= QCOW2_COPY_TARGET_IS_ZERO;
        return true;
    case ID_SYNC:
        options->sync = true;
        return true;
    case ID_FORCE:
        options->force = true;
        return true;
    case 'l':
        return snapshot_words_read(&options->snapshot, args);
    case 'n':
        options->no_create = true;
        return true;
    case 'o':
        return read_creation(args, &said->preallocated);
    case 'S':
        return read_sparse_size(args, &said->dense);
    case 't':
        return args_cache_mode(args, &said->flush);
    case 'T':
        return args_cache_mode(args, &ignored);
    default: /* 'W', 'C': nothing to do */
        return true;
    }
}

bool convert_options_read(struct convert_options *options, struct args *args)
{
    struct said said = { .dense = false };
    int option;

    while ((option = args_next(args)) > 0) {
        if (!take(options, &said, args, option)) {
            args->exit_code = EXIT_FAILURE;
            return false;
        }
    }
    if (args->common.quiet) {
        options->progress_mode = PROGRESS_OFF;
    }
    if (said.dense) {
        options->copy.flags |= QCOW2_COPY_KEEP_ZEROS;
    }
    options->allocate = said.dense || said.preallocated;
    options->sync = options->sync || said.flush;
    if (option == 0 && !args_operands(args, 2, 2)) {
        args->exit_code = EXIT_FAILURE;
        return false;
    }
    return option == 0;
}

void convert_options_free(struct convert_options *options)
{
    snapshot_words_free(&options->snapshot);
}
