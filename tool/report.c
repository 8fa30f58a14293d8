/* SPDX-License-Identifier: MIT */
/* report.c - errors on standard error: one line each, beginning with the program's name.
 * Knows the library's error struct; must not know commands or options. */
#include "report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

static void begin_line(const char *subject)
{
    fputs("qcow2: ", stderr);
    if (subject != NULL) {
        text_put(stderr, subject);
        fputs(": ", stderr);
    }
}

void report(const char *subject, const char *format, ...)
{
    /* Longer than two path names of the greatest length in a sentence. */
    char message[9000];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    begin_line(subject);
    text_put(stderr, message);
    fputc('\n', stderr);
}

void report_errno(const char *subject, int code, const char *message)
{
    report(subject, "%s: %s", message, strerror(code));
}

/* Does `message` already name this number, as decimal or 0x digits, as a whole number? */
static bool says_number(const char *message, uint64_t number)
{
    char forms[2][32];

    snprintf(forms[0], sizeof forms[0], "0x%" PRIx64, number);
    snprintf(forms[1], sizeof forms[1], "%" PRIu64, number);
    for (int i = 0; i < 2; i++) {
        size_t count = strlen(forms[i]);

        for (const char *p = strstr(message, forms[i]); p != NULL; p = strstr(p + 1, forms[i])) {
            bool starts = p == message || strchr("0123456789abcdefx", p[-1]) == NULL;
            bool ends = p[count] == '\0' || strchr("0123456789abcdef", p[count]) == NULL;

            if (starts && ends) {
                return true;
            }
        }
    }
    return false;
}

/* The message, and in brackets what the struct knows and it does not say. */
static void put_error(const char *layer, const struct qcow2_error *err)
{
    const char *before = " (";

    text_put(stderr, err->message[0] != '\0' ? err->message : qcow2_code_name(err->code));
    if (err->depth > 0) {
        fprintf(stderr, "%sin ", before);
        if (layer != NULL) {
            text_put(stderr, layer);
            fputs(", ", stderr);
        }
        fprintf(stderr, "layer %d of the backing chain", err->depth);
        before = ", ";
    }
    if (err->guest_offset != UINT64_MAX && !says_number(err->message, err->guest_offset)) {
        fprintf(stderr, "%sat disk offset 0x%" PRIx64, before, err->guest_offset);
        before = ", ";
    }
    if (err->host_offset != UINT64_MAX && !says_number(err->message, err->host_offset)) {
        fprintf(stderr, "%sat file offset 0x%" PRIx64, before, err->host_offset);
        before = ", ";
    }
    if (before[0] == ',') {
        fputc(')', stderr);
    }
}

void report_library_more(const char *subject, const char *layer, const struct qcow2_error *err,
                         const char *advice)
{
    begin_line(subject);
    put_error(layer, err);
    if (advice != NULL) {
        fprintf(stderr, "; %s", advice);
    }
    fputc('\n', stderr);
}

void report_library(const char *subject, const struct qcow2_error *err)
{
    report_library_more(subject, NULL, err, NULL);
}

void report_warning(const char *subject, const char *message, const struct qcow2_error *err)
{
    begin_line(subject);
    fprintf(stderr, "warning: %s: ", message);
    put_error(NULL, err);
    fputc('\n', stderr);
}
