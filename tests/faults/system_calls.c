/* SPDX-License-Identifier: MIT */
/* system_calls.c - see system_calls.h. The linker sends the engine's calls here (--wrap). */
#include "system_calls.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The nth call of a kind fails with `code` and, with `forever`, all behind it; nth 0: none does. */
static struct {
    atomic_uint made;
    unsigned nth;
    bool forever;
    int code; /* 0: the call does half of what it was asked for */
} calls[CALLS];

bool clock_leaps;

void arm(enum call call, unsigned nth, bool forever, int code)
{
    atomic_store(&calls[call].made, 0);
    calls[call].nth = nth;
    calls[call].forever = forever;
    calls[call].code = code;
}

void disarm(void)
{
    for (int call = 0; call < CALLS; call++) {
        arm((enum call)call, 0, false, 0);
    }
    clock_leaps = false;
}

bool has_failed(enum call call)
{
    return calls[call].nth != 0 && atomic_load(&calls[call].made) >= calls[call].nth;
}

static bool fails_now(enum call call)
{
    unsigned number = atomic_fetch_add(&calls[call].made, 1) + 1, nth = calls[call].nth;

    return nth != 0 && (calls[call].forever ? number >= nth : number == nth);
}

/* How much of n bytes a write does, or -1 with errno set. */
static ssize_t allowed(size_t n)
{
    if (!fails_now(WRITES)) {
        return (ssize_t)n;
    }
    errno = calls[WRITES].code;
    return errno != 0 ? -1 : (ssize_t)(n / 2 + 1);
}

ssize_t __real_pwrite64(int fd, const void *buf, size_t n, off_t off);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t off);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t off)
{
    ssize_t now = allowed(n);

    return now < 0 ? now : __real_pwrite64(fd, buf, (size_t)now, off);
}

ssize_t __real_write(int fd, const void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
    ssize_t now = allowed(n);

    return now < 0 ? now : __real_write(fd, buf, (size_t)now);
}

ssize_t __real_writev(int fd, const struct iovec *vector, int count);
ssize_t __wrap_writev(int fd, const struct iovec *vector, int count);
ssize_t __wrap_writev(int fd, const struct iovec *vector, int count)
{
    ssize_t now = allowed((size_t)count);

    return now < 0 ? now : __real_writev(fd, vector, now < count ? (int)now : count);
}

int __real_ftruncate64(int fd, off_t length);
int __wrap_ftruncate64(int fd, off_t length);
int __wrap_ftruncate64(int fd, off_t length)
{
    if (fails_now(TRUNCATIONS)) {
        errno = calls[TRUNCATIONS].code;
        return -1;
    }
    return __real_ftruncate64(fd, length);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *arg)
{
    return fails_now(THREAD_STARTS) ? calls[THREAD_STARTS].code
                                    : __real_pthread_create(thread, attributes, start, arg);
}

int __real_pthread_mutex_init(pthread_mutex_t *lock, const pthread_mutexattr_t *attributes);
int __wrap_pthread_mutex_init(pthread_mutex_t *lock, const pthread_mutexattr_t *attributes);
int __wrap_pthread_mutex_init(pthread_mutex_t *lock, const pthread_mutexattr_t *attributes)
{
    return fails_now(LOCKS) ? calls[LOCKS].code : __real_pthread_mutex_init(lock, attributes);
}

int __real_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);
int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);
int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
    return fails_now(LOCKS) ? calls[LOCKS].code : __real_pthread_cond_init(condition, attributes);
}

int __real_clock_gettime(clockid_t clock, struct timespec *now_ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now_ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now_ret)
{
    static atomic_uint looks;
    int r = __real_clock_gettime(clock, now_ret);

    if (clock_leaps) {
        now_ret->tv_sec += (time_t)atomic_fetch_add(&looks, 1);
    }
    return r;
}
