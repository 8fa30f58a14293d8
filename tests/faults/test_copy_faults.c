/* SPDX-License-Identifier: MIT */
/* test_copy_faults.c - the copy engine when the system says no: writes, threads, locks, space; and when
 * its caller does. Whatever fails, the call ends, says why, and the next one does the whole work.
 * Memory that runs out is every_fault.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../copy/disk.h"
#include "system_calls.h"

enum { THREADS = 4 };

/* ------------------------------------------------------------------------ */
/* A disk, and the ways to copy it                                          */

static struct disk disk;
static struct disk_source source;
static struct qcow2_image *image;
static struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
static unsigned char *received;

static int set_up(void **state)
{
    (void)state;
    disk_build(&disk, 16, 4 * 1024 * 1024, disk_mixed);
    image = disk_open(&disk, &source);
    received = malloc((size_t)disk.size);
    options.threads = THREADS;
    return received == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    disarm();
    qcow2_close(image);
    disk_free(&disk);
    free(received);
    return 0;
}

static int receive(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    unsigned *calls_left = ctx;

    if (calls_left != NULL && --*calls_left == 0) {
        return 1;
    }
    if (buf != NULL) {
        memcpy(received + offset, buf, (size_t)count);
    } else {
        memset(received + offset, 0, (size_t)count);
    }
    return 0;
}

static int copy_to_a_file(struct qcow2_error *err)
{
    /* A regular file that costs no disk: there are hundreds of copies. */
    int fd = memfd_create("target", MFD_CLOEXEC);
    int r = qcow2_copy_to_fd(image, fd, &options, err);

    if (r == 0) {
        assert_true(disk_file_is(fd, disk.content, disk.size));
    }
    close(fd);
    return r;
}

static int copy_to_a_stream(struct qcow2_error *err)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int r = qcow2_copy_to_fd(image, fd, &options, err);

    close(fd);
    return r;
}

static int copy_to_a_callback(struct qcow2_error *err)
{
    int r;

    memset(received, 0xAA, (size_t)disk.size);
    r = qcow2_copy_to_callback(image, receive, NULL, &options, err);
    if (r == 0) {
        assert_memory_equal(received, disk.content, (size_t)disk.size);
    }
    return r;
}

static int compare_with_itself(struct qcow2_error *err)
{
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;

    return qcow2_compare(image, image, &options, &result, err);
}

static int (*const ways[])(struct qcow2_error *err) = { copy_to_a_file, copy_to_a_stream,
                                                        copy_to_a_callback, compare_with_itself };
enum { WAYS = sizeof ways / sizeof ways[0], WITH_WRITES = 2 };

/* Each of the first n_ways with the nth call failing, for every n there is. How often it did. */
static unsigned walk(enum call call, int n_ways, bool forever, int sys_errno, int expected)
{
    unsigned failures = 0;

    for (int way = 0; way < n_ways; way++) {
        bool failed = true;

        for (unsigned n = 1; failed; n++) {
            struct qcow2_error err = QCOW2_ERROR_INIT;
            int r;

            arm(call, n, forever, sys_errno);
            r = ways[way](&err);
            failed = has_failed(call);
            disarm();
            assert_int_equal(r, failed ? expected : 0);
            if (r < 0) {
                assert_int_equal(err.code, expected);
                assert_int_equal(err.sys_errno, expected == QCOW2_E_IO ? sys_errno : 0);
                assert_true(strlen(err.message) > 0);
            }
            assert_int_equal(ways[way](&err), 0);
            failures += failed;
        }
    }
    return failures;
}

static void every_write_fails_once_and_is_told(void **state)
{
    (void)state;
    assert_true(walk(WRITES, WITH_WRITES, false, ENOSPC, QCOW2_E_IO) > 10);
    assert_true(walk(WRITES, WITH_WRITES, true, EIO, QCOW2_E_IO) > 10);
}

static void writes_that_are_interrupted_or_do_half_are_finished(void **state)
{
    (void)state;
    assert_true(walk(WRITES, WITH_WRITES, false, EINTR, 0) > 10);
    assert_true(walk(WRITES, WITH_WRITES, false, 0, 0) > 10);
}

