/* SPDX-License-Identifier: MIT */
/* lane.h - what one running call needs for itself: counters, scratch memory,
 * decoders.
 *
 * A public call checks a lane out, has it alone until it checks it in, and so
 * counts, decodes and fills buffers without a lock or a shared cache line. Each
 * lane has a place for good. A thread takes the lane at the place of the
 * processor it runs on, so one exchange on a line that nobody else touches is
 * all the synchronisation a call pays for. With more threads than processors
 * that lane is often held by a thread that is not running; then a thread takes
 * the one at a place of its own. */
#ifndef Q2_IMAGE_LANE_H
#define Q2_IMAGE_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec.h"

struct q2_cipher_worker;

enum q2_counter {
    Q2_READS,
    Q2_BYTES_READ,
    Q2_CLUSTER_HOLES,
    Q2_CLUSTER_STANDARD,
    Q2_CLUSTER_COMPRESSED,
    Q2_L2_HITS,
    Q2_L2_MISSES,
    Q2_COMP_HITS,
    Q2_COMP_MISSES,
    Q2_SOURCE_READS,
    Q2_SOURCE_BYTES,
    Q2_COUNTERS
};

enum { Q2_CACHE_LINE = 64 };

/* A piece of scratch memory that grows when it must and is kept for the next call. */
struct q2_scratch {
    uint8_t *bytes;
    size_t capacity;
};

/* The most memory that the lanes of an image keep between calls, all together: 16 threads that read 2 MiB
 * clusters fit, 100 with the usual clusters. A lane that would exceed it frees its memory at the end of each
 * call, so the number of lanes and of encrypted files does not multiply. */
#define Q2_LANES_KEPT_BYTES (UINT64_C(64) << 20)

struct q2_lane {
    _Atomic bool busy; /* somebody holds it */
    bool kept;         /* has a place until close; others go when they are checked in */
    bool roomy;        /* keeps its scratch memory for the next call */
    bool grew; /* scratch memory, decoders or ciphers may take more than at the last check-in */
    /* The cache slots used last: using them again at once says nothing about their being popular. */
    uint32_t last_table_slot;
    uint32_t last_cluster_slot;
    /* Written by the holder alone, read by anyone who asks for statistics. */
    _Atomic uint64_t counters[Q2_COUNTERS];
    struct q2_scratch compressed; /* bytes as they are in the file */
    struct q2_scratch cluster;    /* one decoded cluster */
    struct q2_decoder decoder;
    struct q2_cipher_worker **ciphers; /* one for each layer that has been decrypted, by depth */
    unsigned n_ciphers, n_workers;     /* entries; those of them that are not NULL */
    size_t counted_bytes;              /* this lane's part of kept_bytes */
    /* Which part of which file `compressed` holds, valid within one call. */
    unsigned held_depth;
    uint64_t held_off;
    size_t held_bytes;
};

struct q2_lanes {
    _Atomic(struct q2_lane *) *all; /* places: those of the processors first; NULL: no lane yet */
    unsigned places;                /* a power of two */
    unsigned processors;
    /* Lanes at the other places, which are used where more threads read than can run. As many of them
     * as there are processors are roomy. */
    _Atomic unsigned others;
    _Atomic uint64_t
        kept_bytes; /* at most Q2_LANES_KEPT_BYTES, but for calls that are just ending */
    _Atomic uint64_t retired[Q2_COUNTERS]; /* counts of lanes that were not kept */
};

int q2_lanes_init(struct q2_lanes *lanes);
void q2_lanes_deinit(struct q2_lanes *lanes);

/* NULL if there is no memory for one. */
struct q2_lane *q2_lane_check_out(struct q2_lanes *lanes);

/* For a lane that has no place, or has taken memory. */
void q2_lane_check_in_rare(struct q2_lanes *lanes, struct q2_lane *lane);

static inline void q2_lane_check_in(struct q2_lanes *lanes, struct q2_lane *lane)
{
    if (!lane->kept || lane->grew) {
        q2_lane_check_in_rare(lanes, lane);
        return;
    }
    lane->held_bytes = 0;
    atomic_store_explicit(&lane->busy, false, memory_order_release);
}

uint64_t q2_lanes_sum(const struct q2_lanes *lanes, enum q2_counter counter);

/* One writer at a time makes a plain addition exact; the atomic is there for the readers. */
static inline void q2_lane_count(struct q2_lane *lane, enum q2_counter counter, uint64_t n)
{
    uint64_t now = atomic_load_explicit(&lane->counters[counter], memory_order_relaxed);

    atomic_store_explicit(&lane->counters[counter], now + n, memory_order_relaxed);
}

/* At least n bytes of scratch memory of the lane, content not kept; false if there is no memory. */
bool q2_lane_reserve(struct q2_lane *lane, struct q2_scratch *scratch, size_t n);

#endif
