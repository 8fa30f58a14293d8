/* SPDX-License-Identifier: MIT */
/* posix_acl.c - POSIX access control lists of files: is there one, remove it, copy it.
 * Knows how the system stores them; must not know which files need them.
 *
 * Linux has them as extended attributes, which are copied here without being interpreted. Elsewhere files are
 * taken for having none. */
#include "posix_acl.h"

#ifdef __linux__
#include <errno.h>
#include <linux/limits.h>
#include <stdio.h>
#include <sys/xattr.h>

static const char attribute[] = "system.posix_acl_access";

/* There is no list, or the file system has none. */
static bool is_none(int sys_errno)
{
    return sys_errno == ENODATA || sys_errno == EOPNOTSUPP;
}

bool posix_acl_exists(int fd)
{
    return fgetxattr(fd, attribute, NULL, 0) >= 0 || !is_none(errno);
}

int posix_acl_remove(int fd)
{
    return fremovexattr(fd, attribute) == 0 || is_none(errno) ? 0 : errno;
}

/* As getxattr. Attributes cannot be read from an O_PATH descriptor itself. */
static ssize_t read_at(int path_fd, void *buf, size_t buf_bytes)
{
    char path[64];

    if (path_fd < 0) {
        errno = EBADF;
        return -1;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", path_fd);
    return getxattr(path, attribute, buf, buf_bytes);
}

bool posix_acl_exists_at(int path_fd)
{
    return read_at(path_fd, NULL, 0) >= 0 || !is_none(errno);
}

enum posix_acl_copy posix_acl_copy(int path_fd, int fd)
{
    static char list[XATTR_SIZE_MAX];
    ssize_t bytes = read_at(path_fd, list, sizeof list);

    if (bytes < 0) {
        return is_none(errno) ? POSIX_ACL_NONE : POSIX_ACL_UNKNOWN;
    }
    return fsetxattr(fd, attribute, list, (size_t)bytes, 0) == 0 ? POSIX_ACL_COPIED
                                                                 : POSIX_ACL_UNKNOWN;
}

#else

bool posix_acl_exists(int fd)
{
    (void)fd;
    return false;
}

int posix_acl_remove(int fd)
{
    (void)fd;
    return 0;
}

bool posix_acl_exists_at(int path_fd)
{
    (void)path_fd;
    return false;
}

enum posix_acl_copy posix_acl_copy(int path_fd, int fd)
{
    (void)path_fd;
    (void)fd;
    return POSIX_ACL_NONE;
}

#endif
