/* SPDX-License-Identifier: MIT */
/* info_json.c - an image's headers as JSON.
 * Everything at the top level and under "format-specific" has the name and the value that
 * `qemu-img info --output=json` 7.2 gives it. What only we tell stands under "qcow2". */
#include "info_print.h"

#include <inttypes.h>
#include <stdio.h>

#include "json.h"
#include "json_out.h"

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

/* There may be a quarter of a million: those that are not listed are counted. */
static void put_extensions(const struct info_facts *facts, struct json_out *out)
{
    bool *failed = &out->failed;
    struct qcow2_extension extension;
    uint64_t cursor = 0;
    uint64_t count = 0;

    json_out_open(out, "header-extensions", '[');
    while (qcow2_next_extension(facts->image, 0, &cursor, &extension, NULL) == 1) {
        json_t *entry;
        char type[16];

        if (++count > INFO_EXTENSIONS_MAX) {
            continue;
        }
        entry = json_object();
        snprintf(type, sizeof type, "0x%08" PRIx32, extension.type);
        json_set(entry, "type", json_string(type), failed);
        json_set(entry, "name", extension.name != NULL ? json_text(extension.name) : json_null(),
                 failed);
        json_set(entry, "offset", json_u64(extension.host_offset), failed);
        json_set(entry, "length", json_u64(extension.length), failed);
        json_out_put(out, NULL, entry);
    }
    json_out_close(out, ']');
    if (count > INFO_EXTENSIONS_MAX) {
        json_out_put(out, "header-extensions-not-listed", json_u64(count - INFO_EXTENSIONS_MAX));
    }
}

static json_t *table(const char *count_key, uint64_t count, uint64_t offset, bool *failed)
{
    json_t *object = json_object();

    json_set(object, count_key, json_u64(count), failed);
    json_set(object, "offset", json_u64(offset), failed);
    return object;
}

/* Prints an entry of a list that is not there if nothing is in it: the first one opens it. */
static void put_entry(struct json_out *out, const char *list, bool *any, json_t *entry)
{
    if (!*any) {
        json_out_open(out, list, '[');
        *any = true;
    }
    json_out_put(out, NULL, entry);
}

static void put_snapshots(const struct info_facts *facts, struct json_out *out)
{
    bool *failed = &out->failed;
    bool any = false;
    struct qcow2_snapshot snapshot;
    uint64_t cursor = 0;

    while (qcow2_next_snapshot(facts->image, &cursor, &snapshot, NULL) == 1) {
        json_t *entry = json_object();

        json_set(entry, "id", json_text(snapshot.id), failed);
        json_set(entry, "name", json_text(snapshot.name), failed);
        /* A signed number in qemu-img, whatever the image says. */
        json_set(entry, "vm-state-size", json_integer((json_int_t)snapshot.vm_state_size), failed);
        json_set(entry, "date-sec", json_u64(snapshot.date_seconds), failed);
        json_set(entry, "date-nsec", json_integer(snapshot.date_nanoseconds), failed);
        json_set(entry, "vm-clock-sec", json_u64(snapshot.vm_clock_nanoseconds / 1000000000),
                 failed);
        json_set(entry, "vm-clock-nsec", json_u64(snapshot.vm_clock_nanoseconds % 1000000000),
                 failed);
        if (snapshot.icount != UINT64_MAX) {
            json_set(entry, "icount", json_u64(snapshot.icount), failed);
        }
        put_entry(out, "snapshots", &any, entry);
    }
    if (any) {
        json_out_close(out, ']');
    }
}

/* What qemu-img does not tell of each snapshot. */
static void put_snapshot_sizes(const struct info_facts *facts, struct json_out *out)
{
    bool *failed = &out->failed;
    struct qcow2_snapshot snapshot;
    uint64_t cursor = 0;

    json_out_open(out, "snapshots", '[');
    while (qcow2_next_snapshot(facts->image, &cursor, &snapshot, NULL) == 1) {
        json_t *entry = json_object();

        json_set(entry, "id", json_text(snapshot.id), failed);
        json_set(entry, "virtual-size", json_u64(snapshot.disk_size), failed);
        json_out_put(out, NULL, entry);
    }
    json_out_close(out, ']');
}

