/* SPDX-License-Identifier: MIT */
/* pairs.c - cuts two disks, side by side, into the pieces that have to be read to compare them.
 * Knows the images' extents; must not know what is done with a piece.
 *
 * Two cursors walk the extents of both disks together. What both call zeros, and what both keep in the
 * same place of the same file, is passed over there and then, however long it is. */
#include "pairs.h"
#include "fault.h"
#include "plan.h"

enum {
    PIECE_BYTES = 1024 * 1024,
    /* How many runs one claim may look at. Keeps the lock short, and lets progress be told where
     * there is nothing but rows of tables. */
    MAX_RUNS = 4096,
    /* How much of a disk may be read for each extent that it may have: 4096 times what is stored, which
     * data that compresses very well needs. */
    READ_BYTES_PER_EXTENT = 1024,
    RUNS_BETWEEN_LOOKS = 64
};

/* How much may be read besides: seconds of work. */
#define SPARE_READ_BYTES (UINT64_C(4) << 30)

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The table entries that have been examined in the image, by anyone. */
static uint64_t lookups(const struct qcow2_image *image)
{
    struct qcow2_stats stats = QCOW2_STATS_INIT;

    qcow2_get_stats(image, &stats);
    return stats.l2_cache_hits + stats.l2_cache_misses;
}

/* What is encrypted is read where its file has holes, too. */
static void add_encrypted(struct q2_pair_side *side)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    for (int depth = 0; qcow2_get_info(side->image, depth, &info, NULL) == 0; depth++) {
        if (info.encryption != QCOW2_ENCRYPTION_NONE) {
            side->max_read_bytes += min_u64(info.file_size, UINT64_MAX - side->max_read_bytes);
        }
    }
}

/* A raw disk is read no further than its file is long, and has no tables. */
static void set_limits(struct q2_pair_side *side, bool limited)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    side->max_runs = side->max_read_bytes = side->max_lookups = UINT64_MAX;
    if (!limited || qcow2_get_info(side->image, 0, &info, NULL) < 0 ||
        info.format == QCOW2_FORMAT_RAW) {
        return;
    }
    side->max_runs = qcow2_max_extents(side->image);
    if (qcow2_max_lookups(side->image) < UINT64_MAX - lookups(side->image)) {
        side->max_lookups = lookups(side->image) + qcow2_max_lookups(side->image);
    }
    if (side->max_runs < UINT64_MAX / 2 / READ_BYTES_PER_EXTENT) {
        side->max_read_bytes = SPARE_READ_BYTES + side->max_runs * READ_BYTES_PER_EXTENT;
        add_encrypted(side);
    }
}

int q2_pairs_init(struct q2_pairs *pairs, struct qcow2_image *image_a, struct qcow2_image *image_b,
                  uint64_t start, uint64_t end, bool limited, struct qcow2_error *err)
{
    struct qcow2_image *const images[2] = { image_a, image_b };
    const struct q2_pairs fresh = { .end = end, .guest_off = start };

    *pairs = fresh;
    if (pthread_mutex_init(&pairs->lock, NULL) != 0) {
        return q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for a lock");
    }
    pairs->cluster_bytes = max_u64(q2_plan_cluster_bytes(image_a), q2_plan_cluster_bytes(image_b));
    pairs->piece_bytes = max_u64(PIECE_BYTES, pairs->cluster_bytes);
    for (int i = 0; i < 2; i++) {
        pairs->side[i].image = images[i];
        pairs->side[i].size = qcow2_size(images[i]);
        pairs->side[i].cursor = start;
        set_limits(&pairs->side[i], limited);
        q2_host_holes_init(&pairs->side[i].holes);
    }
    return 0;
}

void q2_pairs_deinit(struct q2_pairs *pairs)
{
    for (int i = 0; i < 2; i++) {
        q2_host_holes_deinit(&pairs->side[i].holes);
    }
    pthread_mutex_destroy(&pairs->lock);
}

