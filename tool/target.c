/* SPDX-License-Identifier: MIT */
/* target.c - where a conversion goes.
 * Knows file systems; must not know how the bytes get there.
 *
 * A file is written under a name nobody can guess in the directory of its final name, and renamed
 * over it at the end: whoever looks sees the old file or the whole new one. The name begins with a dot
 * and ends in ".part", so that what a kill -9 or a power cut leaves is known for what it is. (A file
 * without any name, O_TMPFILE, would leave nothing; but it cannot replace a file, many file systems
 * have none, and nobody could see how far it is.) */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "own_files.h"
#include "posix_acl.h"
#include "report.h"
#include "sandbox.h"
#include "signals.h"

/* Where the file system cannot, libc writes to every block: a signal should not wait for all of them. */
#define ALLOCATED_AT_ONCE (UINT64_C(256) << 20)

static bool open_sync_directory(struct target *target)
{
    target->sync_fd = openat(target->where.directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target->sync_fd < 0) {
        report_errno(target->path, errno, "its directory cannot be flushed to the medium");
    }
    return target->sync_fd >= 0;
}

/* 0, or an errno value. */
static int open_temporary(struct target *target, const struct output_mode *mode)
{
    const char *final = target->where.name;
    char temporary[256];
    uint64_t random;
    int failed = EEXIST;

    if (strlen(final) > NAME_MAX) {
        return ENAMETOOLONG;
    }
    for (int i = 0; i < 16 && failed == EEXIST; i++) {
        if (getentropy(&random, sizeof random) != 0) {
            return errno;
        }
        snprintf(temporary, sizeof temporary, ".%.200s.%016" PRIx64 ".part", final, random);
        signals_unlink(-1, NULL);
        pinned_destroy(&target->names);
        if (!pinned_create(&target->names, temporary, final)) {
            return ENOMEM;
        }
        signals_unlink(target->where.directory_fd, target->names.temporary);
        target->fd = output_mode_create(mode, target->where.directory_fd, target->names.temporary);
        failed = target->fd < 0 ? errno : 0;
    }
#ifdef O_PATH
    if (failed == 0) {
        target->held_fd = openat(target->where.directory_fd, target->names.temporary,
                                 O_PATH | O_NOFOLLOW | O_CLOEXEC);
        failed = target->held_fd < 0 ? errno : 0;
    }
#endif
    return failed;
}

static bool open_file(struct target *target, const struct target_wishes *wishes)
{
    static const struct output_mode owner_only = { .bounded = true };
    const bool exists = target->where.exists;
    const struct output_mode *mode = exists ? &owner_only : &wishes->mode;
    int failed;

    target->kind = TARGET_FILE;
    /* Renaming needs no permission on the file itself; overwriting it does. */
    failed = exists ? output_path_access(&target->where) : 0;
    if (failed != 0) {
        report_errno(target->path, failed, "cannot be overwritten");
        return false;
    }
    if (wishes->sync && !open_sync_directory(target)) {
        return false;
    }
    failed = open_temporary(target, mode);
    if (failed != 0) {
        report_errno(target->path, failed, "cannot create a file in its directory");
        return false;
    }
    if (exists) {
        return output_mode_keep(&target->where.found, target->where.fd, target->path, target->fd);
    }
    target->has_acl = !mode->bounded && posix_acl_exists(target->fd);
    return output_mode_set(mode, target->path, target->fd);
}

static bool open_device(struct target *target)
{
    target->kind = TARGET_DEVICE;
    /* On a block device O_EXCL asks the kernel to fail if it is mounted or otherwise in use. */
    target->fd = output_path_open(&target->where, O_WRONLY | O_EXCL);
    if (target->fd < 0) {
        if (errno == EBUSY) {
            report(target->path, "the device is in use (mounted?)");
        } else {
            report_errno(target->path, errno, "cannot open the device");
        }
    }
    return target->fd >= 0;
}

static bool open_stream(struct target *target)
{
    target->kind = TARGET_STREAM;
    target->fd = output_path_open(&target->where, O_WRONLY | O_NOCTTY);
    if (target->fd < 0) {
        report_errno(target->path, errno, "cannot open for writing");
    }
    return target->fd >= 0;
}

static bool open_found(struct target *target, const struct target_wishes *wishes)
{
    /* With -n the target exists and is written in place. Devices and pipes always are; a file appears
     * when it is complete, and a part of the disk in place of another file is of no use. */
    if (wishes->in_place && !target->where.exists) {
        report_errno(target->path, ENOENT, "-n does not make it");
        return false;
    }
    if (!target->where.exists) {
        return open_file(target, wishes);
    }
    switch (target->where.found.st_mode & S_IFMT) {
    case S_IFREG:
        if (wishes->in_place) {
            report(target->path, "a file is always replaced as a whole; leave out -n");
            return false;
        }
        return open_file(target, wishes);
    case S_IFBLK:
        return open_device(target);
    case S_IFCHR:
    case S_IFIFO:
        return open_stream(target);
    case S_IFDIR:
        report(target->path, "is a directory");
        return false;
    default:
        report(target->path, "is neither a file nor a device nor a pipe");
        return false;
    }
}

