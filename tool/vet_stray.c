/* SPDX-License-Identifier: MIT */
/* vet_stray.c - bytes of the first cluster that nothing in it accounts for: not the fields of the header, not
 * an extension, not the name of the backing file. QEMU writes zeros there whenever it writes the header, so
 * that what stands there was put there: a boot sector, the descriptor of a CD, whatever makes the file a
 * second thing to those who look elsewhere. */
#include "vet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the header. Its last field that has a meaning is one byte; the rest of its eight is padding. */
enum { BACKING_OFFSET = 8, BACKING_SIZE = 16, LAST_FIELD_END = 105 };

static uint64_t backing_offset(const unsigned char *head)
{
    uint64_t value = 0;

    for (size_t i = BACKING_OFFSET; i < BACKING_SIZE; i++) {
        value = value << 8 | head[i];
    }
    return value;
}

/* What is accounted for becomes zeros. */
static void account(unsigned char *head, size_t n, uint64_t offset, uint64_t length)
{
    if (offset < n) {
        memset(head + offset, 0, length < n - offset ? (size_t)length : n - (size_t)offset);
    }
}

static void account_for_all(const struct vet *vet, unsigned char *head)
{
    const struct qcow2_info *info = &vet->info;
    const size_t n = info->cluster_size;
    struct qcow2_extension extension;
    uint64_t cursor = 0;

    /* A name of the image ends where a string does, whatever its length says. */
    if (info->backing_file != NULL) {
        account(head, n, backing_offset(head), strlen(info->backing_file));
    }
    while (qcow2_next_extension(vet->image, 0, &cursor, &extension, NULL) == 1) {
        account(head, n, extension.host_offset - 8, UINT64_C(8) + extension.length);
    }
    account(head, n, 0,
            info->header_length < LAST_FIELD_END ? info->header_length : LAST_FIELD_END);
}

static void find_rest(struct vet *vet, const unsigned char *head)
{
    uint64_t first = UINT64_MAX, count = 0;

    for (size_t i = 0; i < vet->info.cluster_size; i++) {
        if (head[i] != 0 && count++ == 0) {
            first = i;
        }
    }
    if (count > 0) {
        vet_find(vet, VET_STRAY_BYTES, first,
                 "has %" PRIu64 " byte%s in its first cluster that %s to nothing in its header",
                 count, count > 1 ? "s" : "", count > 1 ? "belong" : "belongs");
    }
}

/* The first cluster, with zeros where the file has ended, to be freed; NULL: vet->failure says why. */
static unsigned char *read_head(struct vet *vet)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    unsigned char *head = calloc(1, vet->info.cluster_size);
    struct qcow2_image *bytes;
    ssize_t r;

    if (head == NULL) {
        err.code = QCOW2_E_NOMEM;
        snprintf(err.message, sizeof err.message, "out of memory");
        vet->failure = err;
        return NULL;
    }
    if ((r = vet_open_bytes(vet->fd, &bytes, &err)) == 0) {
        r = qcow2_pread(bytes, head, vet->info.cluster_size, 0, &err);
        qcow2_close(bytes);
    }
    if (r < 0) {
        vet->failure = err;
        free(head);
        return NULL;
    }
    return head;
}

bool vet_stray(struct vet *vet)
{
    unsigned char *head;

    if (vet->info.format != QCOW2_FORMAT_QCOW2) {
        return true; /* in version 1 tables begin where they like */
    }
    if ((head = read_head(vet)) == NULL) {
        return false;
    }
    account_for_all(vet, head);
    find_rest(vet, head);
    free(head);
    return true;
}
