/* SPDX-License-Identifier: MIT */
/* test_copy_system.c - a system that says no: calls that are interrupted, take little, fail, or are not
 * known. Writing calls of the engine end here and never reach the system; what they are answered stands
 * in a script, what they wrote in a buffer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../early.h"
#include "copy/stream.h"
#include "copy/target.h"
#include "copy/team.h"
#include "disk.h"

/* linux/falloc.h has it; musl's headers do not, and including both defines the others twice. */
#if defined(__linux__) && !defined(FALLOC_FL_ZERO_RANGE)
#define FALLOC_FL_ZERO_RANGE 0x10
#endif

enum { FILE_BYTES = 8 << 20, LOOKED_AT = 1 << 20, ALL = 1 << 30 };

/* Answers in the order of the calls: the most that is taken, or a negative errno. After the last one
 * everything is taken. */
static struct {
    int writes[8], fallocates[8], polls[8], ioctls[8];
    unsigned written, fallocated, polled, asked; /* calls so far */
    unsigned shared;                             /* ranges that were */
    long processors;                     /* 0: not asked of the test; below: cannot be told */
    unsigned may_run_on;                 /* of them; 0: cannot be told */
    int modes[8];                        /* that fallocate was called with */
    unsigned mutexes_left, threads_left; /* how many may be made */
    size_t taken;                        /* bytes, of streams */
    size_t buffers;                      /* bytes, of aligned memory */
    unsigned char bytes[FILE_BYTES];
} system_;

/* All or nothing of the system comes from here. */
static int set_up(void **state)
{
    (void)state;
    memset(&system_, 0, sizeof system_);
    memset(system_.bytes, 0xAA, sizeof system_.bytes);
    system_.mutexes_left = system_.threads_left = ALL;
    return 0;
}

static ssize_t answer(const int *script, unsigned *calls, size_t count)
{
    int told = *calls < 8 ? script[*calls] : 0;

    (*calls)++;
    if (told < 0) {
        errno = -told;
        return -1;
    }
    return told == ALL ? 0 : told != 0 && (size_t)told < count ? told : (ssize_t)count;
}

int __wrap_ioctl(int fd, unsigned long request, ...);
ssize_t __wrap_write(int fd, const void *buf, size_t count);
ssize_t __wrap_writev(int fd, const struct iovec *vector, int vectors);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t count, off_t off);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t count, off_t off);
int __wrap_fallocate(int fd, int mode, off_t off, off_t bytes);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t bytes);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *ctx);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *ctx);

int __real_sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set);
int __wrap_sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set);
long __real_sysconf(int name);
long __wrap_sysconf(int name);

int __wrap_sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set)
{
    if (system_.processors == 0) {
        return __real_sched_getaffinity(pid, bytes, set);
    }
    if (system_.may_run_on == 0) {
        errno = ENOSYS;
        return -1;
    }
    CPU_ZERO_S(bytes, set);
    for (unsigned i = 0; i < system_.may_run_on; i++) {
        CPU_SET_S(i, bytes, set);
    }
    return 0;
}

CALLED_EARLY long __wrap_sysconf(int name)
{
    return system_.processors != 0 && name == _SC_NPROCESSORS_ONLN ? system_.processors
                                                                   : __real_sysconf(name);
}

/* Sharing is copying here. */
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    const struct file_clone_range *range;
    va_list args;

    (void)fd;
    if (answer(system_.ioctls, &system_.asked, 1) < 0) {
        return -1;
    }
    if ((uint32_t)request == (uint32_t)FICLONERANGE) { /* an int to some C libraries */
        va_start(args, request);
        range = va_arg(args, const struct file_clone_range *);
        va_end(args);
        /* As file systems have it: whole blocks, at the same place within one in both files. */
        assert_int_equal((range->src_offset | range->dest_offset | range->src_length) % 4096, 0);
        assert_true(range->dest_offset + range->src_length <= FILE_BYTES);
        assert_int_equal(pread((int)range->src_fd, system_.bytes + range->dest_offset,
                               (size_t)range->src_length, (off_t)range->src_offset),
                         range->src_length);
        system_.shared++;
    }
    return 0;
}

