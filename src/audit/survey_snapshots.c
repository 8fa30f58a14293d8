/* SPDX-License-Identifier: MIT */
/* survey_snapshots.c - the snapshot table and the L1 tables that it names: which parts
 * of the file they take, and how much each snapshot is when it is read. */
#include "audit/survey.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"
#include "format/snapshot.h"

/* Of extra data: state size, disk size, instruction count. And the longest texts that QEMU writes. */
enum { KNOWN_EXTRA_BYTES = 24, MAX_ID_BYTES = 127, MAX_NAME_BYTES = 255 };

static const char what_table[] = "snapshot table";
static const char what_l1[] = "L1 table of a snapshot";

/* A place in the snapshot table. */
struct cursor {
    uint32_t index;
    uint64_t host_off; /* of the entry that follows */
    uint64_t end;      /* of those before it, in the file */
};

static struct cursor begin(const struct q2_survey *survey)
{
    uint64_t host_off = survey->layer->header.snapshots_off;

    return (struct cursor){ .host_off = host_off, .end = host_off };
}

/* Loads the fixed part of the entry at host_off, all of which must lie in the file. */
static int load(struct q2_survey *survey, uint64_t host_off, struct q2_snapshot_entry *entry_ret)
{
    const struct q2_window *file = &survey->layer->file;
    uint8_t bytes[Q2_SNAPSHOT_FIXED_BYTES + Q2_SNAPSHOT_V3_EXTRA_BYTES];
    int r;

    if ((r = q2_window_check(file, host_off, Q2_SNAPSHOT_FIXED_BYTES, what_table, NULL)) < 0 ||
        (r = q2_survey_load(survey, bytes, sizeof bytes, host_off, what_table)) < 0 ||
        (r = q2_snapshot_decode(bytes, sizeof bytes, host_off, entry_ret, NULL)) < 0) {
        return r;
    }
    /* The texts behind do not matter, the sizes before them do. */
    if (r == Q2_SNAPSHOT_NEED_MORE && entry_ret->extra_bytes >= 8) {
        entry_ret->vm_state_bytes = q2_load_be64(bytes + Q2_SNAPSHOT_FIXED_BYTES);
    }
    if (r == Q2_SNAPSHOT_NEED_MORE && entry_ret->extra_bytes >= Q2_SNAPSHOT_V3_EXTRA_BYTES) {
        entry_ret->has_disk_size = true;
        entry_ret->disk_bytes = q2_load_be64(bytes + Q2_SNAPSHOT_FIXED_BYTES + 8);
    }
    return q2_window_check(file, host_off, entry_ret->entry_bytes, what_table, NULL);
}

/* 1 with the entry that follows, 0 at the end, or a code. */
static int next(struct q2_survey *survey, struct cursor *at, struct q2_snapshot_entry *entry_ret)
{
    const struct q2_header *h = &survey->layer->header;
    int r;

    if (at->index == h->snapshot_count) {
        return 0;
    }
    if (at->end - h->snapshots_off > Q2_MAX_SNAPSHOT_TABLE_BYTES) {
        return QCOW2_E_LIMIT;
    }
    if ((r = load(survey, at->host_off, entry_ret)) < 0) {
        return r;
    }
    at->index++;
    at->end = at->host_off + entry_ret->entry_bytes;
    at->host_off = q2_snapshot_next_off(at->host_off, entry_ret->entry_bytes);
    return 1;
}

static void raise_to(uint64_t *most, uint64_t value)
{
    if (value > *most) {
        *most = value;
    }
}

static void take_sizes(struct q2_survey *survey, const struct q2_snapshot_entry *entry)
{
    struct qcow2_survey_result *result = &survey->result;
    uint64_t disk = (entry->has_disk_size ? entry->disk_bytes : survey->layer->header.size_bytes) &
                    ~UINT64_C(511);

    result->snapshots++;
    result->snapshots_with_state += entry->vm_state_bytes > 0;
    raise_to(&result->snapshot_disk_bytes, disk);
    raise_to(&result->snapshot_state_bytes, entry->vm_state_bytes);
}

static void take_l1_entry(struct q2_survey *survey, uint64_t entry, uint64_t entry_off, bool active)
{
    q2_survey_take_l1_entry(survey, entry, entry_off, active, true);
}

static int take_l1(struct q2_survey *survey, const struct q2_snapshot_entry *entry,
                   uint64_t entry_off)
{
    const uint64_t n_bytes = (uint64_t)entry->l1_entries * 8;

    if (entry->l1_entries > Q2_MAX_L1_ENTRIES) {
        q2_survey_note(survey, QCOW2_ANOMALY_SNAPSHOT_TABLE, entry_off, what_l1);
        return 0;
    }
    /* One that overlaps is not walked: 65536 snapshots might all name the same 32 MiB. */
    if (q2_survey_claim_table(survey, entry->l1_off, n_bytes, what_l1) != Q2_CLAIMED) {
        return 0;
    }
    q2_survey_mark_l1(survey, entry->l1_off, n_bytes);
    q2_survey_rest(survey, entry->l1_off + n_bytes, "bytes after the L1 table of a snapshot");
    return q2_survey_walk(survey, entry->l1_off, entry->l1_entries, 0, take_l1_entry, what_l1);
}

