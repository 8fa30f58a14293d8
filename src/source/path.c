/* SPDX-License-Identifier: MIT */
/* path.c - see path.h. Knows paths and directories; must not know images or who may read what.
 *
 * Each directory on the way is opened before the next name is looked up in it, so a directory that is
 * renamed, or a link that is exchanged, meanwhile changes where the walk ends, but never what is checked
 * afterwards: that is the directory which is held. */
#include "source/path.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux follows as many links; no path has more components, those of its links included, but one that is made to
 * take time: 256 files of a chain may each have one. */
enum { MAX_LINKS = 40, MAX_DEPTH = PATH_MAX / 2, MAX_COMPONENTS = PATH_MAX / 2 };

struct walk {
    int directory;
    int links;
    int components;
    char rest[PATH_MAX]; /* what is still to be walked */
};

static int open_directory(int at, const char *name, int more)
{
    int fd;

    do {
        fd = openat(at, name, Q2_DIRECTORY_FLAGS | more);
    } while (fd < 0 && errno == EINTR);
    return fd >= 0 ? fd : -errno;
}

/* Goes on from another directory. */
static int enter(struct walk *walk, int at, const char *name, int more)
{
    int fd = open_directory(at, name, more);

    if (fd < 0) {
        return fd;
    }
    if (walk->directory >= 0) {
        (void)close(walk->directory);
    }
    walk->directory = fd;
    return 0;
}

/* Takes the first component off walk->rest, with the slashes before it: its length, 0 at the end. */
static size_t next_component(struct walk *walk, char name[NAME_MAX + 1])
{
    size_t skip = strspn(walk->rest, "/");
    size_t n = strcspn(walk->rest + skip, "/");

    if (n <= NAME_MAX) {
        memcpy(name, walk->rest + skip, n);
        name[n] = '\0';
        memmove(walk->rest, walk->rest + skip + n, strlen(walk->rest + skip + n) + 1);
    }
    return n;
}

/* Puts a link's target before the rest of the path. 1: done; 0: `name` is no link. */
static int follow(struct walk *walk, const char *name)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(walk->directory, name, target, sizeof target);
    size_t rest = strlen(walk->rest);

    if (n < 0) {
        return errno == EINVAL ? 0 : -errno;
    }
    if (++walk->links > MAX_LINKS) {
        return -ELOOP;
    }
    if (n == 0) {
        return -ENOENT;
    }
    if ((size_t)n + rest + 1 > sizeof walk->rest) {
        return -ENAMETOOLONG;
    }
    /* The rest is empty, or begins with its slash. */
    memmove(walk->rest + n, walk->rest, rest + 1);
    memcpy(walk->rest, target, (size_t)n);
    if (target[0] == '/') {
        int r = enter(walk, AT_FDCWD, "/", 0);

        return r < 0 ? r : 1;
    }
    return 1;
}

/* One component that is not the last: into that directory. */
static int descend(struct walk *walk, const char *name)
{
    int r = enter(walk, walk->directory, name, O_NOFOLLOW);
    int followed;

    /* Which error a link gives differs from system to system. */
    if (r != -ENOTDIR && r != -ELOOP && r != -EMLINK) {
        return r;
    }
    followed = follow(walk, name);
    return followed == 0 ? r : followed < 0 ? followed : 0;
}

static int walk_all(struct walk *walk, char name[NAME_MAX + 1])
{
    for (;;) {
        size_t n = next_component(walk, name);
        int r;

        if (n > NAME_MAX) {
            return -ENAMETOOLONG;
        }
        if (n == 0) {
            return -EISDIR; /* the path ends in a directory */
        }
        if (++walk->components > MAX_COMPONENTS) {
            return -ELOOP;
        }
        if (strcmp(name, ".") == 0) {
            continue;
        }
        /* What has a slash after it, or two dots, is a directory, also as the last component. */
        if (walk->rest[0] == '/' || strcmp(name, "..") == 0) {
            r = descend(walk, name);
        } else {
            r = follow(walk, name);
            if (r == 0 || r == -ENOENT) {
                return 0; /* no link; that there is no such file is for the caller to find */
            }
        }
        if (r < 0) {
            return r;
        }
    }
}

int q2_path_walk(int start, const char *path, struct q2_path_end *end_ret)
{
    struct walk walk = { .directory = -1 };
    const size_t bytes = strlen(path) + 1;
    int r;

    end_ret->directory = -1;
    end_ret->name[0] = '\0';
    r = enter(&walk, path[0] == '/' ? AT_FDCWD : start, path[0] == '/' ? "/" : ".", 0);
    if (r == 0 && bytes > sizeof walk.rest) {
        r = -ENAMETOOLONG;
    }
    if (r == 0) {
        memcpy(walk.rest, path, bytes);
        r = walk_all(&walk, end_ret->name);
    }
    if (r < 0) {
        end_ret->name[0] = '\0';
    }
    end_ret->directory = walk.directory;
    return r;
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool q2_path_same(int a, int b)
{
    struct stat first, second;

    return fstat(a, &first) == 0 && fstat(b, &second) == 0 && same(&first, &second);
}

static int is_one_of(const struct stat *st, const int *tops, size_t count)
{
    struct stat top;

    for (size_t i = 0; i < count; i++) {
        if (tops[i] >= 0 && fstat(tops[i], &top) == 0 && same(st, &top)) {
            return 1;
        }
    }
    return 0;
}

int q2_path_is_beneath(int directory, const int *tops, size_t count)
{
    int at = open_directory(directory, ".", 0);

    for (int depth = 0; at >= 0 && depth < MAX_DEPTH; depth++) {
        struct stat here, above;
        int parent, r = fstat(at, &here) != 0 ? -errno : is_one_of(&here, tops, count);

        parent = r == 0 ? open_directory(at, "..", 0) : -1;
        (void)close(at);
        if (r != 0 || parent < 0) {
            return r != 0 ? r : parent;
        }
        if (fstat(parent, &above) != 0 || same(&here, &above)) {
            (void)close(parent);
            return 0; /* the root is its own parent */
        }
        at = parent;
    }
    if (at >= 0) {
        (void)close(at);
    }
    return at < 0 ? at : -ENAMETOOLONG;
}

size_t q2_path_directory_bytes(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash != NULL ? (size_t)(slash - path) : 0;

    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    return n == 0 && slash != NULL ? 1 : n;
}
