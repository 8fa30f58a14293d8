/* SPDX-License-Identifier: MIT */
/* inside.c - for LD_PRELOAD: the tool does, in the middle of reading an image, what a program that the image
 * got hold of might do. QCOW2_TEST_ATTEMPT is the attempt (attempts.h), QCOW2_TEST_READ the number of the
 * read it is made at, QCOW2_TEST_STRAY the descriptor that is not the tool's to write to. What came of it
 * is told on standard output as attempts.c does, and the exit code is 97.
 *
 * Knows what the tool has open from the system alone; must not know the tool. */
#ifdef __linux__
#include "attempts.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { ENDED = 97, LIMIT = 64, FIRST_PLACE = 0x10000, PAGE = 4096 };

struct place place = { .directory = AT_FDCWD, .output = -1, .image = -1, .stray = -1 };

static const struct attempt *const tables[] = { attempts_on_files, attempts_on_descriptors,
                                                attempts_on_memory, attempts_on_others };
/* As libc calls it where files have 64 bits. */
#ifdef __GLIBC__
#define PREAD "pread64"
#else
#define PREAD "pread"
#endif
static ssize_t (*next_pread)(int, void *, size_t, off_t);
static const char *wanted;
static int wanted_at;
static atomic_int reads;

__attribute__((constructor)) static void prepare(void)
{
    const char *at = getenv("QCOW2_TEST_READ");
    const char *stray = getenv("QCOW2_TEST_STRAY");

    next_pread = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, PREAD);
    wanted = getenv("QCOW2_TEST_ATTEMPT");
    wanted_at = at != NULL ? (int)strtol(at, NULL, 10) : 1;
    place.stray = stray != NULL ? (int)strtol(stray, NULL, 10) : 0;
}

static void find_descriptors(void)
{
    struct stat info;

    for (int fd = STDERR_FILENO + 1; fd < LIMIT; fd++) {
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fstat(fd, &info) != 0) {
            continue;
        }
        if (S_ISDIR(info.st_mode)) {
            place.directory = fd;
        } else if (S_ISREG(info.st_mode) && (flags & O_RDWR) != 0) {
            place.output = fd;
        } else if (S_ISREG(info.st_mode) && (flags & O_PATH) == 0 && place.image < 0) {
            place.image = fd;
        }
    }
}

/* Where pinned.c puts the names if it can; only a conversion to a file has any. */
static void find_names(void)
{
    if (place.output >= 0) {
        char *text = (char *)(uintptr_t)FIRST_PLACE;

        place.names.memory = text;
        place.names.memory_bytes = PAGE;
        place.names.end = FIRST_PLACE + PAGE;
        place.names.temporary = text;
        place.names.final = text + strlen(text) + 1;
    }
}

static void make_attempt(void)
{
    char text[64];
    long result = -1;

    find_descriptors();
    find_names();
    errno = 0;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (const struct attempt *attempt = tables[i]; attempt->name != NULL; attempt++) {
            if (strcmp(attempt->name, wanted) == 0) {
                result = attempt->function();
            }
        }
    }
    if (result >= 0) {
        snprintf(text, sizeof text, "done\n");
    } else {
        snprintf(text, sizeof text, "%d\n", errno);
    }
    (void)!write(STDOUT_FILENO, text, strlen(text));
    _exit(ENDED);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc has its own */
ssize_t pread(int fd, void *buf, size_t count, off_t offset)
{
    if (wanted != NULL && atomic_fetch_add(&reads, 1) + 1 == wanted_at) {
        make_attempt();
    }
    return next_pread(fd, buf, count, offset);
}
#endif
