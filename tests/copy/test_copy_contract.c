/* SPDX-License-Identifier: MIT */
/* test_copy_contract.c - what both copy calls promise whatever the target: arguments, progress,
 * threads, failures. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"

static const uint32_t thread_counts[] = { 0, 1, 2, 7, 64 };
enum { COUNTS = sizeof thread_counts / sizeof thread_counts[0] };

/* One disk for all tests: 20 MiB of everything. */
static struct disk disk;
static struct disk_source source;
static struct qcow2_image *image;

static int set_up(void **state)
{
    (void)state;
    disk_build(&disk, 16, 20 * 1024 * 1024, disk_mixed);
    image = disk_open(&disk, &source);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    qcow2_close(image);
    disk_free(&disk);
    return 0;
}

static int take_anything(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    (void)buf;
    (void)offset;
    *(uint64_t *)ctx += count;
    return 0;
}

/* Both calls refuse the options, and the target keeps what it holds. */
static void assert_refused(const struct qcow2_copy_options *options)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint64_t taken = 0;
    int fd = disk_temporary_file();

    assert_int_equal(write(fd, "keep", 4), 4);
    assert_int_equal(qcow2_copy_to_fd(image, fd, options, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(err.code, QCOW2_E_ARGUMENT);
    assert_true(err.message[0] != '\0');
    assert_true(disk_file_is(fd, (const unsigned char *)"keep", 4));
    assert_int_equal(qcow2_copy_to_callback(image, take_anything, &taken, options, NULL),
                     QCOW2_E_ARGUMENT);
    assert_int_equal(taken, 0);
    close(fd);
}

static void options_that_are_wrong_are_refused(void **state)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;

    (void)state;
    options.size = 0;
    assert_refused(&options);
    options.size = sizeof options - 1;
    assert_refused(&options);
    options.size = sizeof options;
    options.flags = 1 << 2;
    assert_refused(&options);
    options.flags = UINT32_C(1) << 31;
    assert_refused(&options);
    options.flags = 0;
    options.threads = 65;
    assert_refused(&options);
    options.threads = UINT32_MAX;
    assert_refused(&options);
}

static void options_of_a_newer_program_pass_only_when_the_rest_is_zero(void **state)
{
    struct {
        struct qcow2_copy_options known;
        unsigned char unknown[24];
    } newer = { .known = QCOW2_COPY_OPTIONS_INIT };
    uint64_t taken = 0;

    (void)state;
    newer.known.size = sizeof newer;
    assert_int_equal(qcow2_copy_to_callback(image, take_anything, &taken, &newer.known, NULL), 0);
    assert_int_equal(taken, disk.size);
    newer.unknown[23] = 1;
    assert_refused(&newer.known);
}

static enum disk_cluster all_packed(uint64_t index)
{
    (void)index;
    return DISK_PACKED;
}

/* A cluster in two pieces would be decompressed by two threads. */
static void no_cluster_is_read_in_pieces_however_large(void **state)
{
    enum { LARGEST_BITS = 21, CLUSTERS = 6 };
    struct qcow2_stats stats = QCOW2_STATS_INIT;
    struct disk_source source_of_large = { 0 };
    struct qcow2_image *image_of_large;
    struct disk large;
    uint64_t taken = 0;

    (void)state;
    disk_build(&large, LARGEST_BITS, (uint64_t)CLUSTERS << LARGEST_BITS, all_packed);
    image_of_large = disk_open(&large, &source_of_large);
    assert_int_equal(qcow2_copy_to_callback(image_of_large, take_anything, &taken, NULL, NULL), 0);
    assert_int_equal(taken, large.size);
    qcow2_get_stats(image_of_large, &stats);
    assert_int_equal(stats.cluster_reads, CLUSTERS);
    qcow2_close(image_of_large);
    disk_free(&large);
}

