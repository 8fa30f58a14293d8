/* SPDX-License-Identifier: MIT */
/* test_file.c - files and devices on a system that says no: reads that are interrupted, give little or
 * fail, devices that do not tell their length. The library's calls end here (--wrap); what a script does
 * not answer goes on to the system. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sample.h"

enum { ANSWERS = 8, END = INT_MAX };

/* Answers in the order of the calls: 0 lets the call through, a negative number is an errno; of a read, a
 * positive one is the most it gives, and END says that the file is over. */
static struct {
    int reads[ANSWERS], opens[ANSWERS], looks[ANSWERS], seeks[ANSWERS];
    unsigned read, opened, looked, sought; /* calls so far */
    bool device;                           /* files seem to be block devices */
    uint64_t device_bytes;                 /* that they say they have; 0: they do not say */
    const char *exchanged; /* what a relative name leads to once it has been examined */
} system_;

static int next(const int *script, unsigned *calls)
{
    int told = *calls < ANSWERS ? script[*calls] : 0;

    (*calls)++;
    if (told < 0) {
        errno = -told;
    }
    return told;
}

/* What the library's calls are named after compiling, with 64 bits in their offsets. */
#ifdef __GLIBC__
#define REAL(name) __real_##name##64
#else
#define REAL(name) __real_##name
#endif

ssize_t REAL(pread)(int fd, void *buf, size_t count, off_t off);
ssize_t __wrap_pread(int fd, void *buf, size_t count, off_t off);
ssize_t __wrap_pread64(int fd, void *buf, size_t count, off_t off);
int REAL(openat)(int directory, const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...);
int __wrap_openat64(int directory, const char *path, int flags, ...);
int REAL(fstat)(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st);
off_t REAL(lseek)(int fd, off_t off, int whence);
off_t __wrap_lseek(int fd, off_t off, int whence);
off_t __wrap_lseek64(int fd, off_t off, int whence);
int __wrap_ioctl(int fd, unsigned long request, void *argument);

ssize_t __wrap_pread(int fd, void *buf, size_t count, off_t off)
{
    int told = next(system_.reads, &system_.read);

    if (told < 0) {
        return -1;
    }
    if (told == END) {
        return 0;
    }
    return REAL(pread)(fd, buf, told > 0 && (size_t)told < count ? (size_t)told : count, off);
}

ssize_t __wrap_pread64(int fd, void *buf, size_t count, off_t off)
{
    return __wrap_pread(fd, buf, count, off);
}

int __wrap_openat(int directory, const char *path, int flags, ...)
{
    bool again = system_.opened > 0 && system_.exchanged != NULL && path[0] != '/';

    return next(system_.opens, &system_.opened) < 0
               ? -1
               : REAL(openat)(directory, again ? system_.exchanged : path, flags);
}

int __wrap_openat64(int directory, const char *path, int flags, ...)
{
    return __wrap_openat(directory, path, flags);
}

int __wrap_fstat(int fd, struct stat *st)
{
    int r = next(system_.looks, &system_.looked) < 0 ? -1 : REAL(fstat)(fd, st);

    if (r == 0 && system_.device) {
        st->st_mode = (st->st_mode & ~(mode_t)S_IFMT) | S_IFBLK;
        st->st_size = 0;
    }
    return r;
}

int __wrap_fstat64(int fd, struct stat *st)
{
    return __wrap_fstat(fd, st);
}

off_t __wrap_lseek(int fd, off_t off, int whence)
{
    return next(system_.seeks, &system_.sought) < 0 ? -1 : REAL(lseek)(fd, off, whence);
}

off_t __wrap_lseek64(int fd, off_t off, int whence)
{
    return __wrap_lseek(fd, off, whence);
}

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
    (void)fd;
    (void)request;
    if (system_.device_bytes == 0) {
        errno = ENOTTY;
        return -1;
    }
    memcpy(argument, &system_.device_bytes, sizeof system_.device_bytes);
    return 0;
}

/* ------------------------------------------------------------------------ */

static struct sample sample;
static int fd = -1;

