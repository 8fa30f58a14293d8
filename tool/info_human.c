/* SPDX-License-Identifier: MIT */
/* info_human.c - an image's headers for people: one fact a line, what goes without saying left out.
 * Strings from the image are escaped: they are a stranger's. */
#include "info_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

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

static void put_snapshots(const struct info_facts *facts)
{
    struct qcow2_snapshot snapshot;
    uint64_t cursor = 0;
    const char *label = "snapshots:";

    if (facts->info.snapshot_count > 0 && !info_has_snapshots(facts)) {
        put_label(label);
        printf("%" PRIu32 ", which an image with a data file cannot use\n",
               facts->info.snapshot_count);
        return;
    }
    while (qcow2_next_snapshot(facts->image, &cursor, &snapshot, NULL) == 1) {
        time_t when = (time_t)snapshot.date_seconds;
        char size[SIZE_TEXT_MAX];
        char date[64] = "";
        struct tm parts;

        if (gmtime_r(&when, &parts) == NULL ||
            strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0) {
            snprintf(date, sizeof date, "%" PRIu64 " s after 1970", snapshot.date_seconds);
        }
        put_label(label);
        printf("id ");
        text_put(stdout, snapshot.id);
        printf(", \"");
        text_put(stdout, snapshot.name);
        printf("\", %s, disk %s", date, size_format(size, snapshot.disk_size));
        if (snapshot.vm_state_size > 0) {
            printf(", VM state %s", size_format(size, snapshot.vm_state_size));
        }
        putchar('\n');
        label = "";
    }
}

static void put_bitmaps(const struct info_facts *facts)
{
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0;
    const char *label = "bitmaps:";

    while (qcow2_next_bitmap(facts->image, &cursor, &bitmap, NULL) == 1) {
        char size[SIZE_TEXT_MAX];

        put_label(label);
        putchar('"');
        text_put(stdout, bitmap.name);
        printf("\", a bit for each %s%s%s\n", size_format(size, bitmap.granularity),
               (bitmap.flags & QCOW2_BITMAP_AUTO) != 0 ? ", recording" : "",
               (bitmap.flags & QCOW2_BITMAP_IN_USE) != 0 ? ", not closed properly: unusable" : "");
        label = "";
    }
}

static void put_encryption(const struct info_facts *facts)
{
    const struct qcow2_luks_info *luks = &facts->luks;

    put_label("encryption:");
    printf("%s", info_encryption_name(facts->info.encryption));
    if (facts->info.encryption != QCOW2_ENCRYPTION_LUKS || facts->luks_problem.code != 0) {
        putchar('\n');
        return;
    }
    printf(", %s-%s-%s%s%s, key by %s\n", luks->cipher, luks->cipher_mode, luks->iv_generator,
           luks->iv_hash[0] != '\0' ? ":" : "", luks->iv_hash, luks->hash);
    put_label("  uuid:");
    text_put(stdout, luks->uuid);
    putchar('\n');
    for (size_t i = 0; i < sizeof luks->slots / sizeof luks->slots[0]; i++) {
        if (luks->slots[i].active) {
            put_label("  key slot:");
            printf("%zu, %" PRIu32 " iterations\n", i, luks->slots[i].iterations);
        }
    }
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
    uint64_t count = 0;
    const char *label = "extensions:";

    while (qcow2_next_extension(facts->image, 0, &cursor, &extension, NULL) == 1) {
        if (++count > INFO_EXTENSIONS_MAX) {
            continue;
        }
        put_label(label);
        if (extension.name != NULL) {
            text_put(stdout, extension.name);
        } else {
            printf("unknown type 0x%08" PRIx32, extension.type);
        }
        printf(" (%" PRIu32 " bytes at 0x%" PRIx64 ")\n", extension.length, extension.host_offset);
        label = "";
    }
    if (count > INFO_EXTENSIONS_MAX) {
        put_label(label);
        printf("and %" PRIu64 " more, which are not listed\n", count - INFO_EXTENSIONS_MAX);
    }
}

void info_human(const struct info_facts *facts)
{
    const struct qcow2_info *info = &facts->info;

    put_label("image:");
    text_put(stdout, facts->path);
    putchar('\n');
    put_label("format:");
    if (info->format == QCOW2_FORMAT_QCOW2) {
        printf("qcow2 version %" PRIu32 " (compat %s)\n", info->version,
               info->version < 3 ? "0.10" : "1.1");
    } else {
        printf("%s\n", info->format == QCOW2_FORMAT_RAW ? "raw" : "qcow version 1");
    }
    put_size("virtual size:", info->virtual_size);
    put_size("disk usage:", facts->disk_bytes);
    if (info->file_size != UINT64_MAX) {
        put_size("file length:", info->file_size);
    }
    if (info->format == QCOW2_FORMAT_RAW) {
        return;
    }
    put_size("cluster size:", info->cluster_size);
    put_label("compression:");
    printf("%s\n", info->compression == QCOW2_COMPRESSION_ZSTD ? "zstd" : "deflate (zlib)");
    if (info->refcount_bits > 0) {
        put_label("refcounts:");
        printf("%" PRIu32 " bits\n", info->refcount_bits);
    }
    if (info->encryption != QCOW2_ENCRYPTION_NONE) {
        put_encryption(facts);
    }
    put_references(facts);
    put_snapshots(facts);
    put_bitmaps(facts);
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