static void put_bitmaps(const struct info_facts *facts, struct json_out *out)
{
    bool *failed = &out->failed;
    bool any = false;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0;

    while (qcow2_next_bitmap(facts->image, &cursor, &bitmap, NULL) == 1) {
        json_t *entry = json_object();
        json_t *flags = json_array();

        if ((bitmap.flags & QCOW2_BITMAP_IN_USE) != 0) {
            json_append(flags, json_string("in-use"), failed);
        }
        if ((bitmap.flags & QCOW2_BITMAP_AUTO) != 0) {
            json_append(flags, json_string("auto"), failed);
        }
        json_set(entry, "name", json_text(bitmap.name), failed);
        json_set(entry, "granularity", json_u64(bitmap.granularity), failed);
        json_set(entry, "flags", flags, failed);
        put_entry(out, "bitmaps", &any, entry);
    }
    if (any) {
        json_out_close(out, ']');
    }
}

static json_t *slot_list(const struct qcow2_luks_info *luks, bool *failed)
{
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof luks->slots / sizeof luks->slots[0]; i++) {
        const struct qcow2_luks_slot *slot = &luks->slots[i];
        json_t *entry = json_object();

        json_set(entry, "active", json_boolean(slot->active), failed);
        json_set(entry, "key-offset", json_u64(slot->key_offset), failed);
        if (slot->active) {
            json_set(entry, "iters", json_integer(slot->iterations), failed);
            json_set(entry, "stripes", json_integer(slot->stripes), failed);
        }
        json_append(list, entry, failed);
    }
    return list;
}

static json_t *encryption(const struct info_facts *facts, bool *failed)
{
    const struct qcow2_luks_info *luks = &facts->luks;
    json_t *object = json_object();

    json_set(object, "format", json_string(info_encryption_name(facts->info.encryption)), failed);
    if (facts->info.encryption != QCOW2_ENCRYPTION_LUKS || facts->luks_problem.code != 0) {
        return object;
    }
    json_set(object, "cipher-alg", json_string(luks->cipher), failed);
    json_set(object, "cipher-mode", json_string(luks->cipher_mode), failed);
    json_set(object, "ivgen-alg", json_string(luks->iv_generator), failed);
    if (luks->iv_hash[0] != '\0') {
        json_set(object, "ivgen-hash-alg", json_string(luks->iv_hash), failed);
    }
    json_set(object, "hash-alg", json_string(luks->hash), failed);
    json_set(object, "payload-offset", json_u64(luks->payload_offset), failed);
    json_set(object, "master-key-iters", json_integer(luks->master_key_iterations), failed);
    json_set(object, "uuid", json_text(luks->uuid), failed);
    json_set(object, "slots", slot_list(luks, failed), failed);
    return object;
}

static void put_problem(struct json_out *out, const char *key, const struct qcow2_error *problem)
{
    if (problem->code != 0) {
        json_out_put(out, key, json_text(problem->message));
    }
}

/* Ours alone. */
static void put_own_facts(const struct info_facts *facts, struct json_out *out)
{
    const struct qcow2_info *info = &facts->info;
    bool *failed = &out->failed;

    json_out_open(out, "qcow2", '{');
    json_out_put(out, "version", json_integer(info->version));
    json_out_put(out, "header-length", json_integer(info->header_length));
    json_out_put(out, "header-size", json_u64(info->header_size));
    if (info->file_size != UINT64_MAX) {
        json_out_put(out, "file-length", json_u64(info->file_size));
    }
    json_out_put(out, "l1-table", table("entries", info->l1_entries, info->l1_offset, failed));
    json_out_put(
        out, "refcount-table",
        table("clusters", info->refcount_table_clusters, info->refcount_table_offset, failed));
    json_out_put(out, "snapshot-table",
                 table("entries", info->snapshot_count, info->snapshots_offset, failed));
    json_out_open(out, "features", '{');
    json_out_put(
        out, "incompatible",
        feature_list(facts, QCOW2_FEATURES_INCOMPATIBLE, info->incompatible_features, failed));
    json_out_put(out, "compatible",
                 feature_list(facts, QCOW2_FEATURES_COMPATIBLE, info->compatible_features, failed));
    json_out_put(out, "autoclear",
                 feature_list(facts, QCOW2_FEATURES_AUTOCLEAR, info->autoclear_features, failed));
    json_out_close(out, '}');
    put_extensions(facts, out);
    if (info->snapshot_count > 0) {
        put_snapshot_sizes(facts, out);
    }
    put_problem(out, "snapshots-problem", &facts->snapshots_problem);
    put_problem(out, "bitmaps-problem", &facts->bitmaps_problem);
    put_problem(out, "encryption-problem", &facts->luks_problem);
    json_out_close(out, '}');
}

