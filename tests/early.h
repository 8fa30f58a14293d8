/* SPDX-License-Identifier: MIT */
/* early.h - for functions that stand in for the system's and that a sanitizer calls before it is ready. */
#ifndef TESTS_EARLY_H
#define TESTS_EARLY_H

#if defined(__has_attribute)
#if __has_attribute(disable_sanitizer_instrumentation)
#define CALLED_EARLY __attribute__((disable_sanitizer_instrumentation))
#endif
#endif
#ifndef CALLED_EARLY
#define CALLED_EARLY
#endif

#endif
