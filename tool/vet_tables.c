/* SPDX-License-Identifier: MIT */
/* vet_tables.c - rules about what the tables say: the survey's facts, and where these are in order the
 * check's, whose work only then is bounded by the length of the file. */
#include "vet.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "size.h"

/* An L1 table may be so many times larger than the disk needs, and by so many entries more, before it is
 * called large: QEMU lets tables grow by halves, and puts VM states behind the disk. */
enum { L1_TIMES = 2, L1_SPARE = 8192 };

static const struct {
    enum qcow2_anomaly anomaly;
    enum vet_rule rule;
    const char *text; /* behind the name of the thing */
} anomalies[] = {
    { QCOW2_ANOMALY_OVERLAP, VET_OVERLAP, "in a place that something else has too" },
    { QCOW2_ANOMALY_OUTSIDE, VET_OUTSIDE, "outside the file" },
    { QCOW2_ANOMALY_UNALIGNED, VET_UNALIGNED, "that does not begin where a cluster does" },
    { QCOW2_ANOMALY_ENTRY, VET_BROKEN_ENTRY, "that contradicts itself, so its cluster is lost" },
    { QCOW2_ANOMALY_RESERVED, VET_RESERVED_BITS, "with reserved bits set" },
    { QCOW2_ANOMALY_SHARED, VET_SHARED_DATA, "that the disk has in several places" },
    { QCOW2_ANOMALY_SNAPSHOT_TABLE, VET_BROKEN_SNAPSHOTS, "that is broken" },
    { QCOW2_ANOMALY_BITMAPS, VET_BROKEN_BITMAPS, "that is broken" },
    { QCOW2_ANOMALY_STRAY, VET_STRAY_BYTES, "that have no meaning" },
    { QCOW2_ANOMALY_SLACK, VET_SLACK, "that have no meaning" },
};

static void find_anomalies(struct vet *vet)
{
    for (size_t i = 0; i < sizeof anomalies / sizeof anomalies[0]; i++) {
        const struct qcow2_anomalies *seen = &vet->survey.anomalies[anomalies[i].anomaly];
        char all[64] = "";

        if (seen->count == 0) {
            continue;
        }
        if (seen->count > 1) {
            snprintf(all, sizeof all, "; %" PRIu64 " in all", seen->count);
        }
        vet_find(vet, anomalies[i].rule, seen->host_offset, "%s %s%s", seen->what,
                 anomalies[i].text, all);
    }
}

