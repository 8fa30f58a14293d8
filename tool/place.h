/* SPDX-License-Identifier: MIT */
/* place.h - where one byte of a disk comes from, in short: the file that decides it and how it is
 * stored there. */
#ifndef TOOL_PLACE_H
#define TOOL_PLACE_H

#include <jansson.h>
#include <qcow2.h>
#include <stdbool.h>

struct place {
    bool past_end;                 /* the disk is shorter */
    bool known;                    /* the tables could be followed */
    int byte;                      /* its value; -1: cannot be read */
    const char *file;              /* which decides; lives as long as the image */
    struct qcow2_explanation step; /* of the file that decides */
};

void place_find(struct place *place, struct qcow2_image *image, const char *path, uint64_t offset);

/* "0x41, data at 0x50000 of base.qcow2 (layer 1)". */
void place_human(const struct place *place);

/* Sets the keys "byte", "file", "depth", "kind", "host-offset". */
void place_json(const struct place *place, json_t *object, bool *failed);

/* The word for an enum qcow2_extent_kind. */
const char *place_kind_name(int kind);

#endif
