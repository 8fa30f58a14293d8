/* SPDX-License-Identifier: MIT */
/* test_copy_order.c - qcow2_copy_to_callback, and qcow2_copy_to_fd into streams. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"

static const uint32_t thread_counts[] = { 0, 1, 2, 7, 64 };
enum { COUNTS = sizeof thread_counts / sizeof thread_counts[0] };

static bool all_zero(const unsigned char *p, uint64_t count)
{
    return count == 0 || (p[0] == 0 && memcmp(p, p + 1, (size_t)count - 1) == 0);
}

/* What a callback saw. cmocka's asserts belong to the test's own thread, so it only notes. */
struct seen {
    const struct disk *disk;
    uint64_t next; /* where the next call has to begin */
    uint64_t calls;
    uint64_t stop_at; /* refuse the call that reaches this, 0: none */
    uint64_t calls_after_stop;
    bool dawdle;
    bool stopped;
    bool wrong; /* bytes, order or coverage */
    bool overlapping;
    atomic_int inside;
};

static int receive(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    struct seen *seen = ctx;

    if (atomic_fetch_add(&seen->inside, 1) != 0) {
        seen->overlapping = true;
    }
    if (seen->stopped) {
        seen->calls_after_stop++;
    }
    seen->calls++;
    if (count == 0 || offset != seen->next) {
        seen->wrong = true;
    }
    if (seen->disk->content != NULL) {
        const unsigned char *want = seen->disk->content + offset;

        if (buf != NULL ? memcmp(buf, want, (size_t)count) != 0 : !all_zero(want, count)) {
            seen->wrong = true;
        }
    } else if (buf != NULL && !all_zero(buf, count)) {
        seen->wrong = true;
    }
    if (seen->dawdle) {
        struct timespec pause = { 0, (long)(seen->calls * 31 % 5) * 200000 };

        nanosleep(&pause, NULL);
    }
    seen->next = offset + count;
    seen->stopped = seen->stop_at != 0 && seen->next >= seen->stop_at;
    atomic_fetch_sub(&seen->inside, 1);
    return seen->stopped;
}

static void callback_gets_every_byte_once_in_order_and_one_call_at_a_time(void **state)
{
    static const struct {
        unsigned cluster_bits;
        uint64_t size;
    } shapes[] = { { 9, 400 * 512 }, { 16, 10 * 1024 * 1024 + 512 }, { 21, 43 * 1024 * 1024 } };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct disk disk;

        disk_build(&disk, shapes[i].cluster_bits, shapes[i].size, disk_mixed);
        for (size_t t = 0; t < 3 * COUNTS; t++) {
            struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
            struct seen seen = { .disk = &disk, .dawdle = t % 3 == 1 };
            struct disk_source source = { .dawdle = t % 3 == 2 };
            struct qcow2_image *image = disk_open(&disk, &source);

            options.threads = thread_counts[t / 3];
            assert_int_equal(qcow2_copy_to_callback(image, receive, &seen, &options, NULL), 0);
            assert_int_equal(seen.next, disk.size);
            assert_false(seen.wrong);
            assert_false(seen.overlapping);
            qcow2_close(image);
        }
        disk_free(&disk);
    }
}

static void callback_sees_the_range_asked_for_by_its_place_on_the_disk(void **state)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct seen seen = { .next = 100001 };
    struct disk disk;

    (void)state;
    disk_build(&disk, 16, 8 * 1024 * 1024, disk_mixed);
    image = disk_open(&disk, &source);
    seen.disk = &disk;
    options.offset = 100001;
    options.length = 3333333;
    options.threads = 4;
    assert_int_equal(qcow2_copy_to_callback(image, receive, &seen, &options, NULL), 0);
    assert_int_equal(seen.next, 100001 + 3333333);
    assert_false(seen.wrong);
    qcow2_close(image);
    disk_free(&disk);
}

