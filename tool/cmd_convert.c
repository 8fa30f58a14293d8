/* SPDX-License-Identifier: MIT */
/* cmd_convert.c - qcow2 convert: the disk as a raw file, on a device, or as a stream.
 * Joins the copy engine to a target; must not know how either works. */
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <qcow2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "convert_options.h"
#include "open.h"
#include "out.h"
#include "own_files.h"
#include "progress.h"
#include "report.h"
#include "sandbox.h"
#include "signals.h"
#include "size.h"
#include "snapshot_words.h"
#include "stats.h"
#include "stream.h"
#include "target.h"
#include "text.h"

/* So many extents are looked at for the sake of a message: some milliseconds. */
#define STORED_EXTENTS_MAX 10000

struct convert {
    const struct args *args;
    const char *image_path;
    const char *out_path;
    struct convert_options options;
    struct qcow2_image *image;
    struct own_files own;
    struct progress progress;
};

/* How much of the disk is stored as bytes: what a sparse file of it may take. False: that is not found
 * out soon. (A table that is named a million times makes a walk of years.) */
static bool stored_bytes(struct qcow2_image *image, uint64_t *bytes_ret)
{
    struct qcow2_extent extent;
    uint64_t cursor = 0;
    int r = 1;

    *bytes_ret = 0;
    for (int i = 0; i < STORED_EXTENTS_MAX && r == 1 && signals_caught() == 0; i++) {
        r = qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL);
        if (r == 1 &&
            (extent.kind == QCOW2_EXTENT_DATA || extent.kind == QCOW2_EXTENT_COMPRESSED)) {
            *bytes_ret += extent.length;
        }
    }
    return r == 0;
}

static void report_full(const struct convert *convert, const struct qcow2_error *err)
{
    const char *what = err->sys_errno == ENOSPC ? "no space left on device" : "disk quota exceeded";
    char text[SIZE_TEXT_MAX];
    uint64_t bytes;

    if (convert->options.allocate) {
        bytes = qcow2_size(convert->image);
        report(convert->out_path, "%s: the whole disk needs %" PRIu64 " bytes (%s) of space", what,
               bytes, size_format(text, bytes));
    } else if (stored_bytes(convert->image, &bytes)) {
        report(convert->out_path, "%s: the disk needs up to %" PRIu64 " bytes (%s) of space", what,
               bytes, size_format(text, bytes));
    } else {
        report(convert->out_path, "%s", what);
    }
}

/* Reports why a copy failed: the target's fault under the target's name, the image's under its
 * own. Once nothing is left to clean up, since this may take a moment. */
static int report_copy(const struct convert *convert, const struct qcow2_error *err)
{
    if (err->code == QCOW2_E_CANCELLED && signals_caught() != 0) {
        report(convert->out_path, "stopped by %s, not complete", signals_name());
        return signals_exit_code();
    }
    if (err->code == QCOW2_E_IO && (err->sys_errno == ENOSPC || err->sys_errno == EDQUOT)) {
        report_full(convert, err);
    } else if (err->code == QCOW2_E_IO && err->sys_errno == EPIPE) {
        report(convert->out_path, "closed by its reader before everything was written");
    } else if (err->code == QCOW2_E_IO && err->sys_errno == EFBIG) {
        report(convert->out_path,
               "a file of %" PRIu64 " bytes is too large for its file system or the limit set",
               qcow2_size(convert->image));
    } else {
        /* The engine says "the target" where the fault is not the image's. */
        bool target = strstr(err->message, "the target") != NULL;

        if (target) {
            report_library(convert->out_path, err);
        } else {
            open_report(convert->image, convert->image_path, err);
        }
    }
    return EXIT_FAILURE;
}

