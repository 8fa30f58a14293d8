/* SPDX-License-Identifier: MIT */
/* limit.h - the limit of walks over a whole disk, which --no-limit lifts. */
#ifndef TOOL_LIMIT_H
#define TOOL_LIMIT_H

#include <qcow2.h>
#include <stdbool.h>
#include <stdint.h>

/* Ends the sentence about a walk that has reached it. */
#define LIMIT_ADVICE "--no-limit goes on"

/* How many steps a walk may take. */
uint64_t limit_of(const struct qcow2_image *image, bool no_limit);

/* Fills *err with QCOW2_E_LIMIT, which it returns. */
int limit_reached(struct qcow2_error *err, const char *what, uint64_t limit);

#endif
