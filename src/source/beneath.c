/* SPDX-License-Identifier: MIT */
/* beneath.c - see beneath.h. Knows paths and directories, nothing of images. */
#include "source/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#if defined(SYS_openat2) && __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#define HAVE_OPENAT2 1
#endif
#endif

enum { FILE_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

/* A directory on the way is searched, not read: openat2 needs no permission to list it either. */
#ifdef O_PATH
enum { WAY_FLAGS = O_PATH | O_DIRECTORY | O_CLOEXEC };
#else
enum { WAY_FLAGS = FILE_FLAGS | O_DIRECTORY };
#endif

/* How often an answer of "again" is believed: somebody who renames directories all the time could give it
 * for ever. */
enum { MAX_RACES = 64 };

/* Directories below `top` that ".." can go back through, and links followed: Linux' own limits are 40
 * links, and far more depth than a path has names. */
enum { MAX_DEPTH = 256, MAX_LINKS = 40 };

int q2_open_beneath(int top, const char *path)
{
#ifdef HAVE_OPENAT2
    struct open_how how = {
        .flags = FILE_FLAGS,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int races = 0;
    long fd;

    do {
        fd = syscall(SYS_openat2, top, path, &how, sizeof how);
        /* "Again" means that something on the way was renamed meanwhile. */
    } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++races < MAX_RACES)));
    if (fd >= 0) {
        return (int)fd;
    }
    /* An old kernel, or a sandbox that does not know the call. The walk cannot lose such a race. */
    if (errno != ENOSYS && errno != EPERM && errno != EAGAIN) {
        return -errno;
    }
#endif
    return q2_walk_beneath(top, path);
}

/* Not an errno: there is more of the path. */
#define GO_ON INT_MIN

/* The way down from the top: the descriptor of each directory, so that ".." goes back the way it came. */
struct walk {
    int top;
    int directories[MAX_DEPTH];
    int depth;
    int links;
    char rest[PATH_MAX]; /* what is still to be walked */
};

static int here(const struct walk *walk)
{
    return walk->depth == 0 ? walk->top : walk->directories[walk->depth - 1];
}

/* Takes the first component off walk->rest; 0 at the end of the path. */
static size_t next_component(struct walk *walk, char name[NAME_MAX + 1])
{
    size_t skip = strspn(walk->rest, "/");
    size_t n = strcspn(walk->rest + skip, "/");

    if (n > NAME_MAX) {
        return n;
    }
    memcpy(name, walk->rest + skip, n);
    name[n] = '\0';
    memmove(walk->rest, walk->rest + skip + n, strlen(walk->rest + skip + n) + 1);
    return n;
}

/* Puts a link's target before the rest of the path. */
static int follow(struct walk *walk, const char *name)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(here(walk), name, target, sizeof target);
    size_t rest = strlen(walk->rest);

    if (n < 0) {
        return -errno;
    }
    if (++walk->links > MAX_LINKS) {
        return -ELOOP;
    }
    if (n == 0 || target[0] == '/') {
        return -EXDEV;
    }
    if ((size_t)n + rest + 1 > sizeof walk->rest) {
        return -ENAMETOOLONG;
    }
    /* The rest is empty, or begins with its slash. */
    memmove(walk->rest + n, walk->rest, rest + 1);
    memcpy(walk->rest, target, (size_t)n);
    return 0;
}

/* A name with a slash behind it is that of a directory. */
static int only_directory(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode)) {
        (void)close(fd);
        return -ENOTDIR;
    }
    return fd;
}

/* One component: a descriptor if it was the last one and a file, GO_ON to go on, or an errno. */
static int step(struct walk *walk, const char *name)
{
    const bool last = walk->rest[strspn(walk->rest, "/")] == '\0';
    struct stat st;
    int fd;

    if (strcmp(name, ".") == 0) {
        return GO_ON;
    }
    if (strcmp(name, "..") == 0) {
        if (walk->depth == 0) {
            return -EXDEV;
        }
        (void)close(walk->directories[--walk->depth]);
        return GO_ON;
    }
    /* Never through a link, so what is opened is in the directory that we hold. */
    fd = openat(here(walk), name, (last ? FILE_FLAGS : WAY_FLAGS) | O_NOFOLLOW);
    if (fd < 0) {
        int failed = errno;

        /* ELOOP in POSIX, EMLINK on FreeBSD: the name is a link. */
        if (fstatat(here(walk), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode)) {
            int r = follow(walk, name);

            return r < 0 ? r : GO_ON;
        }
        return -failed;
    }
    if (walk->rest[0] == '/') {
        fd = only_directory(fd);
    }
    if (fd < 0 || last) {
        return fd;
    }
    if (walk->depth == MAX_DEPTH) {
        (void)close(fd);
        return -ENAMETOOLONG;
    }
    walk->directories[walk->depth++] = fd;
    return GO_ON;
}

int q2_walk_beneath(int top, const char *path)
{
    struct walk walk = { .top = top };
    char name[NAME_MAX + 1];
    int r = GO_ON;

    if (path[0] == '/') {
        return -EXDEV;
    }
    if (strlen(path) + 1 > sizeof walk.rest) {
        return -ENAMETOOLONG;
    }
    memcpy(walk.rest, path, strlen(path) + 1);
    while (r == GO_ON) {
        size_t n = next_component(&walk, name);

        if (n > NAME_MAX) {
            r = -ENAMETOOLONG;
        } else if (n == 0) {
            /* The path ends in a directory. */
            r = -EISDIR;
        } else {
            r = step(&walk, name);
        }
    }
    while (walk.depth > 0) {
        (void)close(walk.directories[--walk.depth]);
    }
    return r;
}
