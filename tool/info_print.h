/* SPDX-License-Identifier: MIT */
/* info_print.h - what is known about an image from its headers, and the two ways to print it. */
#ifndef TOOL_INFO_PRINT_H
#define TOOL_INFO_PRINT_H

#include <qcow2.h>
#include <stdbool.h>

#include "json_out.h"

/* So many header extensions are listed. */
#define INFO_EXTENSIONS_MAX 1000

/* One file of a chain. */
struct info_facts {
    const char *path;          /* as the user named it; further down as the chain does */
    struct qcow2_image *image; /* the file alone, so its depth is 0 */
    struct qcow2_info info;
    struct qcow2_luks_info luks; /* if it has one that is no problem */
    /* What is broken, but costs only itself; code 0: nothing. */
    struct qcow2_error snapshots_problem;
    struct qcow2_error bitmaps_problem;
    struct qcow2_error luks_problem;
    uint64_t disk_bytes;      /* what the file occupies */
    const char *full_backing; /* the backing file's name, relative to where the image is; or NULL */
};

/* Prints the object of one image: what qemu-img prints, and an object "qcow2" beside it with what only we
 * tell. */
void info_json(const struct info_facts *facts, struct json_out *out);

void info_human(const struct info_facts *facts);

/* Does the image have snapshots that can be used? None with an external data file, as in QEMU. */
bool info_has_snapshots(const struct info_facts *facts);

/* The words for the values of struct qcow2_info. */
const char *info_compression_name(int compression); /* as qemu-img calls it */
const char *info_format_name(int format);
const char *info_encryption_name(int encryption); /* NULL for none */

#endif
