/* SPDX-License-Identifier: MIT */
/* out.h - text on standard output, written so that no failure goes unseen. */
#ifndef TOOL_OUT_H
#define TOOL_OUT_H

#include <stdbool.h>

/* Has writing to stdout failed so far? Long listings ask after each row and stop early; the first
 * answer keeps the reason for out_close. */
bool out_failed(void);

/* Flushes and closes stdout. False, with the error reported, if anything written got lost. Nothing
 * may be written afterwards. */
bool out_close(void);

/* Reports that writing to standard output failed with errno value `code`. */
void out_report(int code);

#endif