static void file_that_cannot_be_sized_is_told(void **state)
{
    (void)state;
#ifndef __GLIBC__
    skip(); /* the call has another name there, and is not caught */
#endif
    assert_true(walk(TRUNCATIONS, 1, false, EFBIG, QCOW2_E_IO) > 0);
}

static void copy_is_made_with_as_many_threads_as_start(void **state)
{
    (void)state;
    /* None of those that were asked for, one, two, ... */
    assert_int_equal(walk(THREAD_STARTS, WAYS, true, EAGAIN, 0), WAYS * (THREADS - 1));
    assert_int_equal(walk(THREAD_STARTS, WAYS, false, EAGAIN, 0), WAYS * (THREADS - 1));
}

static void every_lock_fails_once_and_is_told(void **state)
{
    (void)state;
    assert_true(walk(LOCKS, WAYS, false, ENOMEM, QCOW2_E_NOMEM) > 2 * WAYS);
}

/* ------------------------------------------------------------------------ */
/* Callers that have had enough                                             */

/* Progress is told by one thread at a time. */
struct countdown {
    unsigned made, nth; /* from the nth call on it says stop */
};

static int count_down(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct countdown *countdown = ctx;

    (void)done_bytes;
    (void)total_bytes;
    countdown->made++;
    return countdown->made >= countdown->nth;
}

static void every_progress_call_can_cancel(void **state)
{
    unsigned cancelled = 0;

    (void)state;
    for (int way = 0; way < WAYS; way++) {
        for (unsigned n = 1;; n++) {
            struct qcow2_error err = QCOW2_ERROR_INIT;
            struct countdown countdown = { 0, n };
            int r;

            clock_leaps = true;
            options.progress = count_down;
            options.progress_ctx = &countdown;
            r = ways[way](&err);
            options.progress = NULL;
            disarm();
            assert_int_equal(r, countdown.made >= n ? QCOW2_E_CANCELLED : 0);
            assert_int_equal(ways[way](&err), 0);
            if (r == 0) {
                break;
            }
            assert_int_equal(err.code, QCOW2_E_CANCELLED);
            /* Once it has said stop it is not asked again. */
            assert_int_equal(countdown.made, n);
            cancelled++;
        }
    }
    assert_true(cancelled > 4 * WAYS);
}

static void every_call_of_the_copy_callback_can_cancel(void **state)
{
    unsigned n = 1, calls_left;

    (void)state;
    do {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        int r;

        calls_left = n++;
        r = qcow2_copy_to_callback(image, receive, &calls_left, &options, &err);
        assert_int_equal(r, calls_left == 0 ? QCOW2_E_CANCELLED : 0);
        assert_int_equal(err.code, r);
    } while (calls_left == 0);
    assert_true(n > 5);
    assert_int_equal(copy_to_a_callback(NULL), 0);
}

/* ------------------------------------------------------------------------ */
/* No room                                                                  */

static void file_size_limit_is_an_io_error(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct rlimit before, small;
    int r;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1024 * 1024;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    r = copy_to_a_file(&err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(r, QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EFBIG);
    assert_int_equal(copy_to_a_file(&err), 0);
}

/* A file system of its own, in a mount namespace of its own, so that nobody else sees it. */
static void full_file_system_is_an_io_error_with_enospc(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    char directory[] = "/tmp/qcow2-full-XXXXXX", path[64];
    int fd, r;

    (void)state;
    assert_non_null(mkdtemp(directory));
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", directory, "tmpfs", 0, "size=1m") != 0) {
        rmdir(directory);
        skip();
    }
    snprintf(path, sizeof path, "%s/target", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    r = qcow2_copy_to_fd(image, fd, &options, &err);
    close(fd);
    assert_int_equal(umount(directory), 0);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(r, QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_write_fails_once_and_is_told),
        cmocka_unit_test(writes_that_are_interrupted_or_do_half_are_finished),
        cmocka_unit_test(file_that_cannot_be_sized_is_told),
        cmocka_unit_test(copy_is_made_with_as_many_threads_as_start),
        cmocka_unit_test(every_lock_fails_once_and_is_told),
        cmocka_unit_test(every_progress_call_can_cancel),
        cmocka_unit_test(every_call_of_the_copy_callback_can_cancel),
        cmocka_unit_test(file_size_limit_is_an_io_error),
        cmocka_unit_test(full_file_system_is_an_io_error_with_enospc),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
