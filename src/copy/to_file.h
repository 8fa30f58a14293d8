/* SPDX-License-Identifier: MIT */
/* to_file.h - copying into something with positions. */
#ifndef Q2_COPY_TO_FILE_H
#define Q2_COPY_TO_FILE_H

#include "target.h"
#include "team.h"

/* Fills a FILE or DEVICE that was inspected. The fields of *copy that are the caller's are set; the
 * rest is readied and released here. Changes nothing in the target before all memory is there. */
int q2_copy_to_target(struct q2_copy *copy, struct q2_target *target, struct qcow2_error *err);

#endif