static int make_file(void **state)
{
    (void)state;
    sample_init(&sample, 12, QCOW2_COMPRESSION_DEFLATE, "DZ.CD", 0);
    fd = memfd_create("sample", MFD_CLOEXEC);
    return fd < 0 || write(fd, sample.file, sample.file_bytes) != (ssize_t)sample.file_bytes;
}

static int drop_file(void **state)
{
    (void)state;
    sample_deinit(&sample);
    return close(fd);
}

static int set_up(void **state)
{
    (void)state;
    memset(&system_, 0, sizeof system_);
    assert_int_equal(REAL(lseek)(fd, 100, SEEK_SET), 100);
    return 0;
}

/* Nothing moves the offset of a descriptor that belongs to somebody else. */
static int offset_is_kept(void **state)
{
    (void)state;
    memset(&system_, 0, sizeof system_);
    return REAL(lseek)(fd, 0, SEEK_CUR) != 100;
}

static struct qcow2_source source_of_file(void)
{
    struct qcow2_source source;

    assert_int_equal(qcow2_source_from_fd(fd, "sample", 0, &source, NULL), 0);
    return source;
}

/* One read of all of the file, which the script then applies to; its errno. */
static int read_all(const int script[3])
{
    struct qcow2_source source = source_of_file();
    unsigned char *buf = test_malloc(sample.file_bytes);
    int r;

    memset(&system_, 0, sizeof system_);
    memcpy(system_.reads, script, 3 * sizeof *script);
    r = source.read_at(source.ctx, buf, sample.file_bytes, 0);
    if (r == 0) {
        assert_memory_equal(buf, sample.file, sample.file_bytes);
    }
    source.close(source.ctx);
    test_free(buf);
    return r;
}

static void reads_that_are_interrupted_or_give_little_are_gone_on_with(void **state)
{
    (void)state;
    assert_int_equal(read_all((const int[3]){ 0, 0, 0 }), 0);
    assert_int_equal(system_.read, 1);
    assert_int_equal(read_all((const int[3]){ -EINTR, -EINTR, 0 }), 0);
    assert_int_equal(system_.read, 3);
    assert_int_equal(read_all((const int[3]){ 1, 4096, 1 }), 0);
    assert_int_equal(system_.read, 4);
    assert_int_equal(read_all((const int[3]){ 100, -EINTR, 0 }), 0);
}

static void a_read_that_fails_says_why_wherever_it_fails(void **state)
{
    (void)state;
    assert_int_equal(read_all((const int[3]){ -EACCES, 0, 0 }), EACCES);
    assert_int_equal(read_all((const int[3]){ 512, -ENXIO, 0 }), ENXIO);
    assert_int_equal(read_all((const int[3]){ -EINTR, 512, -EIO }), EIO);
}

static void a_file_that_ends_before_its_size_is_an_io_error(void **state)
{
    (void)state;
    assert_int_equal(read_all((const int[3]){ END, 0, 0 }), EIO);
    assert_int_equal(read_all((const int[3]){ 4096, END, 0 }), EIO);
    assert_int_equal(system_.read, 2);
}

static void no_offset_past_the_largest_reaches_the_system(void **state)
{
    struct qcow2_source source = source_of_file();
    char byte;

    (void)state;
    system_.read = 0;
    assert_int_equal(source.read_at(source.ctx, &byte, 1, (uint64_t)INT64_MAX + 1), EOVERFLOW);
    assert_int_equal(source.read_at(source.ctx, &byte, 1, INT64_MAX), EOVERFLOW);
    assert_int_equal(system_.read, 0);
    source.close(source.ctx);
}