/* False: for report_copy. */
static bool copy_to_fd(struct convert *convert, int fd, struct qcow2_error *err)
{
    int r;

    convert->options.copy.progress = progress_update;
    convert->options.copy.progress_ctx = &convert->progress;
    progress_begin(&convert->progress, convert->options.progress_mode);
    r = qcow2_copy_to_fd(convert->image, fd, &convert->options.copy, err);
    if (r < 0) {
        progress_end(&convert->progress);
    }
    return r == 0;
}

/* Onto a regular file that the shell opened for us, from where it stands. False: for report_copy. */
static bool copy_to_open_file(struct convert *convert, int fd, struct qcow2_error *err)
{
    struct stream stream;
    int r;

    progress_begin(&convert->progress, convert->options.progress_mode);
    stream_begin(&stream, fd, qcow2_size(convert->image), &convert->progress);
    r = qcow2_copy_to_callback(convert->image, stream_receive, &stream, &convert->options.copy,
                               err);
    if (r == 0) {
        stream.sys_errno = stream_finish(&stream);
    }
    if (r == 0 && stream.sys_errno == 0) {
        return true;
    }
    progress_end(&convert->progress);
    if (stream.sys_errno != 0) {
        err->code = QCOW2_E_IO;
        err->sys_errno = stream.sys_errno;
        snprintf(err->message, sizeof err->message, "cannot write to the target: %s",
                 strerror(stream.sys_errno));
    }
    return false;
}

/* What was done, for whoever watched. */
static void print_summary(struct convert *convert)
{
    char size[SIZE_TEXT_MAX];
    char rate[SIZE_TEXT_MAX];
    char time[SIZE_TEXT_MAX];
    uint64_t bytes = qcow2_size(convert->image);
    double seconds = progress_end(&convert->progress);

    if (convert->progress.visible) {
        double per_second = seconds > 0.001 ? (double)bytes / seconds : 0;

        text_put(stderr, convert->out_path);
        fprintf(stderr, ": %s in %s", size_format(size, bytes), size_format_seconds(time, seconds));
        if (per_second >= 1 && per_second < 1e18) {
            fprintf(stderr, ", %s/s", size_format(rate, (uint64_t)per_second));
        }
        fputc('\n', stderr);
    }
}

/* Opens the image, once the program is confined to it and to the target (NULL: standard output). False after
 * a report. */
static bool open_wanted(struct convert *convert, const struct target *target)
{
    const struct common_options *common = &convert->args->common;
    struct qcow2_image *image =
        own_files_open(&convert->own, convert->image_path, common, 0, target);

    convert->image = image;
    return image != NULL && snapshot_words_hold(&convert->options.snapshot, common->snapshot, image,
                                                convert->image_path);
}

