/* SPDX-License-Identifier: MIT */
/* system_calls.h - system calls of the copy engine that fail on request. Knows calls, no copies. */
#ifndef FAULTS_SYSTEM_CALLS_H
#define FAULTS_SYSTEM_CALLS_H

#include <stdbool.h>

enum call { WRITES, TRUNCATIONS, THREAD_STARTS, LOCKS, CALLS };

/* The nth call of a kind from now on fails with `code`, and with `forever` all behind it; nth 0: none does.
 * A write with code 0 does half of what it was asked for instead. */
void arm(enum call call, unsigned nth, bool forever, int code);

/* Nothing fails any more. */
void disarm(void);

/* Whether one of that kind has, since it was armed. */
bool has_failed(enum call call);

/* The clock goes on by a second with each look at it, so that progress is told every time. */
extern bool clock_leaps;

#endif
