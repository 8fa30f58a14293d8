/* SPDX-License-Identifier: MIT */
/* target.c - what kind of thing a descriptor leads to, and making it ready.
 * Knows files and block devices; must not know images or pieces. */
#include "target.h"
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
/* glibc takes the request as an unsigned long; others, as POSIX has it, as an int. */
#ifdef __GLIBC__
#define GET_DEVICE_SIZE BLKGETSIZE64
#else
#define GET_DEVICE_SIZE ((int)BLKGETSIZE64)
#endif
#endif

enum { MIN_BLOCK_BYTES = 4096, MAX_BLOCK_BYTES = 65536 };

/* ext4 takes a quarter less time to write into blocks that were allocated in one go than to promise
 * itself each block as it comes. Others gain nothing (tmpfs) or lose (btrfs does not compress such
 * blocks), so only those known to gain. */
static bool gains_by_reserving(int fd)
{
#ifdef __linux__
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC;
#else
    (void)fd;
    return false;
#endif
}

int q2_target_inspect(struct q2_target *target, int fd, struct qcow2_error *err)
{
    int mode = fcntl(fd, F_GETFL);
    struct stat st;

    if (mode < 0 || fstat(fd, &st) != 0) {
        return q2_fault_set(err, QCOW2_E_ARGUMENT, errno, "the target is not an open descriptor");
    }
    if ((mode & O_ACCMODE) == O_RDONLY) {
        return q2_fault_set(err, QCOW2_E_ARGUMENT, 0, "the target is not open for writing");
    }

    target->fd = fd;
    target->kind = S_ISREG(st.st_mode)   ? Q2_TARGET_FILE
                   : S_ISBLK(st.st_mode) ? Q2_TARGET_DEVICE
                                         : Q2_TARGET_STREAM;
    /* Whatever the position given, an appending descriptor writes at the end. And whoever opens a
     * file that way means to keep what it holds, where we would begin by emptying it. */
    if (target->kind != Q2_TARGET_STREAM && (mode & O_APPEND) != 0) {
        return q2_fault_set(err, QCOW2_E_ARGUMENT, 0,
                            "the target is open for appending, but has to be written from its "
                            "start");
    }

    /* Some file systems name as "block" what they like to transfer at once, a megabyte or so: too
     * coarse for holes, hence the upper bound. */
    target->block_bytes = MIN_BLOCK_BYTES;
    while (target->block_bytes < MAX_BLOCK_BYTES && st.st_blksize > 0 &&
           target->block_bytes < (size_t)st.st_blksize) {
        target->block_bytes *= 2;
    }
    target->zero_already = false;
    target->least_zeros = 1;
    atomic_init(&target->how, 0);
    atomic_init(&target->reserving, target->kind == Q2_TARGET_FILE && gains_by_reserving(fd));
    if (pthread_mutex_init(&target->turn, NULL) != 0) {
        return q2_fault_set(err, QCOW2_E_NOMEM, 0, "no memory for a lock");
    }
    return 0;
}

void q2_target_deinit(struct q2_target *target)
{
    pthread_mutex_destroy(&target->turn);
}

static int empty_file(struct q2_target *target, uint64_t length, struct qcow2_error *err)
{
    struct stat st;

    /* Down to nothing first: what a file held before must not show through its new holes. Not when
     * it holds nothing, because ext4 takes that for the rewriting of a file in place and sends all
     * of it to the disk when it is closed. */
    if (fstat(target->fd, &st) != 0 || (st.st_size != 0 && ftruncate(target->fd, 0) != 0)) {
        return q2_fault_set(err, QCOW2_E_IO, errno, "cannot empty the target");
    }
    if (length > INT64_MAX || ftruncate(target->fd, (off_t)length) != 0) {
        return q2_fault_set(err, QCOW2_E_IO, length > INT64_MAX ? EFBIG : errno,
                            "cannot make the target %" PRIu64 " bytes long", length);
    }
    target->zero_already = true;
    return 0;
}

static int measure_device(struct q2_target *target, uint64_t length, struct qcow2_error *err)
{
    uint64_t bytes = 0;
#if defined(__linux__) && defined(BLKGETSIZE64)
    int ret = ioctl(target->fd, GET_DEVICE_SIZE, &bytes);
#else
    off_t end = lseek(target->fd, 0, SEEK_END);
    int ret = end < 0 ? -1 : 0;

    if (end > 0)
        bytes = (uint64_t)end;
#endif
    if (ret != 0) {
        return q2_fault_set(err, QCOW2_E_IO, errno, "cannot find the size of the target device");
    }
    if (bytes < length) {
        return q2_fault_set(err, QCOW2_E_IO, ENOSPC,
                            "the target device has %" PRIu64 " bytes, the copy needs %" PRIu64,
                            bytes, length);
    }
    return 0;
}

int q2_target_prepare(struct q2_target *target, uint64_t length, bool is_zero,
                      struct qcow2_error *err)
{
    if (target->kind == Q2_TARGET_FILE) {
        return empty_file(target, length, err);
    }
    target->zero_already = is_zero;
    /* A discard is a command to the device; below this it is cheaper to send the zeros. */
    if (!is_zero) {
        target->least_zeros = 65536;
    }
    return measure_device(target, length, err);
}