/* Finds out what the disk has at guest_off, and for how long. */
static int find_run(struct q2_pairs *pairs, struct q2_pair_side *side, struct qcow2_error *err)
{
    struct qcow2_extent *extent = &side->extent;
    bool hole = false;
    int fd;
    int r;

    if (side->run > 0) {
        return 0;
    }
    if (side->runs >= side->max_runs) {
        return err == NULL ? QCOW2_E_LIMIT
                           : q2_fault_set(err, QCOW2_E_LIMIT, 0,
                                          "the disk has more than %llu extents, which no image of "
                                          "this size has whose tables do not overlap",
                                          (unsigned long long)side->max_runs);
    }
    /* Not each time: the counters are added up, which takes longer than a run. */
    if (side->runs % RUNS_BETWEEN_LOOKS == 0 && lookups(side->image) > side->max_lookups) {
        return err == NULL
                   ? QCOW2_E_LIMIT
                   : q2_fault_set(err, QCOW2_E_LIMIT, 0,
                                  "more than %llu table entries would be examined, which no "
                                  "image of this size has whose tables do not overlap",
                                  (unsigned long long)qcow2_max_lookups(side->image));
    }
    side->runs++;
    if (pairs->guest_off >= side->size) {
        side->run = pairs->end - pairs->guest_off;
        side->zero = true;
        extent->length = 0;
        return 0;
    }
    if (extent->length == 0) {
        r = qcow2_next_extent(side->image, &side->cursor, min_u64(pairs->end, side->size), extent,
                              err);
        if (r < 0) {
            return r;
        }
    }
    side->run = extent->length;
    side->zero = extent->kind == QCOW2_EXTENT_HOLE || extent->kind == QCOW2_EXTENT_ZERO;
    if (extent->kind == QCOW2_EXTENT_DATA) {
        fd = qcow2_extent_fd(side->image, extent);
        if (fd >= 0) {
            side->run = q2_host_holes_find(&side->holes, fd,
                                           qcow2_extent_may_seek(side->image, extent) == 1,
                                           extent->host_offset, extent->length, &hole);
            side->zero = hole;
        }
    }
    return 0;
}

/* Moves both disks on by `bytes`, which is within the runs of both. */
static void advance(struct q2_pairs *pairs, uint64_t bytes)
{
    pairs->guest_off += bytes;
    for (int i = 0; i < 2; i++) {
        struct q2_pair_side *side = &pairs->side[i];

        side->run -= bytes;
        if (side->extent.length > 0) {
            side->extent.offset += bytes;
            side->extent.length -= bytes;
            if (side->extent.host_offset != UINT64_MAX) {
                side->extent.host_offset += bytes;
            }
        }
    }
}

/* What has to be read of the next bytes that are of one kind in both disks. */
struct next {
    uint64_t bytes;
    bool read[2];
};

/* 0, or a code with *side_ret set. `next->bytes` is 0 at the end. */
static int peek(struct q2_pairs *pairs, struct next *next, int *side_ret, struct qcow2_error *err)
{
    struct q2_pair_side *a = &pairs->side[0];
    struct q2_pair_side *b = &pairs->side[1];

    next->bytes = 0;
    if (pairs->guest_off >= pairs->end) {
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        int r = find_run(pairs, &pairs->side[i], err);

        if (r < 0) {
            *side_ret = i;
            return r;
        }
    }
    next->bytes = min_u64(a->run, b->run);
    next->read[0] = !a->zero;
    next->read[1] = !b->zero;
    if (next->read[0] && next->read[1] &&
        qcow2_extent_same(a->image, &a->extent, b->image, &b->extent)) {
        next->read[0] = next->read[1] = false;
    }
    return 0;
}

