/* SPDX-License-Identifier: MIT */
/* survey.c - the survey as callers see it: the order of things, the sums, and what
 * the library itself would need to read the image. */
#include "audit/survey.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"

#define DEFAULT_MEMORY_BYTES (UINT64_C(256) << 20)

/* What open takes beside what depends on the image: handles, names, lanes, and the caches' own tables, which
 * are largest (2.5 MiB) for the smallest clusters. */
#define OPEN_FIXED_BYTES (UINT64_C(4) << 20)

/* What a reading thread takes beside its buffers: contexts of the decoders and of the cipher. */
#define THREAD_FIXED_BYTES (UINT64_C(512) << 10)

/* What the ring of a zstd frame takes beside a cluster: blocks on their way in and out. */
#define RING_FIXED_BYTES (UINT64_C(512) << 10)

int q2_survey_memory(struct q2_survey *survey, uint64_t n_bytes)
{
    if (n_bytes > survey->max_memory_bytes - survey->memory_bytes) {
        return q2_error_set(survey->err, QCOW2_E_LIMIT,
                            "the survey needs more than the %llu bytes of memory that it may use",
                            (unsigned long long)survey->max_memory_bytes);
    }
    survey->memory_bytes += n_bytes;
    return 0;
}

void q2_survey_note(struct q2_survey *survey, int anomaly, uint64_t host_off, const char *what)
{
    struct qcow2_anomalies *noted = &survey->result.anomalies[anomaly];

    if (noted->count++ == 0) {
        noted->host_offset = host_off;
        noted->what = what;
    }
}

/* n is at least 1. */
static bool is_zero(const uint8_t *bytes, size_t n)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

int q2_survey_load(struct q2_survey *survey, void *buf, size_t n_bytes, uint64_t host_off,
                   const char *what)
{
    const struct q2_window *file = &survey->layer->file;
    size_t existing = (size_t)q2_window_existing(file, host_off, n_bytes);

    int r;

    memset((uint8_t *)buf + existing, 0, n_bytes - existing);
    if (existing == 0) {
        return 0;
    }
    r = q2_window_read_existing(file, buf, existing, host_off, what, survey->err);
    return r < 0 ? r : !is_zero(buf, existing);
}

/* What the library would need: see the header for what each bounds. */
static void sum_needs(struct q2_survey *survey)
{
    const struct q2_layer *layer = survey->layer;
    struct qcow2_survey_result *result = &survey->result;
    uint64_t l1_bytes = (uint64_t)layer->header.l1_entries * 8;
    bool resident = l1_bytes <= Q2_L1_RESIDENT_BYTES;

    result->open_memory_bytes = OPEN_FIXED_BYTES + layer->head_bytes + (resident ? l1_bytes : 0);
    result->cache_memory_bytes = Q2_DEFAULT_TABLE_CACHE_BYTES + Q2_DEFAULT_CLUSTER_CACHE_BYTES;
    result->thread_memory_bytes =
        THREAD_FIXED_BYTES + survey->cluster_bytes +
        (2 * survey->cluster_bytes > Q2_BATCH_BYTES ? 2 * survey->cluster_bytes : Q2_BATCH_BYTES);
    if (layer->header.compression == QCOW2_COMPRESSION_ZSTD) { /* see codec/zstd.c */
        result->thread_memory_bytes += survey->cluster_bytes + RING_FIXED_BYTES;
    }
    /* A block of the L2 table, one of the L1 table if that is large, and the byte's own cluster. */
    result->byte_work_bytes = Q2_TABLE_BLOCK_BYTES + (resident ? 0 : Q2_TABLE_BLOCK_BYTES);
    result->byte_work_bytes += result->longest_stream_bytes > 0
                                   ? result->longest_stream_bytes + survey->cluster_bytes
                                   : 512; /* encrypted data comes in sectors */
}

static int survey_all(struct q2_survey *survey)
{
    int r;

    if ((r = q2_survey_claims_init(survey)) < 0 || (r = q2_survey_tables(survey)) < 0 ||
        (r = survey->failure) < 0 || (r = q2_survey_l2_tables(survey)) < 0 ||
        (r = q2_survey_sum_snapshots(survey)) < 0 || (r = survey->failure) < 0) {
        return r;
    }
    q2_survey_shared_streams(survey);
    q2_survey_sum_claims(survey);
    q2_survey_tail(survey);
    sum_needs(survey);
    return survey->failure;
}

static int prepare(struct q2_survey *survey, uint64_t max_memory_bytes)
{
    const struct q2_layer *layer = survey->layer;
    uint64_t stored;

    if (layer->format != QCOW2_FORMAT_QCOW2) {
        return q2_error_set(survey->err, QCOW2_E_UNSUPPORTED,
                            "only images of version 2 and 3 have tables that can be surveyed");
    }
    if (layer->file.size_bytes == UINT64_MAX) {
        return q2_error_set(survey->err, QCOW2_E_UNSUPPORTED,
                            "the length of the file is not known, which the survey needs");
    }
    survey->cluster_bytes = UINT64_C(1) << layer->header.cluster_bits;
    stored =
        q2_min_u64(layer->file.stored_bytes, INT64_MAX); /* a length, where no blocks are counted */
    survey->max_table_bytes = stored + Q2_SURVEY_HOLE_BYTES;
    survey->max_rest_bytes = stored + Q2_SURVEY_REST_BYTES;
    survey->max_memory_bytes = max_memory_bytes != 0 ? max_memory_bytes : DEFAULT_MEMORY_BYTES;
    return 0;
}

int qcow2_survey(const struct qcow2_image *image, uint64_t max_memory_bytes,
                 struct qcow2_survey_result *result_ret, struct qcow2_error *err)
{
    struct q2_survey *survey;
    size_t room;
    int r;

    if (image == NULL || result_ret == NULL || result_ret->size == 0) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the image or the result is NULL, or its size 0");
    }
    survey = calloc(1, sizeof *survey);
    if (survey == NULL) {
        return q2_error_nomem(err);
    }
    survey->image = image;
    survey->layer = &image->layers[0];
    survey->err = err;
    room = result_ret->size;
    survey->result.size = room;
    r = prepare(survey, max_memory_bytes);
    if (r == 0) {
        r = survey_all(survey);
    }
    if (r == 0) {
        memcpy(result_ret, &survey->result,
               room < sizeof survey->result ? room : sizeof survey->result);
    }
    q2_survey_claims_deinit(survey);
    free(survey->streams);
    free(survey);
    return r;
}
