/* SPDX-License-Identifier: MIT */
/* target_write.c - writing to a target that has positions, and making zeros in it.
 * Knows files and block devices; must not know images or pieces. */
#include "target.h"
#include "fault.h"
#include "zero.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/types.h>
#include <unistd.h>

/* linux/falloc.h has it; musl's headers do not, and including both defines the others twice. */
#if defined(__linux__) && !defined(FALLOC_FL_ZERO_RANGE)
#define FALLOC_FL_ZERO_RANGE 0x10
#endif

/* Ways to make zeros on a device, best first. Each is given up for good when it fails once: what a
 * device cannot do now it cannot do later, and the last one is plain writing, which tells what is
 * really wrong. */
enum {
    HOW_PUNCH, /* give the blocks back; the kernel only does so where they then read as zeros */
    HOW_ZERO_RANGE, /* have the device zero them */
    HOW_WRITE
};

/* The most that one call writes. Page caches take memory in the size of the write, and the larger
 * the chunk the less likely it is one that was in use a moment ago: on a virtual machine whose free
 * memory goes back to its host, writes of 1 MiB cost three times the processor time of these. */
enum { WRITE_BYTES = 256 * 1024 };

/* Below this an allocation of blocks ahead of the write costs more than it saves. */
enum { RESERVE_BYTES = 64 * 1024 };

/* Allocates the blocks that are about to be written, where that is known to make writing cheaper.
 * Not a promise, so failure is no error: what really is wrong the write will tell. */
static void reserve(struct q2_target *target, size_t bytes, uint64_t target_off)
{
#if defined(__linux__) && defined(FALLOC_FL_KEEP_SIZE)
    if (bytes < RESERVE_BYTES || !atomic_load_explicit(&target->reserving, memory_order_relaxed)) {
        return;
    }
    if (fallocate(target->fd, FALLOC_FL_KEEP_SIZE, (off_t)target_off, (off_t)bytes) != 0 &&
        errno != EINTR) {
        atomic_store_explicit(&target->reserving, false, memory_order_relaxed);
    }
#else
    (void)target;
    (void)bytes;
    (void)target_off;
#endif
}

static int write_all(struct q2_target *target, const unsigned char *p, size_t bytes,
                     uint64_t target_off, struct qcow2_error *err)
{
    reserve(target, bytes, target_off);
    while (bytes > 0) {
        size_t most = bytes < WRITE_BYTES ? bytes : WRITE_BYTES;
        ssize_t n = pwrite(target->fd, p, most, (off_t)target_off);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return q2_fault_set(err, QCOW2_E_IO, n < 0 ? errno : EIO,
                                "cannot write %zu bytes at 0x%" PRIx64 " of the target", most,
                                target_off);
        }
        p += n;
        bytes -= (size_t)n;
        target_off += (uint64_t)n;
    }
    return 0;
}

int q2_target_write(struct q2_target *target, const void *buf, size_t bytes, uint64_t target_off,
                    struct qcow2_error *err)
{
    int ret;

    if (target->kind != Q2_TARGET_FILE) {
        return write_all(target, buf, bytes, target_off, err);
    }
    /* File systems let one writer at a time into a file, and the others spin at the door for a
     * while. They had better sleep at ours. */
    pthread_mutex_lock(&target->turn);
    ret = write_all(target, buf, bytes, target_off, err);
    pthread_mutex_unlock(&target->turn);
    return ret;
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
            ret = at == written ? 0
                                : q2_target_write(target, p + written, at - written,
                                                  target_off + written, err);
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
    if (at == written) {
        return 0;
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