static json_t *flag(uint64_t features, uint64_t bit)
{
    return json_boolean((features & bit) != 0);
}

/* qemu-img's "data" of "format-specific". */
static void put_specific_facts(const struct info_facts *facts, struct json_out *out)
{
    const struct qcow2_info *info = &facts->info;

    json_out_open(out, "data", '{');
    json_out_put(out, "compat", json_string(info->version < 3 ? "0.10" : "1.1"));
    json_out_put(out, "compression-type", json_string(info_compression_name(info->compression)));
    json_out_put(out, "refcount-bits", json_integer(info->refcount_bits));
    if (info->encryption != QCOW2_ENCRYPTION_NONE) {
        json_out_put(out, "encrypt", encryption(facts, &out->failed));
    }
    if (info->version < 3) {
        json_out_close(out, '}');
        return;
    }
    json_out_put(out, "lazy-refcounts",
                 flag(info->compatible_features, QCOW2_COMPATIBLE_LAZY_REFCOUNTS));
    json_out_put(out, "corrupt", flag(info->incompatible_features, QCOW2_INCOMPATIBLE_CORRUPT));
    json_out_put(out, "extended-l2",
                 flag(info->incompatible_features, QCOW2_INCOMPATIBLE_EXTENDED_L2));
    if (info->data_file != NULL) {
        json_out_put(out, "data-file", json_text(info->data_file));
    }
    if ((info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0) {
        json_out_put(out, "data-file-raw",
                     flag(info->autoclear_features, QCOW2_AUTOCLEAR_DATA_FILE_RAW));
    }
    put_bitmaps(facts, out);
    json_out_close(out, '}');
}

void info_json(const struct info_facts *facts, struct json_out *out)
{
    const struct qcow2_info *info = &facts->info;

    json_out_open(out, NULL, '{');
    json_out_put(out, "filename", json_text(facts->path));
    json_out_put(out, "format", json_string(info_format_name(info->format)));
    json_out_put(out, "virtual-size", json_u64(info->virtual_size));
    json_out_put(out, "actual-size", json_u64(facts->disk_bytes));
    if (info->format != QCOW2_FORMAT_RAW) {
        json_out_put(out, "cluster-size", json_integer(info->cluster_size));
    }
    json_out_put(out, "dirty-flag", flag(info->incompatible_features, QCOW2_INCOMPATIBLE_DIRTY));
    if (info->encryption != QCOW2_ENCRYPTION_NONE) {
        json_out_put(out, "encrypted", json_true());
    }
    if (info->backing_file != NULL) {
        json_out_put(out, "backing-filename", json_text(info->backing_file));
        json_out_put(out, "full-backing-filename", json_text(facts->full_backing));
        if (info->backing_format != NULL) {
            json_out_put(out, "backing-filename-format", json_text(info->backing_format));
        }
    }
    if (info->format == QCOW2_FORMAT_QCOW2) {
        if (info_has_snapshots(facts)) {
            put_snapshots(facts, out);
        }
        json_out_open(out, "format-specific", '{');
        json_out_put(out, "type", json_string("qcow2"));
        put_specific_facts(facts, out);
        json_out_close(out, '}');
        put_own_facts(facts, out);
    }
    json_out_close(out, '}');
}
