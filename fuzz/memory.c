/* SPDX-License-Identifier: MIT */
/* memory.c - see memory.h. For one thread at a time. */
#include "memory.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static uint64_t live, peak;
static uint32_t fail_rate, noise;
static bool failed;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void __real_free(void *block);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
void __wrap_free(void *block);

void fuzz_memory_start(void)
{
    live = peak = 0;
}

uint64_t fuzz_memory_live(void)
{
    return live;
}

uint64_t fuzz_memory_peak(void)
{
    return peak;
}

void fuzz_memory_fail(uint32_t rate, uint32_t seed)
{
    fail_rate = rate;
    noise = seed;
    failed = false;
}

bool fuzz_memory_failed(void)
{
    return failed;
}

static bool may_have(void)
{
    if (fail_rate == 0) {
        return true;
    }
    noise = noise * 1664525 + 1013904223;
    if ((noise >> 8) % fail_rate != 0) {
        return true;
    }
    failed = true;
    errno = ENOMEM;
    return false;
}

static void *counted(void *block)
{
    if (block != NULL) {
        live += malloc_usable_size(block);
        peak = live > peak ? live : peak;
    }
    return block;
}

/* Blocks from before fuzz_memory_start may come back too. */
static void uncount(void *block)
{
    size_t bytes = block != NULL ? malloc_usable_size(block) : 0;

    live -= bytes < live ? bytes : live;
}

void *__wrap_malloc(size_t bytes)
{
    return may_have() ? counted(__real_malloc(bytes)) : NULL;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return may_have() ? counted(__real_calloc(count, bytes)) : NULL;
}

void *__wrap_realloc(void *old, size_t bytes)
{
    size_t before = old != NULL ? malloc_usable_size(old) : 0;
    void *block = may_have() ? __real_realloc(old, bytes) : NULL;

    if (block != NULL) {
        live -= before < live ? before : live;
    }
    return counted(block);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return may_have() ? counted(__real_aligned_alloc(alignment, bytes)) : NULL;
}

char *__wrap_strdup(const char *text)
{
    return may_have() ? counted(__real_strdup(text)) : NULL;
}

char *__wrap_strndup(const char *text, size_t n)
{
    return may_have() ? counted(__real_strndup(text, n)) : NULL;
}

void __wrap_free(void *block)
{
    uncount(block);
    __real_free(block);
}