static int to_standard_output(struct convert *convert)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct stat info;
    bool copied;

    sandbox_allow_output(STDOUT_FILENO);
    if (!open_wanted(convert, NULL)) {
        return EXIT_FAILURE;
    }
    convert->out_path = "standard output";
    if (!own_files_spare_fd(&convert->own, convert->out_path, STDOUT_FILENO)) {
        return EXIT_FAILURE;
    }
    if (isatty(STDOUT_FILENO) == 1 && !convert->options.force) {
        report(convert->out_path,
               "is a terminal; redirect it to a file or a pipe, or insist with --force");
        return EXIT_FAILURE;
    }
    if (fstat(STDOUT_FILENO, &info) != 0) {
        report_errno(convert->out_path, errno, "cannot be written");
        return EXIT_FAILURE;
    }
    if (S_ISREG(info.st_mode) && convert->options.allocate) {
        report(convert->out_path, "is a file that is open already, and only one that is made here "
                                  "can be allocated as a whole; give its name");
        return EXIT_FAILURE;
    }
    if (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode)) {
        copied = copy_to_open_file(convert, STDOUT_FILENO, &err);
    } else {
        copied = copy_to_fd(convert, STDOUT_FILENO, &err);
    }
    if (!copied) {
        return report_copy(convert, &err);
    }
    if (convert->options.sync && fsync(STDOUT_FILENO) != 0 && errno != EINVAL) {
        report_errno(convert->out_path, errno, "flushing to the medium failed");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

/* False: for report_copy. */
static bool fill_target(struct convert *convert, const struct target *target,
                        struct qcow2_error *err)
{
    if (!copy_to_fd(convert, target->fd, err)) {
        return false;
    }
    if (convert->options.allocate && !target_allocate(target, qcow2_size(convert->image), err)) {
        progress_end(&convert->progress);
        return false;
    }
    return true;
}

/* The target is made ready first, before anything of the image can have a say in how. */
static int to_target(struct convert *convert)
{
    struct target_wishes wishes = { .sync = convert->options.sync,
                                    .in_place = convert->options.no_create };
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct target target;

    /* Nothing is waited for, or made, for an image that is not there. */
    if (faccessat(AT_FDCWD, convert->image_path, R_OK, AT_EACCESS) != 0) {
        report_errno(convert->image_path, errno, "cannot open the file");
        return EXIT_FAILURE;
    }
    output_mode_find(&wishes.mode, convert->image_path, &convert->args->common);
    if (!target_open(&target, convert->out_path, &wishes)) {
        return EXIT_FAILURE;
    }
    if (target.kind == TARGET_STREAM && isatty(target.fd) == 1 && !convert->options.force) {
        report(convert->out_path, "is a terminal; insist with --force");
        target_abandon(&target);
        return EXIT_FAILURE;
    }
    if (!open_wanted(convert, &target) || !target_is_fit(&target, convert->image, &convert->own)) {
        target_abandon(&target);
        return EXIT_FAILURE;
    }
    /* A stream may take for ever to be read, and leaves nothing to clean up. */
    if (target.kind != TARGET_STREAM) {
        signals_catch();
    }
    if (!fill_target(convert, &target, &err)) {
        target_abandon(&target);
        return report_copy(convert, &err);
    }
    return target_commit(&target, convert->options.sync) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct args *args)
{
    struct convert convert = { .args = args, .options = { .copy = QCOW2_COPY_OPTIONS_INIT } };
    int code;

    if (!convert_options_read(&convert.options, args)) {
        convert_options_free(&convert.options);
        return args->exit_code;
    }
    convert.image_path = args->operands[0];
    convert.out_path = args->operands[1];
    code = strcmp(convert.out_path, "-") == 0 ? to_standard_output(&convert) : to_target(&convert);
    if (code == EXIT_SUCCESS) {
        print_summary(&convert);
    }
    if (convert.image != NULL) {
        stats_print(convert.image_path, convert.image, &args->common);
    }
    qcow2_close(convert.image);
    own_files_close(&convert.own);
    convert_options_free(&convert.options);
    return code;
}

const struct command command_convert = {
    .name = "convert",
    .summary = "write the disk to a raw file, a device or a stream",
    .operands = "IMAGE OUT",
    .text =
        "Writes the virtual disk of IMAGE to OUT, on several processors, zeros as holes.\n"
        "\n"
        "OUT is a file, which appears under its name only when it is complete: until then it is "
        "written under a hidden name in the same directory, and removed if anything goes wrong. A "
        "file that has the name already is replaced then; a symbolic link is followed. OUT may "
        "also be a block device, which is written in place, a pipe, or - for standard output. No "
        "file of the image's backing chain is overwritten.",
    .options = convert_option_table,
    .examples = "  qcow2 convert disk.qcow2 disk.raw\n"
                "      the disk as a raw file\n"
                "  qcow2 convert disk.qcow2 - | ssh host 'cat > disk.raw'\n"
                "      as a stream\n"
                "  qcow2 convert --sync --target-is-zero disk.qcow2 /dev/vg/new\n"
                "      onto a new device, finished when it is on the medium\n"
                "  qcow2 convert -q -m 2 disk.qcow2 disk.raw\n"
                "      without progress, on two threads\n",
    .run = run,
};
