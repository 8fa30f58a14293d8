/* SPDX-License-Identifier: MIT */
/* cmd_digest.c - qcow2 digest: the SHA-256 of disks, as sha256sum would print it for raw files. */
#include "commands.h"

#include <openssl/evp.h>
#include <qcow2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "confine.h"
#include "hidden.h"
#include "json.h"
#include "keys.h"
#include "open.h"
#include "out.h"
#include "progress.h"
#include "report.h"
#include "signals.h"
#include "stats.h"
#include "text.h"

static const struct arg_option options[] = {
    { 'p', "progress", NULL, "show progress even if standard error is no terminal" },
    { 'm', "threads", "N", "use N threads, 1 to 64 (default: one for each processor, at most 16)" },
    { ARG_OUTPUT, "output", "human|json", "lines as sha256sum's (the default), or a JSON array" },
    { 0, NULL, NULL, NULL }
};

#define DIGEST_BYTES 32

/* One digest in the making. */
struct digest {
    EVP_MD_CTX *context;
    uint64_t done;
    uint64_t total;
    struct progress progress;
    bool failed; /* libcrypto's fault */
};

static const unsigned char zeros[64 * 1024];

/* For qcow2_copy_to_callback. Progress is told from here: a hole of a terabyte is one call, and
 * takes its time nevertheless. */
static int receive(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    struct digest *digest = ctx;
    const unsigned char *bytes = buf;

    (void)offset;
    while (count > 0) {
        uint64_t part = count < sizeof zeros ? count : sizeof zeros;

        if (EVP_DigestUpdate(digest->context, bytes != NULL ? bytes : zeros, (size_t)part) != 1) {
            digest->failed = true;
            return 1;
        }
        bytes = bytes != NULL ? bytes + part : NULL;
        count -= part;
        digest->done += part;
        if (progress_update(&digest->progress, digest->done, digest->total) != 0) {
            return 1;
        }
    }
    return 0;
}

static int report_failure(const struct digest *digest, const struct qcow2_image *image,
                          const char *path, const struct qcow2_error *err)
{
    if (digest->failed) {
        report(path, "the cryptographic library cannot compute a SHA-256");
    } else if (signals_caught() != 0) {
        report(path, "stopped by %s, not complete", signals_name());
    } else {
        open_report(image, path, err);
    }
    return EXIT_FAILURE;
}

static int digest_image(struct qcow2_image *image, const char *path, uint32_t threads,
                        int progress_mode, unsigned char result[DIGEST_BYTES])
{
    struct qcow2_copy_options copy = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct digest digest = { .total = qcow2_size(image) };
    int code = EXIT_SUCCESS;

    digest.context = EVP_MD_CTX_new();
    digest.failed =
        digest.context == NULL || EVP_DigestInit_ex(digest.context, EVP_sha256(), NULL) != 1;
    copy.threads = threads;
    progress_begin(&digest.progress, progress_mode);
    if (!digest.failed && qcow2_copy_to_callback(image, receive, &digest, &copy, &err) == 0) {
        digest.failed = EVP_DigestFinal_ex(digest.context, result, NULL) != 1;
        err.code = 0;
    } else {
        code = EXIT_FAILURE;
    }
    progress_end(&digest.progress);
    EVP_MD_CTX_free(digest.context);
    if (code != EXIT_SUCCESS || digest.failed) {
        code = report_failure(&digest, image, path, &err);
    }
    return code;
}

static void format_hex(const unsigned char bytes[DIGEST_BYTES], char hex[2 * DIGEST_BYTES + 1])
{
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    }
}

/* Does the name have anything that must not reach a terminal as it is? */
static bool has_hidden_characters(const char *name)
{
    while (*name != '\0') {
        uint32_t code = 0;
        int length = text_decode(name, &code);

        if (length == 0 || hidden_character(code)) {
            return true;
        }
        name += length;
    }
    return false;
}

static void put_name(const char *name, bool on_terminal)
{
    while (*name != '\0') {
        char piece[8] = "";
        uint32_t code = 0;
        int length = text_decode(name, &code);
        size_t count = length > 0 ? (size_t)length : 1;

        memcpy(piece, name, count);
        if (code == '\\') {
            fputs("\\\\", stdout);
        } else if (code == '\n' || code == '\r' ||
                   (on_terminal && (length == 0 || hidden_character(code)))) {
            text_put(stdout, piece);
        } else {
            fputs(piece, stdout);
        }
        name += count;
    }
}

/* A line that `sha256sum -c` takes. A name with a backslash or a line end is escaped, and the line
 * then begins with a backslash; anything else in the name is left as it is, or it would not be
 * found. Not on a terminal, which obeys some characters: sha256sum then rejects the line, since it knows
 * no such escapes, and does not take it for one with another name. */
