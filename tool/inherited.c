/* SPDX-License-Identifier: MIT */
/* inherited.c - open files that whoever started the program left open, and did not mean for it.
 * Knows descriptors and how arguments name them; must not know any option.
 *
 * No sandbox takes an open descriptor away. One that a careless parent leaves open for writing would be a
 * file that an image, once it had got hold of this program, could write to. The same holds for a file that
 * is open for writing where it need only be read, as after `<>` of the shell. */
#include "inherited.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    FIRST = 3,      /* behind the standard ones */
    LIMIT = 1 << 16 /* where nothing tells which are open: so many are tried */
};

/* The descriptor that a path goes through, or -1. */
static int named_descriptor(const char *path)
{
    static const char *const directories[] = { "/dev/fd/", "/proc/self/fd/" };

    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        size_t count = strlen(directories[i]);
        char *end;
        long fd;

        if (strncmp(path, directories[i], count) != 0 || path[count] < '0' || path[count] > '9') {
            continue;
        }
        fd = strtol(path + count, &end, 10);
        if ((*end == '\0' || *end == '/') && fd < 0x7fffffff) {
            return (int)fd;
        }
    }
    return -1;
}

/* The arguments of the program. */
struct words {
    int count;
    char *const *words;
};

/* The first descriptor from `from` on that an argument names, or -1. */
static int next_named(const struct words *arguments, int from)
{
    int next = -1;

    for (int i = 1; i < arguments->count; i++) {
        const char *value = strchr(arguments->words[i], '=');
        const int named[2] = { named_descriptor(arguments->words[i]),
                               value != NULL ? named_descriptor(value + 1) : -1 };

        for (int k = 0; k < 2; k++) {
            if (named[k] >= from && (next < 0 || named[k] < next)) {
                next = named[k];
            }
        }
    }
    return next;
}

/* False: the system has no such call. */
static bool close_from_to(unsigned first, unsigned last)
{
#ifdef SYS_close_range
    return first > last || syscall(SYS_close_range, first, last, 0) == 0;
#else
    (void)first;
    (void)last;
    return false;
#endif
}

static bool close_ranges(const struct words *arguments)
{
    int first = FIRST;
    int named;

    while ((named = next_named(arguments, first)) >= 0) {
        if (!close_from_to((unsigned)first, (unsigned)named - 1)) {
            return false;
        }
        first = named + 1;
    }
    return close_from_to((unsigned)first, ~0U);
}

static void close_unless_named(const struct words *arguments, int fd)
{
    if (next_named(arguments, fd) != fd) {
        close(fd);
    }
}

/* As the system lists them. False: it does not. */
static bool close_listed(const struct words *arguments)
{
    DIR *directory = opendir("/dev/fd");
    const struct dirent *entry;

    if (directory == NULL) {
        return false;
    }
    while ((entry = readdir(directory)) != NULL) {
        int fd = (int)strtol(entry->d_name, NULL, 10); /* "." and ".." are 0 */

        if (fd >= FIRST && fd != dirfd(directory)) {
            close_unless_named(arguments, fd);
        }
    }
    closedir(directory);
    return true;
}

/* One by one, as many as there may be within reason. */
static void close_each(const struct words *arguments)
{
    long most = sysconf(_SC_OPEN_MAX);

    for (int fd = FIRST; fd < LIMIT && (most < 0 || fd < most); fd++) {
        close_unless_named(arguments, fd);
    }
}

#if defined(__linux__)
/* A file or device that is open for writing behind a descriptor which is only read: it is opened anew for
 * reading, where it stands, or else so that it can only be named. Not what a pipe or a terminal is. */
static void make_unwritable(int fd)
{
    char path[64];
    struct stat info;
    int flags = fcntl(fd, F_GETFL);
    int fresh;

    if (flags < 0 || (flags & O_PATH) != 0 || (flags & (O_WRONLY | O_RDWR)) == 0 ||
        fstat(fd, &info) != 0 || (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode))) {
        return;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fresh = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fresh < 0) {
        fresh = open(path, O_PATH | O_CLOEXEC);
    }
    if (fresh < 0) {
        return;
    }
    (void)lseek(fresh, lseek(fd, 0, SEEK_CUR), SEEK_SET);
    (void)dup2(fresh, fd);
    close(fresh);
}

/* Standard input, and what arguments name, are never written through the descriptor. */
static void make_all_unwritable(const struct words *arguments)
{
    int named = FIRST - 1;

    make_unwritable(STDIN_FILENO);
    while ((named = next_named(arguments, named + 1)) >= 0) {
        make_unwritable(named);
    }
}
#else
static void make_all_unwritable(const struct words *arguments)
{
    (void)arguments;
}
#endif

void inherited_close(int argc, char **argv)
{
    const struct words arguments = { argc, argv };

    make_all_unwritable(&arguments);
    if (!close_ranges(&arguments) && !close_listed(&arguments)) {
        close_each(&arguments);
    }
}
