/* SPDX-License-Identifier: MIT */
/* attempts_memory.c - the page with the names of the output, and memory that becomes a program. */
#ifdef __linux__
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "attempts.h"

static long mapped(void *where, int protection, int flags)
{
    return mmap(where, place.names.memory_bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags,
                -1, 0) == MAP_FAILED
               ? -1
               : 0;
}

static long moved_onto_names(void)
{
    void *other =
        mmap(NULL, place.names.memory_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (other == MAP_FAILED) {
        return -1;
    }
    return mremap(other, place.names.memory_bytes, place.names.memory_bytes,
                  MREMAP_MAYMOVE | MREMAP_FIXED, place.names.memory) == MAP_FAILED
               ? -1
               : 0;
}

static long names_moved_away(void)
{
    return mremap(place.names.memory, place.names.memory_bytes, 2 * place.names.memory_bytes,
                  MREMAP_MAYMOVE) == MAP_FAILED
               ? -1
               : 0;
}

static long made_executable(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED ? mprotect(memory, 4096, PROT_READ | PROT_EXEC) : -1;
}

/* The names are where a call would write to. */
static long read_into_names(void)
{
    return pread(place.image, place.names.memory, 3, 0);
}

static long unmapped_from_below(void)
{
    return munmap((char *)place.names.memory - place.names.memory_bytes, place.names.end);
}

static long unprotected_by_key(void)
{
    return syscall(SYS_pkey_mprotect, place.names.memory, place.names.memory_bytes,
                   PROT_READ | PROT_WRITE, -1);
}

/* Machines that ignore the highest byte of an address take it for the same one. */
static void *tagged(void)
{
    uintptr_t address = (uintptr_t)place.names.memory;

#if UINTPTR_MAX > UINT32_MAX
    address |= (uintptr_t)1 << 56;
#endif
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): an address is what is meant */
    return (void *)address;
}

/* A page of our own, that other programs have no part in. */
static long advised(int advice)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED ? madvise(memory, 4096, advice) : -1;
}

#define LIST(X)                                                                                    \
    X(unprotecting_names,                                                                          \
      mprotect(place.names.memory, place.names.memory_bytes, PROT_READ | PROT_WRITE))              \
    X(unprotecting_names_by_key, unprotected_by_key())                                             \
    X(unmapping_names, munmap(place.names.memory, place.names.memory_bytes))                       \
    X(unmapping_names_from_below, unmapped_from_below())                                           \
    X(forgetting_names, madvise(place.names.memory, place.names.memory_bytes, MADV_DONTNEED))      \
    X(mapping_over_names, mapped(place.names.memory, PROT_READ | PROT_WRITE, MAP_FIXED))           \
    X(moving_memory_onto_names, moved_onto_names())                                                \
    X(moving_names_away, names_moved_away())                                                       \
    X(unprotecting_names_by_a_tag,                                                                 \
      mprotect(tagged(), place.names.memory_bytes, PROT_READ | PROT_WRITE))                        \
    X(unmapping_names_by_a_tag, munmap(tagged(), place.names.memory_bytes))                        \
    X(forgetting_names_by_a_tag, madvise(tagged(), place.names.memory_bytes, MADV_DONTNEED))       \
    X(moving_names_away_by_a_tag,                                                                  \
      mremap(tagged(), place.names.memory_bytes, 2 * place.names.memory_bytes, MREMAP_MAYMOVE) ==  \
              MAP_FAILED                                                                           \
          ? -1                                                                                     \
          : 0)                                                                                     \
    X(mapping_over_names_by_a_tag, mapped(tagged(), PROT_READ, MAP_FIXED))                         \
    X(reading_into_names, read_into_names())                                                       \
    X(executable_memory, mapped(NULL, PROT_READ | PROT_EXEC, 0))                                   \
    X(making_memory_executable, made_executable())                                                 \
    X(sharing_memory_with_others, advised(MADV_MERGEABLE))                                         \
    X(memory_that_no_child_has, advised(MADV_DONTFORK))                                            \
    X(freeing_memory, advised(MADV_DONTNEED))

ATTEMPT_TABLE(attempts_on_memory, LIST)
#endif