bool target_open(struct target *target, const char *path, const struct target_wishes *wishes)
{
    bool opened;

    memset(target, 0, sizeof *target);
    target->path = path;
    target->fd = -1;
    target->sync_fd = -1;
    target->held_fd = -1;
    opened = output_path_find(&target->where, path) && open_found(target, wishes);
    if (!opened) {
        target_abandon(target);
    }
    return opened;
}

bool target_is_fit(const struct target *target, const struct qcow2_image *image,
                   const struct own_files *own)
{
    uint64_t bytes = qcow2_size(image);
    off_t end;

    if (target->where.exists &&
        !own_files_spare(own, target->path,
                         target->kind == TARGET_DEVICE ? target->fd : target->where.fd,
                         &target->where.found)) {
        return false;
    }
    if (!target->where.exists &&
        !output_mode_fits(own, target->path, target->fd, target->has_acl)) {
        return false;
    }
    if (target->kind != TARGET_DEVICE) {
        return true;
    }
    end = lseek(target->fd, 0, SEEK_END);
    if (end < 0) {
        report_errno(target->path, errno, "cannot get the size of the device");
        return false;
    }
    if ((uint64_t)end < bytes) {
        report(target->path, "the device is too small: it has %" PRIu64 " bytes, the disk %" PRIu64,
               (uint64_t)end, bytes);
        return false;
    }
    return true;
}

void target_confine(const struct target *target)
{
    const struct syscalls_commit commit = { .directory_fd = target->where.directory_fd,
                                            .names = &target->names };

    sandbox_allow_output(target->fd);
    if (target->kind == TARGET_FILE) {
        sandbox_allow_commit(&commit);
    }
}

bool target_allocate(const struct target *target, uint64_t bytes, struct qcow2_error *err)
{
    uint64_t done = 0;
    int failed = 0;

    while (target->kind == TARGET_FILE && done < bytes && failed == 0) {
        uint64_t left = bytes - done;
        uint64_t part = left < ALLOCATED_AT_ONCE ? left : ALLOCATED_AT_ONCE;

        if (signals_caught() != 0) {
            err->code = QCOW2_E_CANCELLED;
            return false;
        }
        failed = posix_fallocate(target->fd, (off_t)done, (off_t)part);
        if (failed == EINTR) {
            failed = 0;
        } else {
            done += part;
        }
    }
    if (failed != 0) {
        err->code = QCOW2_E_IO;
        err->sys_errno = failed;
        snprintf(err->message, sizeof err->message, "cannot allocate the target: %s",
                 strerror(failed));
    }
    return failed == 0;
}

static void release(struct target *target)
{
    signals_unlink(-1, NULL);
    if (target->sync_fd >= 0) {
        close(target->sync_fd);
    }
    if (target->held_fd >= 0) {
        close(target->held_fd);
    }
    pinned_destroy(&target->names);
    output_path_close(&target->where);
    target->sync_fd = -1;
    target->held_fd = -1;
}

static void remove_temporary(const struct target *target)
{
    unlinkat(target->where.directory_fd, target->names.temporary, 0);
}

void target_abandon(struct target *target)
{
    if (target->fd >= 0) {
        close(target->fd);
        if (target->kind == TARGET_FILE) {
            remove_temporary(target);
        }
    }
    target->fd = -1;
    release(target);
}

static bool close_target(struct target *target)
{
    int fd = target->fd;

    target->fd = -1;
    /* close(2) is where network file systems and quotas confess. */
    if (close(fd) != 0 && errno != EINTR) {
        report_errno(target->path, errno, "closing failed");
        return false;
    }
    return true;
}

/* As fsync. A signal that ends nothing is no failure. */
static int flush(int fd)
{
    int r;

    do {
        r = fsync(fd);
    } while (r != 0 && errno == EINTR && signals_caught() == 0);
    return r;
}

/* The rename itself is on the medium once the directory is. */
static bool sync_directory(const struct target *target)
{
    if (flush(target->sync_fd) != 0) {
        report_errno(target->path, errno, "flushing its directory to the medium failed");
        return false;
    }
    return true;
}

static bool commit_file(struct target *target, bool sync)
{
    const struct output_path *where = &target->where;
    const int failed = output_path_holds(where, target->names.temporary, target->fd);

    if (failed == ESTALE) {
        report(target->path, "the unfinished file was removed or replaced meanwhile");
        return false;
    }
    if (failed != 0) {
        report_errno(target->path, failed, "the finished file cannot be given its name");
        remove_temporary(target);
        return false;
    }
    if (!close_target(target) ||
        !output_path_give(where, target->names.temporary, target->names.final, target->held_fd)) {
        remove_temporary(target);
        return false;
    }
    signals_unlink(-1, NULL);
    return !sync || sync_directory(target);
}

bool target_commit(struct target *target, bool sync)
{
    bool done;

    if (sync && target->kind != TARGET_STREAM && flush(target->fd) != 0) {
        report_errno(target->path, errno, "flushing to the medium failed");
        target_abandon(target);
        return false;
    }
    done = target->kind == TARGET_FILE ? commit_file(target, sync) : close_target(target);
    if (target->fd >= 0) {
        close(target->fd);
        target->fd = -1;
    }
    release(target);
    return done;
}
