/* SPDX-License-Identifier: MIT */
/* open_file.c - see open_file.h. Knows what a file system has; must not know images. */
#include "source/open_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source/path.h"

/* Non-blocking in case it is another file by now. Regular files and block devices ignore it. */
enum { READ_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

static int open_by_name(int directory, const char *name, int flags)
{
    int fd;

    do {
        fd = openat(directory, name, flags);
    } while (fd < 0 && errno == EINTR);
    return fd >= 0 ? fd : -errno;
}

/* 0 if a file of this kind may be opened. */
static int check_kind(mode_t mode, int flags)
{
    if (S_ISREG(mode) || (S_ISBLK(mode) && (flags & Q2_OPEN_NO_DEVICES) == 0)) {
        return 0;
    }
    return S_ISDIR(mode) ? -EISDIR : S_ISLNK(mode) ? -ELOOP : Q2_WRONG_KIND;
}

static int checked(int fd, const struct stat *examined, int flags)
{
    struct stat opened;
    int r;

    if (fd < 0) {
        return fd;
    }
    r = fstat(fd, &opened) != 0 ? -errno : check_kind(opened.st_mode, flags);
    if (r == 0 && (opened.st_dev != examined->st_dev || opened.st_ino != examined->st_ino)) {
        r = -ESTALE; /* the name has been given to another file since */
    }
    if (r < 0) {
        (void)close(fd);
    }
    return r < 0 ? r : fd;
}

#ifdef O_PATH
/* A descriptor of the file itself, which no opening has happened to yet; then that file is opened through
 * it. Without /proc it is opened by its name once more. */
int q2_open_file(int directory, const char *name, int flags)
{
    const int nofollow = (flags & Q2_OPEN_NOFOLLOW) != 0 ? O_NOFOLLOW : 0;
    int handle = open_by_name(directory, name, O_PATH | O_CLOEXEC | nofollow);
    char path[32];
    struct stat st;
    int r;

    if (handle < 0) {
        return handle;
    }
    r = fstat(handle, &st) != 0 ? -errno : check_kind(st.st_mode, flags);
    if (r == 0) {
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", handle);
        r = open_by_name(AT_FDCWD, path, READ_FLAGS);
        if (r == -ENOENT || r == -ENOTDIR) {
            r = open_by_name(directory, name, READ_FLAGS | nofollow);
        }
        r = checked(r, &st, flags);
    }
    (void)close(handle);
    return r;
}
#else
int q2_open_file(int directory, const char *name, int flags)
{
    const bool nofollow = (flags & Q2_OPEN_NOFOLLOW) != 0;
    struct stat st;
    int r;

    if (fstatat(directory, name, &st, nofollow ? AT_SYMLINK_NOFOLLOW : 0) != 0) {
        return -errno;
    }
    r = check_kind(st.st_mode, flags);
    return r < 0 ? r
                 : checked(open_by_name(directory, name, READ_FLAGS | (nofollow ? O_NOFOLLOW : 0)),
                           &st, flags);
}
#endif
