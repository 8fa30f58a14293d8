/* SPDX-License-Identifier: MIT */
/* output_path.c - what the path of an output leads to.
 * Knows paths and links; must not know what is written there.
 *
 * Another process may change the path at any time. All decisions therefore follow from one look at what
 * it leads to, and that is held by a descriptor, so that its inode number cannot be given to another file.
 * The directory and the name that lead there are found by a walk, which must arrive at the same file. */
#include "output_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#endif
#include <unistd.h>

#include "report.h"

#define MAX_LINKS 40 /* as Linux itself follows */

/* Only its contents are of interest, so no permission to list it is needed where the system can
 * say so. */
#ifdef O_PATH
#define DIRECTORY_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#else
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#endif

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
           (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT);
}

/* 0, or an errno value. */
static int look(struct output_path *where)
{
#ifdef O_PATH
    where->fd = open(where->path, O_PATH | O_CLOEXEC);
    return where->fd >= 0 && fstat(where->fd, &where->found) == 0 ? 0 : errno;
#else
    return stat(where->path, &where->found) == 0 ? 0 : errno;
#endif
}

static bool is_procfs(int fd)
{
#ifdef __linux__
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
#else
    (void)fd;
    return false;
#endif
}

/* Opens the directory of `path`, which is relative to the directory opened before, in place of that one. */
static bool enter_directory(struct output_path *where, const char *path)
{
    const char *slash = strrchr(path, '/');
    int base = where->directory_fd >= 0 ? where->directory_fd : AT_FDCWD;
    size_t count = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *directory = slash == NULL ? strdup(".") : strndup(path, count);
    int fd = directory != NULL ? openat(base, directory, DIRECTORY_FLAGS) : -1;

    if (fd < 0) {
        report_errno(where->path, errno, "cannot open its directory");
    } else {
        if (where->directory_fd >= 0) {
            close(where->directory_fd);
        }
        where->directory_fd = fd;
        where->by_descriptor = where->by_descriptor || is_procfs(fd);
    }
    free(directory);
    return fd >= 0;
}

/* Replaces where->name by the target of the symbolic link that has it. */
static bool follow(struct output_path *where)
{
    char link[4096];
    ssize_t count = readlinkat(where->directory_fd, where->name, link, sizeof link - 1);

    if (count < 0) {
        report_errno(where->path, errno, "cannot read the symbolic link");
        return false;
    }
    link[count] = '\0';
    free(where->name);
    where->name = strdup(link);
    if (where->name == NULL) {
        report(where->path, "out of memory");
    }
    return where->name != NULL;
}

/* Leaves the last component in where->name, and its directory open. */
static bool split(struct output_path *where)
{
    char *slash;

    if (!enter_directory(where, where->name)) {
        return false;
    }
    slash = strrchr(where->name, '/');
    if (slash != NULL) {
        memmove(where->name, slash + 1, strlen(slash + 1) + 1);
    }
    return true;
}

/* Linux follows no link, and with O_CREAT opens neither a FIFO nor a file, that another user has put into a sticky
 * directory such as /tmp (fs.protected_symlinks, _fifos and _regular; proc_sys_fs(5)). Links that are read here do
 * not come under these rules, nor does an output, which is opened without O_CREAT or replaced. So they are kept here,
 * whatever the settings. `writers`: the permissions of the directory that matter.
 *
 * No other user can exchange what is allowed: in a sticky directory that takes its owner or the directory's. */
static bool is_planted(const struct output_path *where, const struct stat *file, mode_t writers)
{
    struct stat directory;

    return fstat(where->directory_fd, &directory) != 0 ||
           ((directory.st_mode & S_ISVTX) != 0 && (directory.st_mode & writers) != 0 &&
            file->st_uid != geteuid() && file->st_uid != directory.st_uid);
}

static bool refuse_planted(const struct output_path *where, const struct stat *file)
{
    const bool is_link = S_ISLNK(file->st_mode);

    if (!is_planted(where, file, is_link ? S_IWOTH : S_IWOTH | S_IWGRP)) {
        return false;
    }
    report(where->path,
           "%s of another user in a sticky directory that other users can write to; choose another "
           "output or remove it",
           is_link                   ? "leads to a symbolic link"
           : S_ISFIFO(file->st_mode) ? "is a FIFO"
                                     : "is a file");
    return true;
}

/* Pipes that are no FIFOs of a directory are all in a file system of their own. */
static bool has_no_name(const struct stat *pipe_found)
{
    struct stat info;
    bool is;
    int fds[2];

    if (pipe(fds) != 0) {
        return false;
    }
    is = fstat(fds[0], &info) == 0 && info.st_dev == pipe_found->st_dev;
    close(fds[0]);
    close(fds[1]);
    return is;
}

/* Finds the directory and the name. *arrived_ret is what they lead to; st_mode 0: nothing. */
static bool walk(struct output_path *where, struct stat *arrived_ret)
{
    where->name = strdup(where->path);
    for (int i = 0; where->name != NULL && i <= MAX_LINKS; i++) {
        size_t length = strlen(where->name);

        if (length == 0 || where->name[length - 1] == '/') {
            report(where->path, "names a directory, not a file");
            return false;
        }
        if (!split(where)) {
            return false;
        }
        if (fstatat(where->directory_fd, where->name, arrived_ret, AT_SYMLINK_NOFOLLOW) != 0) {
            memset(arrived_ret, 0, sizeof *arrived_ret);
            if (errno == ENOENT) {
                return true;
            }
            report_errno(where->path, errno, "cannot be written");
            return false;
        }
        if (!S_ISLNK(arrived_ret->st_mode)) {
            return true;
        }
        if (refuse_planted(where, arrived_ret) || !follow(where)) {
            return false;
        }
    }
    report(where->path, where->name == NULL ? "out of memory" : "too many symbolic links");
    return false;
}

