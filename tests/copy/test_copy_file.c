/* SPDX-License-Identifier: MIT */
/* test_copy_file.c - qcow2_copy_to_fd into regular files. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"

static const uint32_t thread_counts[] = { 0, 1, 2, 7, 64 };
enum { COUNTS = sizeof thread_counts / sizeof thread_counts[0] };

/* Copies and checks every byte; the descriptor stays open for more questions. */
static int copy_and_compare(struct qcow2_image *image, const struct disk *disk,
                            const struct qcow2_copy_options *options)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    int fd = disk_temporary_file();

    if (qcow2_copy_to_fd(image, fd, options, &err) != 0) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(err.code, 0);
    assert_true(disk_file_is(fd, disk->content, disk->size));
    return fd;
}

static void file_equals_disk_for_every_cluster_size_and_thread_count(void **state)
{
    static const struct {
        unsigned cluster_bits;
        uint64_t size;
    } shapes[] = { { 9, 300 * 512 },
                   { 12, 5 * 1024 * 1024 + 512 },
                   { 16, 10 * 1024 * 1024 + 1536 },
                   { 21, 43 * 1024 * 1024 } };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct disk disk;

        disk_build(&disk, shapes[i].cluster_bits, shapes[i].size, disk_mixed);
        for (size_t t = 0; t < COUNTS; t++) {
            struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
            struct disk_source source = { .dawdle = t == 2 };
            struct qcow2_image *image = disk_open(&disk, &source);

            options.threads = thread_counts[t];
            close(copy_and_compare(image, &disk, &options));
            qcow2_close(image);
            /* And with a descriptor behind the image, which opens other ways of copying. */
            image = disk_open_file(&disk);
            close(copy_and_compare(image, &disk, &options));
            options.flags = QCOW2_COPY_KEEP_ZEROS;
            close(copy_and_compare(image, &disk, &options));
            qcow2_close(image);
        }
        disk_free(&disk);
    }
}

static void file_that_held_something_is_emptied_first(void **state)
{
    static const uint32_t flags[] = { 0, QCOW2_COPY_TARGET_IS_ZERO, QCOW2_COPY_KEEP_ZEROS };
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    size_t junk_bytes;
    char *junk;

    (void)state;
    disk_build(&disk, 16, 4 * 1024 * 1024, disk_mixed);
    image = disk_open(&disk, &source);
    junk_bytes = (size_t)disk.size + 100000;
    junk = malloc(junk_bytes);
    assert_non_null(junk);
    memset(junk, 0xee, junk_bytes);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
        int fd = disk_temporary_file();

        options.flags = flags[i];
        /* The descriptor's own offset, here the end of the file, is of no meaning. */
        assert_int_equal(write(fd, junk, junk_bytes), junk_bytes);
        assert_int_equal(qcow2_copy_to_fd(image, fd, &options, NULL), 0);
        assert_true(disk_file_is(fd, disk.content, disk.size));
        close(fd);
    }
    free(junk);
    qcow2_close(image);
    disk_free(&disk);
}

static void any_range_lands_at_the_start_of_the_file(void **state)
{
    static const struct {
        uint64_t offset;
        uint64_t length;
        uint64_t lands; /* how many bytes there are to be */
    } ranges[] = { { 0, 1, 1 },
                   { 0, 65536, 65536 },
                   { 65536, 3 * 65536, 3 * 65536 },
                   { 12345, 70001, 70001 },
                   { 4096, 3000000, 3000000 },
                   { 1, 0, 4 * 1024 * 1024 - 1 },
                   { 4 * 1024 * 1024 - 10, 500, 10 },
                   { 4 * 1024 * 1024, 0, 0 },
                   { UINT64_MAX, UINT64_MAX, 0 },
                   { 511, UINT64_MAX, 4 * 1024 * 1024 - 511 } };
    struct disk disk;

    (void)state;
    disk_build(&disk, 16, 4 * 1024 * 1024, disk_mixed);
    for (size_t i = 0; i < 2 * sizeof ranges / sizeof ranges[0]; i++) {
        struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
        struct disk_source source = { 0 };
        struct qcow2_image *image = i % 2 == 0 ? disk_open(&disk, &source) : disk_open_file(&disk);
        int fd = disk_temporary_file();

        options.offset = ranges[i / 2].offset;
        options.length = ranges[i / 2].length;
        options.threads = 3;
        assert_int_equal(qcow2_copy_to_fd(image, fd, &options, NULL), 0);
        assert_true(disk_file_is(fd,
                                 disk.content + (options.offset < disk.size ? options.offset : 0),
                                 ranges[i / 2].lands));
        close(fd);
        qcow2_close(image);
    }
    disk_free(&disk);
}