static void empty_disk_of_a_petabyte_is_a_handful_of_calls(void **state)
{
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    struct seen seen = { .disk = &disk };

    (void)state;
    disk_build(&disk, 21, UINT64_C(1) << 50, NULL);
    image = disk_open(&disk, &source);
    assert_int_equal(qcow2_copy_to_callback(image, receive, &seen, NULL, NULL), 0);
    assert_int_equal(seen.next, UINT64_C(1) << 50);
    assert_false(seen.wrong);
    assert_in_range(seen.calls, 1, 10);
    assert_in_range(source.reads, 1, 100);
    qcow2_close(image);
    disk_free(&disk);
}

static void callback_that_refuses_ends_the_copy_as_cancelled(void **state)
{
    struct disk disk;

    (void)state;
    disk_build(&disk, 16, 30 * 1024 * 1024, disk_mixed);
    for (size_t t = 0; t < COUNTS; t++) {
        struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct seen seen = { .disk = &disk, .stop_at = 9000000 };
        struct disk_source source = { 0 };
        struct qcow2_image *image = disk_open(&disk, &source);

        options.threads = thread_counts[t];
        assert_int_equal(qcow2_copy_to_callback(image, receive, &seen, &options, &err),
                         QCOW2_E_CANCELLED);
        assert_int_equal(err.code, QCOW2_E_CANCELLED);
        assert_true(seen.stopped);
        assert_int_equal(seen.calls_after_stop, 0);
        assert_false(seen.wrong);
        qcow2_close(image);
    }
    disk_free(&disk);
}

static void all_before_the_first_bad_place_is_delivered_and_that_place_reported(void **state)
{
    const uint64_t bad = 204, also_bad = 225; /* clusters, both DISK_PACKED */
    struct disk disk;

    (void)state;
    disk_build(&disk, 16, 40 * 1024 * 1024, disk_mixed);
    assert_int_equal(disk_mixed(bad), DISK_PACKED);
    assert_int_equal(disk_mixed(also_bad), DISK_PACKED);
    for (size_t t = 0; t < 2 * COUNTS; t++) {
        struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct seen seen = { .disk = &disk };
        struct disk_source source = { .bad_from = disk.host_off[bad],
                                      .bad_to = disk.host_off[bad] + 64,
                                      .also_bad_from = disk.host_off[also_bad],
                                      .bad_errno = ENXIO,
                                      .dawdle = t % 2 == 1 };
        struct qcow2_image *image = disk_open(&disk, &source);

        options.threads = thread_counts[t / 2];
        assert_int_equal(qcow2_copy_to_callback(image, receive, &seen, &options, &err), QCOW2_E_IO);
        assert_int_equal(err.sys_errno, ENXIO);
        assert_int_equal(err.guest_offset, bad * 65536);
        /* Pieces are half a megabyte, so no more than that is held back. */
        assert_in_range(seen.next, bad * 65536 - 512 * 1024, bad * 65536);
        assert_false(seen.wrong);
        qcow2_close(image);
    }
    disk_free(&disk);
}

/* Reads a descriptor to its end on a thread of its own. */
struct drain {
    int fd;
    const struct disk *disk;
    uint64_t got;
    bool wrong;
    size_t step;
    bool dawdle;
};

static void *drain(void *ctx)
{
    struct drain *drain = ctx;
    unsigned char buf[65536];
    ssize_t n;

    while ((n = read(drain->fd, buf, drain->step)) > 0) {
        if (drain->got + (uint64_t)n > drain->disk->size ||
            memcmp(buf, drain->disk->content + drain->got, (size_t)n) != 0) {
            drain->wrong = true;
        }
        drain->got += (uint64_t)n;
        if (drain->dawdle && drain->got % 1000003 < (uint64_t)n) {
            struct timespec pause = { 0, 1000000 };

            nanosleep(&pause, NULL);
        }
    }
    return NULL;
}

