/* SPDX-License-Identifier: MIT */
/* survey_l2.c - L2 tables, each looked at once however often it is named, and the
 * places of compressed streams. */
#include "audit/survey.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"

/* Of an entry that is not compressed. */
#define L2_RESERVED UINT64_C(0x3f000000000001fe)

enum { FIRST_STREAMS = 4096 };

/* One visit of one table. */
struct visit {
    uint64_t times;       /* how many L1 entries of the disk name it */
    uint64_t entry_off;   /* of the entry at hand, in the file */
    uint64_t bytes_found; /* so far: of data that it names, decompressed */
};

static int add_stream(struct q2_survey *survey, uint64_t host_off)
{
    if (survey->n_streams == survey->streams_room) {
        uint64_t room = survey->streams_room != 0 ? survey->streams_room * 2 : FIRST_STREAMS;
        uint64_t *streams;
        int r;

        /* Twice, because sorting may take a copy. */
        if ((r = q2_survey_memory(survey, (room - survey->streams_room) * 2 * sizeof *streams)) <
            0) {
            return r;
        }
        if (room > SIZE_MAX / sizeof *streams ||
            (streams = realloc(survey->streams, (size_t)room * sizeof *streams)) == NULL) {
            return q2_error_nomem(survey->err);
        }
        survey->streams = streams;
        survey->streams_room = room;
    }
    survey->streams[survey->n_streams++] = host_off;
    return 0;
}

static int take_compressed(struct q2_survey *survey, struct visit *at, const struct q2_mapping *m)
{
    struct qcow2_survey_result *result = &survey->result;

    if (!q2_survey_claim_stream(survey, m->host_off, m->compressed_bytes, at->times > 0)) {
        return 0;
    }
    at->bytes_found += survey->cluster_bytes;
    if (at->times == 0) {
        return 0;
    }
    result->compressed_bytes += at->times * survey->cluster_bytes;
    result->stream_bytes += at->times * m->compressed_bytes;
    if (m->compressed_bytes > result->longest_stream_bytes) {
        result->longest_stream_bytes = m->compressed_bytes;
    }
    return add_stream(survey, m->host_off);
}

static uint64_t stored_bytes(const struct q2_survey *survey, const struct q2_mapping *m,
                             uint64_t bitmap)
{
    const struct q2_geometry *g = &survey->layer->geometry;
    uint64_t bytes = 0;

    if (!g->extended) {
        return m->kind == Q2_NORMAL ? survey->cluster_bytes : 0;
    }
    for (uint32_t allocated = (uint32_t)bitmap; allocated != 0; allocated &= allocated - 1) {
        bytes += UINT64_C(1) << g->subcluster_bits;
    }
    return bytes;
}

static int take_entry(struct q2_survey *survey, struct visit *at, uint64_t entry, uint64_t bitmap)
{
    const struct q2_geometry *g = &survey->layer->geometry;
    /* Which cluster of the disk it is for is not known here, and matters to external data alone. */
    struct q2_mapping m = q2_l2_decode(g, entry, bitmap, 0, entry & Q2_OFFSET_MASK);

    if (m.fault != Q2_FAULT_NONE) {
        if (m.fault == Q2_FAULT_UNALIGNED) {
            q2_survey_note(survey, QCOW2_ANOMALY_UNALIGNED, entry & Q2_OFFSET_MASK, "data");
        } else {
            q2_survey_note(survey, QCOW2_ANOMALY_ENTRY, at->entry_off, "L2 entry");
        }
        return 0;
    }
    if (m.kind == Q2_COMPRESSED) {
        return take_compressed(survey, at, &m);
    }
    if ((entry & L2_RESERVED) != 0) {
        q2_survey_note(survey, QCOW2_ANOMALY_RESERVED, at->entry_off, "L2 entry");
    }
    if (m.host_off != Q2_NO_HOST) {
        uint64_t bytes = stored_bytes(survey, &m, bitmap);

        at->bytes_found += bytes;
        survey->result.stored_bytes += at->times * bytes;
        if (!g->data_file) {
            q2_survey_claim_data(survey, m.host_off, at->times > 0, "data");
        }
    }
    return 0;
}

/* The entries in the n bytes that have been loaded. */
static int take_piece(struct q2_survey *survey, struct visit *at, uint64_t host_off, size_t n)
{
    const size_t entry_bytes = survey->layer->geometry.extended ? 16 : 8;
    int r;

    for (size_t pos = 0; pos < n; pos += entry_bytes) {
        uint64_t entry = q2_load_be64(survey->bytes + pos);
        uint64_t bitmap = entry_bytes > 8 ? q2_load_be64(survey->bytes + pos + 8) : 0;

        at->entry_off = host_off + pos;
        if ((entry | bitmap) != 0 &&
            ((r = take_entry(survey, at, entry, bitmap)) < 0 || (r = survey->failure) < 0)) {
            return r;
        }
    }
    return 0;
}

static int visit_table(struct q2_survey *survey, uint64_t cluster)
{
    const struct q2_geometry *g = &survey->layer->geometry;
    const uint64_t table_off = cluster << g->cluster_bits;
    const size_t n = (size_t)q2_min_u64(survey->cluster_bytes, Q2_SURVEY_PIECE_BYTES);
    uint32_t *word = q2_survey_word_at(survey, cluster);
    struct visit at = { .times = *word & Q2_CLAIM_COUNT };
    uint64_t shown = (*word & Q2_CLAIM_SHOWN) == 0      ? 0
                     : table_off == survey->last_l2_off ? survey->last_l2_bytes
                                                        : survey->cluster_bytes;
    int r;

    for (uint64_t pos = 0; pos < survey->cluster_bytes; pos += n) {
        if ((r = q2_survey_load(survey, survey->bytes, n, table_off + pos, "L2 table")) < 0 ||
            (r == 1 && (r = take_piece(survey, &at, table_off + pos, n)) < 0)) {
            return r;
        }
    }
    q2_survey_unused(survey, QCOW2_ANOMALY_SLACK, table_off + shown, survey->cluster_bytes - shown,
                     "L2 entries past the end of the disk");
    *word = (*word & ~Q2_CLAIM_COUNT) | (uint32_t)(at.bytes_found >> g->subcluster_bits);
    return 0;
}

int q2_survey_l2_tables(struct q2_survey *survey)
{
    for (uint64_t cluster = q2_survey_next_word(survey, 0); cluster < survey->n_clusters;
         cluster = q2_survey_next_word(survey, cluster + 1)) {
        int r;

        if ((q2_survey_word(survey, cluster) & Q2_CLAIM_L2) != 0 &&
            (r = visit_table(survey, cluster)) < 0) {
            return r;
        }
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

void q2_survey_shared_streams(struct q2_survey *survey)
{
    const uint64_t *streams = survey->streams;
    bool sorted = true;

    /* Images are mostly written in the order of the disk. */
    for (uint64_t i = 1; i < survey->n_streams && sorted; i++) {
        sorted = streams[i - 1] <= streams[i];
    }
    if (!sorted) {
        qsort(survey->streams, (size_t)survey->n_streams, sizeof *survey->streams, by_offset);
    }
    for (uint64_t i = 1; i < survey->n_streams; i++) {
        if (streams[i - 1] == streams[i]) {
            q2_survey_note(survey, QCOW2_ANOMALY_SHARED, streams[i], "compressed data");
        }
    }
}