bool output_path_find(struct output_path *where, const char *path)
{
    struct stat arrived;
    int failure;

    memset(where, 0, sizeof *where);
    where->path = path;
    where->fd = -1;
    where->directory_fd = -1;
    failure = look(where);
    if (failure != 0 && failure != ENOENT) {
        report_errno(path, failure, "cannot be written");
        return false;
    }
    where->exists = failure == 0;
    if (where->exists && !S_ISREG(where->found.st_mode) &&
        (!S_ISFIFO(where->found.st_mode) || has_no_name(&where->found))) {
        return true; /* never replaced, so its directory does not matter, and made by root or without a name */
    }
    if (!walk(where, &arrived)) {
        return false;
    }
    /* Also a link of /proc/self/fd to a file that has no name any more. */
    if (where->exists ? !is_same(&where->found, &arrived) : arrived.st_mode != 0) {
        report(path, "leads to something else each time it is looked at, or to a file that has no "
                     "name; nothing was written");
        return false;
    }
    return !where->exists || !refuse_planted(where, &where->found);
}

int output_path_open(const struct output_path *where, int flags)
{
    struct stat opened;
    int fd = -1;

    /* This way a device or a pipe that took the name meanwhile is not opened even for a moment. */
    if (where->fd >= 0) {
        char same[64];

        snprintf(same, sizeof same, "/proc/self/fd/%d", where->fd);
        fd = open(same, flags | O_CLOEXEC);
        if (fd >= 0 || errno != ENOENT) {
            return fd;
        }
    }
    fd = open(where->path, flags | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &opened) != 0 || !is_same(&opened, &where->found))) {
        close(fd);
        fd = -1;
        errno = ESTALE;
    }
    return fd;
}

int output_path_access(const struct output_path *where)
{
#if defined(O_PATH) && defined(AT_EMPTY_PATH)
    if (faccessat(where->fd, "", W_OK, AT_EACCESS | AT_EMPTY_PATH) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
#endif
    return faccessat(where->directory_fd, where->name, W_OK, AT_EACCESS) == 0 ? 0 : errno;
}

int output_path_holds(const struct output_path *where, const char *name, int fd)
{
    struct stat opened;
    struct stat named;

    if (fstat(fd, &opened) != 0) {
        return errno;
    }
    if (fstatat(where->directory_fd, name, &named, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? ESTALE : errno;
    }
    return is_same(&opened, &named) ? 0 : ESTALE;
}

/* Is there still what was found, or still nothing if nothing was? `failed`: an errno value of the look at *now. */
static bool is_as_found(const struct output_path *where, int failed, const struct stat *now)
{
    if (failed != 0) {
        return !where->exists && failed == ENOENT;
    }
    /* An empty file had nothing to lose; what has been written to it since is not known to anyone here. */
    return where->exists && is_same(now, &where->found) &&
           (where->found.st_size != 0 || now->st_size == 0);
}

/* Does the directory still have that under `name`, and does the path still lead there? */
static bool is_unchanged(const struct output_path *where, const char *name)
{
    struct stat now;
    int failed = fstatat(where->directory_fd, name, &now, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;

    if (!is_as_found(where, failed, &now)) {
        return false;
    }
    failed = stat(where->path, &now) == 0 ? 0 : errno;
    return is_as_found(where, failed, &now);
}

/* The look at the unfinished file and its renaming are two steps, and so are the look at the path and that. */
static bool leads_to(const struct output_path *where, int fd)
{
    struct stat finished;
    struct stat now;

    return fd < 0 || where->by_descriptor ||
           (fstat(fd, &finished) == 0 && stat(where->path, &now) == 0 && is_same(&finished, &now));
}

/* Renames to a name that no file has: a file that took it meanwhile stays. -1 with errno. */
static int rename_new(int directory, const char *from, const char *to)
{
#if defined(SYS_renameat2) && defined(RENAME_NOREPLACE)
    if (syscall(SYS_renameat2, directory, from, directory, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    /* EINVAL: some file systems cannot; ENOSYS: an old kernel. */
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
#endif
    return renameat(directory, from, directory, to);
}

bool output_path_give(const struct output_path *where, const char *from, const char *to, int fd)
{
    int r;

    if (!is_unchanged(where, to)) {
        report(where->path, "the finished file cannot be given its name: %s; it was removed",
               where->exists
                   ? "the file that it should replace was replaced, removed or filled meanwhile, "
                     "or the path leads elsewhere"
                   : "another file has taken the name meanwhile, or the path leads elsewhere");
        return false;
    }
    r = where->exists ? renameat(where->directory_fd, from, where->directory_fd, to)
                      : rename_new(where->directory_fd, from, to);
    if (r != 0) {
        report_errno(where->path, errno, "the finished file cannot be given its name");
        return false;
    }
    if (!leads_to(where, fd)) {
        report(where->path,
               "leads to another file than the finished one, since another process has "
               "exchanged one of them");
        return false;
    }
    return true;
}

void output_path_close(struct output_path *where)
{
    if (where->fd >= 0) {
        close(where->fd);
    }
    if (where->directory_fd >= 0) {
        close(where->directory_fd);
    }
    free(where->name);
    where->fd = -1;
    where->directory_fd = -1;
    where->name = NULL;
}
