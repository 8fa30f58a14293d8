/* SPDX-License-Identifier: MIT */
/* survey.h - what the parts of the survey share.
 *
 * The survey asks of each cluster of the file who claims it, looks at each table once, and never at data.
 * It knows nothing of refcounts: that is the check's. What keeps it small on hostile images is that
 * the claims themselves are the memory of what has been looked at: a cluster becomes part of a table once,
 * and of what is claimed twice only the L1 table, the refcount table and L2 tables are looked at at all, each
 * once; and once more the L1 tables of snapshots, for the sums, where nothing else has their place.
 *
 *   survey.c            the public call, the sums, what the library would need
 *   survey_claims.c     clusters and who claims them
 *   survey_tables.c     the disk's L1 table, refcounts
 *   survey_bitmaps.c    the bitmap directory and its tables
 *   survey_snapshots.c  the snapshot table and its L1 tables, and how much each snapshot stores
 *   survey_slack.c      bytes of tables that have no meaning
 *   survey_l2.c         L2 tables, and streams that are named twice */
#ifndef Q2_AUDIT_SURVEY_H
#define Q2_AUDIT_SURVEY_H

#include "image/image.h"

/* One word for each cluster of the file, in pages that exist once one of their words is needed. The count is an L2 table's: until it has been looked at, of the L1
 * entries of the disk that name it, at most 2^22; from then on, of the clusters that it stores, or of the
 * subclusters where there are such, at most 2^17 times 32. */
#define Q2_CLAIM_COUNT  UINT32_C(0x007fffff)
#define Q2_CLAIM_TABLE  (UINT32_C(1) << 31) /* header or any table */
#define Q2_CLAIM_L2     (UINT32_C(1) << 30) /* an L2 table, to be looked at */
#define Q2_CLAIM_DATA   (UINT32_C(1) << 29) /* data of the disk, as it is */
#define Q2_CLAIM_STREAM (UINT32_C(1) << 28) /* compressed data of the disk */
#define Q2_CLAIM_OTHER  (UINT32_C(1) << 27) /* data of snapshots and bitmaps */
#define Q2_CLAIM_L1     (UINT32_C(1) << 26) /* L1 table of a snapshot, not yet summed up */
#define Q2_CLAIM_SHOWN                                                                             \
    (UINT32_C(1) << 25) /* an L2 table that the disk shows, or that a snapshot has */

enum { Q2_SURVEY_PIECE_BYTES = 65536 };

/* A page has 64 words, a group 64 pages: small, so that an entry that names a place far from all others costs
 * little memory. */
enum {
    Q2_SURVEY_PAGE_BITS = 6,
    Q2_SURVEY_PAGE_WORDS = 1 << Q2_SURVEY_PAGE_BITS,
    Q2_SURVEY_GROUP_BITS = 12,
    Q2_SURVEY_GROUP_PAGES = 1 << (Q2_SURVEY_GROUP_BITS - Q2_SURVEY_PAGE_BITS)
};

/* All tables together may take as many bytes as the file stores, and so many more: in a sparse file they may lie
 * in holes, and then a small file has tables without end. */
#define Q2_SURVEY_HOLE_BYTES (UINT64_C(256) << 20)

/* What follows tables in their last clusters, together, may take so many bytes more than the file stores. All of
 * it is read, but QEMU writes a table only as far as it is used: with clusters of 2 MiB most of it is holes. */
#define Q2_SURVEY_REST_BYTES (UINT64_C(1) << 30)

struct q2_survey {
    const struct qcow2_image *image;
    const struct q2_layer *layer;
    struct qcow2_error *err;
    struct qcow2_survey_result result;
    uint64_t cluster_bytes;
    uint64_t memory_bytes, max_memory_bytes;
    uint64_t n_clusters; /* of the file, the last one perhaps not all there */
    uint32_t ***groups;  /* of pages of words; NULL: all words of it are 0, as for pages */
    uint64_t n_groups;
    uint32_t no_word;     /* what is changed when there is no memory for a page */
    int failure;          /* 0, or the code that ends the survey at the next step */
    uint64_t table_bytes; /* of all tables claimed, and how many may be */
    uint64_t max_table_bytes;
    uint64_t rest_bytes; /* after tables, and how many may be */
    uint64_t max_rest_bytes;
    uint64_t *streams; /* where the compressed clusters of the disk begin */
    uint64_t n_streams, streams_room;
    uint64_t last_l2_off;   /* of the disk's last L2 table; 0: there is none */
    uint64_t last_l2_bytes; /* how much of it the disk shows */
    uint64_t sum;           /* of the snapshot at hand: what its tables count */
    uint8_t bytes[Q2_SURVEY_PIECE_BYTES];
    uint8_t rest[4096]; /* what may not be in `bytes`, where a table is being walked */
};

/* ---- survey.c ---- */

/* Takes n bytes from the memory that the survey may use; QCOW2_E_LIMIT. */
int q2_survey_memory(struct q2_survey *survey, uint64_t n_bytes);

/* Counts an anomaly (enum qcow2_anomaly). `what` is static text and names the thing. */
void q2_survey_note(struct q2_survey *survey, int anomaly, uint64_t host_off, const char *what);

/* Reads n bytes that begin in the file, zeros where it has ended. 1 if any of them is not 0, else 0; or a
 * code. */
int q2_survey_load(struct q2_survey *survey, void *buf, size_t n_bytes, uint64_t host_off,
                   const char *what);

