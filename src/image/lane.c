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

/* Lanes for each processor that keep their scratch memory between calls; the others are only used
 * when more threads read than can run. */
enum { ROOMY_PER_PROCESSOR = 2 };

/* Idle places stand a cache line apart. */
enum { STRIDE = Q2_CACHE_LINE / sizeof(_Atomic(struct q2_lane *)) };

static void count_places(struct q2_lanes *lanes)
{
    long processors = sysconf(_SC_NPROCESSORS_CONF);

    lanes->places = MIN_PLACES;
    while (lanes->places < MAX_PLACES && (long)lanes->places < processors * ROOMY_PER_PROCESSOR) {
        lanes->places *= 2;
    }
    lanes->roomy =
        processors < 1 ? ROOMY_PER_PROCESSOR : (unsigned)processors * (unsigned)ROOMY_PER_PROCESSOR;
}

int q2_lanes_init(struct q2_lanes *lanes)
{
    memset(lanes, 0, sizeof *lanes);
    count_places(lanes);
    lanes->idle = aligned_alloc(Q2_CACHE_LINE, (size_t)lanes->places * Q2_CACHE_LINE);
    lanes->all = calloc(lanes->places, sizeof *lanes->all);
    if (lanes->idle == NULL || lanes->all == NULL) {
        q2_lanes_deinit(lanes);
        return QCOW2_E_NOMEM;
    }
    for (unsigned i = 0; i < lanes->places; i++) {
        atomic_init(&lanes->idle[(size_t)i * STRIDE], NULL);
    }
    return 0;
}

static void lane_destroy(struct q2_lane *lane)
{
    q2_decoder_deinit(&lane->decoder);
    for (unsigned i = 0; i < lane->n_ciphers; i++) {
        q2_cipher_worker_destroy(lane->ciphers[i]);
    }
    free(lane->ciphers);
    free(lane->compressed.bytes);
    free(lane->cluster.bytes);
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
    free(lanes->idle);
    lanes->all = NULL;
    lanes->idle = NULL;
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

static struct q2_lane *lane_create(void)
{
    size_t bytes = (sizeof(struct q2_lane) + Q2_CACHE_LINE - 1) / Q2_CACHE_LINE * Q2_CACHE_LINE;
    struct q2_lane *lane = aligned_alloc(Q2_CACHE_LINE, bytes);

    if (lane == NULL) {
        return NULL;
    }
    memset(lane, 0, bytes);
    for (int i = 0; i < Q2_COUNTERS; i++) {
        atomic_init(&lane->counters[i], 0);
    }
    lane->last_table_slot = UINT32_MAX;
    lane->last_cluster_slot = UINT32_MAX;
    q2_decoder_init(&lane->decoder);
    return lane;
}

/* A lane that finds a place among `all` is kept until close. */
static void keep(struct q2_lanes *lanes, struct q2_lane *lane)
{
    for (unsigned i = 0; i < lanes->places; i++) {
        struct q2_lane *none = NULL;

        if (atomic_load_explicit(&lanes->all[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong(&lanes->all[i], &none, lane)) {
            lane->kept = true;
            lane->roomy = i < lanes->roomy;
            return;
        }
    }
}

static _Atomic(struct q2_lane *) *place_at(const struct q2_lanes *lanes, unsigned i)
{
    return &lanes->idle[(size_t)(i & (lanes->places - 1)) * STRIDE];
}

/* The lane that is idle at a place, if there is one. */
static struct q2_lane *take(const struct q2_lanes *lanes, unsigned at)
{
    _Atomic(struct q2_lane *) *place = place_at(lanes, at);
    struct q2_lane *lane;

    /* A look before the exchange: lanes in use must not cost a write to a line of theirs. */
    if (atomic_load_explicit(place, memory_order_relaxed) == NULL ||
        (lane = atomic_exchange_explicit(place, NULL, memory_order_acquire)) == NULL) {
        return NULL;
    }
    lane->place = at;
    lane->held_bytes = 0;
    return lane;
}

/* The processor has no lane, or a thread that lost the processor in the middle of a call has it. In that
 * case there are more threads than processors, and each soon has a place of its own. A lane that comes from
 * another processor stays: the thread has moved, and would look for it again at every call. */
static struct q2_lane *take_elsewhere(struct q2_lanes *lanes, unsigned of_processor)
{
    unsigned at = number_of_thread();
    struct q2_lane *lane;

    for (unsigned i = 0; i < lanes->places; i++) {
        if ((lane = take(lanes, at + i)) != NULL) {
            lane->place = lane->roomy ? of_processor : lane->place;
            return lane;
        }
    }
    lane = lane_create();
    if (lane != NULL) {
        keep(lanes, lane);
        lane->place = lane->roomy ? of_processor : at;
    }
    return lane;
}

struct q2_lane *q2_lane_check_out(struct q2_lanes *lanes)
{
    unsigned at = home();
    struct q2_lane *lane = take(lanes, at);

    return lane != NULL ? lane : take_elsewhere(lanes, at);
}

static void release_scratch(struct q2_scratch *scratch)
{
    free(scratch->bytes);
    *scratch = (struct q2_scratch){ 0 };
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

void q2_lane_check_in(struct q2_lanes *lanes, struct q2_lane *lane)
{
    if (!lane->kept) {
        retire(lanes, lane);
        return;
    }
    if (!lane->roomy) {
        release_scratch(&lane->compressed);
        release_scratch(&lane->cluster);
    }
    /* There are as many places as lanes that are kept, so one is free; others may be quicker to it. */
    for (unsigned i = lane->place;; i++) {
        _Atomic(struct q2_lane *) *place = place_at(lanes, i);
        struct q2_lane *none = NULL;

        if (atomic_load_explicit(place, memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong_explicit(place, &none, lane, memory_order_release,
                                                    memory_order_relaxed)) {
            return;
        }
    }
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

bool q2_scratch_reserve(struct q2_scratch *scratch, size_t n)
{
    if (scratch->capacity < n) {
        /* The old content is not wanted, so this is no realloc. */
        free(scratch->bytes);
        scratch->bytes = malloc(n);
        scratch->capacity = scratch->bytes != NULL ? n : 0;
    }
    return scratch->bytes != NULL;
}
