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
#include "report.h"
#include "sandbox.h"
#include "signals.h"

#define MAX_LINKS 40 /* as Linux itself follows */

/* Where the file system cannot, libc writes to every block: a signal should not wait for all of them. */
#define ALLOCATED_AT_ONCE (UINT64_C(256) << 20)

/* Only its contents are of interest, so no permission to list it is needed where the system can
 * say so. */
#ifdef O_PATH
#define DIRECTORY_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#else
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#endif

/* Follows symbolic links at the end of `path`, also one whose target does not exist yet: the file
 * behind the link is replaced, not the link. NULL after a report. */
static char *resolve(const char *path)
{
    char *current = strdup(path);
    char link[4096];

    for (int i = 0; current != NULL && i < MAX_LINKS; i++) {
        ssize_t count = readlink(current, link, sizeof link - 1);
        char *next;

        if (count < 0) {
            return current; /* no link; if there is worse to say, opening will say it */
        }
        link[count] = '\0';
        next = own_files_join(current, link);
        free(current);
        current = next;
    }
    report(path, current == NULL ? "out of memory" : "too many symbolic links");
    free(current);
    return NULL;
}

/* Without its directory. */
static const char *final_name(const struct target *target)
{
    const char *slash = strrchr(target->final_path, '/');

    return slash != NULL ? slash + 1 : target->final_path;
}

static bool open_directory(struct target *target, bool sync)
{
    char *slash = strrchr(target->final_path, '/');

    if (final_name(target)[0] == '\0') {
        report(target->path, "names a directory, not a file");
        return false;
    }
    if (slash == NULL) {
        target->directory_fd = open(".", DIRECTORY_FLAGS);
    } else if (slash == target->final_path) {
        target->directory_fd = open("/", DIRECTORY_FLAGS);
    } else {
        *slash = '\0';
        target->directory_fd = open(target->final_path, DIRECTORY_FLAGS);
        *slash = '/';
    }
    if (target->directory_fd < 0) {
        report_errno(target->path, errno, "cannot open its directory");
        return false;
    }
    if (sync) {
        target->sync_fd = openat(target->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (target->sync_fd < 0) {
            report_errno(target->path, errno, "its directory cannot be flushed to the medium");
            return false;
        }
    }
    return true;
}

/* 0, or an errno value. */
static int open_temporary(struct target *target)
{
    /* A file that replaces another one is nobody else's to read until it has that one's mode. */
    mode_t mode = target->exists ? 0600 : 0666;
    const char *final = final_name(target);
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
        signals_unlink(target->directory_fd, target->names.temporary);
        target->fd = openat(target->directory_fd, target->names.temporary,
                            O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        failed = target->fd < 0 ? errno : 0;
    }
    return failed;
}

/* Owner before mode: changing the owner may clear bits of the mode. Only root can keep a foreign
 * owner; for others the new file is their own, as it is with every program that replaces files. */
static bool keep_owner_and_mode(const struct target *target)
{
    if (!target->exists) {
        return true;
    }
    if (geteuid() == 0 && fchown(target->fd, target->before.st_uid, target->before.st_gid) != 0) {
        report_errno(target->path, errno, "cannot keep the owner of the file it replaces");
        return false;
    }
    if (fchmod(target->fd, target->before.st_mode & 0777) != 0) {
        report_errno(target->path, errno, "cannot keep the mode of the file it replaces");
        return false;
    }
    return true;
}

static bool open_file(struct target *target, bool sync)
{
    int failed;

    target->kind = TARGET_FILE;
    /* Renaming needs no permission on the file itself; overwriting it does. */
    if (target->exists && faccessat(AT_FDCWD, target->path, W_OK, AT_EACCESS) != 0) {
        report_errno(target->path, errno, "cannot be overwritten");
        return false;
    }
    target->final_path = resolve(target->path);
    if (target->final_path == NULL || !open_directory(target, sync)) {
        return false;
    }
    failed = open_temporary(target);
    if (failed != 0) {
        report_errno(target->path, failed, "cannot create a file in its directory");
    }
    /* Now: the sandbox lets nobody change a mode or an owner. */
    return failed == 0 && keep_owner_and_mode(target);
}

static bool open_device(struct target *target)
{
    target->kind = TARGET_DEVICE;
    /* On a block device O_EXCL asks the kernel to fail if it is mounted or otherwise in use. */
    target->fd = open(target->path, O_RDWR | O_EXCL | O_CLOEXEC);
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
    target->fd = open(target->path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (target->fd < 0) {
        report_errno(target->path, errno, "cannot open for writing");
    }
    return target->fd >= 0;
}

static bool open_existing(struct target *target, bool sync)
{
    switch (target->before.st_mode & S_IFMT) {
    case S_IFREG:
        return open_file(target, sync);
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

bool target_open(struct target *target, const char *path, bool sync)
{
    bool opened;

    memset(target, 0, sizeof *target);
    target->path = path;
    target->fd = -1;
    target->directory_fd = -1;
    target->sync_fd = -1;
    target->exists = stat(path, &target->before) == 0;
    if (target->exists) {
        opened = open_existing(target, sync);
    } else if (errno == ENOENT) {
        opened = open_file(target, sync);
    } else {
        report_errno(path, errno, "cannot be written");
        return false;
    }
    if (!opened) {
        target_abandon(target);
    }
    return opened;
}

bool target_is_fit(const struct target *target, const struct qcow2_image *image,
                   const char *image_path)
{
    uint64_t bytes = qcow2_size(image);
    off_t end;

    if (target->exists && own_files_have(image, image_path, &target->before)) {
        report(target->path, "is a file of the image itself, which is never overwritten");
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
    const struct syscalls_commit commit = { .directory_fd = target->directory_fd,
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
    if (target->directory_fd >= 0) {
        close(target->directory_fd);
    }
    if (target->sync_fd >= 0) {
        close(target->sync_fd);
    }
    pinned_destroy(&target->names);
    free(target->final_path);
    target->directory_fd = -1;
    target->sync_fd = -1;
    target->final_path = NULL;
}

static void remove_temporary(const struct target *target)
{
    unlinkat(target->directory_fd, target->names.temporary, 0);
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

/* The rename itself is on the medium once the directory is. */
static bool sync_directory(const struct target *target)
{
    if (fsync(target->sync_fd) != 0) {
        report_errno(target->path, errno, "flushing its directory to the medium failed");
        return false;
    }
    return true;
}

static bool commit_file(struct target *target, bool sync)
{
    if (!close_target(target)) {
        remove_temporary(target);
        return false;
    }
    if (renameat(target->directory_fd, target->names.temporary, target->directory_fd,
                 target->names.final) != 0) {
        report_errno(target->path, errno, "the finished file cannot be given its name");
        remove_temporary(target);
        return false;
    }
    signals_unlink(-1, NULL);
    return !sync || sync_directory(target);
}

bool target_commit(struct target *target, bool sync)
{
    bool done;

    if (sync && target->kind != TARGET_STREAM && fsync(target->fd) != 0) {
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
