/* SPDX-License-Identifier: MIT */
/* survey_claims.c - the clusters of the file, and who claims them. Knows offsets
 * and lengths; nothing of what tables say. */
#include "audit/survey.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"

enum { SECTOR_BITS = 9 };

int q2_survey_claims_init(struct q2_survey *survey)
{
    unsigned cluster_bits = survey->layer->header.cluster_bits;
    uint64_t n_bytes;
    int r;

    survey->n_clusters = q2_blocks_for(survey->layer->file.size_bytes, cluster_bits);
    /* Clusters have at least 512 bytes, so this does not wrap. */
    n_bytes = survey->n_clusters * sizeof *survey->words;
    if ((r = q2_survey_memory(survey, n_bytes)) < 0) {
        return r;
    }
    if (n_bytes > SIZE_MAX ||
        (survey->words = calloc((size_t)survey->n_clusters, sizeof *survey->words)) == NULL) {
        return q2_error_nomem(survey->err);
    }
    return 0;
}

/* The clusters of a part of the file, [*first_ret, *end_ret); false if it does not lie in the file. */
static bool clusters_of(const struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes,
                        uint64_t *first_ret, uint64_t *end_ret)
{
    unsigned cluster_bits = survey->layer->header.cluster_bits;
    uint64_t end;

    if (!q2_add_u64(host_off, n_bytes, &end)) {
        return false;
    }
    *first_ret = host_off >> cluster_bits;
    *end_ret = q2_blocks_for(end, cluster_bits);
    return *end_ret <= survey->n_clusters;
}

enum q2_claim q2_survey_claim_table(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes,
                                    const char *what)
{
    uint64_t first, end;

    if (n_bytes == 0) {
        return Q2_CLAIM_NOT_THERE;
    }
    if ((host_off & (survey->cluster_bytes - 1)) != 0) {
        q2_survey_note(survey, QCOW2_ANOMALY_UNALIGNED, host_off, what);
        return Q2_CLAIM_NOT_THERE;
    }
    if (!clusters_of(survey, host_off, n_bytes, &first, &end)) {
        q2_survey_note(survey, QCOW2_ANOMALY_OUTSIDE, host_off, what);
        return Q2_CLAIM_NOT_THERE;
    }
    /* Stopping at the first conflict keeps all claims together as short as the file. */
    for (uint64_t cluster = first; cluster < end; cluster++) {
        if (survey->words[cluster] != 0) {
            q2_survey_note(survey, QCOW2_ANOMALY_OVERLAP, host_off, what);
            return Q2_CLAIM_OVERLAPS;
        }
        survey->words[cluster] = Q2_CLAIM_TABLE;
    }
    return Q2_CLAIMED;
}

void q2_survey_mark_l1(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes)
{
    uint64_t first = 0, end = 0;

    (void)clusters_of(survey, host_off, n_bytes, &first, &end); /* it has been claimed */
    for (uint64_t cluster = first; cluster < end; cluster++) {
        survey->words[cluster] |= Q2_CLAIM_L1;
    }
}

bool q2_survey_unmark_l1(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes)
{
    uint64_t first, end;

    if ((host_off & (survey->cluster_bytes - 1)) != 0 ||
        !clusters_of(survey, host_off, n_bytes, &first, &end)) {
        return false;
    }
    /* Each mark goes when it is looked at, so that all calls together are as short as the file. */
    for (uint64_t cluster = first; cluster < end; cluster++) {
        uint32_t word = survey->words[cluster];

        survey->words[cluster] &= ~Q2_CLAIM_L1;
        if ((word & Q2_CLAIM_L1) == 0 || (word & Q2_CLAIM_L2) != 0) {
            return false;
        }
    }
    return true;
}

