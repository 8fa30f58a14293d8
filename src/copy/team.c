/* SPDX-License-Identifier: MIT */
/* team.c - one call of the copy engine: its threads, its progress, its first failure.
 * Knows the plan; must not know where the bytes go.
 *
 * The calling thread is one of the workers: a copy on one processor starts no thread at all, and
 * when none can be started the work is still done. */
#include "team.h"
#include "fault.h"

#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* Ten calls a second: often enough to look alive, too seldom to cost anything. */
static const uint64_t report_interval_ns = 100000000;

struct member {
    pthread_t thread;
    unsigned index;
    void (*work)(void *job, unsigned index);
    void *job;
};

static uint64_t now_ns(void)
{
    struct timespec now = { 0, 0 };

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

unsigned q2_copy_processors(void)
{
    const unsigned most = 16;
    long count = 0;

#if defined(__linux__) && defined(CPU_COUNT)
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        count = CPU_COUNT(&set);
    }
#endif
    if (count < 1) {
        count = sysconf(_SC_NPROCESSORS_ONLN);
    }
    if (count < 1) {
        return 1;
    }
    return count < (long)most ? (unsigned)count : most;
}

int q2_copy_init(struct q2_copy *copy, const struct q2_plan_limits *limits, struct qcow2_error *err)
{
    const struct qcow2_error none = QCOW2_ERROR_INIT;
    int ret;

    atomic_init(&copy->stopping, false);
    copy->done_bytes = 0;
    copy->last_report_ns = now_ns();
    copy->reporting = false;
    copy->code = 0;
    copy->fault_sequence = UINT64_MAX;
    copy->fault = none;
    if (pthread_mutex_init(&copy->lock, NULL) != 0) {
        return q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for a lock");
    }
    ret = q2_plan_init(&copy->plan, copy->image, copy->start, copy->start + copy->length, limits,
                       err);
    if (ret < 0) {
        pthread_mutex_destroy(&copy->lock);
    }
    return ret;
}

void q2_copy_deinit(struct q2_copy *copy)
{
    q2_plan_deinit(&copy->plan);
    pthread_mutex_destroy(&copy->lock);
}

unsigned q2_copy_workers(const struct q2_copy *copy, uint64_t buffer_bytes, uint64_t cluster_bytes)
{
    /* What qcow2_pread takes meanwhile, as qcow2.h says: compressed input and one cluster. */
    const uint64_t least_input = UINT64_C(256) << 10;
    uint64_t input = 2 * cluster_bytes > least_input ? 2 * cluster_bytes : least_input;
    uint64_t fit = Q2_COPY_MEMORY_BYTES / (buffer_bytes + input + cluster_bytes);
    uint64_t workers = copy->length / copy->plan.limits.stored_bytes + 1;

    workers = workers < fit ? workers : fit;
    workers = workers < copy->threads ? workers : copy->threads;
    return workers > 0 ? (unsigned)workers : 1;
}

static void *run_member(void *ctx)
{
    struct member *member = ctx;

    member->work(member->job, member->index);
    return NULL;
}

/* All but those that a thread causes itself. Were they held back, the kernel would end the program where it
 * stands, past any handler that has something to put right (SIGSYS: a filter of system calls). */
static void fill_set(sigset_t *set)
{
    static const int own[] = { SIGSYS, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };

    sigfillset(set);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        sigdelset(set, own[i]);
    }
}

int q2_copy_run(struct q2_copy *copy, unsigned workers, void (*work)(void *job, unsigned index),
                void *job, struct qcow2_error *err)
{
    struct member members[Q2_COPY_MAX_THREADS];
    unsigned started = 0;
    sigset_t held, before;

    /* A thread inherits the mask of the one that starts it, so there is no moment in which a
     * signal meant for the program's own threads could land in one of ours. */
    fill_set(&held);
    pthread_sigmask(SIG_SETMASK, &held, &before);
    while (started + 1 < workers) {
        struct member *member = &members[started];

        member->index = started;
        member->work = work;
        member->job = job;
        if (pthread_create(&member->thread, NULL, run_member, member) != 0) {
            break;
        }
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    work(job, started);
    while (started > 0) {
        pthread_join(members[--started].thread, NULL);
    }

    if (copy->code == 0 && copy->progress != NULL &&
        copy->progress(copy->progress_ctx, copy->done_bytes, copy->length) != 0) {
        q2_copy_cancel(copy, "progress");
    }
    if (copy->code != 0) {
        *err = copy->fault;
    }
    return copy->code;
}

void q2_copy_fail(struct q2_copy *copy, uint64_t sequence, const struct qcow2_error *err)
{
    pthread_mutex_lock(&copy->lock);
    if (copy->code == 0 || sequence < copy->fault_sequence) {
        copy->code = err->code;
        copy->fault_sequence = sequence;
        copy->fault = *err;
    }
    pthread_mutex_unlock(&copy->lock);
    atomic_store(&copy->stopping, true);
    q2_plan_close(&copy->plan);
}

void q2_copy_cancel(struct q2_copy *copy, const char *who)
{
    struct qcow2_error err;

    q2_fault_set(&err, QCOW2_E_CANCELLED, 0, "the %s callback asked to stop", who);
    q2_copy_fail(copy, UINT64_MAX, &err);
}

bool q2_copy_stopping(const struct q2_copy *copy)
{
    return atomic_load_explicit(&copy->stopping, memory_order_relaxed);
}

void q2_copy_account(struct q2_copy *copy, uint64_t bytes)
{
    uint64_t now = copy->progress != NULL ? now_ns() : 0;
    uint64_t done;
    int stop;

    pthread_mutex_lock(&copy->lock);
    copy->done_bytes += bytes;
    if (copy->progress == NULL || copy->reporting || copy->code != 0 ||
        now < copy->last_report_ns + report_interval_ns) {
        pthread_mutex_unlock(&copy->lock);
        return;
    }
    copy->reporting = true;
    done = copy->done_bytes;
    pthread_mutex_unlock(&copy->lock);

    stop = copy->progress(copy->progress_ctx, done, copy->length);
    /* Before anybody else may report: who has said stop is not asked again. */
    if (stop != 0) {
        q2_copy_cancel(copy, "progress");
    }

    pthread_mutex_lock(&copy->lock);
    copy->reporting = stop != 0; /* one who asked to stop is not asked again */
    copy->last_report_ns = now_ns();
    pthread_mutex_unlock(&copy->lock);
}
