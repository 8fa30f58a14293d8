/* SPDX-License-Identifier: MIT */
/* vet_stray.c - bytes of the first cluster that have no meaning: not the fields of the header, not an
 * extension, not the name of the backing file. QEMU writes zeros there whenever it writes the header, so
 * these bytes come from something else: a boot sector, the descriptor of a CD, whatever makes the file a
 * second thing to a program that reads at other offsets. Of an extension, too, only what has a meaning counts. */
#include "vet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the header. Its last field that has a meaning is one byte; the rest of its eight is padding. */
enum {
    BACKING_OFFSET = 8,
    BACKING_LENGTH = 16,
    BACKING_END = 20,
    SNAPSHOT_COUNT = 60,
    SNAPSHOTS_OFFSET = 64,
    SNAPSHOTS_END = 72,
    LAST_FIELD_END = 105
};

enum {
    EXTENSION_HEAD = 8,
    TYPE_BACKING_FORMAT = (int)0xe2792aca,
    TYPE_FEATURE_NAMES = 0x6803f857,
    TYPE_BITMAPS = 0x23852875,
    TYPE_DATA_FILE = 0x44415441,
    BITMAPS_LENGTH = 24
};

/* An entry of the table of feature names: the set, the bit, the name. */
enum { FEATURE_BYTES = 48, FEATURE_NAME_AT = 2, FEATURE_SETS = 3, FEATURE_BITS = 64 };

/* The first cluster. What has a meaning becomes zeros. */
struct head {
    unsigned char *bytes;
    size_t n;
    bool named[FEATURE_SETS][FEATURE_BITS]; /* features whose name has been accounted for */
};

static uint64_t backing_offset(const struct head *head)
{
    uint64_t value = 0;

    for (size_t i = BACKING_OFFSET; i < BACKING_LENGTH; i++) {
        value = value << 8 | head->bytes[i];
    }
    return value;
}

static void account(struct head *head, uint64_t offset, uint64_t length)
{
    if (offset < head->n) {
        memset(head->bytes + offset, 0,
               length < head->n - offset ? (size_t)length : head->n - (size_t)offset);
    }
}

/* The length of a name that may be as long as `room`; 0: it is empty, or no text. */
static size_t name_length(const unsigned char *name, size_t room)
{
    size_t length = 0;

    for (; length < room && name[length] != '\0'; length++) {
        if (name[length] < ' ' || name[length] > '~') {
            return 0;
        }
    }
    return length;
}

/* Each feature may be named once, and an entry without a name ends the table. */
static void account_for_features(struct head *head, uint64_t table, uint64_t table_bytes)
{
    for (uint64_t at = 0; at + FEATURE_BYTES <= table_bytes; at += FEATURE_BYTES) {
        unsigned char *entry = head->bytes + table + at;
        unsigned set = entry[0], bit = entry[1];
        size_t length = name_length(entry + FEATURE_NAME_AT, FEATURE_BYTES - FEATURE_NAME_AT);

        if (length == 0) {
            return;
        }
        if (set < FEATURE_SETS && bit < FEATURE_BITS && !head->named[set][bit]) {
            head->named[set][bit] = true;
            account(head, table + at, FEATURE_NAME_AT + length);
        }
    }
}

/* A name that is what the library returns. */
static void account_for_name(struct head *head, uint64_t offset, uint64_t length, const char *name)
{
    if (name != NULL && length >= strlen(name) &&
        memcmp(head->bytes + offset, name, strlen(name)) == 0) {
        account(head, offset, strlen(name));
    }
}

/* Whether the extension is of a known type and another one of this type follows: readers use the last one, and
 * writers write one. */
static bool is_replaced(const struct vet *vet, const struct qcow2_extension *extension,
                        uint64_t cursor)
{
    struct qcow2_extension next;

    while (extension->name != NULL &&
           qcow2_next_extension(vet->image, 0, &cursor, &next, NULL) == 1) {
        if (next.type == extension->type) {
            return true;
        }
    }
    return false;
}

/* The format of a backing file is a word, and there is no other format than that of a backing file. */
static bool has_backing_format(const struct qcow2_info *info)
{
    return info->backing_file != NULL && info->backing_format != NULL &&
           name_length((const unsigned char *)info->backing_format, strlen(info->backing_format)) >
               0;
}

static void account_for_extension(const struct vet *vet, struct head *head,
                                  const struct qcow2_extension *extension)
{
    const struct qcow2_info *info = &vet->info;
    uint64_t offset = extension->host_offset, length = extension->length;
    bool bitmaps = info->version >= 3 && (info->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) != 0;

    account(head, offset - EXTENSION_HEAD, EXTENSION_HEAD);
    /* Opening the image has found all of it in the first cluster. */
    if (offset > head->n || length > head->n - offset) {
        return;
    }
    switch ((int)extension->type) {
    case TYPE_FEATURE_NAMES:
        account_for_features(head, offset, length);
        break;
    case TYPE_BACKING_FORMAT:
        account_for_name(head, offset, length,
                         has_backing_format(info) ? info->backing_format : NULL);
        break;
    case TYPE_DATA_FILE:
        account_for_name(head, offset, length, info->data_file);
        break;
    case TYPE_BITMAPS:
        account(head, offset, bitmaps && length == BITMAPS_LENGTH ? length : 0);
        break;
    default:
        account(head, offset, length); /* a rule of its own finds extensions of unknown types */
        break;
    }
}

/* Fields that have no meaning without what they are about. */
static bool has_snapshots(const struct head *head)
{
    static const unsigned char none[SNAPSHOTS_OFFSET - SNAPSHOT_COUNT];

    return memcmp(head->bytes + SNAPSHOT_COUNT, none, sizeof none) != 0;
}

static void account_for_fields(const struct vet *vet, struct head *head)
{
    const struct qcow2_info *info = &vet->info;
    uint64_t end = info->header_length < LAST_FIELD_END ? info->header_length : LAST_FIELD_END;
    bool snapshots = has_snapshots(head);

    account(head, 0, BACKING_OFFSET);
    if (info->backing_file != NULL) {
        account(head, BACKING_OFFSET, BACKING_END - BACKING_OFFSET);
    }
    account(head, BACKING_END, (snapshots ? SNAPSHOTS_END : SNAPSHOTS_OFFSET) - BACKING_END);
    account(head, SNAPSHOTS_END, end - SNAPSHOTS_END);
}

static void account_for_all(const struct vet *vet, struct head *head)
{
    const struct qcow2_info *info = &vet->info;
    struct qcow2_extension extension;
    uint64_t cursor = 0;

    /* A name of the image ends where a string does, whatever its length says. */
    if (info->backing_file != NULL) {
        account(head, backing_offset(head), strlen(info->backing_file));
    }
    while (qcow2_next_extension(vet->image, 0, &cursor, &extension, NULL) == 1) {
        if (!is_replaced(vet, &extension, cursor)) {
            account_for_extension(vet, head, &extension);
        }
    }
    account_for_fields(vet, head);
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
    struct head head = { NULL, vet->info.cluster_size, { { false } } };

    if (vet->info.format != QCOW2_FORMAT_QCOW2) {
        return true; /* in version 1 tables begin where they like */
    }
    if ((head.bytes = read_head(vet)) == NULL) {
        return false;
    }
    account_for_all(vet, &head);
    find_rest(vet, head.bytes);
    free(head.bytes);
    return true;
}
