/* SPDX-License-Identifier: MIT */
/* info_json.c - an image's headers as JSON.
 * Everything at the top level and under "format-specific" has the name and the value that
 * `qemu-img info --output=json` 7.2 gives it. What only we tell stands under "qcow2". */
#include "info_print.h"

#include <inttypes.h>
#include <stdio.h>

#include "json.h"

static json_t *feature_list(const struct info_facts *facts, int set, uint64_t bits, bool *failed)
{
    json_t *list = json_array();

    for (int bit = 0; bit < 64; bit++) {
        const char *name = qcow2_get_feature_name(facts->image, 0, set, bit);
        json_t *feature;

        if ((bits >> bit & 1) == 0) {
            continue;
        }
        feature = json_object();
        json_set(feature, "bit", json_integer(bit), failed);
        json_set(feature, "name", name != NULL ? json_text(name) : json_null(), failed);
        json_append(list, feature, failed);
    }
    return list;
}

static json_t *extension_list(const struct info_facts *facts, bool *failed)
{
    json_t *list = json_array();
    struct qcow2_extension extension;
    uint64_t cursor = 0;

    while (qcow2_next_extension(facts->image, 0, &cursor, &extension, NULL) == 1) {
        json_t *entry = json_object();
        char type[16];

        snprintf(type, sizeof type, "0x%08" PRIx32, extension.type);
        json_set(entry, "type", json_string(type), failed);
        json_set(entry, "name", extension.name != NULL ? json_text(extension.name) : json_null(),
                 failed);
        json_set(entry, "offset", json_u64(extension.host_offset), failed);
        json_set(entry, "length", json_u64(extension.length), failed);
        json_append(list, entry, failed);
    }
    return list;
}

static json_t *table(const char *count_key, uint64_t count, uint64_t offset, bool *failed)
{
    json_t *object = json_object();

    json_set(object, count_key, json_u64(count), failed);
    json_set(object, "offset", json_u64(offset), failed);
    return object;
}

/* Ours alone. */
static json_t *own_facts(const struct info_facts *facts, bool *failed)
{
    const struct qcow2_info *info = &facts->info;
    json_t *object = json_object();
    json_t *features = json_object();

    json_set(object, "version", json_integer(info->version), failed);
    json_set(object, "header-length", json_integer(info->header_length), failed);
    json_set(object, "header-size", json_u64(info->header_size), failed);
    if (info->file_size != UINT64_MAX) {
        json_set(object, "file-length", json_u64(info->file_size), failed);
    }
    json_set(object, "l1-table", table("entries", info->l1_entries, info->l1_offset, failed),
             failed);
    json_set(object, "refcount-table",
             table("clusters", info->refcount_table_clusters, info->refcount_table_offset, failed),
             failed);
    json_set(object, "snapshot-table",
             table("entries", info->snapshot_count, info->snapshots_offset, failed), failed);
    json_set(features, "incompatible",
             feature_list(facts, QCOW2_FEATURES_INCOMPATIBLE, info->incompatible_features, failed),
             failed);
    json_set(features, "compatible",
             feature_list(facts, QCOW2_FEATURES_COMPATIBLE, info->compatible_features, failed),
             failed);
    json_set(features, "autoclear",
             feature_list(facts, QCOW2_FEATURES_AUTOCLEAR, info->autoclear_features, failed),
             failed);
    json_set(object, "features", features, failed);
    json_set(object, "header-extensions", extension_list(facts, failed), failed);
    return object;
}

static json_t *flag(uint64_t features, uint64_t bit)
{
    return json_boolean((features & bit) != 0);
}

/* qemu-img's "data" of "format-specific". */
static json_t *specific_facts(const struct info_facts *facts, bool *failed)
{
    const struct qcow2_info *info = &facts->info;
    json_t *data = json_object();

    json_set(data, "compat", json_string(info->version < 3 ? "0.10" : "1.1"), failed);
    json_set(data, "compression-type", json_string(info_compression_name(info->compression)),
             failed);
    json_set(data, "refcount-bits", json_integer(info->refcount_bits), failed);
    if (info->encryption != QCOW2_ENCRYPTION_NONE) {
        json_t *encrypt = json_object();

        json_set(encrypt, "format", json_string(info_encryption_name(info->encryption)), failed);
        json_set(data, "encrypt", encrypt, failed);
    }
    if (info->version < 3) {
        return data;
    }
    json_set(data, "lazy-refcounts",
             flag(info->compatible_features, QCOW2_COMPATIBLE_LAZY_REFCOUNTS), failed);
    json_set(data, "corrupt", flag(info->incompatible_features, QCOW2_INCOMPATIBLE_CORRUPT),
             failed);
    json_set(data, "extended-l2", flag(info->incompatible_features, QCOW2_INCOMPATIBLE_EXTENDED_L2),
             failed);
    if (info->data_file != NULL) {
        json_set(data, "data-file", json_text(info->data_file), failed);
    }
    if ((info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0) {
        json_set(data, "data-file-raw",
                 flag(info->autoclear_features, QCOW2_AUTOCLEAR_DATA_FILE_RAW), failed);
    }
    return data;
}

json_t *info_json(const struct info_facts *facts, bool *failed)
{
    const struct qcow2_info *info = &facts->info;
    json_t *object = json_object();
    json_t *specific = json_object();

    json_set(object, "filename", json_text(facts->path), failed);
    json_set(object, "format", json_string("qcow2"), failed);
    json_set(object, "virtual-size", json_u64(info->virtual_size), failed);
    json_set(object, "actual-size", json_u64(facts->disk_bytes), failed);
    json_set(object, "cluster-size", json_integer(info->cluster_size), failed);
    json_set(object, "dirty-flag", flag(info->incompatible_features, QCOW2_INCOMPATIBLE_DIRTY),
             failed);
    if (info->encryption != QCOW2_ENCRYPTION_NONE) {
        json_set(object, "encrypted", json_true(), failed);
    }
    if (info->backing_file != NULL) {
        json_set(object, "backing-filename", json_text(info->backing_file), failed);
        json_set(object, "full-backing-filename", json_text(facts->full_backing), failed);
        if (info->backing_format != NULL) {
            json_set(object, "backing-filename-format", json_text(info->backing_format), failed);
        }
    }
    json_set(specific, "type", json_string("qcow2"), failed);
    json_set(specific, "data", specific_facts(facts, failed), failed);
    json_set(object, "format-specific", specific, failed);
    json_set(object, "qcow2", own_facts(facts, failed), failed);
    return object;
}
