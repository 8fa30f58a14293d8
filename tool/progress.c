/* SPDX-License-Identifier: MIT */
/* progress.c - how far a long job is: one line on a terminal, redrawn in place.
 * Knows the terminal and the clock; must not know what is being done. */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "signals.h"
#include "size.h"

#define LINE_MAX_COLUMNS 120
#define DRAW_SECONDS     0.1 /* between two drawings of the bar */
#define PLAIN_SECONDS    1.0 /* between two plain lines */
#define RATE_SECONDS     0.5 /* between two measurements of the rate */

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void progress_begin(struct progress *progress, int mode)
{
    memset(progress, 0, sizeof *progress);
    progress->terminal = isatty(STDERR_FILENO) == 1;
    progress->visible = mode == PROGRESS_FORCE || (mode == PROGRESS_AUTO && progress->terminal);
    signals_report_progress();
    progress->begin = now();
    progress->rate_at = progress->begin;
    /* The bar appears at once, so that a slow start is seen to be one; plain lines only after some
     * time, so that a quick job writes one. */
    progress->last_draw = progress->begin - (progress->terminal ? 2 * DRAW_SECONDS : 0);
}

/* Smooth enough to read, quick enough to follow a change from holes to data. */
static void measure(struct progress *progress, double time, uint64_t done)
{
    double seconds = time - progress->rate_at;

    if (seconds >= RATE_SECONDS) {
        double rate = (double)(done - progress->rate_done) / seconds;
        double weight = progress->rate > 0 ? 0.3 : 1.0;

        progress->rate += weight * (rate - progress->rate);
        progress->rate_at = time;
        progress->rate_done = done;
    }
}

static int terminal_columns(void)
{
    struct winsize window;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0) {
        return 80;
    }
    return window.ws_col < LINE_MAX_COLUMNS ? window.ws_col : LINE_MAX_COLUMNS;
}

/* What stands after the percentage: how fast, and how long still. Nothing before that is known. */
static void describe(const struct progress *progress, double time, uint64_t done, uint64_t total,
                     char *tail, size_t tail_max)
{
    char rate[SIZE_TEXT_MAX];
    char left[SIZE_TEXT_MAX];
    double per_second = progress->rate;

    /* At first, and at last, the average over all says more than the latest measurement. */
    if ((per_second <= 0 || done >= total) && time > progress->begin + 0.05) {
        per_second = (double)done / (time - progress->begin);
    }
    tail[0] = '\0';
    if (per_second < 1) {
        return;
    }
    size_format(rate, (uint64_t)per_second);
    if (done >= total) {
        snprintf(tail, tail_max, "  %8s/s", rate);
    } else {
        snprintf(tail, tail_max, "  %8s/s  %7s left", rate,
                 size_format_seconds(left, (double)(total - done) / per_second));
    }
}

/* One column stays free: some terminals wrap as soon as the last one is written. */
static void draw(double percent, const char *tail)
{
    char line[LINE_MAX_COLUMNS + 1];
    int columns = terminal_columns() - 1;
    int tail_count = (int)strlen(tail);
    int bar = columns - 5 - 3 - tail_count; /* what "100%", " []" and the tail leave */
    int used = 0;

    if (columns < 5) {
        return;
    }
    memset(line, ' ', sizeof line);
    used = snprintf(line, sizeof line, "%4d%%", (int)percent);
    line[used] = ' ';
    if (bar >= 10) {
        int full = (int)((double)bar * percent / 100.0);

        line[6] = '[';
        memset(line + 7, '#', (size_t)full);
        memset(line + 7 + full, '-', (size_t)(bar - full));
        line[7 + bar] = ']';
        memcpy(line + 8 + bar, tail, (size_t)tail_count);
    } else if (used + tail_count <= columns) {
        memcpy(line + used, tail, (size_t)tail_count);
    }
    line[columns] = '\0';
    fprintf(stderr, "\r%s", line);
    fflush(stderr);
}

static bool is_due(const struct progress *progress, double time, bool complete)
{
    if (progress->terminal) {
        return time - progress->last_draw >= DRAW_SECONDS;
    }
    return complete || time - progress->last_draw >= PLAIN_SECONDS;
}

int progress_update(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct progress *progress = ctx;
    const bool wanted = signals_progress_wanted();
    char tail[2 * SIZE_TEXT_MAX + 16];
    double percent;
    double time;

    if (!progress->visible && !wanted) {
        return signals_caught();
    }
    time = now();
    if (progress->visible) {
        measure(progress, time, done_bytes);
    }
    if (!wanted && !is_due(progress, time, done_bytes >= total_bytes)) {
        return signals_caught();
    }
    progress->last_draw = time;
    percent = total_bytes > 0 ? 100.0 * (double)done_bytes / (double)total_bytes : 100.0;
    describe(progress, time, done_bytes, total_bytes, tail, sizeof tail);
    if (!progress->visible || !progress->terminal) {
        fprintf(stderr, "%4d%%%s\n", (int)percent, tail);
        return signals_caught();
    }
    signals_line_open(true);
    draw(percent, tail);
    progress->drawn = true;
    return signals_caught();
}

double progress_end(struct progress *progress)
{
    if (progress->drawn && progress->terminal) {
        int columns = terminal_columns() - 1;

        fprintf(stderr, "\r%*s\r", columns > 0 ? columns : 0, "");
        fflush(stderr);
        signals_line_open(false);
    }
    progress->drawn = false;
    return now() - progress->begin;
}
