/* SPDX-License-Identifier: MIT */
/* file.h - what is known of the sources that file.c makes, beside what any source tells. */
#ifndef Q2_SOURCE_FILE_H
#define Q2_SOURCE_FILE_H

#include <stdbool.h>

#include <qcow2.h>

/* For a source of qcow2_source_from_fd whose file the library has opened: no one else shares its file offset. */
void q2_source_opened_here(struct qcow2_source *source);

/* Whether the source opened its file itself: then nothing depends on where the offset of its descriptor
 * stands. */
bool q2_source_has_own_offset(const struct qcow2_source *source);

#endif
