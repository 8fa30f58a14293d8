/* SPDX-License-Identifier: MIT */
/* vet_print.c - findings, verdict and bounds, for people and for programs. Text from the image is escaped
 * on its way out: it is a stranger's. */
#include "vet.h"

#include <inttypes.h>
#include <stdio.h>

#include "json.h"
#include "size.h"
#include "text.h"

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

/* What the image may cost who lets it in. Where tables are broken their sums may be above the disk. */
struct bounds {
    uint64_t stored, compressed;             /* of the disk */
    uint64_t data, tables, unused, leftover; /* of the file */
    uint64_t open_memory, cache_memory, thread_memory, byte_work;
};

static struct bounds bounds_of(const struct vet *vet)
{
    const struct qcow2_survey_result *survey = &vet->survey;
    uint64_t cluster = vet->info.cluster_size;

    return (struct bounds){
        .stored = at_most(survey->stored_bytes, vet->info.virtual_size),
        .compressed = at_most(survey->compressed_bytes, vet->info.virtual_size),
        .data = at_most(survey->data_clusters * cluster, vet->info.file_size),
        .tables = at_most(survey->table_clusters * cluster, vet->info.file_size),
        .unused = survey->unused_clusters * cluster,
        .leftover = survey->leftover_bytes,
        .open_memory = survey->open_memory_bytes,
        .cache_memory = survey->cache_memory_bytes,
        .thread_memory = survey->thread_memory_bytes,
        .byte_work = survey->byte_work_bytes,
    };
}

static void put_size(const char *label, uint64_t bytes, const char *more)
{
    char size[SIZE_TEXT_MAX];

    printf("%-22s%s%s%s\n", label, size_format(size, bytes), more[0] != '\0' ? ", " : "", more);
}

/* Each is that of the snapshot for which it is largest. */
static void put_snapshot_bounds(const struct qcow2_survey_result *survey)
{
    char more[192], size[SIZE_TEXT_MAX];

    snprintf(more, sizeof more, "%" PRIu64 " bytes, and a state of %s", survey->snapshot_disk_bytes,
             size_format(size, survey->snapshot_state_bytes));
    put_size("snapshot, read whole:", survey->snapshot_disk_bytes, more);
    put_size("  stored at most:", survey->snapshot_data_bytes, "when decompressed");
}

static void put_bounds(const struct vet *vet)
{
    struct bounds bounds = bounds_of(vet);
    char more[192], size[2][SIZE_TEXT_MAX];

    if (vet->image == NULL) {
        return;
    }
    snprintf(more, sizeof more, "%" PRIu64 " bytes", vet->info.virtual_size);
    put_size("disk, read whole:", vet->info.virtual_size, more);
    if (!vet->surveyed) {
        return;
    }
    snprintf(more, sizeof more, "and %s to be decompressed",
             size_format(size[0], bounds.compressed));
    put_size("  stored at most:", bounds.stored, more);
    if (vet->survey.snapshots > 0) {
        put_snapshot_bounds(&vet->survey);
    }
    if (vet->survey.bitmaps > 0) {
        put_size("bitmaps, in memory:", vet->survey.bitmap_bytes, "");
    }
    put_size("file:", vet->info.file_size, "");
    snprintf(more, sizeof more, "tables %s, unused %s", size_format(size[0], bounds.tables),
             size_format(size[1], bounds.unused + bounds.leftover));
    put_size("  data at most:", bounds.data, more);
    snprintf(more, sizeof more, "caches %s, %s for each thread that reads",
             size_format(size[0], bounds.cache_memory), size_format(size[1], bounds.thread_memory));
    put_size("memory to open:", bounds.open_memory, more);
    put_size("work for one byte:", bounds.byte_work, "");
}

static void put_verdict(const struct vet *vet)
{
    int counts[VET_SEVERITIES] = { 0 };

    for (int i = 0; i < vet->count; i++) {
        counts[vet->policy->severities[vet->findings[i].rule]]++;
    }
    printf("%s: ", vet_verdict(vet) ? "yes" : "no");
    if (vet->count == 0) {
        printf("no rule has anything to say\n");
    } else {
        printf("%d deny, %d warn, %d note%s\n", counts[VET_DENY], counts[VET_WARN],
               counts[VET_NOTE], vet->policy->strict ? " (warnings deny too)" : "");
    }
}

