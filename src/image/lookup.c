/* SPDX-License-Identifier: MIT */
/* lookup.c - the one walk that answers "where does this guest byte live?".
 * Reads, extents and everything else that asks come through here. It follows
 * L1 and L2 entries and the chain of files; it never touches data. */
#include "image/image.h"

#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"

/* How many words of an L2 table are taken at a time: few at first, because where every cluster is a run
 * of its own only one is used. */
enum { FIRST_WORDS = 8, BATCH_WORDS = 32 };

/* How many L1 entries without a table are passed over in one call, of a table that is in memory and of one
 * that has to be read; and how many entries of either kind of table where a file below is asked next. That
 * one may be in small pieces, and for each of them all of this is walked again. */
enum { MAX_L1_STEPS = 65536, MAX_L1_STEPS_READ = 4096, MAX_STEPS_ABOVE = 128 };

static int l1_read(struct qcow2_image *image, struct q2_lane *lane, const struct q2_layer *layer,
                   uint64_t index, uint64_t *words_ret, struct qcow2_error *err)
{
    if (layer->l1.resident != NULL) {
        *words_ret = layer->l1.resident[index];
        return 1;
    }
    return q2_table_read(image, lane, layer, layer->l1.host_off + index * 8, 1, words_ret,
                         "L1 table", err);
}

/* How many of n L1 entries from index `at` on name no table, up to the first that does. */
static uint64_t count_empty(struct qcow2_image *image, struct q2_lane *lane,
                            const struct q2_layer *layer, uint64_t at, uint64_t n)
{
    uint64_t words[BATCH_WORDS], empty = 0;

    while (empty < n) {
        const uint64_t *entries = words;
        int there = (int)q2_min_u64(n - empty, BATCH_WORDS);

        if (layer->l1.resident != NULL) {
            entries = layer->l1.resident + at + empty;
        } else {
            /* An entry that cannot be read is a matter for the read that needs it. */
            there = q2_table_read(image, lane, layer, layer->l1.host_off + (at + empty) * 8,
                                  (unsigned)there, words, "L1 table", NULL);
        }
        if (there <= 0) {
            return empty;
        }
        for (int i = 0; i < there; i++) {
            if (q2_l1_table_off(&layer->geometry, entries[i]) != 0) {
                return empty;
            }
            empty++;
        }
    }
    return empty;
}

/* A run without any L2 table, joined with the L1 entries behind it that have none either. */
static void lookup_without_table(struct qcow2_image *image, struct q2_lane *lane,
                                 const struct q2_layer *layer, uint64_t guest_off,
                                 uint64_t max_bytes, bool above, struct q2_run *run)
{
    unsigned span_bits = layer->geometry.cluster_bits + layer->geometry.l2_bits;
    uint64_t first = guest_off >> span_bits, last = (guest_off + max_bytes - 1) >> span_bits;
    uint64_t next = first + 1;
    uint64_t most = layer->l1.resident != NULL ? MAX_L1_STEPS : MAX_L1_STEPS_READ;

    most = above ? MAX_STEPS_ABOVE : most;
    /* A table may be shorter than its disk: a snapshot's is, if the disk grew after it. */
    if (next < layer->l1.entries) {
        next += count_empty(image, lane, layer, next,
                            q2_min_u64(q2_min_u64(last - first, layer->l1.entries - next), most));
    }
    *run = (struct q2_run){
        .kind = Q2_UNALLOCATED,
        .layer = layer,
        .host_off = Q2_NO_HOST,
        .length_bytes =
            next > last || next >= layer->l1.entries ? max_bytes : (next << span_bits) - guest_off,
    };
}

/* One L2 table and a place in it. */
struct cursor {
    uint64_t table_off; /* in the file */
    uint64_t index;     /* of the entry */
    uint64_t guest_off; /* of the entry's cluster */
};

static int fail_entry(const struct q2_layer *layer, const struct cursor *at, uint64_t entry,
                      enum q2_fault fault, struct qcow2_error *err)
{
    unsigned entry_bytes = layer->geometry.extended ? 16 : 8;

    return q2_error_set_at(err, QCOW2_E_CORRUPT, at->table_off + at->index * entry_bytes,
                           "L2 entry %llu (0x%016llx) of the table at 0x%llx is broken: %s",
                           (unsigned long long)at->index, (unsigned long long)entry,
                           (unsigned long long)at->table_off, q2_fault_text(fault));
}

static void start_run(const struct q2_layer *layer, const struct q2_mapping *m, uint64_t entry,
                      uint64_t in_cluster, uint64_t subcluster_end, struct q2_run *run)
{
    *run = (struct q2_run){
        .kind = m->kind,
        .layer = layer,
        .length_bytes = subcluster_end - in_cluster,
        .host_off = m->host_off,
    };
    if (m->kind == Q2_COMPRESSED) {
        run->compressed_bytes = m->compressed_bytes;
        run->cluster_skip = (uint32_t)in_cluster;
        run->descriptor = entry & ~Q2_ENTRY_COPIED;
    } else if (m->host_off != Q2_NO_HOST) {
        run->host_off += in_cluster;
    }
}