/* Passes over what is the same. As peek, for what comes then. */
static int skip(struct q2_pairs *pairs, struct q2_pair_piece *piece, struct next *next,
                int *side_ret, struct qcow2_error *err)
{
    for (int runs = 0; runs < MAX_RUNS; runs++) {
        int r = peek(pairs, next, side_ret, err);

        if (r < 0 || next->bytes == 0 || next->read[0] || next->read[1]) {
            return r;
        }
        piece->skipped += next->bytes;
        advance(pairs, next->bytes);
    }
    next->bytes = 0;
    return 0;
}

/* Whether the next bytes can be read along with the piece, which reads them in one way. */
static bool joins(const struct q2_pair_piece *piece, const struct next *next)
{
    if (piece->read[0] == next->read[0] && piece->read[1] == next->read[1]) {
        return true;
    }
    /* Reading both is never wrong, and for a few bytes better than a piece of their own. */
    return piece->read[0] && piece->read[1] && next->bytes < Q2_COPY_BLOCK_BYTES;
}

/* Fills the piece, which begins with `next`. */
static void join(struct q2_pairs *pairs, struct q2_pair_piece *piece, struct next *next)
{
    uint64_t limit = pairs->piece_bytes;
    int side;

    piece->guest_off = pairs->guest_off;
    piece->read[0] = next->read[0];
    piece->read[1] = next->read[1];
    /* Ends on a cluster, so that no cluster is decoded for two pieces. */
    if (limit <= UINT64_MAX - piece->guest_off) {
        limit -= (piece->guest_off + limit) % pairs->cluster_bytes;
    }
    for (int runs = 0; runs < MAX_RUNS && piece->length < limit; runs++) {
        uint64_t bytes = min_u64(next->bytes, limit - piece->length);

        if (bytes == 0 || !joins(piece, next)) {
            break;
        }
        piece->length += bytes;
        advance(pairs, bytes);
        /* A failure on the way ends the piece; the next claim meets it again and reports it. */
        if (peek(pairs, next, &side, NULL) < 0) {
            break;
        }
    }
}

/* Counts what has to be read of the piece. 0, or a code with *side_ret set. */
static int count_reads(struct q2_pairs *pairs, const struct q2_pair_piece *piece, int *side_ret,
                       struct qcow2_error *err)
{
    for (int i = 0; i < 2; i++) {
        struct q2_pair_side *side = &pairs->side[i];

        if (!piece->read[i]) {
            continue;
        }
        if (piece->length > side->max_read_bytes - side->read_bytes) {
            *side_ret = i;
            return q2_fault_set(err, QCOW2_E_LIMIT, 0,
                                "the disk has more than %llu bytes to read, which follows what its "
                                "files store",
                                (unsigned long long)side->max_read_bytes);
        }
        side->read_bytes += piece->length;
    }
    return 0;
}

int q2_pairs_claim(struct q2_pairs *pairs, struct q2_pair_piece *piece_ret, int *side_ret,
                   struct qcow2_error *err)
{
    const struct q2_pair_piece empty = { .length = 0 };
    struct next next = { .bytes = 0 };
    int r = 0;

    *piece_ret = empty;
    pthread_mutex_lock(&pairs->lock);
    piece_ret->sequence = pairs->sequence;
    if (!pairs->closed) {
        r = skip(pairs, piece_ret, &next, side_ret, err);
        piece_ret->guest_off = pairs->guest_off;
    }
    if (r < 0 || pairs->closed || pairs->guest_off >= pairs->end) {
        pairs->closed = true;
    } else {
        if (next.bytes > 0) {
            join(pairs, piece_ret, &next);
            r = count_reads(pairs, piece_ret, side_ret, err);
        }
        pairs->closed = r < 0;
        if (r == 0) {
            pairs->sequence++;
            r = 1;
        }
    }
    pthread_mutex_unlock(&pairs->lock);
    return r;
}

void q2_pairs_close(struct q2_pairs *pairs)
{
    pthread_mutex_lock(&pairs->lock);
    pairs->closed = true;
    pthread_mutex_unlock(&pairs->lock);
}
