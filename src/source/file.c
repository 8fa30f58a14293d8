/* SPDX-License-Identifier: MIT */
/* file.c - sources that read through a file descriptor, with pread(2).
 *
 * The file is never mapped: one that is cut short while it is read would kill
 * the process with SIGBUS instead of failing one read. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
/* glibc takes the request as an unsigned long; others, as POSIX has it, as an int. */
#ifdef __GLIBC__
#define GET_DEVICE_SIZE BLKGETSIZE64
#else
#define GET_DEVICE_SIZE ((int)BLKGETSIZE64)
#endif
#endif

#include <qcow2.h>

#include "base/error.h"
#include "source/file.h"
#include "source/open_file.h"

struct file {
    int fd;
    int close_fd;
    bool own_offset; /* opened here, so that no one else shares its file offset */
    char name[];
};

/* Goes on after a pread that gave `got` bytes, which was not all that was asked for. */
static int read_rest(int fd, char *to, size_t count, uint64_t offset, ssize_t got)
{
    for (;;) {
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        if (got == 0) {
            /* Within the size that open saw: the file has been cut short since. */
            return EIO;
        }
        if (got > 0) {
            to += got;
            count -= (size_t)got;
            offset += (uint64_t)got;
        }
        if (count == 0) {
            return 0;
        }
        got = pread(fd, to, count, (off_t)offset);
    }
}

static int file_read_at(void *ctx, void *buf, size_t count, uint64_t offset)
{
    const struct file *file = ctx;
    ssize_t got;

    if (offset > INT64_MAX || count > INT64_MAX - offset) {
        return EOVERFLOW;
    }
    got = pread(file->fd, buf, count, (off_t)offset);
    return got >= 0 && (size_t)got == count ? 0 : read_rest(file->fd, buf, count, offset, got);
}

/* Where no call tells the length of a device, its end is found by seeking, and the offset put back: the
 * descriptor may be one that its owner reads from. */
static int seek_size(int fd, uint64_t *bytes_ret)
{
    off_t before = lseek(fd, 0, SEEK_CUR);
    off_t end = before < 0 ? -1 : lseek(fd, 0, SEEK_END);
    int failed = errno;

    if (end < 0) {
        return failed;
    }
    *bytes_ret = (uint64_t)end;
    return lseek(fd, before, SEEK_SET) < 0 ? errno : 0;
}

static int file_get_size(void *ctx, uint64_t *bytes_ret)
{
    const struct file *file = ctx;
    struct stat st;

    if (fstat(file->fd, &st) < 0) {
        return errno;
    }
    if (S_ISREG(st.st_mode)) {
        *bytes_ret = (uint64_t)st.st_size;
        return 0;
    }
#if defined(__linux__) && defined(BLKGETSIZE64)
    if (ioctl(file->fd, GET_DEVICE_SIZE, bytes_ret) == 0) {
        return 0;
    }
#endif
    return seek_size(file->fd, bytes_ret);
}

static int file_get_fd(void *ctx)
{
    const struct file *file = ctx;

    return file->fd;
}

static void file_close(void *ctx)
{
    struct file *file = ctx;

    if (file->close_fd) {
        (void)close(file->fd);
    }
    free(file);
}

static int wrong_kind(struct qcow2_error *err)
{
    return q2_error_set(err, QCOW2_E_ARGUMENT, "an image must be a regular file or a block device");
}

/* Only what can be read at any offset, twice, with the same answer. */
static int check_kind(int fd, struct qcow2_error *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return q2_error_set_errno(err, QCOW2_E_IO, errno, UINT64_MAX, "cannot look at the file");
    }
    if (S_ISDIR(st.st_mode)) {
        return q2_error_set_errno(err, QCOW2_E_IO, EISDIR, UINT64_MAX, "cannot read the image");
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        return wrong_kind(err);
    }
    return 0;
}

int qcow2_source_from_fd(int fd, const char *name, int close_fd, struct qcow2_source *source_ret,
                         struct qcow2_error *err)
{
    size_t name_bytes = (name != NULL ? strlen(name) : 0) + 1;
    struct file *file;
    int r;

    if (source_ret == NULL || fd < 0) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "no descriptor, or nowhere to put the source");
    }
    if ((r = check_kind(fd, err)) < 0) {
        return r;
    }
    file = malloc(sizeof *file + name_bytes);
    if (file == NULL) {
        return q2_error_nomem(err);
    }
    file->fd = fd;
    file->close_fd = close_fd;
    file->own_offset = false;
    memcpy(file->name, name != NULL ? name : "", name_bytes);
    *source_ret = (struct qcow2_source){
        .size = sizeof *source_ret,
        .ctx = file,
        .name = file->name,
        .read_at = file_read_at,
        .get_size = file_get_size,
        .get_fd = file_get_fd,
        .close = file_close,
    };
    return 0;
}

int qcow2_source_from_path_at(int directory, const char *file, const char *name,
                              struct qcow2_source *source_ret, struct qcow2_error *err)
{
    int fd, r;

    if (file == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the path is NULL");
    }
    fd = q2_open_file(directory, file, 0);
    if (fd == Q2_WRONG_KIND) {
        return wrong_kind(err);
    }
    if (fd < 0) {
        return q2_error_set_errno(err, QCOW2_E_IO, -fd, UINT64_MAX, "cannot open the file");
    }
    r = qcow2_source_from_fd(fd, name != NULL ? name : file, 1, source_ret, err);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    q2_source_opened_here(source_ret);
    return 0;
}

void q2_source_opened_here(struct qcow2_source *source)
{
#ifdef __linux__ /* others give /dev/fd/N the offset of N */
    ((struct file *)source->ctx)->own_offset = true;
#else
    (void)source;
#endif
}

bool q2_source_has_own_offset(const struct qcow2_source *source)
{
    return source->read_at == file_read_at && ((const struct file *)source->ctx)->own_offset;
}

int qcow2_source_from_path(const char *path, struct qcow2_source *source_ret,
                           struct qcow2_error *err)
{
    return qcow2_source_from_path_at(AT_FDCWD, path, path, source_ret, err);
}