/* ---- survey_claims.c ---- */

int q2_survey_claims_init(struct q2_survey *survey);
void q2_survey_claims_deinit(struct q2_survey *survey);

/* The page of a cluster's word; NULL: all its words are 0. */
static inline uint32_t *q2_survey_page(const struct q2_survey *survey, uint64_t cluster)
{
    uint32_t **group = survey->groups[cluster >> Q2_SURVEY_GROUP_BITS];

    return group != NULL ? group[(cluster >> Q2_SURVEY_PAGE_BITS) % Q2_SURVEY_GROUP_PAGES] : NULL;
}

/* The word of a cluster of the file. */
static inline uint32_t q2_survey_word(const struct q2_survey *survey, uint64_t cluster)
{
    const uint32_t *page = q2_survey_page(survey, cluster);

    return page != NULL ? page[cluster % Q2_SURVEY_PAGE_WORDS] : 0;
}

/* The first cluster at `cluster` or after it whose word has a page; n_clusters: there is none. */
uint64_t q2_survey_next_word(const struct q2_survey *survey, uint64_t cluster);

/* The same to be changed. Without memory for its page: another word, and survey->failure is set. */
uint32_t *q2_survey_word_at(struct q2_survey *survey, uint64_t cluster);

/* What a claim of a table has come to. */
enum q2_claim { Q2_CLAIMED, Q2_CLAIM_OVERLAPS, Q2_CLAIM_NOT_THERE };

/* Claims a part of the file for a table that nothing else may lie in. */
enum q2_claim q2_survey_claim_table(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes,
                                    const char *what);

/* Marks the L1 table of a snapshot, which has been claimed and is going to be walked, to be walked once more:
 * when its L2 tables have been looked at, it can be said what they store together. */
void q2_survey_mark_l1(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes);

/* Takes the marks away. True if all of the table had them, and is nowhere an L2 table as well, which would
 * be a third reason to read it. */
bool q2_survey_unmark_l1(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes);

/* Claims a cluster for the L2 table at host_off, an L1 entry having named it: of the disk, within its size
 * (active), or of a snapshot (shown, too). */
void q2_survey_claim_l2(struct q2_survey *survey, uint64_t host_off, bool active, bool shown);

/* Claims a cluster, known to be aligned, for data: of the disk, or of something else. */
void q2_survey_claim_data(struct q2_survey *survey, uint64_t host_off, bool active,
                          const char *what);

/* Claims n bytes for a compressed stream; false if it begins behind the end of the file. */
bool q2_survey_claim_stream(struct q2_survey *survey, uint64_t host_off, uint64_t n_bytes,
                            bool active);

/* The sums over all claims. */
void q2_survey_sum_claims(struct q2_survey *survey);

/* ---- survey_tables.c ---- */

/* Takes one entry of a table, at entry_off in the file. */
typedef void q2_survey_take(struct q2_survey *survey, uint64_t entry, uint64_t entry_off,
                            bool active);

/* Hands out all entries but zeros. The first active_entries of a table are the disk's own. All of it lies in
 * the file. */
int q2_survey_walk(struct q2_survey *survey, uint64_t host_off, uint64_t entries,
                   uint64_t active_entries, q2_survey_take *take, const char *what);

/* Claims the L2 table that the entry names. `shown` as for q2_survey_claim_l2. */
void q2_survey_take_l1_entry(struct q2_survey *survey, uint64_t entry, uint64_t entry_off,
                             bool active, bool shown);

/* ---- survey_slack.c ---- */

/* Notes the anomaly once if any byte of a part of the file is not 0. On failure sets survey->failure, as all
 * here. */
void q2_survey_unused(struct q2_survey *survey, int anomaly, uint64_t host_off, uint64_t n_bytes,
                      const char *what);

/* Notes control characters, ASCII's and those of ISO 6429 in UTF-8: a name that a user has given has none, and a
 * terminal obeys them where the name is printed. */
void q2_survey_text(struct q2_survey *survey, const char *text, size_t n, uint64_t host_off,
                    const char *what);

/* The rest of the cluster in which a table ends. */
void q2_survey_rest(struct q2_survey *survey, uint64_t table_end, const char *what);

/* The part of a refcount block that is for clusters after the end of the file. */
void q2_survey_refcounts_past_end(struct q2_survey *survey, uint64_t block_off, uint64_t index);

/* What follows the last cluster that is used, if it is shorter than a cluster. */
void q2_survey_tail(struct q2_survey *survey);

/* What goes wrong in a list ends the list, unless it is the machine's fault. */
int q2_survey_broken_list(struct q2_survey *survey, int code, int anomaly, uint64_t host_off,
                          const char *what);

int q2_survey_tables(struct q2_survey *survey);

/* ---- survey_bitmaps.c ---- */

int q2_survey_bitmaps(struct q2_survey *survey);

/* ---- survey_snapshots.c ---- */

/* The snapshot table, and the L1 tables that it names. */
int q2_survey_snapshots(struct q2_survey *survey);

/* How much the snapshot stores that stores most. All L2 tables have been looked at. */
int q2_survey_sum_snapshots(struct q2_survey *survey);

/* ---- survey_l2.c ---- */

/* All L2 tables that have been claimed. */
int q2_survey_l2_tables(struct q2_survey *survey);

/* Streams that the disk names more than once. */
void q2_survey_shared_streams(struct q2_survey *survey);

#endif
