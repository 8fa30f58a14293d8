/* SPDX-License-Identifier: MIT */
/* allocator.h - memory that runs out on request, and what is taken of it.
 *
 * Knows allocation calls, nothing of who makes them. In an ordinary build the program's own malloc
 * family stands in for the C library's, for everybody in the process: the decoders, libcrypto and the C
 * library itself included. Sanitizers bring an allocator of their own, so there only calls of the
 * library under test and of the program are caught (the linker's --wrap), and libcrypto's by request. */
#ifndef FAULTS_ALLOCATOR_H
#define FAULTS_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>

/* Call first: takes over libcrypto's allocations where they are not caught anyway. */
void allocator_start(void);

/* Whether all allocations of the process are caught. */
bool allocator_sees_all(void);

/* The nth allocation from now on fails, counted from 1, and with `forever` all behind it; 0: none does. */
void allocator_arm(unsigned long nth, bool forever);

/* How many were asked for since. */
unsigned long allocator_calls(void);

/* How many failed since. */
unsigned long allocator_failures(void);

/* Blocks taken and not given back. */
long allocator_live_blocks(void);

/* Bytes of them. */
long allocator_live_bytes(void);

/* From now on, the most bytes that were live at a time beyond those that are live now. */
void allocator_watch_peak(void);
size_t allocator_peak_bytes(void);

#endif
