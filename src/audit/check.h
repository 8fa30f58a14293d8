/* SPDX-License-Identifier: MIT */
/* check.h - what the parts of the check share.
 *
 * The check counts, for each cluster of the file, how often the tables refer to
 * it, and compares that with the refcount stored for it. Its counters are those
 * of `qemu-img check`, on broken images too; where that visits an L2 table once
 * for each L1 entry that names it, this one visits it once and counts as often,
 * so that snapshots, which share most of their tables, cost little.
 *
 *   check.c             the public call, the order of things, findings
 *   check_read.c        tables out of the file, zeros where it has ended
 *   check_clusters.c    the counters, one for each cluster
 *   check_stored.c      the refcounts as they are stored
 *   check_tables.c      the L2 tables that have been named, and how often
 *   check_l1.c          L1 tables, of the disk and of snapshots
 *   check_l2.c          L2 tables
 *   check_bitmaps.c     bitmaps
 *   check_compare.c     counted against stored */
#ifndef Q2_AUDIT_CHECK_H
#define Q2_AUDIT_CHECK_H

#include "base/error.h"
#include "image/image.h"

/* The most table entries a check looks at. In an image that is in order no two tables overlap, so the
 * file is as large as all of them; broken ones may name the same bytes again and again, up to a point
 * (less than a second). The last limit is for files that are large, but mostly hole (half a minute). */
#define Q2_CHECK_SPARE_ENTRIES (UINT64_C(1) << 28)
#define Q2_CHECK_MAX_ENTRIES   (UINT64_C(1) << 34)

/* Tables are read in pieces of this size. */
enum { Q2_CHECK_PIECE_BYTES = 65536, Q2_CHECK_SMALL_PIECE_BYTES = 4096 };

/* One for each cluster of the file, and one more, because a reference may reach into the cluster in
 * which the file ends. The count in the low bits, the stored refcount above it, as far as flags of
 * tables depend on it. */
#define Q2_CLUSTER_COUNT      UINT32_C(0x3fffffff)
#define Q2_CLUSTER_STORED_ONE (UINT32_C(1) << 30)
#define Q2_CLUSTER_UNREADABLE (UINT32_C(1) << 31)

struct q2_check_clusters {
    uint32_t *words;
    uint64_t n;     /* clusters there are, as far as is known by now */
    uint64_t n_max; /* and can be: n or n + 1 at first */
    uint32_t limit; /* the highest count */
    bool overflows; /* more than that is a corruption; else it just stays there */
};

struct q2_check_table {
    uint64_t host_off;
    uint64_t times;        /* how many L1 entries name it; 0: an empty place */
    uint64_t times_active; /* how many of those are the disk's own, not a snapshot's */
};

struct q2_check_tables {
    struct q2_check_table *places;
    size_t n, capacity; /* capacity: 0 or a power of two */
};

/* A part of the file that was read last. */
struct q2_check_piece {
    uint64_t host_off; /* UINT64_MAX: none */
    uint8_t bytes[Q2_CHECK_SMALL_PIECE_BYTES];
};

struct q2_check {
    const struct q2_layer *layer;
    qcow2_check_callback *callback; /* or NULL */
    void *ctx;
    struct qcow2_error *err;
    struct qcow2_check_result result;
    uint64_t cluster_bytes;
    uint64_t file_bytes; /* rounded up to 512, as QEMU counts */
    uint64_t memory_bytes, max_memory_bytes;
    uint64_t entries, max_entries; /* looked at so far, and allowed */
    struct q2_check_clusters clusters;
    struct q2_check_tables tables;
    struct q2_check_piece table_piece, block_piece; /* of refcounts */
    uint8_t entry_bytes[Q2_CHECK_PIECE_BYTES];
    uint8_t refcount_bytes[Q2_CHECK_PIECE_BYTES];
};

/* All of them return 0, or a code that ends the check. */

/* ---- check.c ---- */

/* Counts a finding `times` times and tells the callback once. */
int q2_check_find(struct q2_check *check, int kind, uint64_t times, uint64_t host_off,
                  const char *fmt, ...) Q2_PRINTF(5, 6);

/* The finding that goes with a failure: the check ends with the error that is there already, whatever the
 * callback says to it. */
void q2_check_find_last(struct q2_check *check, int kind, uint64_t host_off, const char *message);

/* Takes n bytes from the memory that the check may use; QCOW2_E_LIMIT. */
int q2_check_memory(struct q2_check *check, uint64_t n_bytes);

/* Takes n from the entries that the check may look at; QCOW2_E_LIMIT. */
int q2_check_work(struct q2_check *check, uint64_t n);

/* ---- check_read.c ---- */

/* Whether a read there would be one at all: QEMU fails beyond the largest offset it can have. */
bool q2_check_reachable(uint64_t host_off, uint64_t n_bytes);

/* How many of `entries` of 8 bytes are in the file, at least in part; those behind read as zeros. */
uint64_t q2_check_existing(const struct q2_check *check, uint64_t host_off, uint64_t entries);

/* Reads n bytes of what is reachable. `err` is check->err, or NULL where a failure does not end the
 * check. */
int q2_check_load(struct q2_check *check, void *buf, size_t n_bytes, uint64_t host_off,
                  const char *what, struct qcow2_error *err);

/* ---- check_clusters.c ---- */

int q2_check_clusters_init(struct q2_check *check);

/* Counts a reference to a part of the file, `times` times. `what` names the part. */
int q2_check_reference(struct q2_check *check, uint64_t host_off, uint64_t n_bytes, uint64_t times,
                       const char *what);

/* ---- check_stored.c ---- */

/* A run of clusters whose stored refcounts can be had alike. */
struct q2_check_stored {
    uint64_t first, count; /* clusters */
    bool readable;
    const uint8_t *block; /* where the value of the first begins; NULL: all are 0 */
};

/* The run at `cluster`, up to `end` at the most. The block is there until the next call. */
int q2_check_stored_run(struct q2_check *check, uint64_t cluster, uint64_t end,
                        struct q2_check_stored *run_ret);

/* Notes for every cluster whether its refcount is 1, or cannot be read. */
int q2_check_stored_load(struct q2_check *check);

/* 1 if the stored refcount of a cluster is 1 and 0 if not, of those noted and of all others;
 * Q2_CHECK_UNREADABLE, or a code. */
#define Q2_CHECK_UNREADABLE 2
int q2_check_stored_is_one(struct q2_check *check, uint64_t cluster);

/* ---- check_tables.c ---- */

int q2_check_tables_add(struct q2_check *check, uint64_t host_off, bool active);

/* Ends the adding: the tables are then the first n places, by ascending offset. */
void q2_check_tables_sort(struct q2_check_tables *tables);

/* ---- check_l1.c ---- */

/* An L1 table: notes the L2 tables it names. `name` is of the table. */
int q2_check_l1(struct q2_check *check, uint64_t host_off, uint32_t entries, bool active,
                const char *name);

/* Whether the snapshot table can be read; QCOW2_E_CORRUPT and others if not. */
int q2_check_snapshot_table(struct q2_check *check);

/* The references of the snapshot table and of all snapshots. */
int q2_check_snapshots(struct q2_check *check);

/* ---- check_l2.c ---- */

/* All tables noted, and the clusters they name. */
int q2_check_l2_tables(struct q2_check *check);

/* ---- check_bitmaps.c ---- */

int q2_check_bitmaps(struct q2_check *check);

/* ---- check_compare.c ---- */

/* The refcount blocks themselves; everything else has been counted. */
int q2_check_refcount_blocks(struct q2_check *check);

int q2_check_compare(struct q2_check *check);

#endif