/* Whether m, which begins where the run ends, is more of the same. The run is not compressed: those are never
 * joined. */
static bool continues(const struct q2_run *run, const struct q2_mapping *m)
{
    if (m->fault != Q2_FAULT_NONE || m->kind != run->kind) {
        return false;
    }
    return run->host_off == Q2_NO_HOST
               ? m->host_off == Q2_NO_HOST
               : m->host_off != Q2_NO_HOST && m->host_off == run->host_off + run->length_bytes;
}

/* Words of the entries from `at` on, as far as they are of use to who wants `bytes` from the start of
 * that cluster on; the number of words, or a code. */
static int read_entries(struct qcow2_image *image, struct q2_lane *lane,
                        const struct q2_layer *layer, const struct cursor *at, uint64_t bytes,
                        unsigned max_words, uint64_t *words_ret, struct qcow2_error *err)
{
    const struct q2_geometry *g = &layer->geometry;
    const unsigned per_entry = g->extended ? 2 : 1;
    uint64_t want = per_entry;

    if (bytes > UINT64_C(1) << g->cluster_bits) {
        uint64_t entries = q2_min_u64(q2_blocks_for(bytes, g->cluster_bits),
                                      (UINT64_C(1) << g->l2_bits) - at->index);

        want = q2_min_u64(entries * per_entry, max_words);
    }
    return q2_table_read(image, lane, layer, at->table_off + at->index * per_entry * 8,
                         (unsigned)want, words_ret, "L2 table", err);
}

/* Joins to a run, which fills its cluster up to the end, the clusters behind it that are more of the
 * same. words: n words that begin with the entry of the run's cluster. */
static void extend_run(struct qcow2_image *image, struct q2_lane *lane,
                       const struct q2_layer *layer, struct cursor at, uint64_t *words, int n,
                       uint64_t max_bytes, struct q2_run *run)
{
    const struct q2_geometry *g = &layer->geometry;
    const int per_entry = g->extended ? 2 : 1;
    int i = per_entry;

    while (run->length_bytes < max_bytes && ++at.index >> g->l2_bits == 0) {
        struct q2_mapping m;

        at.guest_off += UINT64_C(1) << g->cluster_bits;
        if (i >= n) {
            /* What cannot be read ends the run; the next look at that place says what is wrong. */
            n = read_entries(image, lane, layer, &at, max_bytes - run->length_bytes, BATCH_WORDS,
                             words, NULL);
            if (n < 0) {
                return;
            }
            i = 0;
        }
        m = q2_l2_decode(g, words[i], g->extended ? words[i + 1] : 0, 0, at.guest_off);
        if (!continues(run, &m)) {
            return;
        }
        q2_lane_count(lane, Q2_L2_HITS, i > 0);
        run->length_bytes += (uint64_t)m.subclusters << g->subcluster_bits;
        if (g->extended && m.subclusters < Q2_SUBCLUSTERS) {
            return;
        }
        i += per_entry;
    }
}

/* Decodes entries from `at` on until the run ends or is max_bytes long. */
static int lookup_in_table(struct qcow2_image *image, struct q2_lane *lane,
                           const struct q2_layer *layer, const struct cursor *at,
                           uint64_t in_cluster, uint64_t max_bytes, bool above, struct q2_run *run,
                           struct qcow2_error *err)
{
    const struct q2_geometry *g = &layer->geometry;
    unsigned subcluster = (unsigned)(in_cluster >> g->subcluster_bits);
    uint64_t words[BATCH_WORDS], end;
    struct q2_mapping m;
    int n = read_entries(image, lane, layer, at, in_cluster + max_bytes, FIRST_WORDS, words, err);

    if (n < 0) {
        return n;
    }
    m = q2_l2_decode(g, words[0], g->extended ? words[1] : 0, subcluster, at->guest_off);
    if (m.fault != Q2_FAULT_NONE) {
        return fail_entry(layer, at, words[0], m.fault, err);
    }
    end = (uint64_t)(subcluster + m.subclusters) << g->subcluster_bits;
    start_run(layer, &m, words[0], in_cluster, end, run);
    if (above && m.kind == Q2_UNALLOCATED) {
        max_bytes = q2_min_u64(max_bytes, (uint64_t)MAX_STEPS_ABOVE << g->cluster_bits);
    }
    if (run->length_bytes < max_bytes && end >> g->cluster_bits != 0 && m.kind != Q2_COMPRESSED) {
        extend_run(image, lane, layer, *at, words, n, max_bytes, run);
    }
    return 0;
}

/* The L2 table for an L1 entry that names one, checked. */
static int check_table(const struct q2_layer *layer, uint64_t l1_index, uint64_t table_off,
                       struct qcow2_error *err)
{
    const struct q2_geometry *g = &layer->geometry;

    if (!g->version_1 && (table_off & ((UINT64_C(1) << g->cluster_bits) - 1)) != 0) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, table_off,
                               "L2 table at 0x%llx (L1 entry %llu) is not aligned to a cluster",
                               (unsigned long long)table_off, (unsigned long long)l1_index);
    }
    return q2_window_check(&layer->file, table_off, q2_l2_table_bytes(g), "L2 table", err);
}

