/* SPDX-License-Identifier: MIT */
/* check.h - what the parts of the check share.
 *
 * The check counts, for each cluster of the file, how often the tables refer to
 * it, and compares that with the refcount stored for it. Its counters are those
 * of `qemu-img check`, on broken images too; where that visits an L2 table once
 * for each L1 entry that names it, and an L1 table once for each snapshot that
 * does, this one visits it once and counts as often, so that snapshots, which
 * share most of their tables, cost little.
 *
 *   check.c             the public call, the order of things, findings
 *   check_read.c        tables out of the file, zeros where it has ended
 *   check_clusters.c    the counters, one for each cluster
 *   check_stored.c      the refcounts as they are stored
 *   check_tables.c      the L2 tables that have been named, and how often
 *   check_cover.c       ranges that overlap, and how many cover each place
 *   check_l1.c          L1 tables, of the disk and of snapshots
 *   check_snapshots.c   the snapshot table
 *   check_l2.c          L2 tables
 *   check_bitmaps.c     bitmaps
 *   check_compare.c     counted against stored */
#ifndef Q2_AUDIT_CHECK_H
#define Q2_AUDIT_CHECK_H

#include "base/error.h"
#include "image/image.h"

/* The most table entries that a check reads. In an image that is in order no two tables overlap, so all of
 * them together have one entry for each 8 bytes stored at the most; one for each byte leaves room for
 * file systems that compress. The spare entries, at most two seconds, are for broken images, and for tables that are
 * holes. The last limit, half a minute, is for sources of which only the length is known.
 *
 * The most memory, likewise: each cluster that is in use has an L2 entry and a refcount, so the 4 bytes for it
 * are at most half of what is stored for it. */
#define Q2_CHECK_SPARE_ENTRIES (UINT64_C(1) << 26)
#define Q2_CHECK_MAX_ENTRIES   (UINT64_C(1) << 34)
#define Q2_CHECK_SPARE_BYTES   (UINT64_C(64) << 20)
#define Q2_CHECK_MAX_BYTES     (UINT64_C(1) << 30)

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
    uint64_t messages_left; /* findings that still have a sentence */
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

/* Counts a finding `times` times and calls the callback once. */
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

/* 1 if a reference to that part of the file is one to clusters, from *first_ret to *last_ret; 0 if not:
 * there is nothing to it, or it leaves the file, which is a finding, `times` times. Or a code. */
int q2_check_clusters_of(struct q2_check *check, uint64_t host_off, uint64_t n_bytes,
                         uint64_t times, const char *what, uint64_t *first_ret, uint64_t *last_ret);

/* Counts a reference to each of these clusters, `times` times. */
int q2_check_count(struct q2_check *check, uint64_t first, uint64_t last, uint64_t times,
                   const char *what);

/* Both. Counts a reference to a part of the file, `times` times. `what` names the part. */
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

/* Adds the table at host_off as one that L1 entries name, `times` times. */
int q2_check_tables_add(struct q2_check *check, uint64_t host_off, bool active, uint64_t times);

/* Ends the adding: the tables are then the first n places, by ascending offset. */
void q2_check_tables_sort(struct q2_check_tables *tables);

/* ---- check_cover.c ---- */

/* Ranges of numbers, such as clusters: those from starts[i] on, and before ends[i], for each i. */
struct q2_check_cover {
    uint64_t *starts, *ends;
    size_t n;
};

/* Calls `visit` for each longest range of numbers that the same ranges of the cover hold, in ascending
 * order, with how many do, at least 1. Sorts the arrays. */
typedef int q2_check_cover_fn(struct q2_check *check, uint64_t start, uint64_t end, uint64_t times);
int q2_check_cover_walk(struct q2_check *check, struct q2_check_cover *cover,
                        q2_check_cover_fn *visit);

/* ---- check_l1.c ---- */

/* Whether an L1 table of so many entries at host_off can be read: 0, or a code, after a finding. */
int q2_check_l1_reachable(struct q2_check *check, uint64_t host_off, uint64_t entries,
                          const char *name);

/* Entries of L1 tables from host_off on, all of them in the file: adds the L2 tables that they name, `times`
 * times. `name` is of the table; entries are numbered from its start, of the disk's own table. */
int q2_check_l1_entries(struct q2_check *check, uint64_t host_off, uint64_t entries, bool active,
                        uint64_t times, const char *name);

/* The disk's own L1 table. */
int q2_check_l1(struct q2_check *check);

/* ---- check_snapshots.c ---- */

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