ssize_t __wrap_write(int fd, const void *buf, size_t count)
{
    ssize_t n;

    (void)fd;
    n = answer(system_.writes, &system_.written, count);
    if (n > 0 && system_.taken + (size_t)n <= FILE_BYTES) {
        memcpy(system_.bytes + system_.taken, buf, (size_t)n);
    }
    system_.taken += n > 0 ? (size_t)n : 0;
    return n;
}

ssize_t __wrap_writev(int fd, const struct iovec *vector, int vectors)
{
    size_t count = 0;
    ssize_t n;

    (void)fd;
    for (int i = 0; i < vectors; i++) {
        for (size_t k = 0; k < vector[i].iov_len; k++) {
            assert_int_equal(((const unsigned char *)vector[i].iov_base)[k], 0);
        }
        count += vector[i].iov_len;
    }
    n = answer(system_.writes, &system_.written, count);
    system_.taken += n > 0 ? (size_t)n : 0;
    return n;
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t count, off_t off)
{
    ssize_t n = answer(system_.writes, &system_.written, count);

    (void)fd;
    if (n > 0) {
        assert_true((size_t)off + (size_t)n <= FILE_BYTES);
        memcpy(system_.bytes + off, buf, (size_t)n);
    }
    return n;
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t count, off_t off)
{
    return __wrap_pwrite(fd, buf, count, off);
}

int __wrap_fallocate(int fd, int mode, off_t off, off_t bytes)
{
    unsigned call = system_.fallocated;
    ssize_t n = answer(system_.fallocates, &system_.fallocated, 1);

    (void)fd;
    if (call < 8) {
        system_.modes[call] = mode;
    }
    if (n < 0) {
        return -1;
    }
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
        memset(system_.bytes + off, 0, (size_t)bytes);
    }
    return 0;
}

int __wrap_fallocate64(int fd, int mode, off_t off, off_t bytes)
{
    return __wrap_fallocate(fd, mode, off, bytes);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
    (void)timeout;
    assert_int_equal(n, 1);
    assert_int_equal(fds->events, POLLOUT);
    return (int)answer(system_.polls, &system_.polled, 1);
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    if (system_.mutexes_left == 0) {
        return ENOMEM;
    }
    system_.mutexes_left--;
    return __real_pthread_mutex_init(mutex, attributes);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *ctx)
{
    if (system_.threads_left == 0) {
        return EAGAIN;
    }
    system_.threads_left--;
    return __real_pthread_create(thread, attributes, start, ctx);
}

int __real_posix_memalign(void **block_ret, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **block_ret, size_t alignment, size_t bytes);

CALLED_EARLY int __wrap_posix_memalign(void **block_ret, size_t alignment, size_t bytes)
{
    system_.buffers += bytes;
    return __real_posix_memalign(block_ret, alignment, bytes);
}

static void script(int *to, int a, int b, int c)
{
    to[0] = a;
    to[1] = b;
    to[2] = c;
}

static const unsigned char text[] = "everything, in order, once";
enum { TEXT = sizeof text };

static void a_stream_that_takes_little_gets_everything(void **state)
{
    (void)state;
    script(system_.writes, 3, -EINTR, 5);
    assert_int_equal(q2_stream_write(7, text, TEXT, NULL), 0);
    assert_int_equal(system_.taken, TEXT);
    assert_int_equal(system_.written, 4);
    assert_memory_equal(system_.bytes, text, TEXT);
}

static void a_full_stream_is_waited_for(void **state)
{
    (void)state;
    script(system_.writes, -EAGAIN, -EAGAIN, -EAGAIN);
    script(system_.polls, 0, -EINTR, -EAGAIN);
    assert_int_equal(q2_stream_write(7, text, TEXT, NULL), 0);
    assert_int_equal(system_.polled, 3);
    assert_memory_equal(system_.bytes, text, TEXT);
}

