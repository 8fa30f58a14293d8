/* SPDX-License-Identifier: MIT */
/* vet_second.h - what vet_second.c and vet_records.c share: a qcow2 file, in which they look for other formats. */
#ifndef TOOL_VET_SECOND_H
#define TOOL_VET_SECOND_H

#include "vet.h"

struct vet_file {
    struct vet *vet;
    struct qcow2_image *bytes;
    uint64_t size;
    struct qcow2_error err; /* code 0: all reads were good */
};

/* Bytes and their number, of a string literal. */
#define MAGIC(text) text, sizeof(text) - 1

/* Whether the file has these bytes, at most 16, at this offset. */
bool vet_second_has(struct vet_file *file, uint64_t offset, const char *bytes, size_t count);

void vet_second_find(struct vet_file *file, const char *format, uint64_t offset);

/* Looks for the formats that have to be recognized by a record. */
void vet_second_records(struct vet_file *file);

#endif
