/* SPDX-License-Identifier: MIT */
/* kernel.c - for LD_PRELOAD: a kernel that has less of Landlock and seccomp, or fails with them.
 * QCOW2_TEST_KERNEL has words with commas between: "landlock=N" knows version N and no later one;
 * "rule=N", "restrict=N" and "filter=N" let the N-th rule of Landlock, the N-th layer of it, and the N-th
 * filter of seccomp fail.
 *
 * Knows how the program calls the kernel, which is by syscall(2); must not know the program. */
#ifdef __linux__
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(SYS_landlock_create_ruleset) && defined(SYS_seccomp)

/* How many words of the structure each version knows, and how many rights are in the first of them. */
static const unsigned words[] = { 0, 1, 1, 1, 2, 2, 3 };
static const unsigned rights[] = { 0, 13, 14, 15, 15, 16, 16 };
enum { VERSION_MAX = 6, FILTER = 1 };

static int counts[3];

/* The number behind a word; 0: it is not there. */
static int wanted(const char *word)
{
    const char *setting = getenv("QCOW2_TEST_KERNEL");
    const char *found = setting != NULL ? strstr(setting, word) : NULL;

    return found != NULL ? (int)strtol(found + strlen(word), NULL, 10) : 0;
}

static int fails(const char *word, int *count)
{
    ++*count;
    return wanted(word) == *count;
}

/* 0 or an errno, as the older kernel would answer; -1: it does not matter here. */
static long older(int version, const uint64_t *ruleset, size_t bytes)
{
    if (bytes > words[version] * sizeof *ruleset) {
        for (size_t i = words[version]; i < bytes / sizeof *ruleset; i++) {
            if (ruleset[i] != 0) {
                return E2BIG;
            }
        }
    }
    return ruleset[0] >> rights[version] != 0 ? EINVAL : 0;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc has its own */
long syscall(long number, ...)
{
    long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    int version = wanted("landlock=");
    long argument[6];
    long failure = 0;
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        argument[i] = va_arg(list, long);
    }
    va_end(list);
    if (number == SYS_landlock_create_ruleset && version > 0 && version <= VERSION_MAX) {
        if (argument[0] == 0) {
            return version;
        }
        failure = older(version, (const uint64_t *)argument[0], (size_t)argument[1]);
    } else if (number == SYS_landlock_add_rule && fails("rule=", &counts[0])) {
        failure = ENOMEM;
    } else if (number == SYS_landlock_restrict_self && fails("restrict=", &counts[1])) {
        failure = E2BIG;
    } else if (number == SYS_seccomp && argument[0] == FILTER && argument[2] != 0 &&
               fails("filter=", &counts[2])) {
        failure = EINVAL;
    }
    if (failure != 0) {
        errno = (int)failure;
        return -1;
    }
    return next(number, argument[0], argument[1], argument[2], argument[3], argument[4],
                argument[5]);
}

#endif
#endif
