/* SPDX-License-Identifier: MIT */
/* cmd_cat.c - qcow2 cat: a range of the disk's bytes on standard output. */
#include "commands.h"

#include <qcow2.h>
#include <stdlib.h>
#include <unistd.h>

#include "open.h"
#include "out.h"
#include "own_files.h"
#include "report.h"
#include "sandbox.h"
#include "stats.h"
#include "stream.h"

enum { ID_FORCE = ARG_FIRST_LONG, ID_VM_STATE };

static const struct arg_option options[] = {
    { 's', "start-offset", "OFFSET", "begin at this byte of the disk (default 0)" },
    { 'l', "max-length", "LENGTH", "print so many bytes (default: to the end of the disk)" },
    { 'm', "threads", "N", "use N threads, 1 to 64 (default: one for each processor, at most 16)" },
    { ID_VM_STATE, "vm-state", NULL,
      "with --snapshot: print the state of the virtual machine that was saved with it, not its "
      "disk" },
    { ID_FORCE, "force", NULL, "print to a terminal if asked to" },
    { 0, NULL, NULL, NULL }
};

/* Copies `length` bytes, at least 1, from `start` on. */
static int copy(struct qcow2_image *image, const char *path, struct qcow2_copy_options *range)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct stream stream;
    int r;

    stream_begin(&stream, STDOUT_FILENO, range->length, NULL);
    r = qcow2_copy_to_callback(image, stream_receive, &stream, range, &err);
    if (r == 0) {
        stream.sys_errno = stream_finish(&stream);
    }
    if (stream.sys_errno != 0) {
        out_report(stream.sys_errno);
        return EXIT_FAILURE;
    }
    if (r < 0) {
        open_report(image, path, &err);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static bool output_is_fit(const struct own_files *own, bool force)
{
    if (!own_files_spare_fd(own, "standard output", STDOUT_FILENO)) {
        return false;
    }
    if (isatty(STDOUT_FILENO) == 1 && !force) {
        report("standard output",
               "is a terminal; redirect it to a file or a pipe, or insist with --force");
        return false;
    }
    return true;
}

static int run(struct args *args)
{
    struct qcow2_copy_options range = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_image *image;
    struct own_files own;
    uint64_t length = UINT64_MAX;
    uint64_t size;
    uint32_t flags = 0;
    bool force = false;
    int option;
    int code = EXIT_SUCCESS;

    while ((option = args_next(args)) > 0) {
        bool good = true;

        if (option == 's') {
            good = args_size(args, &range.offset);
        } else if (option == 'l') {
            good = args_size(args, &length);
        } else if (option == 'm') {
            good = args_number(args, 1, 64, &range.threads);
        } else if (option == ID_VM_STATE) {
            flags |= QCOW2_OPEN_VM_STATE;
        } else {
            force = true;
        }
        if (!good) {
            return EXIT_FAILURE;
        }
    }
    if (option < 0) {
        return args->exit_code;
    }
    if (!args_operands(args, 1, 1)) {
        return EXIT_FAILURE;
    }
    if (flags != 0 && args->common.snapshot == NULL) {
        return args_wrong(args, "'--vm-state' needs '--snapshot', to say of which one");
    }
    sandbox_allow_output(STDOUT_FILENO);
    image = own_files_open(&own, args->operands[0], &args->common, flags, NULL);
    if (image == NULL) {
        own_files_close(&own);
        return EXIT_FAILURE;
    }
    size = qcow2_size(image);
    if (!output_is_fit(&own, force)) {
        code = EXIT_FAILURE;
    } else if (range.offset < size && length > 0) {
        range.length = length < size - range.offset ? length : size - range.offset;
        code = copy(image, args->operands[0], &range);
    }
    stats_print(args->operands[0], image, &args->common);
    qcow2_close(image);
    own_files_close(&own);
    return code;
}

const struct command command_cat = {
    .name = "cat",
    .summary = "print a range of the disk's bytes",
    .operands = "IMAGE",
    .text =
        "Writes bytes of the virtual disk to standard output: all of them, or a range. Where the "
        "range passes the end of the disk it ends there.",
    .options = options,
    .examples = "  qcow2 cat -l 512 disk.qcow2 | xxd\n"
                "      the first sector\n"
                "  qcow2 cat -s 1M -l 4096 disk.qcow2 > block\n"
                "      4096 bytes from 1 MiB on\n"
                "  qcow2 cat disk.qcow2 | grep -c needle\n"
                "      the whole disk, searched\n"
                "  qcow2 cat --snapshot 3 --vm-state disk.qcow2 > state\n"
                "      the machine's memory and devices, as snapshot 3 keeps them\n",
    .run = run,
};