static void null_arguments_are_refused(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint64_t taken = 0;

    (void)state;
    assert_int_equal(qcow2_copy_to_fd(NULL, 1, NULL, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(err.code, QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_copy_to_callback(NULL, take_anything, &taken, NULL, NULL),
                     QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_copy_to_callback(image, NULL, NULL, NULL, NULL), QCOW2_E_ARGUMENT);
}

static void descriptors_that_cannot_be_written_are_refused(void **state)
{
    int fd = open("/dev/null", O_RDONLY);

    (void)state;
    assert_int_equal(qcow2_copy_to_fd(image, fd, NULL, NULL), QCOW2_E_ARGUMENT);
    close(fd);
    assert_int_equal(qcow2_copy_to_fd(image, fd, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_copy_to_fd(image, -1, NULL, NULL), QCOW2_E_ARGUMENT);
}

/* Such a descriptor writes at the end wherever it is told to, and its owner means to keep what is
 * there. */
static void file_open_for_appending_is_refused_and_kept(void **state)
{
    int fd = disk_temporary_file();

    (void)state;
    assert_int_equal(write(fd, "keep", 4), 4);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    assert_int_equal(qcow2_copy_to_fd(image, fd, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_true(disk_file_is(fd, (const unsigned char *)"keep", 4));
    close(fd);
}

static void image_opened_for_its_headers_is_refused_and_target_kept(void **state)
{
    struct qcow2_options headers = QCOW2_OPTIONS_INIT;
    struct qcow2_source memory;
    struct qcow2_image *half;
    uint64_t taken = 0;
    int fd = disk_temporary_file();

    (void)state;
    headers.flags = QCOW2_OPEN_METADATA_ONLY;
    assert_int_equal(qcow2_source_from_memory(disk.file, disk.file_bytes, NULL, &memory, NULL), 0);
    assert_int_equal(qcow2_open_source(&memory, &headers, &half, NULL), 0);
    assert_int_equal(write(fd, "keep", 4), 4);
    assert_int_equal(qcow2_copy_to_fd(half, fd, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_true(disk_file_is(fd, (const unsigned char *)"keep", 4));
    assert_int_equal(qcow2_copy_to_callback(half, take_anything, &taken, NULL, NULL),
                     QCOW2_E_ARGUMENT);
    close(fd);
    qcow2_close(half);
}

static void error_struct_is_untouched_by_success_and_its_size_by_failure(void **state)
{
    struct {
        struct qcow2_error known;
        unsigned char unknown[16];
    } newer = { .known = QCOW2_ERROR_INIT };
    const size_t small_bytes = 16;
    unsigned char small[sizeof(struct qcow2_error)], as_it_was[sizeof small];
    uint64_t taken = 0;

    (void)state;
    newer.known.code = 77;
    assert_int_equal(qcow2_copy_to_callback(image, take_anything, &taken, NULL, &newer.known), 0);
    assert_int_equal(newer.known.code, 77);
    newer.known.size = sizeof newer;
    memset(newer.unknown, 0x5a, sizeof newer.unknown);
    assert_int_equal(qcow2_copy_to_fd(image, -1, NULL, &newer.known), QCOW2_E_ARGUMENT);
    assert_int_equal(newer.known.size, sizeof newer);
    assert_int_equal(newer.known.sys_errno, EBADF);
    for (size_t i = 0; i < sizeof newer.unknown; i++) {
        assert_int_equal(newer.unknown[i], 0x5a);
    }
    /* One that cannot be an error struct of this library is left alone. */
    memset(small, 0, sizeof small);
    memcpy(small, &small_bytes, sizeof small_bytes);
    memcpy(as_it_was, small, sizeof small);
    assert_int_equal(qcow2_copy_to_fd(image, -1, NULL, (struct qcow2_error *)(void *)small),
                     QCOW2_E_ARGUMENT);
    assert_memory_equal(small, as_it_was, sizeof small);
}

/* ---- progress ---- */

struct watch {
    uint64_t calls;
    uint64_t last_done;
    uint64_t total;
    uint64_t stop_after; /* calls, 0: never */
    bool wrong;
    bool overlapping;
    atomic_int inside;
};

static int watch(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct watch *seen = ctx;

    if (atomic_fetch_add(&seen->inside, 1) != 0) {
        seen->overlapping = true;
    }
    if (done_bytes < seen->last_done || done_bytes > total_bytes) {
        seen->wrong = true;
    }
    seen->calls++;
    seen->last_done = done_bytes;
    seen->total = total_bytes;
    atomic_fetch_sub(&seen->inside, 1);
    return seen->stop_after != 0 && seen->calls >= seen->stop_after;
}

/* Copies from a slow source to the target numbered `way`, watched. */
static int copy_watched(uint32_t threads, int way, struct watch *seen, struct qcow2_error *err)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct disk_source slow = { .dawdle = true };
    struct qcow2_image *slow_image = disk_open(&disk, &slow);
    int fd = way == 0 ? disk_temporary_file() : open("/dev/null", O_WRONLY);
    int ret;

    options.threads = threads;
    options.offset = 512;
    options.progress = watch;
    options.progress_ctx = seen;
    ret = qcow2_copy_to_fd(slow_image, fd, &options, err);
    close(fd);
    qcow2_close(slow_image);
    return ret;
}

static void progress_ascends_one_call_at_a_time_and_ends_at_the_total(void **state)
{
    (void)state;
    for (size_t t = 0; t < 2 * COUNTS; t++) {
        struct watch seen = { 0 };

        assert_int_equal(copy_watched(thread_counts[t / 2], (int)t % 2, &seen, NULL), 0);
        assert_true(seen.calls >= 1);
        assert_int_equal(seen.last_done, disk.size - 512);
        assert_int_equal(seen.total, disk.size - 512);
        assert_false(seen.wrong);
        assert_false(seen.overlapping);
    }
}

static int wait_a_little(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    struct timespec pause = { 0, 20 * 1000 * 1000 };

    (void)ctx;
    (void)buf;
    (void)count;
    (void)offset;
    nanosleep(&pause, NULL);
    return 0;
}

static void progress_comes_about_ten_times_a_second(void **state)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct watch seen = { 0 };
    struct timespec from, to;
    uint64_t tenths;

    (void)state;
    options.progress = watch;
    options.progress_ctx = &seen;
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_int_equal(qcow2_copy_to_callback(image, wait_a_little, NULL, &options, NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    tenths = (uint64_t)((to.tv_sec - from.tv_sec) * 10 + (to.tv_nsec - from.tv_nsec) / 100000000);
    /* Never more often; a busy machine may make it less. */
    assert_in_range(seen.calls, 2, tenths + 2);
}

static void progress_that_says_stop_ends_the_copy_as_cancelled(void **state)
{
    (void)state;
    for (size_t t = 0; t < 2 * COUNTS; t++) {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct watch seen = { .stop_after = 1 };

        assert_int_equal(copy_watched(thread_counts[t / 2], (int)t % 2, &seen, &err),
                         QCOW2_E_CANCELLED);
        assert_int_equal(err.code, QCOW2_E_CANCELLED);
        /* Also when the only call is the last: the caller's word stands. */
        assert_int_equal(seen.calls, 1);
    }
}

/* ---- threads ---- */

static unsigned threads_of_this_process(void)
{
    DIR *directory = opendir("/proc/self/task");
    unsigned count = 0;

    if (directory == NULL) {
        return 0;
    }
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count - 2;
}

static unsigned threads_at_start; /* one, and an emulator's own */

/* A thread that was joined may be listed a moment longer, and under an emulator quite a while. */
static unsigned threads_that_stay(unsigned expected)
{
    const struct timespec moment = { .tv_nsec = 1000000 };
    unsigned count = threads_of_this_process();

    for (unsigned i = 0; i < 5000 && count > expected; i++) {
        nanosleep(&moment, NULL);
        count = threads_of_this_process();
    }
    return count;
}

struct crowd {
    pthread_t caller;
    unsigned most;
    bool signals_open;
    bool own_held; /* what a thread causes itself */
};

static int look_around(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    struct crowd *crowd = ctx;
    unsigned threads = threads_of_this_process();
    sigset_t mask;

    (void)buf;
    (void)count;
    (void)offset;
    if (threads > crowd->most) {
        crowd->most = threads;
    }
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (!pthread_equal(pthread_self(), crowd->caller) &&
        (sigismember(&mask, SIGINT) != 1 || sigismember(&mask, SIGTERM) != 1 ||
         sigismember(&mask, SIGUSR1) != 1)) {
        crowd->signals_open = true;
    }
    if (sigismember(&mask, SIGSYS) == 1 || sigismember(&mask, SIGSEGV) == 1) {
        crowd->own_held = true;
    }
    return 0;
}

static void threads_are_as_many_as_asked_take_no_signals_and_are_gone_after(void **state)
{
    const unsigned before = threads_that_stay(threads_at_start);
    sigset_t mask_before, mask_after;

    (void)state;
    if (before == 0) {
        skip();
    }
    pthread_sigmask(SIG_BLOCK, NULL, &mask_before);
    for (uint32_t threads = 1; threads <= 8; threads++) {
        struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
        struct crowd crowd = { .caller = pthread_self() };

        options.threads = threads;
        assert_int_equal(qcow2_copy_to_callback(image, look_around, &crowd, &options, NULL), 0);
        assert_in_range(crowd.most, before, before + threads - 1);
        assert_false(crowd.signals_open);
        assert_false(crowd.own_held);
        assert_int_equal(threads_that_stay(before), before);
    }
    pthread_sigmask(SIG_BLOCK, NULL, &mask_after);
    assert_int_equal(sigismember(&mask_after, SIGINT), sigismember(&mask_before, SIGINT));
    assert_int_equal(sigismember(&mask_after, SIGPIPE), sigismember(&mask_before, SIGPIPE));
}

/* ---- failures of the source ---- */

static void first_bad_place_of_the_disk_is_reported_however_the_threads_ran(void **state)
{
    const uint64_t bad = 16, also_bad = 184; /* clusters, both DISK_PACKED */

    (void)state;
    assert_int_equal(disk_mixed(bad), DISK_PACKED);
    assert_int_equal(disk_mixed(also_bad), DISK_PACKED);
    for (size_t t = 0; t < 4 * COUNTS; t++) {
        struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct disk_source broken = { .bad_from = disk.host_off[bad],
                                      .bad_to = disk.host_off[bad] + 512,
                                      .also_bad_from = disk.host_off[also_bad],
                                      .bad_errno = ESTALE,
                                      .dawdle = t % 2 == 0 };
        struct qcow2_image *broken_image = disk_open(&disk, &broken);
        int fd = disk_temporary_file();

        options.threads = thread_counts[t / 4];
        assert_int_equal(qcow2_copy_to_fd(broken_image, fd, &options, &err), QCOW2_E_IO);
        assert_int_equal(err.sys_errno, ESTALE);
        assert_int_equal(err.guest_offset, bad * 65536);
        close(fd);
        qcow2_close(broken_image);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_are_wrong_are_refused),
        cmocka_unit_test(options_of_a_newer_program_pass_only_when_the_rest_is_zero),
        cmocka_unit_test(no_cluster_is_read_in_pieces_however_large),
        cmocka_unit_test(null_arguments_are_refused),
        cmocka_unit_test(descriptors_that_cannot_be_written_are_refused),
        cmocka_unit_test(file_open_for_appending_is_refused_and_kept),
        cmocka_unit_test(image_opened_for_its_headers_is_refused_and_target_kept),
        cmocka_unit_test(error_struct_is_untouched_by_success_and_its_size_by_failure),
        cmocka_unit_test(progress_ascends_one_call_at_a_time_and_ends_at_the_total),
        cmocka_unit_test(progress_comes_about_ten_times_a_second),
        cmocka_unit_test(progress_that_says_stop_ends_the_copy_as_cancelled),
        cmocka_unit_test(threads_are_as_many_as_asked_take_no_signals_and_are_gone_after),
        cmocka_unit_test(first_bad_place_of_the_disk_is_reported_however_the_threads_ran)
    };

    threads_at_start = threads_of_this_process();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
