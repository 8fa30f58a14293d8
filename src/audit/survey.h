/* SPDX-License-Identifier: MIT */
/* survey.h - what the parts of the survey share.
 *
 * The survey asks of each cluster of the file who claims it, looks at each table once, and never at data.
 * It knows nothing of refcounts: that is the check's. What keeps it small on hostile images is that
 * the claims themselves are the memory of what has been looked at: a cluster becomes part of a table once,
 * and of what is claimed twice only the L1 table, the refcount table and L2 tables are looked at at all, each
 * once.
 *
 *   survey.c          the public call, the sums, what the library would need
 *   survey_claims.c   clusters and who claims them
 *   survey_tables.c   L1 tables, refcounts, snapshots, bitmaps
 *   survey_l2.c       L2 tables, and streams that are named twice */
#ifndef Q2_AUDIT_SURVEY_H
#define Q2_AUDIT_SURVEY_H

#include "image/image.h"

/* One word for each cluster of the file. The count is of the L1 entries of the disk that name the cluster as
 * an L2 table; an L1 table has at most 2^22 entries. */
#define Q2_CLAIM_TIMES  UINT32_C(0x007fffff)
#define Q2_CLAIM_TABLE  (UINT32_C(1) << 31) /* header or any table */
#define Q2_CLAIM_L2     (UINT32_C(1) << 30) /* an L2 table, to be looked at */
#define Q2_CLAIM_DATA   (UINT32_C(1) << 29) /* data of the disk, as it is */
#define Q2_CLAIM_STREAM (UINT32_C(1) << 28) /* compressed data of the disk */
#define Q2_CLAIM_OTHER  (UINT32_C(1) << 27) /* data of snapshots and bitmaps */

enum { Q2_SURVEY_PIECE_BYTES = 65536 };

struct q2_survey {
    const struct qcow2_image *image;
    const struct q2_layer *layer;
    struct qcow2_error *err;
    struct qcow2_survey_result result;
    uint64_t cluster_bytes;
    uint64_t memory_bytes, max_memory_bytes;
    uint64_t n_clusters; /* of the file, the last one perhaps not all there */
    uint32_t *words;     /* one for each of them */
    uint64_t *streams;   /* where the compressed clusters of the disk begin */
    uint64_t n_streams, streams_room;
    uint8_t bytes[Q2_SURVEY_PIECE_BYTES];
};

/* ---- survey.c ---- */

/* Takes n bytes from the memory that the survey may use; QCOW2_E_LIMIT. */
int q2_survey_memory(struct q2_survey *survey, uint64_t n_bytes);

/* Counts an anomaly (enum qcow2_anomaly). `what` is static text and names the thing. */
void q2_survey_note(struct q2_survey *survey, int anomaly, uint64_t host_off, const char *what);

/* Reads n bytes that begin in the file, zeros where it has ended. */
int q2_survey_load(struct q2_survey *survey, void *buf, size_t n_bytes, uint64_t host_off,
                   const char *what);

/* ---- survey_claims.c ---- */

int q2_survey_claims_init(struct q2_survey *survey);

/* What a claim of a table has come to. */
enum q2_claim { Q2_CLAIMED, Q2_CLAIM_OVERLAPS, Q2_CLAIM_NOT_THERE };

/* Claims a part of the file for a table that nothing else may lie in. */
enum q2_claim q2_survey_claim_table(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes,
                                    const char *what);

/* Claims a cluster for the L2 table at host_off, an L1 entry having named it. */
void q2_survey_claim_l2(struct q2_survey *survey, uint64_t host_off, bool active);

/* Claims a cluster, known to be aligned, for data: of the disk, or of something else. */
void q2_survey_claim_data(struct q2_survey *survey, uint64_t host_off, bool active,
                          const char *what);

/* Claims n bytes for a compressed stream; false if it begins behind the end of the file. */
bool q2_survey_claim_stream(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes,
                            bool active);

/* The sums over all claims. */
void q2_survey_sum_claims(struct q2_survey *survey);

/* ---- survey_tables.c ---- */

int q2_survey_tables(struct q2_survey *survey);

/* ---- survey_l2.c ---- */

/* All L2 tables that have been claimed. */
int q2_survey_l2_tables(struct q2_survey *survey);

/* Streams that the disk names more than once. */
void q2_survey_shared_streams(struct q2_survey *survey);

#endif
