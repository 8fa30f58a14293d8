/* SPDX-License-Identifier: MIT */
/* directory.c - opening directories once, so that they are not found again by a name that may change: the one
 * that an image is named in, and those that a grant allows. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

#include <qcow2.h>

#include "base/error.h"
#include "source/path.h"

static int open_directory(const char *path)
{
    int fd;

    do {
        fd = open(path, Q2_DIRECTORY_FLAGS);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static bool is_at(const struct stat *st, const char *path)
{
    struct stat other;

    return stat(path, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino;
}

/* Where descriptors of this process, or of another, have names. */
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

/* Is the directory one that belongs to the images in it? Not the root and not /dev, which hold everything and
 * what the system shares; and not where a name stands for an open descriptor, whose file lies elsewhere. */
static bool is_own(int fd, const char *name)
{
    static const char *const shared[] = { "/", "/dev", "/dev/fd" };
    struct stat st;

    if (fstatat(fd, name, &st, 0) != 0 || !S_ISREG(st.st_mode) || fstat(fd, &st) != 0 ||
        is_procfs(fd)) {
        return false;
    }
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        if (is_at(&st, shared[i])) {
            return false;
        }
    }
    return true;
}

/* What follows the directory and its slashes; "." where that is nothing: the directory itself. */
static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;

    return slash != NULL && *name == '\0' ? "." : name;
}

int qcow2_open_directory_of(const char *path, int *fd_ret, const char **name_ret,
                            struct qcow2_error *err)
{
    size_t n;
    char *directory;
    int fd;

    if (path == NULL || fd_ret == NULL || name_ret == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "no path, or nowhere to put what it leads to");
    }
    *fd_ret = -1;
    *name_ret = last_component(path);
    n = q2_path_directory_bytes(path);
    directory = n == 0 ? strdup(".") : strndup(path, n);
    if (directory == NULL) {
        return q2_error_nomem(err);
    }
    fd = open_directory(directory);
    free(directory);
    if (fd < 0) {
        return q2_error_set_errno(err, QCOW2_E_IO, errno, UINT64_MAX, "cannot open the file");
    }
    *fd_ret = fd;
    return is_own(fd, *name_ret);
}

/* Fills one entry; on failure nothing is held. */
static int open_entry(const char *path, int *fd_ret, char **name_ret, struct qcow2_error *err)
{
    char text[96];

    *fd_ret = -1;
    *name_ret = strdup(path);
    if (*name_ret == NULL) {
        return q2_error_nomem(err);
    }
    *fd_ret = open_directory(path);
    if (*fd_ret < 0) {
        int failed = errno;

        free(*name_ret);
        q2_escape(text, sizeof text, path, SIZE_MAX);
        return q2_error_set_errno(err, QCOW2_E_IO, failed, UINT64_MAX,
                                  "cannot open the directory \"%s\"", text);
    }
    return 0;
}

int qcow2_grant_directories_open(const char *const *paths, size_t count,
                                 struct qcow2_grant_directories *directories_ret,
                                 struct qcow2_error *err)
{
    char **names;
    int *fds, r = 0;

    if (directories_ret == NULL || (count > 0 && paths == NULL)) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "no paths, or nowhere to put the directories");
    }
    *directories_ret = (struct qcow2_grant_directories){ .size = sizeof *directories_ret };
    names = calloc(count + 1, sizeof *names);
    fds = calloc(count + 1, sizeof *fds);
    if (names == NULL || fds == NULL) {
        free(names);
        free(fds);
        return q2_error_nomem(err);
    }
    directories_ret->fds = fds;
    directories_ret->names = (const char *const *)names;
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = open_entry(paths[i], &fds[i], &names[i], err);
        directories_ret->count += r == 0;
    }
    if (r < 0) {
        qcow2_grant_directories_close(directories_ret);
    }
    return r;
}

void qcow2_grant_directories_close(struct qcow2_grant_directories *directories)
{
    if (directories == NULL) {
        return;
    }
    for (size_t i = 0; i < directories->count; i++) {
        if (directories->fds[i] >= 0) {
            (void)close(directories->fds[i]);
        }
        free((char *)directories->names[i]); /* made by qcow2_grant_directories_open */
    }
    free((int *)directories->fds);
    free((char **)directories->names);
    *directories = (struct qcow2_grant_directories){ .size = sizeof *directories };
}
