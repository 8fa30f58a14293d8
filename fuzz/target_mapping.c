/* SPDX-License-Identifier: MIT */
/* target_mapping.c - L1 and L2 entries, refcounts: what single words of tables mean.
 * The input: a byte for the geometry, one for flags, one for the subcluster, then pairs of words. */
#include "fuzz.h"

#include <string.h>

#include "format/mapping.h"
#include "format/refcount.h"

/* Bits of an L2 entry that mean nothing unless it is compressed: 56 to 61 and 1 to 8. */
#define RESERVED_BITS UINT64_C(0x3f000000000001fe)

static bool same(const struct q2_mapping *a, const struct q2_mapping *b)
{
    if (a->fault != Q2_FAULT_NONE || b->fault != Q2_FAULT_NONE) {
        return a->fault == b->fault;
    }
    return a->kind == b->kind && a->host_off == b->host_off &&
           a->compressed_bytes == b->compressed_bytes && a->subclusters == b->subclusters;
}

static void require_compressed(const struct q2_geometry *g, const struct q2_mapping *m)
{
    uint64_t cluster = UINT64_C(1) << g->cluster_bits;

    FUZZ_REQUIRE(!g->data_file, "no compressed cluster in an external data file");
    FUZZ_REQUIRE(m->host_off < UINT64_C(1) << 62, "offset and length of a stream cannot wrap");
    if (g->version_1) {
        FUZZ_REQUIRE(m->compressed_bytes < cluster, "version 1 streams are below a cluster");
        return;
    }
    FUZZ_REQUIRE(m->compressed_bytes >= 1 && m->compressed_bytes <= 2 * cluster,
                 "a stream is at most two clusters");
    FUZZ_REQUIRE((m->host_off + m->compressed_bytes) % 512 == 0,
                 "a stream's room ends on a sector");
}

static void require_mapping(const struct q2_geometry *g, const struct q2_mapping *m,
                            unsigned subcluster, uint64_t guest_off)
{
    uint64_t unit = g->version_1 ? 512 : UINT64_C(1) << g->cluster_bits;

    if (m->fault != Q2_FAULT_NONE) {
        FUZZ_REQUIRE(strlen(q2_fault_text(m->fault)) > 0, "a fault has words");
        return;
    }
    FUZZ_REQUIRE(m->subclusters >= 1 && subcluster + m->subclusters <= (g->extended ? 32 : 1),
                 "an answer is about subclusters of the cluster");
    switch (m->kind) {
    case Q2_COMPRESSED:
        require_compressed(g, m);
        return;
    case Q2_NORMAL:
        FUZZ_REQUIRE(m->host_off != Q2_NO_HOST && m->host_off % unit == 0,
                     "stored clusters have an aligned place");
        break;
    case Q2_ZERO:
        FUZZ_REQUIRE(g->zero_flag && !g->version_1, "only version 3 has zero clusters");
        break;
    case Q2_UNALLOCATED:
        FUZZ_REQUIRE(g->extended || m->host_off == Q2_NO_HOST, "what is not there has no place");
        break;
    }
    FUZZ_REQUIRE(m->compressed_bytes == 0, "only streams have a length");
    if (g->data_file && m->host_off != Q2_NO_HOST) {
        FUZZ_REQUIRE(m->host_off == guest_off, "external data is where the guest has it");
    }
}

/* What follows from an entry must not depend on bits without a meaning, and every subcluster of a run
 * must say the same when it is asked itself. */
static void require_consistent(const struct q2_geometry *g, uint64_t entry, uint64_t bitmap,
                               unsigned subcluster, uint64_t guest_off, uint64_t noise)
{
    struct q2_mapping m = q2_l2_decode(g, entry, bitmap, subcluster, guest_off), other;

    require_mapping(g, &m, subcluster, guest_off);
    if (g->version_1) {
        return;
    }
    if ((entry & Q2_ENTRY_COMPRESSED) == 0) {
        other = q2_l2_decode(g, entry ^ (noise & RESERVED_BITS), bitmap, subcluster, guest_off);
        FUZZ_REQUIRE(same(&m, &other), "reserved bits are ignored");
    }
    if (!g->data_file) {
        other = q2_l2_decode(g, entry ^ Q2_ENTRY_COPIED, bitmap, subcluster, guest_off);
        FUZZ_REQUIRE(same(&m, &other), "\"copied\" is for writers");
    }
    for (unsigned i = 1; g->extended && m.fault == Q2_FAULT_NONE && i < m.subclusters; i++) {
        other = q2_l2_decode(g, entry, bitmap, subcluster + i, guest_off);
        other.subclusters += i;
        FUZZ_REQUIRE(same(&m, &other), "a run of subclusters has one answer");
    }
}

static void require_refcounts(uint64_t word, unsigned cluster_bits, unsigned order)
{
    struct q2_refcount_entry entry = q2_refcount_entry_decode(word, cluster_bits);
    uint64_t bits = 0;
    uint8_t bytes[8];

    FUZZ_REQUIRE(entry.block_off % 512 == 0, "a refcount block starts on a sector");
    FUZZ_REQUIRE(!entry.aligned || entry.block_off % (UINT64_C(1) << cluster_bits) == 0,
                 "aligned means to a cluster");
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(word >> (56 - 8 * i));
    }
    for (unsigned i = 0; i < 64U >> order; i++) {
        uint64_t value = q2_refcount_from_word(word, order, i);

        FUZZ_REQUIRE(value <= q2_refcount_max(order), "a refcount is as wide as it is");
        FUZZ_REQUIRE(value == q2_refcount_from_block(bytes, order, i),
                     "words and bytes hold the same refcounts");
        bits += (uint64_t)__builtin_popcountll(value);
    }
    FUZZ_REQUIRE(bits == (uint64_t)__builtin_popcountll(word),
                 "all refcounts of a word together have its bits");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    unsigned bits = (unsigned)fuzz_take(&input, 1), flags = (unsigned)fuzz_take(&input, 1);
    unsigned subcluster = (unsigned)fuzz_take(&input, 1), version = (flags & 3) == 0 ? 2 : 3;
    bool extended = version == 3 && (flags & 4) != 0;
    unsigned cluster_bits = extended ? 14 + bits % 8 : 9 + bits % 13;
    struct q2_geometry g;

    if ((flags & 3) == 1) {
        q2_geometry_init_v1(&g, 9 + bits % 8, 6 + bits / 8 % 8);
        cluster_bits = g.cluster_bits;
    } else {
        q2_geometry_init(&g, version, cluster_bits, extended, (flags & 8) != 0);
    }
    FUZZ_REQUIRE(q2_l2_table_bytes(&g) ==
                     (g.version_1 ? UINT64_C(8) << g.l2_bits : UINT64_C(1) << g.cluster_bits),
                 "an L2 table is one cluster");
    subcluster = g.extended ? subcluster % 32 : 0;
    for (int i = 0; i < 4 && input.left > 0; i++) {
        uint64_t entry = fuzz_take(&input, 8), word = fuzz_take(&input, 8);
        uint64_t mask = ~((UINT64_C(1) << cluster_bits) - 1);

        require_consistent(&g, entry, word, subcluster, word & mask & INT64_MAX, word);
        /* With a place that is right for external data. */
        require_consistent(&g, entry, word, subcluster, entry & Q2_OFFSET_MASK & mask, word);
        FUZZ_REQUIRE(g.version_1 || q2_l1_table_off(&g, entry) % 512 == 0,
                     "an L2 table starts on a sector");
        require_refcounts(word, cluster_bits, (bits + (unsigned)i) % 7);
    }
    return 0;
}
