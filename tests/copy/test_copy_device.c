/* SPDX-License-Identifier: MIT */
/* test_copy_device.c - qcow2_copy_to_fd onto a block device: a loop device over a temporary file.
 * Skips where there are none, or not for this user. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/loop.h>
#include <sys/ioctl.h>
#endif

#include "disk.h"

struct device {
    int fd;
    int backing;
    bool attached;
};

/* A device of `bytes` whose every byte is 0xee. False: there is none to be had. */
static bool attach(struct device *device, size_t bytes)
{
    unsigned char *junk = malloc(bytes);

    device->fd = -1;
    device->attached = false;
    device->backing = disk_temporary_file();
    assert_non_null(junk);
    memset(junk, 0xee, bytes);
    assert_int_equal(pwrite(device->backing, junk, bytes, 0), bytes);
    free(junk);
#ifdef __linux__
    /* Somebody else may take the free one first, so a few times. */
    for (int attempt = 0; attempt < 5 && !device->attached; attempt++) {
        int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
        char path[32];

        if (control >= 0) {
            close(control);
        }
        snprintf(path, sizeof path, "/dev/loop%d", number);
        device->fd = number < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
        device->attached = device->fd >= 0 && ioctl(device->fd, LOOP_SET_FD, device->backing) == 0;
        if (!device->attached && device->fd >= 0) {
            close(device->fd);
        }
    }
#endif
    if (!device->attached) {
        close(device->backing);
    }
    return device->attached;
}

static void detach(struct device *device)
{
#ifdef __linux__
    ioctl(device->fd, LOOP_CLR_FD, 0);
#endif
    close(device->fd);
    close(device->backing);
}

static bool device_begins_with(const struct device *device, const unsigned char *want, size_t bytes)
{
    unsigned char *got = malloc(bytes);
    bool same;

    assert_non_null(got);
    same = pread(device->fd, got, bytes, 0) == (ssize_t)bytes && memcmp(got, want, bytes) == 0;
    free(got);
    return same;
}

static void device_gets_the_disk_over_what_it_held(void **state)
{
    static const struct {
        uint64_t offset, length;
    } ranges[] = { { 0, 0 },     { 0, 5000000 },        { 0, 4096 * 33 + 512 },
                   { 0, 70001 }, { 65536, 40 * 65536 }, { 3 * 65536 + 512, 2000000 } };
    struct disk disk;

    (void)state;
    disk_build(&disk, 16, 6 * 1024 * 1024, disk_mixed);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct disk_source source = { 0 };
        struct qcow2_image *image = disk_open(&disk, &source);
        size_t lands = (size_t)(ranges[i].length != 0 ? ranges[i].length : disk.size);
        struct device device;
        unsigned char beyond;

        if (!attach(&device, (size_t)disk.size + 65536)) {
            skip();
        }
        options.offset = ranges[i].offset;
        options.length = ranges[i].length;
        options.threads = 3;
        if (qcow2_copy_to_fd(image, device.fd, &options, &err) != 0) {
            fail_msg("%s", err.message);
        }
        assert_true(device_begins_with(&device, disk.content + options.offset, lands));
        assert_int_equal(pread(device.fd, &beyond, 1, (off_t)lands), 1);
        assert_int_equal(beyond, 0xee);
        detach(&device);
        qcow2_close(image);
    }
    disk_free(&disk);
}

/* What is there shows through where the disk is zero: the caller promised that it would be zero. */
static void device_said_to_be_zero_is_not_written_where_the_disk_is_zero(void **state)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct device device;
    struct disk disk;
    unsigned char byte = 0;

    (void)state;
    disk_build(&disk, 16, 2 * 1024 * 1024, disk_mixed);
    if (!attach(&device, (size_t)disk.size)) {
        skip();
    }
    image = disk_open(&disk, &source);
    options.flags = QCOW2_COPY_TARGET_IS_ZERO;
    assert_int_equal(qcow2_copy_to_fd(image, device.fd, &options, NULL), 0);
    assert_int_equal(disk_mixed(5), DISK_HOLE);
    assert_int_equal(pread(device.fd, &byte, 1, 5 * 65536 + 777), 1);
    assert_int_equal(byte, 0xee);
    assert_int_equal(pread(device.fd, &byte, 1, 6 * 65536), 1);
    assert_int_equal(byte, disk.content[6 * 65536]);
    detach(&device);
    qcow2_close(image);
    disk_free(&disk);
}

static void device_that_is_too_small_is_refused_before_a_byte_is_written(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct disk_source source = { 0 };
    struct qcow2_image *image;
    struct device device;
    struct disk disk;
    unsigned char byte = 0;

    (void)state;
    disk_build(&disk, 16, 2 * 1024 * 1024, disk_mixed);
    if (!attach(&device, (size_t)disk.size - 4096)) {
        skip();
    }
    image = disk_open(&disk, &source);
    assert_int_equal(qcow2_copy_to_fd(image, device.fd, NULL, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_non_null(strstr(err.message, "2093056"));
    assert_non_null(strstr(err.message, "2097152"));
    assert_int_equal(pread(device.fd, &byte, 1, 0), 1);
    assert_int_equal(byte, 0xee);
    detach(&device);
    qcow2_close(image);
    disk_free(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_gets_the_disk_over_what_it_held),
        cmocka_unit_test(device_said_to_be_zero_is_not_written_where_the_disk_is_zero),
        cmocka_unit_test(device_that_is_too_small_is_refused_before_a_byte_is_written)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