static void an_interrupted_open_is_made_again(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;

    (void)state;
    system_.opens[0] = -EINTR;
    assert_int_equal(qcow2_source_from_path("/proc/self/exe", &source, &err), 0);
    assert_int_equal(system_.opened, 3); /* interrupted, examined, opened */
    source.close(source.ctx);
    system_.opened = 0;
    system_.opens[1] = -EINTR;
    assert_int_equal(qcow2_source_from_path("/proc/self/exe", &source, &err), 0);
    assert_int_equal(system_.opened, 4);
    source.close(source.ctx);
    system_.opened = 0;
    system_.opens[1] = -EMFILE;
    assert_int_equal(qcow2_source_from_path("/proc/self/exe", &source, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EMFILE);
}

/* Where there is no /proc, the file is opened by its name, and must still be the one that was examined. */
static void a_file_that_was_exchanged_before_it_was_opened_is_not_read(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;
    int directory = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    assert_true(directory >= 0);
    system_.opens[1] = -ENOENT;
    assert_int_equal(qcow2_source_from_path_at(directory, "exe", NULL, &source, &err), 0);
    assert_string_equal(source.name, "exe");
    source.close(source.ctx);
    system_.opened = 0;
    system_.exchanged = "/bin/sh";
    assert_int_equal(qcow2_source_from_path_at(directory, "exe", NULL, &source, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ESTALE);
    assert_int_equal(close(directory), 0);
}

static void a_file_that_cannot_be_looked_at_is_an_io_error(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;
    struct qcow2_source source;

    (void)state;
    system_.looks[0] = -EOVERFLOW;
    assert_int_equal(qcow2_source_from_fd(fd, "sample", 0, &source, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EOVERFLOW);
    system_.looks[2] = -ESTALE; /* it could be before, and cannot when its length is asked for */
    source = source_of_file();
    assert_int_equal(qcow2_open_source(&source, NULL, &image, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ESTALE);
    assert_null(image);
}

/* Its identity only tells loops in a chain. */
static void a_file_whose_identity_cannot_be_had_is_read_all_the_same(void **state)
{
    struct qcow2_source source = source_of_file();
    struct qcow2_image *image;

    (void)state;
    system_.looks[2] = -ESTALE;
    assert_int_equal(qcow2_open_source(&source, NULL, &image, NULL), 0);
    assert_true(system_.looked > 2);
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    qcow2_close(image);
}

static void a_device_is_as_long_as_it_says(void **state)
{
    struct qcow2_source source;
    uint64_t bytes = 0;

    (void)state;
    system_.device = true;
    system_.device_bytes = 12345 * 512;
    source = source_of_file();
    assert_int_equal(source.get_size(source.ctx, &bytes), 0);
    assert_true(bytes == 12345 * 512);
    assert_int_equal(system_.sought, 0);
    source.close(source.ctx);
}

static void the_end_of_a_device_that_does_not_say_is_sought_and_the_offset_put_back(void **state)
{
    struct qcow2_source source;
    uint64_t bytes = 0;

    (void)state;
    system_.device = true;
    source = source_of_file();
    assert_int_equal(source.get_size(source.ctx, &bytes), 0);
    assert_true(bytes == sample.file_bytes);
    assert_true(system_.sought > 0);
    source.close(source.ctx);
}

static void a_device_that_cannot_be_sought_is_an_io_error(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct qcow2_image *image;
        struct qcow2_source source;

        memset(&system_, 0, sizeof system_);
        system_.device = true;
        system_.seeks[i] = -ESPIPE;
        source = source_of_file();
        assert_int_equal(qcow2_open_source(&source, NULL, &image, &err), QCOW2_E_IO);
        assert_int_equal(err.sys_errno, ESPIPE);
        /* Where it is the way back that fails, that is all that could be done. */
        assert_int_equal(REAL(lseek)(fd, 100, SEEK_SET), 100);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, offset_is_kept)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_that_are_interrupted_or_give_little_are_gone_on_with),
        TEST(a_read_that_fails_says_why_wherever_it_fails),
        TEST(a_file_that_ends_before_its_size_is_an_io_error),
        TEST(no_offset_past_the_largest_reaches_the_system),
        TEST(an_interrupted_open_is_made_again),
        TEST(a_file_that_was_exchanged_before_it_was_opened_is_not_read),
        TEST(a_file_that_cannot_be_looked_at_is_an_io_error),
        TEST(a_file_whose_identity_cannot_be_had_is_read_all_the_same),
        TEST(a_device_is_as_long_as_it_says),
        TEST(the_end_of_a_device_that_does_not_say_is_sought_and_the_offset_put_back),
        TEST(a_device_that_cannot_be_sought_is_an_io_error),
    };

    return cmocka_run_group_tests(tests, make_file, drop_file);
}