void q2_survey_claim_l2(struct q2_survey *survey, uint64_t host_off, bool active)
{
    static const char what[] = "L2 table";
    uint64_t first, end;
    uint32_t *word;

    if ((host_off & (survey->cluster_bytes - 1)) != 0) {
        q2_survey_note(survey, QCOW2_ANOMALY_UNALIGNED, host_off, what);
        return;
    }
    if (!clusters_of(survey, host_off, survey->cluster_bytes, &first, &end)) {
        q2_survey_note(survey, QCOW2_ANOMALY_OUTSIDE, host_off, what);
        return;
    }
    word = &survey->words[first];
    /* Snapshots share tables with the disk and among themselves; the disk, which comes first, names each of
     * its own once. */
    if ((*word & Q2_CLAIM_L2) == 0 ? (*word & Q2_CLAIM_TABLE) != 0 : active) {
        q2_survey_note(survey, QCOW2_ANOMALY_OVERLAP, host_off, what);
    }
    *word = (*word | Q2_CLAIM_TABLE | Q2_CLAIM_L2) + active;
}

void q2_survey_claim_data(struct q2_survey *survey, uint64_t host_off, bool active,
                          const char *what)
{
    uint64_t first, end;
    uint32_t *word;

    if (!clusters_of(survey, host_off, survey->cluster_bytes, &first, &end)) {
        q2_survey_note(survey, QCOW2_ANOMALY_OUTSIDE, host_off, what);
        return;
    }
    word = &survey->words[first];
    if ((*word & Q2_CLAIM_TABLE) != 0) {
        q2_survey_note(survey, QCOW2_ANOMALY_OVERLAP, host_off, what);
    } else if (active && (*word & (Q2_CLAIM_DATA | Q2_CLAIM_STREAM)) != 0) {
        q2_survey_note(survey, QCOW2_ANOMALY_SHARED, host_off, what);
    }
    *word |= active ? Q2_CLAIM_DATA : Q2_CLAIM_OTHER;
}

bool q2_survey_claim_stream(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes,
                            bool active)
{
    static const char what[] = "compressed data";
    uint64_t first = 0, end = 0;

    if (host_off >= survey->layer->file.size_bytes) {
        q2_survey_note(survey, QCOW2_ANOMALY_OUTSIDE, host_off, what);
        return false;
    }
    /* The length is a matter of whole sectors. The file may end within the last one, but not before it. */
    if (!q2_add_u64(host_off, n_bytes, &end) ||
        end > q2_round_up(survey->layer->file.size_bytes, SECTOR_BITS)) {
        q2_survey_note(survey, QCOW2_ANOMALY_OUTSIDE, host_off, what);
    }
    (void)clusters_of(survey, host_off, n_bytes, &first, &end);
    for (uint64_t cluster = first; cluster < q2_min_u64(end, survey->n_clusters); cluster++) {
        uint32_t *word = &survey->words[cluster];

        if ((*word & Q2_CLAIM_TABLE) != 0) {
            q2_survey_note(survey, QCOW2_ANOMALY_OVERLAP, host_off, what);
        } else if (active && (*word & Q2_CLAIM_DATA) != 0) {
            q2_survey_note(survey, QCOW2_ANOMALY_SHARED, host_off, what);
        }
        *word |= active ? Q2_CLAIM_STREAM : Q2_CLAIM_OTHER;
    }
    return true;
}

void q2_survey_sum_claims(struct q2_survey *survey)
{
    struct qcow2_survey_result *result = &survey->result;
    uint64_t used = 0;

    for (uint64_t cluster = 0; cluster < survey->n_clusters; cluster++) {
        uint32_t word = survey->words[cluster];

        if (word == 0) {
            continue;
        }
        used = cluster + 1;
        if ((word & Q2_CLAIM_TABLE) != 0) {
            result->table_clusters++;
        } else {
            result->data_clusters++;
        }
    }
    result->unused_clusters = used - result->table_clusters - result->data_clusters;
    result->leftover_bytes =
        used < survey->n_clusters
            ? survey->layer->file.size_bytes - (used << survey->layer->header.cluster_bits)
            : 0;
}