static void copy_to_reader(const struct disk *disk, int write_fd, int read_fd, size_t step,
                           uint32_t threads)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct drain reader = { .fd = read_fd, .disk = disk, .step = step, .dawdle = step == 4097 };
    struct disk_source source = { 0 };
    struct qcow2_image *image = disk_open(disk, &source);
    pthread_t thread;

    options.threads = threads;
    assert_int_equal(pthread_create(&thread, NULL, drain, &reader), 0);
    assert_int_equal(qcow2_copy_to_fd(image, write_fd, &options, NULL), 0);
    close(write_fd);
    pthread_join(thread, NULL);
    close(read_fd);
    assert_int_equal(reader.got, disk->size);
    assert_false(reader.wrong);
    qcow2_close(image);
}

static void pipes_and_sockets_get_the_disk_in_order_zeros_included(void **state)
{
    struct disk disk;

    (void)state;
    disk_build(&disk, 16, 12 * 1024 * 1024 + 512, disk_mixed);
    for (size_t t = 0; t < COUNTS; t++) {
        for (int way = 0; way < 5; way++) {
            const size_t step = way % 2 == 0 ? 65536 : 4097;
            int ends[2];

            if (way < 4) {
                assert_int_equal(pipe(ends), 0);
            } else {
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
            }
            if (way >= 2) { /* one that answers EAGAIN when it is full */
                assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
            }
            copy_to_reader(&disk, ends[1], ends[0], step, thread_counts[t]);
        }
    }
    disk_free(&disk);
}

static void null_device_takes_everything(void **state)
{
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    int fd = open("/dev/null", O_WRONLY | O_APPEND);

    (void)state;
    disk_build(&disk, 16, 12 * 1024 * 1024, disk_mixed);
    image = disk_open(&disk, &source);
    assert_int_equal(qcow2_copy_to_fd(image, fd, NULL, NULL), 0);
    close(fd);
    qcow2_close(image);
    disk_free(&disk);
}

static void full_device_is_an_io_error_with_enospc(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    int fd = open("/dev/full", O_WRONLY);

    (void)state;
    if (fd < 0) {
        skip();
    }
    disk_build(&disk, 16, 12 * 1024 * 1024, disk_mixed);
    image = disk_open(&disk, &source);
    assert_int_equal(qcow2_copy_to_fd(image, fd, NULL, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_non_null(strstr(err.message, "target"));
    close(fd);
    qcow2_close(image);
    disk_free(&disk);
}

static void reader_that_went_away_is_epipe_and_no_signal(void **state)
{
    struct disk disk;

    (void)state;
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR); /* what would end this process */
    disk_build(&disk, 16, 12 * 1024 * 1024, disk_mixed);
    for (size_t t = 0; t < COUNTS; t++) {
        struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct disk_source source = { 0 };
        struct qcow2_image *image = disk_open(&disk, &source);
        sigset_t mask, pending;
        int ends[2];

        assert_int_equal(pipe(ends), 0);
        close(ends[0]);
        options.threads = thread_counts[t];
        assert_int_equal(qcow2_copy_to_fd(image, ends[1], &options, &err), QCOW2_E_IO);
        assert_int_equal(err.sys_errno, EPIPE);
        pthread_sigmask(SIG_BLOCK, NULL, &mask);
        assert_int_equal(sigismember(&mask, SIGPIPE), 0);
        sigpending(&pending);
        assert_int_equal(sigismember(&pending, SIGPIPE), 0);
        close(ends[1]);
        qcow2_close(image);
    }
    disk_free(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callback_gets_every_byte_once_in_order_and_one_call_at_a_time),
        cmocka_unit_test(callback_sees_the_range_asked_for_by_its_place_on_the_disk),
        cmocka_unit_test(empty_disk_of_a_petabyte_is_a_handful_of_calls),
        cmocka_unit_test(callback_that_refuses_ends_the_copy_as_cancelled),
        cmocka_unit_test(all_before_the_first_bad_place_is_delivered_and_that_place_reported),
        cmocka_unit_test(pipes_and_sockets_get_the_disk_in_order_zeros_included),
        cmocka_unit_test(null_device_takes_everything),
        cmocka_unit_test(full_device_is_an_io_error_with_enospc),
        cmocka_unit_test(reader_that_went_away_is_epipe_and_no_signal)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
