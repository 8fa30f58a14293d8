/* SPDX-License-Identifier: MIT */
/* check.c - the check of the library, for comparing with `qemu-img check --output=json`.
 *
 *     check [--full] [--findings] IMAGE
 *
 * Prints one JSON object. With the check come to its end it has qemu-img's keys, all of them, and the
 * exit status is qemu-img's: 0 clean, 1 not all could be checked, 2 corruptions, 3 leaks. Otherwise it
 * is {"error": CODE, "message": TEXT} and the exit status 1, or 63 for a format that has nothing to
 * check. With --findings there is also what the callback received, as [kind, host offset, sentence].
 * --full opens the image for reading, with its other files; the default is metadata only.
 *
 *     check --interrupted IMAGE
 *
 * Prints nothing. The check is stopped by its callback at one finding after the other, then one of its reads
 * after the other fails, then it has too little memory: each time it must end with that and nothing else, and
 * the last time it must end as it does undisturbed. The exit status is 0, or 99 after a line about what it
 * did instead. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

struct findings {
    int print;
    unsigned long count;
};

/* Messages are printable; only what JSON itself uses needs care. */
static void print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar(*text);
    }
    putchar('"');
}

static int take_finding(void *ctx, int kind, uint64_t host_offset, const char *message)
{
    struct findings *findings = ctx;

    findings->count++;
    if (findings->print) {
        printf("%s\n    [%d, %llu, ", findings->count > 1 ? "," : "", kind,
               (unsigned long long)host_offset);
        print_text(message);
        printf("]");
    }
    return 0;
}

static int print_error(int code, const struct qcow2_error *err)
{
    printf("\"error\": ");
    print_text(qcow2_code_name(code));
    printf(", \"message\": ");
    print_text(err->message);
    printf("}\n");
    return code == QCOW2_E_UNSUPPORTED ? 63 : 1;
}

static int print_result(const struct qcow2_check_result *result)
{
    printf("\"check-errors\": %llu, \"corruptions\": %llu, \"leaks\": %llu, "
           "\"image-end-offset\": %llu, \"total-clusters\": %llu, \"allocated-clusters\": %llu, "
           "\"fragmented-clusters\": %llu, \"compressed-clusters\": %llu}\n",
           (unsigned long long)result->check_errors, (unsigned long long)result->corruptions,
           (unsigned long long)result->leaks, (unsigned long long)result->image_end_offset,
           (unsigned long long)result->total_clusters,
           (unsigned long long)result->allocated_clusters,
           (unsigned long long)result->fragmented_clusters,
           (unsigned long long)result->compressed_clusters);
    if (result->check_errors > 0) {
        return 1;
    }
    if (result->corruptions > 0) {
        return 2;
    }
    return result->leaks > 0 ? 3 : 0;
}

/* ------------------------------------------------------------------------ */
/* Interrupted checks                                                       */

enum { MOST_STOPS = 40, GONE_WRONG = 99 };

/* The file, with a read that fails. */
struct flaky {
    struct qcow2_source file;
    unsigned long made, fail_at; /* counted from 1; 0: none fails */
};

static int flaky_read(void *ctx, void *buf, size_t count, uint64_t offset)
{
    struct flaky *flaky = ctx;

    return ++flaky->made == flaky->fail_at
               ? EIO
               : flaky->file.read_at(flaky->file.ctx, buf, count, offset);
}

static int flaky_get_size(void *ctx, uint64_t *bytes_ret)
{
    struct flaky *flaky = ctx;

    return flaky->file.get_size(flaky->file.ctx, bytes_ret);
}

static void flaky_close(void *ctx)
{
    struct flaky *flaky = ctx;

    flaky->file.close(flaky->file.ctx);
}

/* Findings, of which the one with number stop_at, counted from 1, ends the check. */
struct stopper {
    unsigned long heard, stop_at;
};

static int stop(void *ctx, int kind, uint64_t host_offset, const char *message)
{
    struct stopper *stopper = ctx;

    (void)kind;
    (void)host_offset;
    (void)message;
    return ++stopper->heard == stopper->stop_at;
}

/* An interrupted check, and how it ended. */
struct attempt {
    struct qcow2_image *image;
    struct flaky *flaky;
    struct stopper stopper;
    struct qcow2_check_result result;
    struct qcow2_error err;
};

