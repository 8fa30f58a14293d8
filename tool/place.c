/* SPDX-License-Identifier: MIT */
/* place.c - where one byte of a disk comes from, in short.
 * Knows what the library explains; must not know who asks. */
#include "place.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "open.h"
#include "text.h"

const char *place_kind_name(int kind)
{
    switch (kind) {
    case QCOW2_EXTENT_ZERO:
        return "zero";
    case QCOW2_EXTENT_DATA:
        return "data";
    case QCOW2_EXTENT_COMPRESSED:
        return "compressed";
    default:
        return "hole";
    }
}

void place_find(struct place *place, struct qcow2_image *image, const char *path, uint64_t offset)
{
    uint64_t cursor = 0;
    unsigned char byte;

    memset(place, 0, sizeof *place);
    place->past_end = offset >= qcow2_size(image);
    place->byte = 0;
    place->file = path;
    if (place->past_end) {
        return;
    }
    while (qcow2_next_explanation(image, offset, &cursor, &place->step, NULL) == 1) {
        if (place->step.decides) {
            place->known = true;
            break;
        }
    }
    if (place->known) {
        place->file = open_layer_name(image, path, place->step.depth);
    }
    place->byte = qcow2_pread(image, &byte, 1, offset, NULL) == 1 ? byte : -1;
}

void place_human(const struct place *place)
{
    if (place->past_end) {
        printf("past the end of the disk, which counts as zeros");
        return;
    }
    if (place->byte < 0) {
        printf("unreadable");
    } else {
        printf("0x%02x", (unsigned)place->byte);
    }
    if (!place->known) {
        return;
    }
    switch (place->step.kind) {
    case QCOW2_EXTENT_HOLE:
        printf(", stored nowhere; the last file asked is ");
        break;
    case QCOW2_EXTENT_ZERO:
        printf(", zeros by ");
        break;
    case QCOW2_EXTENT_COMPRESSED:
        printf(", compressed at 0x%" PRIx64 " of ", place->step.host_offset);
        break;
    default:
        printf(", stored at 0x%" PRIx64 " of %s", place->step.host_offset,
               place->step.in_data_file ? "the data file of " : "");
        break;
    }
    text_put(stdout, place->file);
    if (place->step.depth > 0) {
        printf(" (layer %d)", place->step.depth);
    }
}

void place_json(const struct place *place, json_t *object, bool *failed)
{
    json_set(object, "byte", place->byte >= 0 ? json_integer(place->byte) : json_null(), failed);
    if (place->past_end) {
        json_set(object, "kind", json_string("past-end"), failed);
    } else if (place->known) {
        json_set(object, "kind", json_string(place_kind_name(place->step.kind)), failed);
        json_set(object, "depth", json_integer(place->step.depth), failed);
        json_set(object, "file", json_text(place->file), failed);
        if (place->step.host_offset != UINT64_MAX) {
            json_set(object, "host-offset", json_u64(place->step.host_offset), failed);
        }
        if (place->step.in_data_file) {
            json_set(object, "in-data-file", json_true(), failed);
        }
    }
}
