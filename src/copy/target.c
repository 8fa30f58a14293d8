/* SPDX-License-Identifier: MIT */
/* target.c - what kind of thing a descriptor leads to, and writing to those that have positions.
 * Knows files and block devices; must not know images, pieces or threads. */
#include "target.h"
#include "fault.h"
#include "zero.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

enum { MIN_BLOCK_BYTES = 4096, MAX_BLOCK_BYTES = 65536 };

/* Ways to make zeros on a device, best first. Each is given up for good when it fails once: what a
 * device cannot do now it cannot do later, and the last one is plain writing, which tells what is
 * really wrong. */
enum {
    HOW_PUNCH, /* give the blocks back; the kernel only does so where they then read as zeros */
    HOW_ZERO_RANGE, /* have the device zero them */
    HOW_WRITE
};

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
    atomic_init(&target->how, HOW_PUNCH);
    return 0;
}

static int empty_file(struct q2_target *target, uint64_t length, struct qcow2_error *err)
{
    /* Down to nothing first: what a file held before must not show through its new holes. */
    if (ftruncate(target->fd, 0) != 0) {
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
    int ret = ioctl(target->fd, BLKGETSIZE64, &bytes);
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

int q2_target_write(struct q2_target *target, const void *buf, size_t bytes, uint64_t target_off,
                    struct qcow2_error *err)
{
    const unsigned char *p = buf;

    while (bytes > 0) {
        ssize_t n = pwrite(target->fd, p, bytes, (off_t)target_off);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return q2_fault_set(err, QCOW2_E_IO, n < 0 ? errno : EIO,
                                "cannot write %zu bytes at 0x%" PRIx64 " of the target", bytes,
                                target_off);
        }
        p += n;
        bytes -= (size_t)n;
        target_off += (uint64_t)n;
    }
    return 0;
}

int q2_target_write_sparse(struct q2_target *target, const void *buf, size_t bytes,
                           uint64_t target_off, struct qcow2_error *err)
{
    const unsigned char *p = buf;
    size_t written = 0; /* all before is dealt with */
    size_t at = 0;      /* all between is data, to be written in one go */
    int ret;

    while (at < bytes) {
        /* Blocks lie where the target has its own, wherever this range begins. */
        size_t first = target->block_bytes - (size_t)((target_off + at) % target->block_bytes);
        bool zero;
        size_t run = q2_zero_run(p + at, bytes - at, first, target->block_bytes, &zero);

        if (zero && run >= target->least_zeros) {
            ret = q2_target_write(target, p + written, at - written, target_off + written, err);
            if (ret == 0 && !target->zero_already) {
                ret = q2_target_zero(target, run, target_off + at, err);
            }
            if (ret < 0) {
                return ret;
            }
            written = at + run;
        }
        at += run;
    }
    return q2_target_write(target, p + written, at - written, target_off + written, err);
}

#if defined(__linux__) && defined(FALLOC_FL_PUNCH_HOLE) && defined(FALLOC_FL_ZERO_RANGE)
/* Has the device make zeros of whole blocks. Whether one of the ways worked. */
static bool zero_by_command(struct q2_target *target, uint64_t bytes, uint64_t target_off)
{
    for (int how; (how = atomic_load(&target->how)) < HOW_WRITE;) {
        int mode = how == HOW_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
        int ret =
            fallocate(target->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)target_off, (off_t)bytes);

        if (ret == 0) {
            return true;
        }
        if (errno != EINTR) {
            atomic_compare_exchange_strong(&target->how, &how, how + 1);
        }
    }
    return false;
}
#else
static bool zero_by_command(struct q2_target *target, uint64_t bytes, uint64_t target_off)
{
    (void)target;
    (void)bytes;
    (void)target_off;
    return false;
}
#endif

static int write_zeros(struct q2_target *target, uint64_t bytes, uint64_t target_off,
                       struct qcow2_error *err)
{
    while (bytes > 0) {
        size_t n = bytes < Q2_ZERO_BYTES ? (size_t)bytes : Q2_ZERO_BYTES;
        int ret = q2_target_write(target, q2_zero_bytes, n, target_off, err);

        if (ret < 0) {
            return ret;
        }
        bytes -= n;
        target_off += n;
    }
    return 0;
}

int q2_target_zero(struct q2_target *target, uint64_t bytes, uint64_t target_off,
                   struct qcow2_error *err)
{
    /* Commands take whole blocks of the device, which has none larger than the smallest of ours
     * unless it says so itself; a ragged start and end are written. */
    uint64_t block = target->block_bytes;
    uint64_t head = (block - target_off % block) % block;
    uint64_t body;
    int ret;

    if (head > bytes) {
        head = bytes;
    }
    body = bytes - head;
    body -= body % block;
    ret = write_zeros(target, head, target_off, err);
    if (ret == 0 && body > 0 && !zero_by_command(target, body, target_off + head)) {
        ret = write_zeros(target, body, target_off + head, err);
    }
    if (ret == 0) {
        ret = write_zeros(target, bytes - head - body, target_off + head + body, err);
    }
    return ret;
}
