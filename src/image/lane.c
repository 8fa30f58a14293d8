/* SPDX-License-Identifier: MIT */
/* lane.c - see lane.h. */
#include "image/lane.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcow2.h>

#include "crypto/cipher.h"

/* More calls at once than this make lanes for themselves, which go when they are done. Far more than
 * there are processors, because a thread that waits for its turn in the middle of a call has a lane. */
enum { MIN_PLACES = 128, MAX_PLACES = 1024 };

int q2_lanes_init(struct q2_lanes *lanes)
{
    long processors = sysconf(_SC_NPROCESSORS_CONF);

    memset(lanes, 0, sizeof *lanes);
    lanes->processors = processors < 1            ? 1
                        : processors > MAX_PLACES ? MAX_PLACES
                                                  : (unsigned)processors;
    lanes->places = MIN_PLACES;
    while (lanes->places < MAX_PLACES && lanes->places < lanes->processors * 2) {
        lanes->places *= 2;
    }
    lanes->all = calloc(lanes->places, sizeof *lanes->all);
    return lanes->all != NULL ? 0 : QCOW2_E_NOMEM;
}

static void release_scratch(struct q2_scratch *scratch)
{
    free(scratch->bytes);
    *scratch = (struct q2_scratch){ 0 };
}

/* Frees all memory but the lane itself. */
static void release_memory(struct q2_lane *lane)
{
    q2_decoder_deinit(&lane->decoder);
    q2_decoder_init(&lane->decoder);
    for (unsigned i = 0; i < lane->n_ciphers; i++) {
        q2_cipher_worker_destroy(lane->ciphers[i]);
    }
    free(lane->ciphers);
    lane->ciphers = NULL;
    lane->n_ciphers = lane->n_workers = 0;
    release_scratch(&lane->compressed);
    release_scratch(&lane->cluster);
}

static void lane_destroy(struct q2_lane *lane)
{
    release_memory(lane);
    free(lane);
}

void q2_lanes_deinit(struct q2_lanes *lanes)
{
    for (unsigned i = 0; lanes->all != NULL && i < lanes->places; i++) {
        struct q2_lane *lane = atomic_load(&lanes->all[i]);

        if (lane != NULL) {
            lane_destroy(lane);
        }
    }
    free(lanes->all);
    lanes->all = NULL;
}

/* A number that differs for most threads. */
static unsigned number_of_thread(void)
{
    pthread_t self = pthread_self();
    unsigned char bytes[sizeof self];
    unsigned hash = 0;

    memcpy(bytes, &self, sizeof self);
    for (size_t i = 0; i < sizeof self; i++) {
        hash = hash * 31 + bytes[i];
    }
    return hash ^ hash >> 12;
}

/* Where to look first. Any answer is right; a different one for each running thread is fast. */
static unsigned home(void)
{
#ifdef __linux__
    int cpu = sched_getcpu();

    if (cpu >= 0) {
        return (unsigned)cpu;
    }
#endif
    return number_of_thread();
}

/* A lane that the caller holds. */
static struct q2_lane *lane_create(void)
{
    size_t bytes = (sizeof(struct q2_lane) + Q2_CACHE_LINE - 1) / Q2_CACHE_LINE * Q2_CACHE_LINE;
    struct q2_lane *lane = aligned_alloc(Q2_CACHE_LINE, bytes);

    if (lane == NULL) {
        return NULL;
    }
    memset(lane, 0, bytes);
    atomic_init(&lane->busy, true);
    for (int i = 0; i < Q2_COUNTERS; i++) {
        atomic_init(&lane->counters[i], 0);
    }
    lane->last_table_slot = UINT32_MAX;
    lane->last_cluster_slot = UINT32_MAX;
    q2_decoder_init(&lane->decoder);
    return lane;
}

/* Takes a lane, unless somebody has it. */
static bool hold(struct q2_lane *lane)
{
    /* A look before the exchange: a lane in use must not cost its holder the cache line. */
    return !atomic_load_explicit(&lane->busy, memory_order_relaxed) &&
           !atomic_exchange_explicit(&lane->busy, true, memory_order_acquire);
}

/* A new lane for a place that has none; NULL if there is no memory, or another thread was quicker and
 * still has its lane. */
static struct q2_lane *settle(struct q2_lanes *lanes, unsigned at)
{
    struct q2_lane *lane = lane_create(), *there = NULL;

