/* SPDX-License-Identifier: MIT */
/* memory.c - a source over bytes that the caller holds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "base/error.h"

struct memory {
    const char *data;
    size_t count;
    char name[];
};

static int memory_read_at(void *ctx, void *buf, size_t count, uint64_t offset)
{
    const struct memory *memory = ctx;

    if (offset > memory->count || count > memory->count - offset) {
        return EIO;
    }
    memcpy(buf, memory->data + offset, count);
    return 0;
}

static int memory_get_size(void *ctx, uint64_t *bytes_ret)
{
    const struct memory *memory = ctx;

    *bytes_ret = memory->count;
    return 0;
}

int qcow2_source_from_memory(const void *data, size_t count, const char *name,
                             struct qcow2_source *source_ret, struct qcow2_error *err)
{
    size_t name_bytes = (name != NULL ? strlen(name) : 0) + 1;
    struct memory *memory;

    if (source_ret == NULL || (data == NULL && count > 0)) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "no data, or nowhere to put the source");
    }
    memory = malloc(sizeof *memory + name_bytes);
    if (memory == NULL) {
        return q2_error_nomem(err);
    }
    memory->data = data;
    memory->count = count;
    memcpy(memory->name, name != NULL ? name : "", name_bytes);
    *source_ret = (struct qcow2_source){
        .size = sizeof *source_ret,
        .ctx = memory,
        .name = memory->name,
        .read_at = memory_read_at,
        .get_size = memory_get_size,
        .close = free,
    };
    return 0;
}
