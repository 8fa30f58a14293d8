/* SPDX-License-Identifier: MIT */
/* info_names.c - the words for what an image's headers say in numbers.
 * Knows qemu-img's words; must not know how they are printed. */
#include "info_print.h"

bool info_has_snapshots(const struct info_facts *facts)
{
    return (facts->info.incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) == 0;
}

const char *info_format_name(int format)
{
    switch (format) {
    case QCOW2_FORMAT_RAW:
        return "raw";
    case QCOW2_FORMAT_QCOW1:
        return "qcow";
    default:
        return "qcow2";
    }
}

const char *info_compression_name(int compression)
{
    return compression == QCOW2_COMPRESSION_ZSTD ? "zstd" : "zlib";
}

const char *info_encryption_name(int encryption)
{
    switch (encryption) {
    case QCOW2_ENCRYPTION_AES:
        return "aes";
    case QCOW2_ENCRYPTION_LUKS:
        return "luks";
    default:
        return NULL;
    }
}