    if (lane == NULL) {
        return NULL;
    }
    lane->kept = true;
    lane->roomy =
        at < lanes->processors ||
        atomic_fetch_add_explicit(&lanes->others, 1, memory_order_relaxed) < lanes->processors;
    if (!atomic_compare_exchange_strong_explicit(&lanes->all[at], &there, lane,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        lane_destroy(lane);
        return hold(there) ? there : NULL;
    }
    return lane;
}

/* The lane of a place, made if there is none. */
static struct q2_lane *take(struct q2_lanes *lanes, unsigned at)
{
    struct q2_lane *lane = atomic_load_explicit(&lanes->all[at], memory_order_acquire);

    if (lane == NULL) {
        return settle(lanes, at);
    }
    return hold(lane) ? lane : NULL;
}

/* The processor's lane is not there yet, or a thread that lost the processor in the middle of a call has
 * it. In that case there are more threads than processors, and each has a place of its own. */
static struct q2_lane *take_elsewhere(struct q2_lanes *lanes, unsigned of_processor)
{
    unsigned of_thread = number_of_thread();
    struct q2_lane *lane = take(lanes, of_processor);

    for (unsigned i = 0; lane == NULL && i < lanes->places; i++) {
        lane = take(lanes, (of_thread + i) & (lanes->places - 1));
    }
    return lane != NULL ? lane : lane_create();
}

struct q2_lane *q2_lane_check_out(struct q2_lanes *lanes)
{
    unsigned at = home() & (lanes->places - 1);
    struct q2_lane *lane = atomic_load_explicit(&lanes->all[at], memory_order_acquire);

    return lane != NULL && hold(lane) ? lane : take_elsewhere(lanes, at);
}

static void retire(struct q2_lanes *lanes, struct q2_lane *lane)
{
    for (int i = 0; i < Q2_COUNTERS; i++) {
        atomic_fetch_add_explicit(&lanes->retired[i],
                                  atomic_load_explicit(&lane->counters[i], memory_order_relaxed),
                                  memory_order_relaxed);
    }
    lane_destroy(lane);
}

/* What release_memory would free. */
static size_t memory_bytes(const struct q2_lane *lane)
{
    return lane->compressed.capacity + lane->cluster.capacity + q2_decoder_bytes(&lane->decoder) +
           lane->n_ciphers * sizeof(*lane->ciphers) +
           (size_t)lane->n_workers * Q2_CIPHER_WORKER_BYTES;
}

/* Counts what the lane has taken, and frees it if all lanes together would keep too much. */
static void count_memory(struct q2_lanes *lanes, struct q2_lane *lane)
{
    uint64_t before = lane->counted_bytes, kept;

    lane->grew = false;
    if (!lane->roomy) {
        release_scratch(&lane->compressed);
        release_scratch(&lane->cluster);
    }
    lane->counted_bytes = memory_bytes(lane);
    if (lane->counted_bytes == before) {
        return;
    }
    /* A difference below zero wraps, and so does the sum. */
    kept = lane->counted_bytes - before;
    kept += atomic_fetch_add_explicit(&lanes->kept_bytes, kept, memory_order_relaxed);
    if (kept > Q2_LANES_KEPT_BYTES) {
        atomic_fetch_sub_explicit(&lanes->kept_bytes, lane->counted_bytes, memory_order_relaxed);
        lane->counted_bytes = 0;
        release_memory(lane);
    }
}

void q2_lane_check_in_rare(struct q2_lanes *lanes, struct q2_lane *lane)
{
    if (!lane->kept) {
        retire(lanes, lane);
        return;
    }
    count_memory(lanes, lane);
    q2_lane_check_in(lanes, lane);
}

uint64_t q2_lanes_sum(const struct q2_lanes *lanes, enum q2_counter counter)
{
    uint64_t sum = atomic_load_explicit(&lanes->retired[counter], memory_order_relaxed);

    for (unsigned i = 0; i < lanes->places; i++) {
        const struct q2_lane *lane = atomic_load_explicit(&lanes->all[i], memory_order_acquire);

        if (lane != NULL) {
            sum += atomic_load_explicit(&lane->counters[counter], memory_order_relaxed);
        }
    }
    return sum;
}

bool q2_lane_reserve(struct q2_lane *lane, struct q2_scratch *scratch, size_t n)
{
    if (scratch->capacity < n) {
        lane->grew = true;
        /* The old content is not wanted, so this is no realloc. */
        free(scratch->bytes);
        scratch->bytes = malloc(n);
        scratch->capacity = scratch->bytes != NULL ? n : 0;
    }
    return scratch->bytes != NULL;
}