/* The bytes of a raw file are the disk; what fills its last sector up is zeros. */
static void lookup_raw(const struct q2_layer *layer, uint64_t guest_off, uint64_t max_bytes,
                       struct q2_run *run)
{
    uint64_t stored = q2_window_existing(&layer->file, guest_off, max_bytes);

    *run = (struct q2_run){
        .kind = stored > 0 ? Q2_NORMAL : Q2_ZERO,
        .layer = layer,
        .length_bytes = stored > 0 ? stored : max_bytes,
        .host_off = guest_off,
    };
}

/* `above`: another layer will be asked where this one has nothing. */
static int lookup_in_layer(struct qcow2_image *image, struct q2_lane *lane,
                           const struct q2_layer *layer, uint64_t guest_off, uint64_t max_bytes,
                           bool above, struct q2_run *run, struct qcow2_error *err)
{
    const struct q2_geometry *g = &layer->geometry;
    uint64_t cluster = guest_off >> g->cluster_bits;
    uint64_t l1_index = cluster >> g->l2_bits;
    uint64_t entry = 0;
    struct cursor at;
    int r;

    if (layer->format == QCOW2_FORMAT_RAW) {
        lookup_raw(layer, guest_off, max_bytes, run);
        return 0;
    }
    if (l1_index < layer->l1.entries &&
        (r = l1_read(image, lane, layer, l1_index, &entry, err)) < 0) {
        return r;
    }
    at.table_off = q2_l1_table_off(g, entry);
    if (at.table_off == 0) {
        lookup_without_table(image, lane, layer, guest_off, max_bytes, above, run);
        return 0;
    }
    if ((r = check_table(layer, l1_index, at.table_off, err)) < 0) {
        return r;
    }
    at.index = cluster & ((UINT64_C(1) << g->l2_bits) - 1);
    at.guest_off = cluster << g->cluster_bits;
    r = lookup_in_table(image, lane, layer, &at, guest_off - at.guest_off, max_bytes, above, run,
                        err);
    run->length_bytes = q2_min_u64(run->length_bytes, max_bytes);
    return r;
}

int q2_lookup(struct qcow2_image *image, struct q2_lane *lane, uint64_t guest_off,
              uint64_t max_bytes, struct q2_run *run_ret, struct qcow2_error *err)
{
    for (unsigned depth = 0;; depth++) {
        const struct q2_layer *layer = &image->layers[depth], *below = layer + 1;
        uint64_t layer_off = guest_off + layer->guest_base;
        bool above = depth + 1 < image->n_layers && guest_off < below->size_bytes;
        int r = lookup_in_layer(image, lane, layer, layer_off, max_bytes, above, run_ret, err);

        if (r < 0) {
            q2_error_depth(err, (int)depth);
            q2_error_guest(err, guest_off);
            return r;
        }
        run_ret->layer_guest_off = layer_off;
        /* What nobody has, and what lies past the end of the disk below, is zeros here. */
        if (run_ret->kind != Q2_UNALLOCATED || !above) {
            return 0;
        }
        max_bytes = q2_min_u64(run_ret->length_bytes, below->size_bytes - guest_off);
    }
}

uint64_t q2_lookup_compressed_end(struct qcow2_image *image, struct q2_lane *lane,
                                  const struct q2_run *run, uint64_t max_bytes,
                                  uint64_t limit_bytes)
{
    const struct q2_layer *layer = run->layer;
    const struct q2_geometry *g = &layer->geometry;
    const unsigned words_per_entry = g->extended ? 2 : 1;
    uint64_t cluster = (run->layer_guest_off >> g->cluster_bits) + 1;
    uint64_t index = cluster & ((UINT64_C(1) << g->l2_bits) - 1);
    uint64_t from = run->host_off, end = from + run->compressed_bytes, entry, words[BATCH_WORDS];
    int n;

    /* The rest of this table block is enough; index 0 would be another table. */
    if (index == 0 || (max_bytes >> g->cluster_bits) == 0 ||
        l1_read(image, lane, layer, cluster >> g->l2_bits, &entry, NULL) < 0) {
        return end;
    }
    n = q2_table_read(image, lane, layer, q2_l1_table_off(g, entry) + index * words_per_entry * 8,
                      (unsigned)q2_min_u64(q2_min_u64(max_bytes >> g->cluster_bits,
                                                      (UINT64_C(1) << g->l2_bits) - index) *
                                               words_per_entry,
                                           BATCH_WORDS),
                      words, "L2 table", NULL);
    for (int i = 0; i < n; i += (int)words_per_entry) {
        struct q2_mapping m = q2_l2_decode(g, words[i], 0, 0, 0);
        uint64_t next_end = m.host_off + m.compressed_bytes;

        /* Streams lie back to back, sharing sectors; anything else ends the batch. */
        if (m.kind != Q2_COMPRESSED || m.fault != Q2_FAULT_NONE || m.host_off < from ||
            m.host_off > end || next_end - from > limit_bytes) {
            break;
        }
        end = next_end > end ? next_end : end;
    }
    return end;
}