static int attempt(struct attempt *a, unsigned long stop_at, unsigned long fail_at, uint64_t memory)
{
    struct qcow2_check_options options = QCOW2_CHECK_OPTIONS_INIT;
    int code;

    options.max_memory_bytes = memory;
    a->stopper = (struct stopper){ 0, stop_at };
    a->flaky->made = 0;
    a->flaky->fail_at = fail_at;
    a->result = (struct qcow2_check_result)QCOW2_CHECK_RESULT_INIT;
    a->err = (struct qcow2_error)QCOW2_ERROR_INIT;
    code = qcow2_check(a->image, &options, stop, &a->stopper, &a->result, &a->err);
    return code == a->err.code ? code : GONE_WRONG;
}

static int complain(const char *what, unsigned long number, int code)
{
    fprintf(stderr, "check: %s %lu: the check ended with %s\n", what, number,
            code == GONE_WRONG ? "one code and told another" : qcow2_code_name(code));
    return GONE_WRONG;
}

/* What stands behind the last finding, like an error that is told with it, no callback can stop. */
static int stop_everywhere(struct attempt *a, unsigned long findings, int undisturbed)
{
    for (unsigned long n = 1; n <= findings && n <= MOST_STOPS; n++) {
        int code = attempt(a, n, 0, 0);

        if (a->stopper.heard != n ||
            (code != QCOW2_E_CANCELLED && (n < findings || code != undisturbed))) {
            return complain("stopped at finding", n, code);
        }
    }
    return 0;
}

/* Refcounts that cannot be read are findings; of anything else the check ends. */
static int fail_everywhere(struct attempt *a, unsigned long reads, int undisturbed)
{
    for (unsigned long n = 1; n <= reads; n++) {
        int code = attempt(a, 0, n, 0);

        if (code != QCOW2_E_IO && (code != undisturbed || a->stopper.heard == 0)) {
            return complain("without read", n, code);
        }
    }
    return 0;
}

static int starve(struct attempt *a, int undisturbed)
{
    unsigned long bytes = 1;
    int code;

    while ((code = attempt(a, 0, 0, bytes)) == QCOW2_E_LIMIT && bytes < 1UL << 30) {
        bytes *= 2;
    }
    return code == undisturbed ? 0 : complain("with this much memory", bytes, code);
}

static int interrupt(const char *path)
{
    struct flaky flaky = { .fail_at = 0 };
    const struct qcow2_source source = {
        .size = sizeof source,
        .ctx = &flaky,
        .read_at = flaky_read,
        .get_size = flaky_get_size,
        .close = flaky_close,
    };
    struct attempt a = { .flaky = &flaky };
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    unsigned long findings, reads;
    int code, status;

    options.flags = QCOW2_OPEN_METADATA_ONLY;
    if (qcow2_source_from_path(path, &flaky.file, NULL) < 0 ||
        qcow2_open_source(&source, &options, &a.image, NULL) < 0) {
        return 0; /* nothing to check */
    }
    code = attempt(&a, 0, 0, 0);
    findings = a.stopper.heard;
    reads = flaky.made;
    status = stop_everywhere(&a, findings, code);
    if (status == 0) {
        status = fail_everywhere(&a, reads, code);
    }
    if (status == 0) {
        status = starve(&a, code);
    }
    qcow2_close(a.image);
    return status;
}

int main(int argc, char **argv)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct findings findings = { 0 };
    struct qcow2_image *image;
    int arg = 1, code, status;

    if (argc == 3 && strcmp(argv[1], "--interrupted") == 0) {
        return interrupt(argv[2]);
    }
    options.flags = QCOW2_OPEN_METADATA_ONLY;
    for (; arg + 1 < argc; arg++) {
        if (strcmp(argv[arg], "--full") == 0) {
            options.flags = 0;
        } else if (strcmp(argv[arg], "--findings") == 0) {
            findings.print = 1;
        } else {
            break;
        }
    }
    if (arg + 1 != argc) {
        fprintf(stderr, "usage: check [--full] [--findings] IMAGE, or check --interrupted IMAGE\n");
        return 64;
    }
    printf("{");
    code = qcow2_open(argv[arg], &options, &image, &err);
    if (code < 0) {
        return print_error(code, &err);
    }
    if (findings.print) {
        printf("\"findings\": [");
    }
    code = qcow2_check(image, NULL, take_finding, &findings, &result, &err);
    if (findings.print) {
        printf("],\n ");
    }
    status = code < 0 ? print_error(code, &err) : print_result(&result);
    qcow2_close(image);
    return status;
}