/* Whether this file system tells of the holes it makes; without that there is nothing to see. */
static bool sees_holes(void)
{
    int fd = disk_temporary_file();
    bool seen =
        ftruncate(fd, 65536) == 0 && pwrite(fd, "x", 1, 65535) == 1 && lseek(fd, 0, SEEK_DATA) > 0;

    close(fd);
    return seen;
}

static bool is_hole(int fd, off_t from, off_t bytes)
{
    off_t data = lseek(fd, from, SEEK_DATA);

    return data < 0 ? errno == ENXIO : data >= from + bytes;
}

static enum disk_cluster data_then_nothing(uint64_t index)
{
    return index % 2 == 0 ? DISK_DATA : DISK_NOTHING;
}

static void zeros_inside_data_become_holes(void **state)
{
    const off_t cluster = 65536;
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    int fd;

    (void)state;
    if (!sees_holes()) {
        skip();
    }
    disk_build(&disk, 16, 8 * 65536, data_then_nothing);
    image = disk_open(&disk, &source);
    fd = copy_and_compare(image, &disk, NULL);
    for (off_t at = 0; at < (off_t)disk.size; at += 2 * cluster) {
        /* Each data cluster has 8 KiB of zeros of its own, see disk.c. */
        assert_false(is_hole(fd, at, 16384));
        assert_true(is_hole(fd, at + 16384, 8192));
        assert_false(is_hole(fd, at + 24576, 4096));
        assert_true(is_hole(fd, at + cluster, cluster));
    }
    close(fd);
    qcow2_close(image);
    disk_free(&disk);
}

static void keep_zeros_copies_stored_zeros_but_not_holes(void **state)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    int fd;

    (void)state;
    if (!sees_holes()) {
        skip();
    }
    options.flags = QCOW2_COPY_KEEP_ZEROS;
    disk_build(&disk, 16, 8 * 65536, data_then_nothing);
    image = disk_open(&disk, &source);
    fd = copy_and_compare(image, &disk, &options);
    assert_int_equal(lseek(fd, 0, SEEK_HOLE), disk.size);
    close(fd);
    qcow2_close(image);
    disk_free(&disk);

    disk_build(&disk, 16, 32 * 65536, disk_mixed);
    image = disk_open(&disk, &source);
    fd = copy_and_compare(image, &disk, &options);
    assert_int_equal(disk_mixed(5), DISK_HOLE);
    assert_true(is_hole(fd, 5 * 65536, 65536));
    assert_int_equal(disk_mixed(7), DISK_ZERO);
    assert_true(is_hole(fd, 7 * 65536, 65536));
    close(fd);
    qcow2_close(image);
    disk_free(&disk);
}

static void empty_disk_of_eight_terabytes_needs_no_reading(void **state)
{
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    struct stat st;
    int fd = disk_temporary_file();

    (void)state;
    disk_build(&disk, 21, UINT64_C(8) << 40, NULL);
    if (ftruncate(fd, (off_t)disk.size) != 0) {
        skip(); /* not on this file system */
    }
    image = disk_open(&disk, &source);
    assert_int_equal(qcow2_copy_to_fd(image, fd, NULL, NULL), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, disk.size);
    assert_true(is_hole(fd, 0, (off_t)disk.size));
    assert_in_range(source.reads, 1, 100);
    close(fd);
    qcow2_close(image);
    disk_free(&disk);
}

/* Preallocation: clusters are set aside in the tables, while the file has nothing there. Reading
 * them would take minutes. */
