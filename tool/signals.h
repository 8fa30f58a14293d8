/* SPDX-License-Identifier: MIT */
/* signals.h - what Ctrl-C, kill and a closed terminal do. */
#ifndef TOOL_SIGNALS_H
#define TOOL_SIGNALS_H

#include <stdbool.h>

/* For main: a closed pipe and a file over its size limit become errors of write(2), not a silent
 * death. What signals_exit_at_once says holds from here on. Every other signal that ends a program by default, a
 * fault of its own included, does so after the file given to signals_unlink is removed (signals_end). */
void signals_init(void);

/* Removes the file given to signals_unlink and ends the program by the default action of the signal, so that the
 * parent sees the status, and the system makes the core dump, as without a handler. For signal handlers. */
void signals_end(int number);

/* From now on SIGUSR1, and SIGINFO where it exists, do not end the program but set a flag for
 * signals_progress_wanted. */
void signals_report_progress(void);

/* Was progress asked for since the last call? */
bool signals_progress_wanted(void);

/* Catches SIGINT, SIGTERM and SIGHUP (those that were not ignored already, as nohup does it). From
 * then on the first one only sets a flag for signals_caught, and a second one ends the program at
 * once, the file given to signals_unlink removed. For work that asks for the flag all the time: opening
 * an image, which may take minutes for its key, does not. */
void signals_catch(void);

/* The same signals end the program at once, with the exit code that belongs to them and the file given
 * to signals_unlink removed: for work that does not ask, or may be stuck in a write that nobody reads. */
void signals_exit_at_once(void);

/* The signal that was caught, or 0. Cheap; for any thread. */
int signals_caught(void);

/* 128 + the signal that was caught. */
int signals_exit_code(void);

/* "SIGINT" and so on, for the signal that was caught. */
const char *signals_name(void);

/* The unfinished file to remove if the program must end at once; to be told before it is made, so
 * that there is no moment between. `name` must live until another one is told. NULL: there is none
 * any more. */
void signals_unlink(int directory_fd, const char *name);

/* Removes it, if there is one. For signal handlers. */
void signals_remove_unfinished(void);

/* Whether a line without an end stands on the terminal, to be ended before the shell writes on. */
void signals_line_open(bool open);

#endif
