/* SPDX-License-Identifier: MIT */
/* info_human.c - an image's headers for people: one fact a line, what goes without saying left out.
 * Strings from the image are escaped: they are a stranger's. */
#include "info_print.h"

#include <inttypes.h>
#include <stdio.h>

#include "size.h"
#include "text.h"

static void put_label(const char *label)
{
    printf("%-20s", label);
}

static void put_size(const char *label, uint64_t bytes)
{
    char text[SIZE_TEXT_MAX];

    put_label(label);
    printf("%s", size_format(text, bytes));
    if (bytes >= 1024) {
        printf(" (%" PRIu64 " bytes)", bytes);
    }
    putchar('\n');
}

static void put_features(const struct info_facts *facts, const char *label, int set, uint64_t bits)
{
    const char *before = "";

    if (bits == 0) {
        return;
    }
    put_label(label);
    for (int bit = 0; bit < 64; bit++) {
        const char *name = qcow2_get_feature_name(facts->image, 0, set, bit);

        if ((bits >> bit & 1) == 0) {
            continue;
        }
        fputs(before, stdout);
        if (name != NULL) {
            text_put(stdout, name);
        } else {
            printf("unknown bit %d", bit);
        }
        before = ", ";
    }
    putchar('\n');
}

static void put_references(const struct info_facts *facts)
{
    const struct qcow2_info *info = &facts->info;

    if (info->backing_file != NULL) {
        put_label("backing file:");
        text_put(stdout, info->backing_file);
        fputs(" (format ", stdout);
        text_put(stdout, info->backing_format != NULL ? info->backing_format : "not stated");
        fputs(")\n", stdout);
        put_label("  seen from here:");
        text_put(stdout, facts->full_backing);
        putchar('\n');
    }
    if (info->data_file != NULL ||
        (info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0) {
        put_label("data file:");
        text_put(stdout, info->data_file != NULL ? info->data_file : "not named");
        if ((info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) == 0) {
            fputs(" (not used)", stdout);
        } else if ((info->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW) != 0) {
            fputs(" (raw)", stdout);
        }
        putchar('\n');
    }
}

static void put_extensions(const struct info_facts *facts)
{
    struct qcow2_extension extension;
    uint64_t cursor = 0;
    const char *label = "extensions:";

    while (qcow2_next_extension(facts->image, 0, &cursor, &extension, NULL) == 1) {
        put_label(label);
        if (extension.name != NULL) {
            text_put(stdout, extension.name);
        } else {
            printf("unknown type 0x%08" PRIx32, extension.type);
        }
        printf(" (%" PRIu32 " bytes at 0x%" PRIx64 ")\n", extension.length, extension.host_offset);
        label = "";
    }
}

void info_human(const struct info_facts *facts)
{
    const struct qcow2_info *info = &facts->info;
    const char *encryption = info_encryption_name(info->encryption);

    put_label("image:");
    text_put(stdout, facts->path);
    putchar('\n');
    put_label("format:");
    printf("qcow2 version %" PRIu32 " (compat %s)\n", info->version,
           info->version < 3 ? "0.10" : "1.1");
    put_size("virtual size:", info->virtual_size);
    put_size("disk usage:", facts->disk_bytes);
    if (info->file_size != UINT64_MAX) {
        put_size("file length:", info->file_size);
    }
    put_size("cluster size:", info->cluster_size);
    put_label("compression:");
    printf("%s\n", info->compression == QCOW2_COMPRESSION_ZSTD ? "zstd" : "deflate (zlib)");
    put_label("refcounts:");
    printf("%" PRIu32 " bits\n", info->refcount_bits);
    if (encryption != NULL) {
        put_label("encryption:");
        printf("%s\n", encryption);
    }
    put_references(facts);
    if (info->snapshot_count > 0) {
        put_label("snapshots:");
        printf("%" PRIu32 "\n", info->snapshot_count);
    }
    if ((info->incompatible_features & QCOW2_INCOMPATIBLE_DIRTY) != 0) {
        put_label("state:");
        printf("dirty: was not closed cleanly, its refcounts may be stale\n");
    }
    if ((info->incompatible_features & QCOW2_INCOMPATIBLE_CORRUPT) != 0) {
        put_label("state:");
        printf("corrupt: marked so by whoever wrote it last, parts may be unreadable\n");
    }
    put_features(facts, "needs to be read:", QCOW2_FEATURES_INCOMPATIBLE,
                 info->incompatible_features);
    put_features(facts, "compatible:", QCOW2_FEATURES_COMPATIBLE, info->compatible_features);
    put_features(facts, "autoclear:", QCOW2_FEATURES_AUTOCLEAR, info->autoclear_features);
    put_extensions(facts);
}
