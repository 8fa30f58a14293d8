/* SPDX-License-Identifier: MIT */
/* allocator.c - see allocator.h. */
#include "allocator.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_ulong calls, failures, fail_at;
static atomic_bool fail_forever;
static atomic_long live_blocks, live_bytes, base_bytes, peak_bytes;

static bool may_have(void)
{
    unsigned long number = atomic_fetch_add(&calls, 1) + 1, at = atomic_load(&fail_at);

    if (at == 0 || (atomic_load(&fail_forever) ? number < at : number != at)) {
        return true;
    }
    atomic_fetch_add(&failures, 1);
    errno = ENOMEM;
    return false;
}

static void *took(void *block)
{
    if (block != NULL) {
        long bytes = (long)malloc_usable_size(block);
        long now = atomic_fetch_add(&live_bytes, bytes) + bytes, most = atomic_load(&peak_bytes);

        atomic_fetch_add(&live_blocks, 1);
        while (now > most && !atomic_compare_exchange_weak(&peak_bytes, &most, now)) {
        }
    }
    return block;
}

static void gave(void *block)
{
    if (block != NULL) {
        atomic_fetch_sub(&live_bytes, (long)malloc_usable_size(block));
        atomic_fetch_sub(&live_blocks, 1);
    }
}

/* CAUGHT is the name under which a call arrives here, REAL where it goes on to. */
#ifdef FAULTS_INTERPOSE
#define CAUGHT(name) caught_##name
#define REAL(name)   __libc_##name
void *caught_malloc(size_t bytes) __asm__("malloc");
void *caught_calloc(size_t count, size_t bytes) __asm__("calloc");
void *caught_realloc(void *old, size_t bytes) __asm__("realloc");
void *caught_aligned_alloc(size_t alignment, size_t bytes) __asm__("aligned_alloc");
int caught_posix_memalign(void **block_ret, size_t alignment,
                          size_t bytes) __asm__("posix_memalign");
void caught_free(void *block) __asm__("free");
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);
#define REAL_ALIGNED(alignment, bytes) __libc_memalign(alignment, bytes)
#else
#define CAUGHT(name)                   __wrap_##name
#define REAL(name)                     __real_##name
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **block_ret, size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__real_realpath(const char *path, char *resolved);
char *__wrap_realpath(const char *path, char *resolved);
char *__wrap_strndup(const char *text, size_t n);
void __wrap_free(void *block);
#define REAL_ALIGNED(alignment, bytes) __real_aligned_alloc(alignment, bytes)
#endif

void *CAUGHT(malloc)(size_t bytes)
{
    return may_have() ? took(REAL(malloc)(bytes)) : NULL;
}

void *CAUGHT(calloc)(size_t count, size_t bytes)
{
    return may_have() ? took(REAL(calloc)(count, bytes)) : NULL;
}

void *CAUGHT(realloc)(void *old, size_t bytes)
{
    void *block;

    if (!may_have()) {
        return NULL;
    }
    gave(old);
    block = REAL(realloc)(old, bytes);
    /* What could not grow is still there. */
    (void)took(block != NULL || bytes == 0 ? block : old);
    return block;
}

void *CAUGHT(aligned_alloc)(size_t alignment, size_t bytes)
{
    return may_have() ? took(REAL_ALIGNED(alignment, bytes)) : NULL;
}

int CAUGHT(posix_memalign)(void **block_ret, size_t alignment, size_t bytes)
{
    void *block = may_have() ? took(REAL_ALIGNED(alignment, bytes)) : NULL;

    if (block == NULL) {
        return ENOMEM;
    }
    *block_ret = block;
    return 0;
}

void CAUGHT(free)(void *block)
{
    gave(block);
    REAL(free)(block);
}

#ifndef FAULTS_INTERPOSE
/* The C library's own calls are not caught, so these have to be made here. */
char *__wrap_strndup(const char *text, size_t n)
{
    size_t length = 0;
    char *copy;

    /* Not strnlen: inlined into strdup, its bound looks like a mistake. */
    while (length < n && text[length] != '\0') {
        length++;
    }
    copy = __wrap_malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, SIZE_MAX);
}

char *__wrap_realpath(const char *path, char *resolved)
{
    if (resolved != NULL) {
        return __real_realpath(path, resolved);
    }
    return may_have() ? took(__real_realpath(path, NULL)) : NULL;
}
#endif

#if defined(FAULTS_LIBCRYPTO) && !defined(FAULTS_INTERPOSE)
#include <openssl/crypto.h>

static void *crypto_malloc(size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(bytes);
}

static void *crypto_realloc(void *old, size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return realloc(old, bytes);
}

static void crypto_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    free(block);
}

void allocator_start(void)
{
    if (CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) != 1) {
        abort();
    }
}
#else
void allocator_start(void)
{
}
#endif

bool allocator_sees_all(void)
{
#ifdef FAULTS_INTERPOSE
    return true;
#else
    return false;
#endif
}

void allocator_arm(unsigned long nth, bool forever)
{
    atomic_store(&fail_at, 0);
    atomic_store(&calls, 0);
    atomic_store(&failures, 0);
    atomic_store(&fail_forever, forever);
    atomic_store(&fail_at, nth);
}

unsigned long allocator_calls(void)
{
    return atomic_load(&calls);
}

unsigned long allocator_failures(void)
{
    return atomic_load(&failures);
}

long allocator_live_blocks(void)
{
    return atomic_load(&live_blocks);
}

long allocator_live_bytes(void)
{
    return atomic_load(&live_bytes);
}

void allocator_watch_peak(void)
{
    atomic_store(&base_bytes, atomic_load(&live_bytes));
    atomic_store(&peak_bytes, atomic_load(&live_bytes));
}

size_t allocator_peak_bytes(void)
{
    return (size_t)(atomic_load(&peak_bytes) - atomic_load(&base_bytes));
}
