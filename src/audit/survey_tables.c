/* SPDX-License-Identifier: MIT */
/* survey_tables.c - the disk's L1 table and the refcounts: which parts of the file they take,
 * and which tables they name in turn. */
#include "audit/survey.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"
#include "format/refcount.h"

#define L1_RESERVED UINT64_C(0x7f000000000001ff)

enum { PIECE_ENTRIES = Q2_SURVEY_PIECE_BYTES / 8 };

int q2_survey_walk(struct q2_survey *survey, uint64_t host_off, uint64_t entries,
                   uint64_t active_entries, q2_survey_take *take, const char *what)
{
    for (uint64_t first = 0; first < entries; first += PIECE_ENTRIES) {
        size_t n = (size_t)q2_min_u64(entries - first, PIECE_ENTRIES);
        int r = q2_survey_load(survey, survey->bytes, n * 8, host_off + first * 8, what);

        for (size_t i = 0; r == 1 && i < n; i++) {
            uint64_t entry = q2_load_be64(survey->bytes + i * 8);

            if (entry != 0) {
                take(survey, entry, host_off + (first + i) * 8, first + i < active_entries);
            }
            if (survey->failure < 0) {
                r = survey->failure;
            }
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

void q2_survey_take_l1_entry(struct q2_survey *survey, uint64_t entry, uint64_t entry_off,
                             bool active, bool shown)
{
    if ((entry & L1_RESERVED) != 0) {
        q2_survey_note(survey, QCOW2_ANOMALY_RESERVED, entry_off, "L1 entry");
    }
    if ((entry & Q2_OFFSET_MASK) != 0) {
        q2_survey_claim_l2(survey, entry & Q2_OFFSET_MASK, active, shown);
    }
}

/* An entry of the disk's own table. Those after the end of the disk name tables that nothing shows. */
static void take_l1_entry(struct q2_survey *survey, uint64_t entry, uint64_t entry_off, bool active)
{
    uint64_t index = (entry_off - survey->layer->header.l1_off) / 8;

    q2_survey_take_l1_entry(survey, entry, entry_off, active, active);
    if (index + 1 == survey->result.l1_entries_needed) {
        survey->last_l2_off = entry & Q2_OFFSET_MASK;
    }
}

static int survey_l1(struct q2_survey *survey)
{
    const struct q2_header *h = &survey->layer->header;
    const struct q2_geometry *g = &survey->layer->geometry;
    const uint64_t n_bytes = (uint64_t)h->l1_entries * 8;
    const uint64_t entry_bytes = g->extended ? 16 : 8;
    /* Entries behind the end of the disk are never used for it. */
    uint64_t needed = q2_blocks_for(survey->layer->header.size_bytes, g->cluster_bits + g->l2_bits);
    enum q2_claim claim;

    survey->result.l1_entries_needed = needed;
    survey->last_l2_bytes =
        (((q2_blocks_for(h->size_bytes, g->cluster_bits) - 1) & ((UINT64_C(1) << g->l2_bits) - 1)) +
         1) *
        entry_bytes;
    claim = q2_survey_claim_table(survey, h->l1_off, n_bytes, "L1 table");
    if (claim == Q2_CLAIM_NOT_THERE) {
        return 0;
    }
    if (claim == Q2_CLAIMED) {
        q2_survey_rest(survey, h->l1_off + n_bytes, "bytes after the L1 table");
    }
    return q2_survey_walk(survey, h->l1_off, h->l1_entries, needed, take_l1_entry, "L1 table");
}

static void take_refcount_entry(struct q2_survey *survey, uint64_t word, uint64_t entry_off,
                                bool active)
{
    const struct q2_header *h = &survey->layer->header;
    struct q2_refcount_entry entry = q2_refcount_entry_decode(word, h->cluster_bits);

    (void)active;
    if (entry.reserved) {
        q2_survey_note(survey, QCOW2_ANOMALY_RESERVED, entry_off, "refcount table entry");
    }
    if (entry.block_off != 0 &&
        q2_survey_claim_table(survey, entry.block_off, survey->cluster_bytes, "refcount block") ==
            Q2_CLAIMED) {
        q2_survey_refcounts_past_end(survey, entry.block_off,
                                     (entry_off - h->refcount_table_off) / 8);
    }
}

static int survey_refcounts(struct q2_survey *survey)
{
    const struct q2_header *h = &survey->layer->header;
    uint64_t n_bytes = (uint64_t)h->refcount_table_clusters << h->cluster_bits;

    if (q2_survey_claim_table(survey, h->refcount_table_off, n_bytes, "refcount table") ==
        Q2_CLAIM_NOT_THERE) {
        return 0;
    }
    return q2_survey_walk(survey, h->refcount_table_off, n_bytes / 8, 0, take_refcount_entry,
                          "refcount table");
}

int q2_survey_broken_list(struct q2_survey *survey, int code, int anomaly, uint64_t host_off,
                          const char *what)
{
    if (code == QCOW2_E_IO || code == QCOW2_E_NOMEM) {
        return code;
    }
    q2_survey_note(survey, anomaly, host_off, what);
    return 0;
}

int q2_survey_tables(struct q2_survey *survey)
{
    const struct q2_layer *layer = survey->layer;
    int r;

    (void)q2_survey_claim_table(survey, 0, survey->cluster_bytes, "header");
    (void)q2_survey_claim_table(survey, layer->luks_off, layer->luks_bytes, "LUKS header");
    if ((r = survey_refcounts(survey)) < 0 || (r = survey_l1(survey)) < 0 ||
        (r = q2_survey_snapshots(survey)) < 0) {
        return r;
    }
    return q2_survey_bitmaps(survey);
}