static void put_line(const char *hex, const char *name)
{
    const bool on_terminal = isatty(STDOUT_FILENO) == 1;
    const bool escape =
        strpbrk(name, "\\\n\r") != NULL || (on_terminal && has_hidden_characters(name));

    printf("%s%s  ", escape ? "\\" : "", hex);
    put_name(name, on_terminal);
    putchar('\n');
    fflush(stdout); /* the next one may take minutes */
}

static json_t *json_entry(const char *path, const char *hex, uint64_t size, bool *failed)
{
    json_t *entry = json_object();

    json_set(entry, "filename", json_text(path), failed);
    json_set(entry, "virtual-size", json_u64(size), failed);
    json_set(entry, "algorithm", json_string("sha256"), failed);
    json_set(entry, "digest", json_string(hex), failed);
    return entry;
}

/* Everything one run was asked for, and the JSON array it adds to. */
struct job {
    const struct args *args;
    uint32_t threads;
    int progress_mode;
    json_t *list; /* NULL: lines are printed instead */
    bool list_failed;
};

static int digest_path(struct job *job, const char *path)
{
    unsigned char result[DIGEST_BYTES];
    char hex[2 * DIGEST_BYTES + 1];
    struct qcow2_image *image;
    int code;

    signals_exit_at_once();
    image = open_image(path, &job->args->common, 0);
    if (image == NULL) {
        return EXIT_FAILURE;
    }
    signals_catch();
    code = digest_image(image, path, job->threads, job->progress_mode, result);
    if (code == EXIT_SUCCESS) {
        format_hex(result, hex);
        if (job->list != NULL) {
            json_append(job->list, json_entry(path, hex, qcow2_size(image), &job->list_failed),
                        &job->list_failed);
        } else {
            put_line(hex, path);
        }
    }
    stats_print(path, image, &job->args->common);
    qcow2_close(image);
    return code;
}

static int digest_all(struct job *job)
{
    const struct args *args = job->args;
    const struct confinement needs = { .common = &args->common,
                                       .images = (const char *const *)args->operands,
                                       .image_count = args->operand_count };
    int code = EXIT_SUCCESS;

    if (!confine(&needs)) {
        return EXIT_FAILURE;
    }
    args->common.keys->images_left = (unsigned)args->operand_count;
    for (int i = 0; i < args->operand_count && !out_failed(); i++) {
        /* One bad image costs its own line and the exit code, not the others. */
        if (digest_path(job, args->operands[i]) != EXIT_SUCCESS) {
            code = EXIT_FAILURE;
        }
        if (signals_caught() != 0) {
            return signals_exit_code();
        }
    }
    return code;
}

static int run(struct args *args)
{
    struct job job = { .args = args, .progress_mode = PROGRESS_AUTO };
    int option;
    int code;

    while ((option = args_next(args)) > 0) {
        if (option == 'p') {
            job.progress_mode = PROGRESS_FORCE;
        } else if (!args_number(args, 1, 64, &job.threads)) {
            return EXIT_FAILURE;
        }
    }
    if (option < 0) {
        return args->exit_code;
    }
    if (!args_operands(args, 1, args->operand_count)) {
        return EXIT_FAILURE;
    }
    if (args->common.quiet) {
        job.progress_mode = PROGRESS_OFF;
    }
    if (args->common.output != OUTPUT_JSON) {
        return digest_all(&job);
    }
    job.list = json_array();
    if (job.list == NULL) {
        report(NULL, "out of memory");
        return EXIT_FAILURE;
    }
    code = digest_all(&job);
    if (signals_caught() != 0) {
        json_decref(job.list);
    } else if (!json_print(job.list, job.list_failed)) {
        code = EXIT_FAILURE;
    }
    return code;
}

const struct command command_digest = {
    .name = "digest",
    .summary = "the SHA-256 of the disk, as of its raw file",
    .operands = "IMAGE...",
    .text =
        "Prints the SHA-256 of the virtual disk, as sha256sum prints it for the raw file of the "
        "disk. Several images have a line each; if one of them cannot be read, the others are "
        "done nevertheless and the exit code is 1.",
    .options = options,
    .examples = "  qcow2 digest disk.qcow2\n"
                "      one line: digest, two spaces, name\n"
                "  test \"$(qcow2 digest disk.qcow2 | cut -c-64)\" = \\\n"
                "       \"$(sha256sum < disk.raw | cut -c-64)\"\n"
                "      is the raw file what the image holds?\n"
                "  qcow2 digest --output=json *.qcow2\n"
                "      many images, as a JSON array\n",
    .run = run,
};