/* A text ends at its first NUL, and QEMU writes none that is longer than `most`. */
static void find_stray_text(struct q2_survey *survey, uint64_t host_off, uint32_t n_bytes,
                            uint32_t most, const char *what)
{
    uint8_t text[MAX_NAME_BYTES];
    uint32_t n = n_bytes < most ? n_bytes : most, end;
    int r = n == 0 ? 0 : q2_survey_load(survey, text, n, host_off, what);

    if (r < 0) {
        survey->failure = r;
        return;
    }
    end = n == 0 ? 0 : (uint32_t)strnlen((const char *)text, n);
    q2_survey_text(survey, (const char *)text, end, host_off,
                   "control characters in the id or name of a snapshot");
    q2_survey_unused(survey, QCOW2_ANOMALY_STRAY, host_off + end, n_bytes - end, what);
}

/* What an entry has besides what QEMU writes, and the padding, which QEMU leaves as it was. */
static void find_stray_bytes(struct q2_survey *survey, const struct q2_snapshot_entry *entry,
                             uint64_t entry_off)
{
    const uint32_t extra =
        entry->extra_bytes < KNOWN_EXTRA_BYTES ? entry->extra_bytes : KNOWN_EXTRA_BYTES;
    const uint64_t end = entry_off + entry->entry_bytes;

    q2_survey_unused(survey, QCOW2_ANOMALY_STRAY, entry_off + Q2_SNAPSHOT_FIXED_BYTES + extra,
                     entry->extra_bytes - extra, "unknown extra data of a snapshot");
    find_stray_text(survey, entry_off + entry->id_off, entry->id_bytes, MAX_ID_BYTES,
                    "bytes after the id of a snapshot");
    find_stray_text(survey, entry_off + entry->name_off, entry->name_bytes, MAX_NAME_BYTES,
                    "bytes after the name of a snapshot");
    q2_survey_unused(survey, QCOW2_ANOMALY_SLACK, end,
                     q2_snapshot_next_off(entry_off, entry->entry_bytes) - end,
                     "bytes after the entry of a snapshot");
}

int q2_survey_snapshots(struct q2_survey *survey)
{
    const struct q2_header *h = &survey->layer->header;
    struct q2_snapshot_entry entry;
    struct cursor at = begin(survey);
    int r;

    if (h->snapshot_count > Q2_MAX_SNAPSHOTS) {
        q2_survey_note(survey, QCOW2_ANOMALY_SNAPSHOT_TABLE, h->snapshots_off, what_table);
        return 0;
    }
    while ((r = next(survey, &at, &entry)) == 1) {
        take_sizes(survey, &entry);
        find_stray_bytes(survey, &entry, at.end - entry.entry_bytes);
        if ((r = take_l1(survey, &entry, at.end - entry.entry_bytes)) < 0) {
            return r;
        }
    }
    /* A failure ends it here: a claim that fails too would write its own error over this one. */
    if (r < 0 && (r = q2_survey_broken_list(survey, r, QCOW2_ANOMALY_SNAPSHOT_TABLE, at.host_off,
                                            what_table)) < 0) {
        return r;
    }
    if (q2_survey_claim_table(survey, h->snapshots_off, at.end - h->snapshots_off, what_table) ==
        Q2_CLAIMED) {
        q2_survey_rest(survey, at.end, "bytes after the snapshot table");
    }
    return 0;
}

static void add_table(struct q2_survey *survey, uint64_t l1_entry, uint64_t entry_off, bool active)
{
    uint64_t table_off = l1_entry & Q2_OFFSET_MASK;
    uint64_t cluster = table_off >> survey->layer->header.cluster_bits;

    (void)entry_off;
    (void)active;
    /* What is not aligned, or not there, no reader follows. */
    if ((table_off & (survey->cluster_bytes - 1)) == 0 && cluster < survey->n_clusters) {
        survey->sum += q2_survey_word(survey, cluster) & Q2_CLAIM_COUNT;
    }
}

/* Sums up what the snapshot stores into `sum`, in clusters or subclusters: at most 2^22 tables of 2^22. */
static int sum_l1(struct q2_survey *survey, const struct q2_snapshot_entry *entry)
{
    const struct q2_geometry *g = &survey->layer->geometry;
    uint64_t entries = q2_min_u64(entry->l1_entries, Q2_MAX_L1_ENTRIES); /* nobody reads more */

    survey->sum = 0;
    if (q2_survey_unmark_l1(survey, entry->l1_off, entries * 8)) {
        return q2_survey_walk(survey, entry->l1_off, entries, 0, add_table, what_l1);
    }
    /* It has not been walked, or must not be again: its tables may be full, all of them. */
    survey->sum = entries << (g->l2_bits + g->cluster_bits - g->subcluster_bits);
    return 0;
}

int q2_survey_sum_snapshots(struct q2_survey *survey)
{
    struct q2_snapshot_entry entry;
    struct cursor at = begin(survey);
    int r;

    if (survey->layer->header.snapshot_count > Q2_MAX_SNAPSHOTS) {
        return 0;
    }
    while ((r = next(survey, &at, &entry)) == 1) {
        if ((r = sum_l1(survey, &entry)) < 0) {
            return r;
        }
        /* Below 2^64: pieces are of 2^21 bytes where a table has 2^18 of them, of 2^16 where it has 2^22. */
        raise_to(&survey->result.snapshot_data_bytes,
                 survey->sum << survey->layer->geometry.subcluster_bits);
    }
    /* A list that is broken was found to be so when it was walked first. */
    return r == QCOW2_E_IO || r == QCOW2_E_NOMEM ? r : 0;
}
