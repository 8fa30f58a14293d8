/* SPDX-License-Identifier: MIT */
/* out.c - text on standard output, written so that no failure goes unseen.
 * Knows stdio; must not know what is being printed. */
#include "out.h"

#include <errno.h>
#include <stdio.h>

#include "report.h"

/* errno of the first failure: stdio remembers that there was one, but not which. */
static int first_failure;

bool out_failed(void)
{
    if (ferror(stdout) == 0) {
        return false;
    }
    if (first_failure == 0) {
        first_failure = errno != 0 ? errno : EIO;
    }
    return true;
}

void out_report(int code)
{
    if (code == EPIPE) {
        report("standard output", "closed by its reader before everything was written");
    } else {
        report_errno("standard output", code, "writing failed");
    }
}

bool out_close(void)
{
    bool failed = out_failed();

    if (!failed && fflush(stdout) != 0) {
        first_failure = errno;
        failed = true;
    }
    /* close(2) is where network file systems confess. */
    if (fclose(stdout) != 0 && !failed) {
        first_failure = errno;
        failed = true;
    }
    if (failed) {
        out_report(first_failure);
    }
    return !failed;
}
