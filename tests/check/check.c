/* SPDX-License-Identifier: MIT */
/* check.c - the check of the library, for comparing with `qemu-img check --output=json`.
 *
 *     check [--full] [--findings] IMAGE
 *
 * Prints one JSON object. With the check come to its end it has qemu-img's keys, all of them, and the
 * exit status is qemu-img's: 0 clean, 1 not all could be checked, 2 corruptions, 3 leaks. Otherwise it
 * is {"error": CODE, "message": TEXT} and the exit status 1, or 63 for a format that has nothing to
 * check. With --findings there is also what the callback received, as [kind, host offset, sentence].
 * --full opens the image for reading, with its other files; the default is metadata only. */
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

int main(int argc, char **argv)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct findings findings = { 0 };
    struct qcow2_image *image;
    int arg = 1, code, status;

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
        fprintf(stderr, "usage: check [--full] [--findings] IMAGE\n");
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
    code = qcow2_check(image, 0, take_finding, &findings, &result, &err);
    if (findings.print) {
        printf("],\n ");
    }
    status = code < 0 ? print_error(code, &err) : print_result(&result);
    qcow2_close(image);
    return status;
}