void vet_print_human(const struct vet *vet, bool quiet)
{
    for (enum vet_severity severity = VET_DENY; severity > VET_IGNORE && !quiet; severity--) {
        for (int i = 0; i < vet->count; i++) {
            const struct vet_finding *finding = &vet->findings[i];

            if (vet->policy->severities[finding->rule] != severity) {
                continue;
            }
            printf("%-6s%-20s", vet_severity_name(severity), vet_rules[finding->rule].code);
            text_put(stdout, finding->message);
            if (finding->offset != UINT64_MAX) {
                printf(" (at 0x%" PRIx64 ")", finding->offset);
            }
            putchar('\n');
        }
    }
    put_verdict(vet);
    if (!quiet) {
        put_bounds(vet);
    }
}

static json_t *finding_list(const struct vet *vet, bool *failed)
{
    json_t *list = json_array();

    for (int i = 0; i < vet->count; i++) {
        const struct vet_finding *finding = &vet->findings[i];
        enum vet_severity severity = vet->policy->severities[finding->rule];
        json_t *entry = json_object();

        json_set(entry, "rule", json_string(vet_rules[finding->rule].code), failed);
        json_set(entry, "severity", json_string(vet_severity_name(severity)), failed);
        json_set(entry, "denies", json_boolean(vet_denies(vet->policy, severity)), failed);
        json_set(entry, "offset",
                 finding->offset != UINT64_MAX ? json_u64(finding->offset) : json_null(), failed);
        json_set(entry, "message", json_text(finding->message), failed);
        json_append(list, entry, failed);
    }
    return list;
}

static void set_number(json_t *object, const char *key, bool known, uint64_t number, bool *failed)
{
    json_set(object, key, known ? json_u64(number) : json_null(), failed);
}

static json_t *bounds_object(const struct vet *vet, bool *failed)
{
    struct bounds bounds = bounds_of(vet);
    bool opened = vet->image != NULL, surveyed = vet->surveyed;
    json_t *object = json_object();

    set_number(object, "virtual-size", opened, vet->info.virtual_size, failed);
    set_number(object, "file-size", opened, vet->info.file_size, failed);
    set_number(object, "stored-bytes", surveyed, bounds.stored, failed);
    set_number(object, "compressed-bytes", surveyed, bounds.compressed, failed);
    set_number(object, "snapshot-virtual-size", surveyed, vet->survey.snapshot_disk_bytes, failed);
    set_number(object, "snapshot-state-size", surveyed, vet->survey.snapshot_state_bytes, failed);
    set_number(object, "snapshot-data-bytes", surveyed, vet->survey.snapshot_data_bytes, failed);
    set_number(object, "bitmap-memory", surveyed, vet->survey.bitmap_bytes, failed);
    set_number(object, "data-bytes-of-file", surveyed, bounds.data, failed);
    set_number(object, "table-bytes-of-file", surveyed, bounds.tables, failed);
    set_number(object, "unused-bytes-of-file", surveyed, bounds.unused, failed);
    set_number(object, "leftover-bytes-of-file", surveyed, bounds.leftover, failed);
    set_number(object, "open-memory", surveyed, bounds.open_memory, failed);
    set_number(object, "cache-memory", surveyed, bounds.cache_memory, failed);
    set_number(object, "thread-memory", surveyed, bounds.thread_memory, failed);
    set_number(object, "work-for-one-byte", surveyed, bounds.byte_work, failed);
    return object;
}

bool vet_print_json(const struct vet *vet)
{
    json_t *object = json_object();
    bool failed = false;

    json_set(object, "filename", json_text(vet->path), &failed);
    json_set(object, "verdict", json_string(vet_verdict(vet) ? "yes" : "no"), &failed);
    json_set(object, "findings", finding_list(vet, &failed), &failed);
    json_set(object, "bounds", bounds_object(vet, &failed), &failed);
    return json_print(object, failed);
}

void vet_print_rules_human(const struct vet_policy *policy)
{
    for (int rule = 0; rule < VET_RULES; rule++) {
        printf("%-20s%-8s%s\n", vet_rules[rule].code, vet_severity_name(policy->severities[rule]),
               vet_rules[rule].text);
    }
}

bool vet_print_rules_json(const struct vet_policy *policy)
{
    json_t *list = json_array();
    bool failed = false;

    for (int rule = 0; rule < VET_RULES; rule++) {
        json_t *entry = json_object();

        json_set(entry, "rule", json_string(vet_rules[rule].code), &failed);
        json_set(entry, "severity", json_string(vet_severity_name(policy->severities[rule])),
                 &failed);
        json_set(entry, "default", json_string(vet_severity_name(vet_rules[rule].severity)),
                 &failed);
        json_set(entry, "text", json_string(vet_rules[rule].text), &failed);
        json_append(list, entry, &failed);
    }
    return json_print(list, failed);
}