static void a_stream_that_cannot_be_waited_for_fails(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    (void)state;
    script(system_.writes, -EAGAIN, 0, 0);
    script(system_.polls, -EINVAL, 0, 0);
    assert_int_equal(q2_stream_write(7, text, TEXT, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EINVAL);
}

static void a_stream_that_takes_nothing_fails(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    (void)state;
    script(system_.writes, 4, ALL, 0);
    assert_int_equal(q2_stream_write(7, text, TEXT, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EIO);
}

static void zeros_go_out_to_the_last_one(void **state)
{
    const uint64_t many = 10 * 1000 * 1000 + 1;

    (void)state;
    script(system_.writes, 1, 1000, -EINTR);
    assert_int_equal(q2_stream_write(7, NULL, many, NULL), 0);
    assert_int_equal(system_.taken, many);
}

/* A target whose writes end here: a file that allocates ahead, or a device. */
static void make_target(struct q2_target *target, int kind)
{
    memset(target, 0, sizeof *target);
    target->fd = 7;
    target->kind = kind;
    target->block_bytes = 4096;
    target->least_zeros = 1;
    atomic_init(&target->how, 0);
    atomic_init(&target->reserving, kind == Q2_TARGET_FILE);
    assert_int_equal(pthread_mutex_init(&target->turn, NULL), 0);
}

static void writes_to_a_file_are_gone_on_with(void **state)
{
    struct q2_target target;

    (void)state;
    make_target(&target, Q2_TARGET_FILE);
    script(system_.writes, -EINTR, 5, 7);
    assert_int_equal(q2_target_write(&target, text, TEXT, 100, NULL), 0);
    assert_memory_equal(system_.bytes + 100, text, TEXT);
    assert_int_equal(system_.bytes[99], 0xAA);
    assert_int_equal(system_.bytes[100 + TEXT], 0xAA);
    q2_target_deinit(&target);
}

static void a_write_that_fails_says_where(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_target target;

    (void)state;
    make_target(&target, Q2_TARGET_FILE);
    script(system_.writes, 4, -ENOSPC, 0);
    assert_int_equal(q2_target_write(&target, text, TEXT, 100, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_non_null(strstr(err.message, "0x68"));
    script(system_.writes + 2, ALL, 0, 0);
    assert_int_equal(q2_target_write(&target, text, TEXT, 100, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EIO);
    q2_target_deinit(&target);
}

static void reserving_is_given_up_when_it_fails(void **state)
{
    static unsigned char large[128 * 1024];
    struct q2_target target;

    (void)state;
    make_target(&target, Q2_TARGET_FILE);
    script(system_.fallocates, -EINTR, -ENOSPC, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(q2_target_write(&target, large, sizeof large, 0, NULL), 0);
    }
    /* Interrupted is no answer; the second one is. */
    assert_int_equal(system_.fallocated, 2);
    assert_int_equal(q2_target_write(&target, large, 100, 0, NULL), 0);
    q2_target_deinit(&target);
}

static void assert_zeros(size_t from, size_t to)
{
    for (size_t i = 0; i < LOOKED_AT; i++) {
        assert_int_equal(system_.bytes[i], i >= from && i < to ? 0 : 0xAA);
    }
}

static void zeros_are_made_by_the_best_way_that_works(void **state)
{
    struct q2_target target;

    (void)state;
    make_target(&target, Q2_TARGET_DEVICE);
    assert_int_equal(q2_target_zero(&target, 100000, 1000, NULL), 0);
    assert_zeros(1000, 101000);
    assert_int_equal(system_.modes[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    /* Interrupted, then not known: the next way, and from now on. */
    system_.fallocated = 0;
    script(system_.fallocates, -EINTR, -EOPNOTSUPP, 0);
    assert_int_equal(q2_target_zero(&target, 8192, 4096, NULL), 0);
    assert_int_equal(system_.fallocated, 3);
    assert_int_equal(system_.modes[1], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    assert_int_equal(system_.modes[2], FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
    q2_target_deinit(&target);
}

static void zeros_are_written_where_no_command_works(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_target target;

    (void)state;
    make_target(&target, Q2_TARGET_DEVICE);
    script(system_.fallocates, -EOPNOTSUPP, -EOPNOTSUPP, 0);
    assert_int_equal(q2_target_zero(&target, 300000, 5000, NULL), 0);
    assert_zeros(5000, 305000);
    assert_int_equal(system_.fallocated, 2);
    assert_int_equal(q2_target_zero(&target, 8192, 0, NULL), 0);
    assert_int_equal(system_.fallocated, 2); /* not asked again */
    /* Each of the three parts may fail. */
    for (unsigned call = 0; call < 3; call++) {
        memset(system_.writes, 0, sizeof system_.writes);
        system_.written = 0;
        system_.writes[call] = -EIO;
        assert_int_equal(q2_target_zero(&target, 8192, 100, &err), QCOW2_E_IO);
        assert_int_equal(system_.written, call + 1);
    }
    q2_target_deinit(&target);
}

static void a_few_zeros_inside_a_block_are_just_written(void **state)
{
    struct q2_target target;

    (void)state;
    make_target(&target, Q2_TARGET_DEVICE);
    assert_int_equal(q2_target_zero(&target, 10, 100, NULL), 0);
    assert_zeros(100, 110);
    assert_int_equal(system_.fallocated, 0);
    q2_target_deinit(&target);
}

static void sparse_writing_passes_on_each_failure(void **state)
{
    static unsigned char mixed[5 * 4096];
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_target target;

    (void)state;
    memset(mixed, 1, 4096);
    memset(mixed + 3 * 4096, 1, 2 * 4096);
    make_target(&target, Q2_TARGET_DEVICE);
    assert_int_equal(q2_target_write_sparse(&target, mixed, sizeof mixed, 0, NULL), 0);
    assert_memory_equal(system_.bytes, mixed, sizeof mixed);
    for (unsigned call = 0; call < 2; call++) {
        memset(system_.writes, 0, sizeof system_.writes);
        system_.written = 0;
        system_.writes[call] = -EIO;
        assert_int_equal(q2_target_write_sparse(&target, mixed, sizeof mixed, 0, &err), QCOW2_E_IO);
    }
    atomic_store(&target.how, 2);
    memset(system_.writes, 0, sizeof system_.writes);
    system_.written = 0;
    system_.writes[1] = -EIO; /* the zeros between */
    assert_int_equal(q2_target_write_sparse(&target, mixed, sizeof mixed, 0, &err), QCOW2_E_IO);
    assert_int_equal(system_.written, 2);
    q2_target_deinit(&target);
}

static void a_file_that_cannot_change_its_length_is_an_error(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_target target;
    int fd = memfd_create("sealed", MFD_ALLOW_SEALING);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 100), 0);
    assert_int_equal(q2_target_inspect(&target, fd, NULL), 0);
    assert_int_equal(q2_target_prepare(&target, UINT64_C(1) << 63, false, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EFBIG);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    assert_int_equal(q2_target_prepare(&target, 4096, false, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EPERM);
    q2_target_deinit(&target);
    (void)close(fd);

    fd = memfd_create("sealed", MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 100), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_int_equal(q2_target_inspect(&target, fd, NULL), 0);
    assert_int_equal(q2_target_prepare(&target, 4096, false, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EPERM);
    q2_target_deinit(&target);
    (void)close(fd);
}

static int take(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    (void)buf;
    (void)offset;
    *(uint64_t *)ctx += count;
    return 0;
}

static void a_copy_goes_on_with_the_threads_there_are(void **state)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;

    (void)state;
    disk_build(&disk, 16, 4 * 1024 * 1024, disk_mixed);
    image = disk_open(&disk, &source);
    options.threads = 4;
    for (unsigned threads = 0; threads < 3; threads++) {
        uint64_t taken = 0;

        system_.threads_left = threads;
        assert_int_equal(qcow2_copy_to_callback(image, take, &taken, &options, NULL), 0);
        assert_int_equal(taken, disk.size);
        assert_int_equal(system_.threads_left, 0);
    }
    qcow2_close(image);
    disk_free(&disk);
}

static enum disk_cluster all_stored(uint64_t index)
{
    (void)index;
    return DISK_DATA;
}

/* Copies the disk from `start` on to a file that can share blocks with the one that holds the image. The
 * copy must be right; how many ranges were shared. */
static unsigned copy_shared(const struct disk *disk, uint64_t start)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;
    struct qcow2_image *image;
    FILE *file = tmpfile(); /* its writes do not end here */
    int fd = disk_temporary_file();

    assert_non_null(file);
    assert_int_equal(fwrite(disk->file, 1, disk->file_bytes, file), disk->file_bytes);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(qcow2_source_from_fd(fileno(file), "image", 0, &source, NULL), 0);
    assert_int_equal(qcow2_open_source(&source, NULL, &image, NULL), 0);
    memset(system_.bytes, 0, sizeof system_.bytes);
    system_.shared = 0;
    options.offset = start;
    options.threads = 1;
    if (qcow2_copy_to_fd(image, fd, &options, &err) != 0) {
        fail_msg("%s", err.message);
    }
    assert_memory_equal(system_.bytes, disk->content + start, (size_t)(disk->size - start));
    assert_int_equal(system_.bytes[disk->size - start], 0);
    qcow2_close(image);
    (void)fclose(file);
    (void)close(fd);
    return system_.shared;
}

static void stored_clusters_are_shared_where_that_can_be(void **state)
{
    struct disk disk;

    (void)state;
    disk_build(&disk, 16, 4 * 1024 * 1024, disk_mixed);
    assert_true(copy_shared(&disk, 0) > 0);
    assert_true(copy_shared(&disk, 3 * 4096) > 0);
    /* Elsewhere within a block than in the image's file. */
    assert_int_equal(copy_shared(&disk, 512), 0);
    disk_free(&disk);
}

/* Clusters smaller than a block: what is left at either end of the whole blocks is copied. */
static void only_whole_blocks_are_shared(void **state)
{
    unsigned shared = 0;
    struct disk disk;

    (void)state;
    disk_build(&disk, 9, 1024 * 1024 + 512, all_stored);
    for (uint64_t start = 0; start < 2 * 4096; start += 512) {
        unsigned n = copy_shared(&disk, start);

        shared += n > 0;
        assert_true(n == 0 || system_.written > 0);
    }
    assert_true(shared > 0);
    disk_free(&disk);
}

static void what_cannot_be_shared_is_copied(void **state)
{
    struct disk disk;
    unsigned most;

    (void)state;
    disk_build(&disk, 16, 4 * 1024 * 1024, disk_mixed);
    most = copy_shared(&disk, 0);
    assert_true(most > 1);
    /* Interrupted is no answer. */
    system_.asked = 0;
    script(system_.ioctls, -EINTR, -EINTR, 0);
    assert_int_equal(copy_shared(&disk, 0), most);
    /* The file system cannot: it is not asked again. */
    system_.asked = 0;
    script(system_.ioctls, -EOPNOTSUPP, 0, 0);
    assert_int_equal(copy_shared(&disk, 0), 0);
    assert_int_equal(system_.asked, 1);
    /* It can, but not this range. */
    system_.asked = 0;
    script(system_.ioctls, 0, -EINVAL, 0);
    assert_int_equal(copy_shared(&disk, 0), most - 1);
    disk_free(&disk);
}

static void a_device_that_does_not_tell_its_size_is_an_error(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_target target;

    (void)state;
    make_target(&target, Q2_TARGET_DEVICE);
    script(system_.ioctls, -ENXIO, 0, 0);
    assert_int_equal(q2_target_prepare(&target, 4096, false, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ENXIO);
    assert_int_equal(system_.written, 0);
    q2_target_deinit(&target);
}

static void threads_are_as_many_as_processors_and_not_above_16(void **state)
{
    static const struct {
        long processors;
        unsigned may_run_on, threads;
    } cases[] = { { 64, 3, 3 }, { 64, 16, 16 }, { 64, 40, 16 }, { 64, 0, 16 },
                  { 5, 0, 5 },  { 1, 0, 1 },    { -1, 0, 1 },   { -1, 2, 2 } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        system_.processors = cases[i].processors;
        system_.may_run_on = cases[i].may_run_on;
        assert_int_equal(q2_copy_processors(), cases[i].threads);
    }
}

/* What qcow2.h says of qcow2_copy_to_fd: about 1 MiB and two clusters for each thread. */
static void a_stream_needs_a_mib_for_each_thread(void **state)
{
    enum { THREADS = 3, CLUSTER_BITS = 16, EACH = (1 << 20) + (2 << CLUSTER_BITS) };
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    uint64_t taken = 0;

    (void)state;
    disk_build(&disk, CLUSTER_BITS, 4 * 1024 * 1024, disk_mixed);
    image = disk_open(&disk, &source);
    options.threads = THREADS;
    system_.buffers = 0;
    assert_int_equal(qcow2_copy_to_callback(image, take, &taken, &options, NULL), 0);
    assert_int_equal(taken, disk.size);
    assert_in_range(system_.buffers, 1, THREADS * EACH);
    qcow2_close(image);
    disk_free(&disk);
}

static void a_copy_without_a_lock_is_out_of_memory(void **state)
{
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    unsigned locks = 0;
    int r, fd = disk_temporary_file();

    (void)state;
    disk_build(&disk, 16, 4 * 1024 * 1024, disk_mixed);
    image = disk_open(&disk, &source);
    do {
        uint64_t taken = 0;

        system_.mutexes_left = locks++;
        r = qcow2_copy_to_callback(image, take, &taken, NULL, NULL);
        assert_true(r == 0 || (r == QCOW2_E_NOMEM && taken == 0));
    } while (r != 0);
    assert_true(locks > 2);
    locks = 0;
    do {
        system_.mutexes_left = locks++;
        r = qcow2_copy_to_fd(image, fd, NULL, NULL);
        assert_true(r == 0 || r == QCOW2_E_NOMEM);
    } while (r != 0);
    assert_true(locks > 2);
    locks = 0;
    do {
        system_.mutexes_left = locks++;
        r = qcow2_compare(image, image, NULL, &result, NULL);
        assert_true(r == 0 || r == QCOW2_E_NOMEM);
    } while (r != 0);
    assert_true(locks > 2);
    qcow2_close(image);
    disk_free(&disk);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_stream_that_takes_little_gets_everything, set_up),
        cmocka_unit_test_setup(a_full_stream_is_waited_for, set_up),
        cmocka_unit_test_setup(a_stream_that_cannot_be_waited_for_fails, set_up),
        cmocka_unit_test_setup(a_stream_that_takes_nothing_fails, set_up),
        cmocka_unit_test_setup(zeros_go_out_to_the_last_one, set_up),
        cmocka_unit_test_setup(writes_to_a_file_are_gone_on_with, set_up),
        cmocka_unit_test_setup(a_write_that_fails_says_where, set_up),
        cmocka_unit_test_setup(reserving_is_given_up_when_it_fails, set_up),
        cmocka_unit_test_setup(zeros_are_made_by_the_best_way_that_works, set_up),
        cmocka_unit_test_setup(zeros_are_written_where_no_command_works, set_up),
        cmocka_unit_test_setup(a_few_zeros_inside_a_block_are_just_written, set_up),
        cmocka_unit_test_setup(sparse_writing_passes_on_each_failure, set_up),
        cmocka_unit_test_setup(a_file_that_cannot_change_its_length_is_an_error, set_up),
        cmocka_unit_test_setup(a_copy_goes_on_with_the_threads_there_are, set_up),
        cmocka_unit_test_setup(stored_clusters_are_shared_where_that_can_be, set_up),
        cmocka_unit_test_setup(only_whole_blocks_are_shared, set_up),
        cmocka_unit_test_setup(what_cannot_be_shared_is_copied, set_up),
        cmocka_unit_test_setup(a_device_that_does_not_tell_its_size_is_an_error, set_up),
        cmocka_unit_test_setup(threads_are_as_many_as_processors_and_not_above_16, set_up),
        cmocka_unit_test_setup(a_stream_needs_a_mib_for_each_thread, set_up),
        cmocka_unit_test_setup(a_copy_without_a_lock_is_out_of_memory, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