static void clusters_in_holes_of_the_image_file_are_not_read(void **state)
{
    const uint64_t cluster = 1 << 21, clusters = cluster / 8;
    const uint64_t size = clusters * cluster; /* what one table maps: half a terabyte */
    struct qcow2_stats stats = QCOW2_STATS_INIT;
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_source source;
    struct qcow2_image *image;
    struct disk disk;
    int host = disk_temporary_file(), fd = disk_temporary_file();
    uint64_t table = 3 * cluster, first = 4 * cluster;
    unsigned char *entries = malloc(cluster);
    unsigned char page[4096];
    off_t offset_before;

    (void)state;
    assert_non_null(entries);
    disk_build(&disk, 21, size, NULL);
    for (uint64_t i = 0; i < clusters; i++) {
        uint64_t entry = (first + i * cluster) | UINT64_C(1) << 63;

        for (int b = 0; b < 8; b++) {
            entries[i * 8 + (uint64_t)b] = (unsigned char)(entry >> (56 - 8 * b));
        }
    }
    for (int b = 0; b < 8; b++) {
        disk.file[2 * cluster + (uint64_t)b] =
            (unsigned char)((table | UINT64_C(1) << 63) >> (56 - 8 * b));
    }
    assert_int_equal(pwrite(host, disk.file, disk.file_bytes, 0), disk.file_bytes);
    assert_int_equal(pwrite(host, entries, cluster, (off_t)table), cluster);
    /* Something in the middle, and a hole up to the end. */
    memset(page, 'q', sizeof page);
    assert_int_equal(pwrite(host, page, sizeof page, (off_t)(first + size / 2 + 8192)), 4096);
    if (ftruncate(host, (off_t)(first + size)) != 0 || ftruncate(fd, (off_t)size) != 0 ||
        !sees_holes()) {
        skip();
    }
    assert_int_equal(qcow2_source_from_fd(host, NULL, 0, &source, NULL), 0);
    assert_int_equal(qcow2_open_source(&source, NULL, &image, NULL), 0);
    options.threads = 2;
    offset_before = lseek(host, 777, SEEK_SET);
    assert_int_equal(qcow2_copy_to_fd(image, fd, &options, NULL), 0);
    qcow2_get_stats(image, &stats);
    assert_true(stats.bytes_read <= 64 * 1024 * 1024); /* none at all where blocks are shared */
    assert_true(is_hole(fd, 0, (off_t)(size / 2)));
    memset(page, 0, sizeof page);
    assert_int_equal(pread(fd, page, sizeof page, (off_t)(size / 2 + 8192)), sizeof page);
    for (size_t i = 0; i < sizeof page; i++) {
        assert_int_equal(page[i], 'q');
    }
    /* The caller's descriptor stands where it stood. */
    assert_int_equal(lseek(host, 0, SEEK_CUR), offset_before);

    qcow2_close(image);
    close(host);
    close(fd);
    free(entries);
    disk_free(&disk);
}

static void disk_of_no_length_leaves_an_empty_file(void **state)
{
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct disk disk;
    int fd = disk_temporary_file();

    (void)state;
    assert_int_equal(write(fd, "junk", 4), 4);
    disk_build(&disk, 16, 0, disk_mixed);
    image = disk_open(&disk, &source);
    assert_int_equal(qcow2_copy_to_fd(image, fd, NULL, NULL), 0);
    assert_true(disk_file_is(fd, disk.content, 0));
    close(fd);
    qcow2_close(image);
    disk_free(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_equals_disk_for_every_cluster_size_and_thread_count),
        cmocka_unit_test(file_that_held_something_is_emptied_first),
        cmocka_unit_test(any_range_lands_at_the_start_of_the_file),
        cmocka_unit_test(zeros_inside_data_become_holes),
        cmocka_unit_test(keep_zeros_copies_stored_zeros_but_not_holes),
        cmocka_unit_test(empty_disk_of_eight_terabytes_needs_no_reading),
        cmocka_unit_test(clusters_in_holes_of_the_image_file_are_not_read),
        cmocka_unit_test(disk_of_no_length_leaves_an_empty_file)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
