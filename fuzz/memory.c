/* SPDX-License-Identifier: MIT */
/* memory.c - see memory.h. For one thread at a time. */
#include "memory.h"

#include "fuzz.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static uint64_t live, peak;
static uint32_t fail_rate, noise;
static bool failed;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
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

/* Without the address sanitizer each block is followed by a fence: what is written past its end is noticed
 * when it is freed. The last word is the number of bytes that were asked for. */
#if defined(__SANITIZE_ADDRESS__)
#define FENCES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FENCES 0
#endif
#endif
#ifndef FENCES
#define FENCES 1
#endif

enum { FENCE_BYTE = 0xfd, FENCE_BYTES = 8, BEHIND_BYTES = FENCES ? FENCE_BYTES + 8 : 0 };
#define LENGTH_MASK UINT64_C(0x5eed5eed5eed5eed)

static uint8_t *last_word(void *block)
{
    return (uint8_t *)block + malloc_usable_size(block) - 8;
}

static void put_fence(void *block, size_t bytes)
{
    uint8_t *end = (uint8_t *)block + bytes, *last = last_word(block);
    uint64_t length = bytes ^ LENGTH_MASK;

    memset(end, FENCE_BYTE, (size_t)(last - end));
    memcpy(last, &length, sizeof length);
}

static void check_fence(void *block)
{
    uint8_t *last = last_word(block), *end;
    uint64_t length;

    memcpy(&length, last, sizeof length);
    length ^= LENGTH_MASK;
    FUZZ_REQUIRE(length <= malloc_usable_size(block) - BEHIND_BYTES,
                 "nothing is written far past the end of a block");
    for (end = (uint8_t *)block + length; end < last; end++) {
        FUZZ_REQUIRE(*end == FENCE_BYTE, "nothing is written past the end of a block");
    }
}

static void *counted(void *block, size_t bytes)
{
    if (block != NULL) {
        live += malloc_usable_size(block);
        peak = live > peak ? live : peak;
        if (FENCES) {
            put_fence(block, bytes);
        }
    }
    return block;
}

/* Blocks from before fuzz_memory_start may come back too. */
static void uncount(void *block)
{
    size_t bytes = block != NULL ? malloc_usable_size(block) : 0;

    if (FENCES && block != NULL) {
        check_fence(block);
    }
    live -= bytes < live ? bytes : live;
}

static bool too_large(size_t bytes)
{
    return bytes > SIZE_MAX - BEHIND_BYTES;
}

void *__wrap_malloc(size_t bytes)
{
    return may_have() && !too_large(bytes) ? counted(__real_malloc(bytes + BEHIND_BYTES), bytes)
                                           : NULL;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    size_t all;

    if (!FENCES) {
        return may_have() ? counted(__real_calloc(count, bytes), 0) : NULL;
    }
    if (!may_have() || __builtin_mul_overflow(count, bytes, &all) || too_large(all)) {
        return NULL;
    }
    return counted(__real_calloc(1, all + BEHIND_BYTES), all);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    size_t before = old != NULL ? malloc_usable_size(old) : 0;
    void *block;

    if (FENCES && old != NULL) {
        check_fence(old);
    }
    block = may_have() && !too_large(bytes) ? __real_realloc(old, bytes + BEHIND_BYTES) : NULL;
    if (block != NULL) {
        live -= before < live ? before : live;
    }
    return counted(block, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    size_t more = (BEHIND_BYTES + alignment - 1) / alignment * alignment;

    return may_have() && bytes <= SIZE_MAX - more
               ? counted(__real_aligned_alloc(alignment, bytes + more), bytes)
               : NULL;
}

static char *copied(const char *text, size_t length)
{
    char *copy = __wrap_malloc(length + 1);

    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return copied(text, strlen(text));
}

char *__wrap_strndup(const char *text, size_t n)
{
    return copied(text, strnlen(text, n));
}

void __wrap_free(void *block)
{
    uncount(block);
    __real_free(block);
}
