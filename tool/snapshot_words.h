/* SPDX-License-Identifier: MIT */
/* snapshot_words.h - a snapshot as qemu-img's -l takes it: "snapshot.id=ID,snapshot.name=NAME". */
#ifndef TOOL_SNAPSHOT_WORDS_H
#define TOOL_SNAPSHOT_WORDS_H

#include <qcow2.h>
#include <stdbool.h>

#include "args.h"

/* What was said to be the id and what the name; NULL: nothing. Both NULL: one word for either, or no
 * snapshot. Zeros to begin with. */
struct snapshot_words {
    char *id;
    char *name;
};

/* Reads the value of the current option, and lets it be common.snapshot: the image is opened with that, and
 * `words` must live as long. Reports what it cannot read. */
bool snapshot_words_read(struct snapshot_words *words, struct args *args);

/* Is the snapshot that `image` was opened with the one that was meant? The library takes a word for an id
 * before it takes it for a name. Reports otherwise. `asked` is common.snapshot: another option may have
 * set it since. */
bool snapshot_words_hold(const struct snapshot_words *words, const char *asked,
                         const struct qcow2_image *image, const char *path);

void snapshot_words_free(struct snapshot_words *words);

#endif
