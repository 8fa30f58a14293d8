/* SPDX-License-Identifier: MIT */
/* survey_slack.c - bytes in clusters of tables that have no meaning, and so could make the file
 * something else besides. Knows places in the file; nothing of what is claimed. */
#include "audit/survey.h"

#include "base/checked.h"
#include "base/error.h"
#include "format/refcount.h"

void q2_survey_unused(struct q2_survey *survey, int anomaly, uint64_t host_off, uint64_t n_bytes,
                      const char *what)
{
    for (uint64_t done = 0; done < n_bytes && survey->failure == 0; done += sizeof survey->rest) {
        size_t n = (size_t)q2_min_u64(n_bytes - done, sizeof survey->rest);
        int r = q2_survey_load(survey, survey->rest, n, host_off + done, what);

        if (r < 0) {
            survey->failure = r;
        }
        for (size_t i = 0; r == 1 && i < n; i++) {
            if (survey->rest[i] != 0) {
                q2_survey_note(survey, anomaly, host_off + done + i, what);
                return;
            }
        }
    }
}

void q2_survey_text(struct q2_survey *survey, const char *text, size_t n, uint64_t host_off,
                    const char *what)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        unsigned char next = i + 1 < n ? (unsigned char)text[i + 1] : 0;

        if (c < ' ' || c == 0x7f || (c == 0xc2 && next >= 0x80 && next <= 0x9f)) {
            q2_survey_note(survey, QCOW2_ANOMALY_STRAY, host_off + i, what);
            return;
        }
    }
}

void q2_survey_rest(struct q2_survey *survey, uint64_t table_end, const char *what)
{
    uint64_t inside = table_end & (survey->cluster_bytes - 1);
    uint64_t n = inside != 0 ? survey->cluster_bytes - inside : 0;

    if (n > survey->max_rest_bytes - survey->rest_bytes) {
        survey->failure = q2_error_set(survey->err, QCOW2_E_LIMIT,
                                       "the tables are too many for their clusters: what follows "
                                       "them there takes more than %llu bytes",
                                       (unsigned long long)survey->max_rest_bytes);
        return;
    }
    survey->rest_bytes += n;
    if (n != 0) {
        q2_survey_unused(survey, QCOW2_ANOMALY_SLACK, table_end, n, what);
    }
}

void q2_survey_refcounts_past_end(struct q2_survey *survey, uint64_t block_off, uint64_t index)
{
    const struct q2_header *h = &survey->layer->header;
    unsigned block_bits = q2_refcount_block_bits(h->cluster_bits, h->refcount_order);
    /* Below 2^64: a table has 2^20 entries at most, a block 2^24. */
    uint64_t first = index << block_bits, skip = 0;

    /* A byte that also has the refcount of a cluster in the file is left to the check. */
    if (first < survey->n_clusters) {
        uint64_t n = q2_min_u64(survey->n_clusters - first, UINT64_C(1) << block_bits);

        skip = ((n << h->refcount_order) + 7) / 8;
    }
    if (skip < survey->cluster_bytes) {
        q2_survey_unused(survey, QCOW2_ANOMALY_SLACK, block_off + skip,
                         survey->cluster_bytes - skip,
                         "refcounts for clusters past the end of the file");
    }
}

void q2_survey_tail(struct q2_survey *survey)
{
    uint64_t n = survey->result.leftover_bytes;

    if (n < survey->cluster_bytes) {
        q2_survey_unused(survey, QCOW2_ANOMALY_SLACK, survey->layer->file.size_bytes - n, n,
                         "bytes after the last cluster that is used");
    }
}
