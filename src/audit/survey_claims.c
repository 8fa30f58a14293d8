/* SPDX-License-Identifier: MIT */
/* survey_claims.c - the clusters of the file, and who claims them. Knows offsets
 * and lengths; nothing of what tables say. */
#include "audit/survey.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"

enum { BLOCK_BITS = 12 }; /* what a file system stores at least, as a power of two */

enum { SECTOR_BITS = 9 };

int q2_survey_claims_init(struct q2_survey *survey)
{
    unsigned cluster_bits = survey->layer->header.cluster_bits;
    uint64_t n_bytes;
    int r;

    survey->n_clusters = q2_blocks_for(survey->layer->file.size_bytes, cluster_bits);
    survey->n_groups = q2_blocks_for(survey->n_clusters, Q2_SURVEY_GROUP_BITS);
    /* Clusters have at least 512 bytes, so this does not wrap. */
    n_bytes = survey->n_groups * sizeof *survey->groups;
    if ((r = q2_survey_memory(survey, n_bytes)) < 0) {
        return r;
    }
    if (n_bytes > SIZE_MAX ||
        (survey->groups = calloc((size_t)survey->n_groups, sizeof *survey->groups)) == NULL) {
        return q2_error_nomem(survey->err);
    }
    return 0;
}

void q2_survey_claims_deinit(struct q2_survey *survey)
{
    for (uint64_t i = 0; survey->groups != NULL && i < survey->n_groups; i++) {
        for (unsigned j = 0; survey->groups[i] != NULL && j < Q2_SURVEY_GROUP_PAGES; j++) {
            free(survey->groups[i][j]);
        }
        free(survey->groups[i]);
    }
    free(survey->groups);
}

/* Memory of n zeros of that size, to be freed; NULL: survey->failure says why. */
static void *make(struct q2_survey *survey, size_t n, size_t size)
{
    void *made = NULL;

    if (survey->failure == 0) {
        survey->failure = q2_survey_memory(survey, n * size);
    }
    if (survey->failure == 0 && (made = calloc(n, size)) == NULL) {
        survey->failure = q2_error_nomem(survey->err);
    }
    return made;
}

uint32_t *q2_survey_word_at(struct q2_survey *survey, uint64_t cluster)
{
    uint32_t ***group = &survey->groups[cluster >> Q2_SURVEY_GROUP_BITS], **page;

    if (*group == NULL && (*group = make(survey, Q2_SURVEY_GROUP_PAGES, sizeof **group)) == NULL) {
        return &survey->no_word;
    }
    page = &(*group)[(cluster >> Q2_SURVEY_PAGE_BITS) % Q2_SURVEY_GROUP_PAGES];
    if (*page == NULL && (*page = make(survey, Q2_SURVEY_PAGE_WORDS, sizeof **page)) == NULL) {
        return &survey->no_word;
    }
    return &(*page)[cluster % Q2_SURVEY_PAGE_WORDS];
}

uint64_t q2_survey_next_word(const struct q2_survey *survey, uint64_t cluster)
{
    while (cluster < survey->n_clusters && q2_survey_page(survey, cluster) == NULL) {
        unsigned bits = survey->groups[cluster >> Q2_SURVEY_GROUP_BITS] == NULL
                            ? Q2_SURVEY_GROUP_BITS
                            : Q2_SURVEY_PAGE_BITS;

        cluster = ((cluster >> bits) + 1) << bits;
    }
    return q2_min_u64(cluster, survey->n_clusters);
}

/* Counts bytes of tables that are going to be read. False: they are too many, and survey->failure says so. */
static bool count_table_bytes(struct q2_survey *survey, uint64_t n_bytes)
{
    if (n_bytes <= survey->max_table_bytes - survey->table_bytes) {
        survey->table_bytes += n_bytes;
        return true;
    }
    if (survey->failure == 0) {
        survey->failure =
            q2_error_set(survey->err, QCOW2_E_LIMIT,
                         "the tables lie in holes of the file: they take more than the %llu bytes "
                         "that it stores, "
                         "and %llu",
                         (unsigned long long)(survey->max_table_bytes - Q2_SURVEY_HOLE_BYTES),
                         (unsigned long long)Q2_SURVEY_HOLE_BYTES);
    }
    return false;
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
    uint64_t first, end, used;

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
    for (uint64_t cluster = first; cluster < end && survey->failure == 0; cluster++) {
        uint32_t *word = q2_survey_word_at(survey, cluster);

        if (*word != 0) {
            q2_survey_note(survey, QCOW2_ANOMALY_OVERLAP, host_off, what);
            return Q2_CLAIM_OVERLAPS;
        }
        /* Writers leave the rest of the last cluster a hole, so it does not count. */
        used = host_off + n_bytes - (cluster << survey->layer->header.cluster_bits);
        used = q2_min_u64(q2_round_up(used, BLOCK_BITS), survey->cluster_bytes);
        if (count_table_bytes(survey, used)) {
            *word = Q2_CLAIM_TABLE;
        }
    }
    return survey->failure == 0 ? Q2_CLAIMED : Q2_CLAIM_NOT_THERE;
}

void q2_survey_mark_l1(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes)
{
    uint64_t first = 0, end = 0;

    (void)clusters_of(survey, host_off, n_bytes, &first, &end); /* it has been claimed */
    for (uint64_t cluster = first; cluster < end; cluster++) {
        *q2_survey_word_at(survey, cluster) |= Q2_CLAIM_L1;
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
        uint32_t word = q2_survey_word(survey, cluster);

        if (word != 0) {
            *q2_survey_word_at(survey, cluster) = word & ~Q2_CLAIM_L1;
        }
        if ((word & Q2_CLAIM_L1) == 0 || (word & Q2_CLAIM_L2) != 0) {
            return false;
        }
    }
    return true;
}

void q2_survey_claim_l2(struct q2_survey *survey, uint64_t host_off, bool active, bool shown)
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
    word = q2_survey_word_at(survey, first);
    if ((*word & Q2_CLAIM_L2) == 0 && !count_table_bytes(survey, survey->cluster_bytes)) {
        return;
    }
    /* Snapshots share tables with the disk and among themselves; the disk, which comes first, names each of
     * its own once. */
    if ((*word & Q2_CLAIM_L2) == 0 ? (*word & Q2_CLAIM_TABLE) != 0 : active) {
        q2_survey_note(survey, QCOW2_ANOMALY_OVERLAP, host_off, what);
    }
    *word = (*word | Q2_CLAIM_TABLE | Q2_CLAIM_L2 | (shown ? Q2_CLAIM_SHOWN : 0)) + active;
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
    word = q2_survey_word_at(survey, first);
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
        uint32_t *word = q2_survey_word_at(survey, cluster);

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

    for (uint64_t cluster = q2_survey_next_word(survey, 0); cluster < survey->n_clusters;
         cluster = q2_survey_next_word(survey, cluster + 1)) {
        uint32_t word = q2_survey_word(survey, cluster);

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
