/* SPDX-License-Identifier: MIT */
/* report.h - errors on standard error: one line each, beginning with the program's name. */
#ifndef TOOL_REPORT_H
#define TOOL_REPORT_H

#include <qcow2.h>

/* "qcow2: SUBJECT: message". The subject is the file (or command) at fault; NULL leaves it out.
 * Whatever the arguments hold, one printable line comes out. */
void report(const char *subject, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a failed system call: the message, a colon and what errno value `code` means. */
void report_errno(const char *subject, int code, const char *message);

/* The same for a failed call of the library. Adds what the struct knows and the message does not
 * say: the layer, the place in the disk, the place in the file. */
void report_library(const char *subject, const struct qcow2_error *err);

/* The same, with the name of the layer at fault and with advice, the end of a sentence. Either may be
 * NULL. */
void report_library_more(const char *subject, const char *layer, const struct qcow2_error *err,
                         const char *advice);

/* "qcow2: SUBJECT: warning: message (...)", for what does not keep a command from going on. */
void report_warning(const char *subject, const char *message, const struct qcow2_error *err);

#endif
