/* SPDX-License-Identifier: MIT */
/* vet_header.c - rules about what the headers say: other files, keys, features, sizes. */
#include "vet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "size.h"

#define KNOWN_COMPATIBLE QCOW2_COMPATIBLE_LAZY_REFCOUNTS
#define KNOWN_AUTOCLEAR  (QCOW2_AUTOCLEAR_BITMAPS | QCOW2_AUTOCLEAR_DATA_FILE_RAW)

static void references(struct vet *vet)
{
    const struct qcow2_info *info = &vet->info;
    bool data_bit = (info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0;

    if (info->backing_file != NULL) {
        const char *format = info->backing_format;

        vet_find(vet, VET_BACKING_FILE, UINT64_MAX, "names the backing file \"%s\"%s%s%s",
                 info->backing_file, format != NULL ? " (" : "", format != NULL ? format : "",
                 format != NULL ? ")" : "");
        if (format == NULL) {
            vet_find(vet, VET_BACKING_FORMAT, UINT64_MAX,
                     "does not say what format its backing file has");
        }
    }
    if (info->data_file != NULL) {
        vet_find(vet, VET_DATA_FILE, UINT64_MAX, "names the data file \"%s\"%s", info->data_file,
                 data_bit ? "" : ", but keeps its data itself");
    } else if (data_bit) {
        vet_find(vet, VET_DATA_FILE, UINT64_MAX, "keeps its data in a file that it does not name");
    }
}

static bool keys(struct vet *vet)
{
    struct qcow2_luks_info luks = QCOW2_LUKS_INFO_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;

    if (vet->info.encryption == QCOW2_ENCRYPTION_NONE) {
        return true;
    }
    vet_find(vet, VET_ENCRYPTION, UINT64_MAX, "is encrypted with %s",
             vet->info.encryption == QCOW2_ENCRYPTION_LUKS ? "LUKS" : "AES (legacy)");
    if (vet->info.encryption != QCOW2_ENCRYPTION_LUKS) {
        return true;
    }
    if (qcow2_get_luks_info(vet->image, 0, &luks, &err) < 0) {
        if (err.code == QCOW2_E_IO || err.code == QCOW2_E_NOMEM) {
            vet->failure = err;
            return false;
        }
        vet_find(vet, VET_BROKEN_KEYS, err.host_offset, "%s",
                 err.code == QCOW2_E_NOT_FOUND ? "has no LUKS header" : err.message);
        return true;
    }
    if (luks.passphrase_work > QCOW2_DEFAULT_MAX_KEY_ITERATIONS) { /* then it might not open */
        vet_find(vet, VET_KEY_COST, luks.header_offset,
                 "wants %" PRIu64 " iterations for each passphrase that is tried",
                 luks.passphrase_work);
    }
    return true;
}

/* The bits as a list, "bit 3 (some name), bit 9". */
static void list_bits(const struct vet *vet, int set, uint64_t bits, char *list, size_t room)
{
    size_t used = 0;

    for (int bit = 0; bit < 64; bit++) {
        const char *name = qcow2_get_feature_name(vet->image, 0, set, bit);

        if ((bits >> bit & 1) == 0 || used >= room) {
            continue;
        }
        used += (size_t)snprintf(list + used, room - used, "%sbit %d%s%s%s", used > 0 ? ", " : "",
                                 bit, name != NULL ? " (" : "", name != NULL ? name : "",
                                 name != NULL ? ")" : "");
    }
}

static void features(struct vet *vet)
{
    const struct qcow2_info *info = &vet->info;
    uint64_t compatible = info->compatible_features & ~KNOWN_COMPATIBLE;
    uint64_t autoclear = info->autoclear_features & ~KNOWN_AUTOCLEAR;
    struct qcow2_extension extension;
    char list[1024] = "";
    uint64_t cursor = 0;

    if (compatible != 0) {
        list_bits(vet, QCOW2_FEATURES_COMPATIBLE, compatible, list, sizeof list);
        vet_find(vet, VET_UNKNOWN_COMPATIBLE, 80, "has unknown compatible features: %s", list);
    } else if (autoclear != 0) {
        list_bits(vet, QCOW2_FEATURES_AUTOCLEAR, autoclear, list, sizeof list);
        vet_find(vet, VET_UNKNOWN_COMPATIBLE, 88, "has unknown autoclear features: %s", list);
    }
    while (qcow2_next_extension(vet->image, 0, &cursor, &extension, NULL) == 1) {
        if (extension.name == NULL) {
            vet_find(vet, VET_UNKNOWN_EXTENSION, extension.host_offset,
                     "has a header extension 0x%08" PRIx32 " of %" PRIu32
                     " bytes, which this program does not know",
                     extension.type, extension.length);
        }
    }
    if ((info->incompatible_features & QCOW2_INCOMPATIBLE_DIRTY) != 0) {
        vet_find(vet, VET_DIRTY, UINT64_MAX,
                 "is marked as in use: its refcounts are out of date, or a writer has it open");
    }
    if ((info->incompatible_features & QCOW2_INCOMPATIBLE_CORRUPT) != 0) {
        vet_find(vet, VET_CORRUPT, UINT64_MAX,
                 "is marked as corrupt: a writer found its tables broken");
    }
}

static void sizes(struct vet *vet)
{
    const struct qcow2_info *info = &vet->info;
    bool data_file = (info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0;
    char size[SIZE_TEXT_MAX], file[SIZE_TEXT_MAX];

    if (info->virtual_size > vet->policy->max_virtual_bytes) {
        vet_find(vet, VET_VIRTUAL_SIZE, UINT64_MAX,
                 "has a disk of %s (%" PRIu64 " bytes), more than %s",
                 size_format(size, info->virtual_size), info->virtual_size,
                 size_format(file, vet->policy->max_virtual_bytes));
    }
    if (!data_file && info->file_size > 0 &&
        vet_exceeds(info->virtual_size, info->file_size, vet->policy->max_ratio)) {
        vet_find(vet, VET_RATIO, UINT64_MAX, "has a disk of %s in a file of %s",
                 size_format(size, info->virtual_size), size_format(file, info->file_size));
    }
}

bool vet_header(struct vet *vet)
{
    if (vet->info.format == QCOW2_FORMAT_QCOW1) {
        vet_find(vet, VET_VERSION_1, UINT64_MAX, "is a qcow image of version 1");
    }
    references(vet);
    features(vet);
    sizes(vet);
    return keys(vet);
}