static void find_sizes(struct vet *vet)
{
    const struct qcow2_survey_result *survey = &vet->survey;
    const struct qcow2_info *info = &vet->info;
    bool data_file = (info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0;
    uint64_t data =
        data_file ? survey->compressed_bytes : survey->stored_bytes + survey->compressed_bytes;
    char size[SIZE_TEXT_MAX], file[SIZE_TEXT_MAX];

    if (info->l1_entries > survey->l1_entries_needed * L1_TIMES + L1_SPARE) {
        vet_find(vet, VET_LARGE_L1, info->l1_offset,
                 "has an L1 table of %" PRIu32 " entries, where its disk needs %" PRIu64,
                 info->l1_entries, survey->l1_entries_needed);
    }
    if (vet_exceeds(data, info->file_size, vet->policy->max_expansion)) {
        vet_find(vet, VET_EXPANSION, UINT64_MAX, "makes %s of data from a file of %s",
                 size_format(size, data), size_format(file, info->file_size));
    }
}

/* Who lets the image in can be asked for its snapshots too: each is a disk, and a state to load. */
static void find_sizes_of_snapshots(struct vet *vet)
{
    const struct qcow2_survey_result *survey = &vet->survey;
    const struct qcow2_info *info = &vet->info;
    bool disk_is_larger = survey->snapshot_disk_bytes >= survey->snapshot_state_bytes;
    uint64_t largest = disk_is_larger ? survey->snapshot_disk_bytes : survey->snapshot_state_bytes;
    bool data_file = (info->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) != 0;
    char size[SIZE_TEXT_MAX], file[SIZE_TEXT_MAX];

    if (largest > vet->policy->max_virtual_bytes) {
        vet_find(vet, VET_VIRTUAL_SIZE, info->snapshots_offset,
                 "has a snapshot with a %s of %s (%" PRIu64 " bytes), more than %s",
                 disk_is_larger ? "disk" : "state", size_format(size, largest), largest,
                 size_format(file, vet->policy->max_virtual_bytes));
    }
    if (!data_file &&
        vet_exceeds(survey->snapshot_data_bytes, info->file_size, vet->policy->max_expansion)) {
        vet_find(vet, VET_EXPANSION, info->snapshots_offset,
                 "makes up to %s of a snapshot's data from a file of %s",
                 size_format(size, survey->snapshot_data_bytes),
                 size_format(file, info->file_size));
    }
}

/* QEMU loads all bitmaps whenever it opens the image. Their tables may be holes, or ones without a place, so
 * the length of the file bounds nothing; and the time goes with the square of the number. */
static void find_cost_of_bitmaps(struct vet *vet)
{
    enum { MOST = 4096 };
    const struct qcow2_survey_result *survey = &vet->survey;
    char bits[SIZE_TEXT_MAX], most[SIZE_TEXT_MAX];

    if (survey->bitmap_bytes > vet->policy->max_bitmap_bytes) {
        vet_find(vet, VET_BITMAP_COST, UINT64_MAX,
                 "has dirty bitmaps of %s (%" PRIu64 " bytes) in memory, more than %s",
                 size_format(bits, survey->bitmap_bytes), survey->bitmap_bytes,
                 size_format(most, vet->policy->max_bitmap_bytes));
    } else if (survey->bitmaps > MOST) {
        vet_find(vet, VET_BITMAP_COST, UINT64_MAX, "has %" PRIu64 " dirty bitmaps, more than %d",
                 survey->bitmaps, MOST);
    }
}

static void find_contents(struct vet *vet)
{
    const struct qcow2_survey_result *survey = &vet->survey;
    uint64_t cluster = vet->info.cluster_size;
    char size[SIZE_TEXT_MAX];

    if (survey->snapshots > 0) {
        vet_find(vet, VET_SNAPSHOTS, vet->info.snapshots_offset,
                 "has %" PRIu64 " internal snapshot%s", survey->snapshots,
                 survey->snapshots > 1 ? "s" : "");
    }
    if (survey->snapshots_with_state > 0) {
        vet_find(vet, VET_VM_STATE, vet->info.snapshots_offset,
                 "has the state of a machine in %" PRIu64 " of its snapshots",
                 survey->snapshots_with_state);
    }
    if (survey->bitmaps > 0) {
        vet_find(vet, VET_BITMAPS, UINT64_MAX, "has %" PRIu64 " dirty bitmap%s", survey->bitmaps,
                 survey->bitmaps > 1 ? "s" : "");
    }
    if (survey->unused_clusters > 0) {
        vet_find(vet, VET_UNUSED, UINT64_MAX, "has %s in clusters that no table names",
                 size_format(size, survey->unused_clusters * cluster));
    }
    if (survey->leftover_bytes >= cluster) {
        vet_find(vet, VET_LEFTOVER, vet->info.file_size - survey->leftover_bytes,
                 "goes on for %s behind what its tables name",
                 size_format(size, survey->leftover_bytes));
    }
}

/* A finding, if the image is at fault for not being looked at; false if the machine is. */
static bool judge(struct vet *vet, const struct qcow2_error *err)
{
    bool allows_more = err->code == QCOW2_E_LIMIT && strstr(err->message, "of memory") != NULL;

    if (err->code == QCOW2_E_IO || err->code == QCOW2_E_NOMEM) {
        vet->failure = *err;
        return false;
    }
    vet_find(vet, VET_UNCHECKED, err->host_offset, "cannot be looked at: %s%s", err->message,
             allows_more ? " (--max-memory allows more)" : "");
    return true;
}

/* The check's work is bounded by the file's length where no table is in two places. */
static bool in_order(const struct qcow2_survey_result *survey)
{
    return survey->anomalies[QCOW2_ANOMALY_OVERLAP].count == 0 &&
           survey->anomalies[QCOW2_ANOMALY_OUTSIDE].count == 0 &&
           survey->anomalies[QCOW2_ANOMALY_UNALIGNED].count == 0 &&
           survey->anomalies[QCOW2_ANOMALY_SNAPSHOT_TABLE].count == 0 &&
           survey->anomalies[QCOW2_ANOMALY_BITMAPS].count == 0;
}

static bool refcounts(struct vet *vet)
{
    struct qcow2_check_options options = QCOW2_CHECK_OPTIONS_INIT;
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;

    options.max_memory_bytes = vet->policy->max_memory_bytes;
    if (qcow2_check(vet->image, &options, NULL, NULL, &result, &err) < 0) {
        return judge(vet, &err);
    }
    if (result.corruptions + result.check_errors > 0) {
        vet_find(vet, VET_REFCOUNTS, UINT64_MAX,
                 "has %" PRIu64 " places where refcounts or their flags are wrong; 'qcow2 check' "
                 "tells them",
                 result.corruptions + result.check_errors);
    }
    if (result.leaks > 0) {
        vet_find(vet, VET_LEAKS, UINT64_MAX, "has %" PRIu64 " leaked cluster%s", result.leaks,
                 result.leaks > 1 ? "s" : "");
    }
    return true;
}

bool vet_tables(struct vet *vet)
{
    struct qcow2_survey_result survey = QCOW2_SURVEY_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;

    if (vet->info.format == QCOW2_FORMAT_RAW) {
        return true;
    }
    if (qcow2_survey(vet->image, vet->policy->max_memory_bytes, &survey, &err) < 0) {
        return judge(vet, &err);
    }
    vet->survey = survey;
    vet->surveyed = true;
    find_anomalies(vet);
    find_sizes(vet);
    find_sizes_of_snapshots(vet);
    find_cost_of_bitmaps(vet);
    find_contents(vet);
    return !in_order(&survey) || refcounts(vet);
}
