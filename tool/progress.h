/* SPDX-License-Identifier: MIT */
/* progress.h - how far a long job is: one line on a terminal, redrawn in place. */
#ifndef TOOL_PROGRESS_H
#define TOOL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_mode {
    PROGRESS_AUTO, /* if standard error is a terminal */
    PROGRESS_FORCE,
    PROGRESS_OFF
};

/* Everything about one job. Where standard error is no terminal and progress is forced, plain lines
 * are written instead of a bar, at most one each second. SIGUSR1 asks for one plain line also where progress is off. */
struct progress {
    bool visible;
    bool terminal;
    bool drawn;
    double begin; /* seconds of the monotonic clock */
    double last_draw;
    double rate; /* bytes a second of late, 0 before it is known */
    double rate_at;
    uint64_t rate_done;
};

void progress_begin(struct progress *progress, int mode);

/* `ctx` is the struct; the shape is that of the library's progress callback, and so is the promise
 * that only one thread at a time is here. Returns non-zero once a signal was caught. */
int progress_update(void *ctx, uint64_t done_bytes, uint64_t total_bytes);

/* Wipes the line, so that whatever comes next starts on a clean one. Returns the seconds since
 * progress_begin. */
double progress_end(struct progress *progress);

#endif
