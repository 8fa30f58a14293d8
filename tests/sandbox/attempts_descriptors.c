/* SPDX-License-Identifier: MIT */
/* attempts_descriptors.c - files by descriptors that are open: to write to one that is not the output, and
 * to put it where the output was. */
#ifdef __linux__
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "attempts.h"

enum { FIRST_DUPLICATE = 32, DESCRIPTORS = 64 };

static long gathered(int fd)
{
    char byte = 'x';
    struct iovec vector = { &byte, 1 };

    return writev(fd, &vector, 1);
}

static long gathered_at(int fd)
{
    char byte = 'x';
    struct iovec vector = { &byte, 1 };

    return pwritev(fd, &vector, 1, 0);
}

static long gathered_at_2(int fd)
{
    char byte = 'x';
    struct iovec vector = { &byte, 1 };

    return syscall(SYS_pwritev2, fd, &vector, 1, 0, 0, 0); /* newer than some libc */
}

static long copied(int fd)
{
    off_t from = 0;
    off_t to = 0;

    return syscall(SYS_copy_file_range, place.image, &from, fd, &to, (size_t)3, 0);
}

static long sent(int fd)
{
    off_t from = 0;

    return sendfile(fd, place.image, &from, 3);
}

/* Extents are shared by few file systems: what is looked at is whether they were asked. */
static long cloned(int fd)
{
    struct file_clone_range range = { .src_fd = place.image };

    return ioctl(fd, FICLONERANGE, &range);
}

static long cloned_whole(int fd)
{
    return ioctl(fd, FICLONE, place.image);
}

/* Written to as memory. */
static long mapped(int fd, int first_protection, int flags)
{
    char *memory = mmap(NULL, 4096, first_protection, flags, fd, 0);

    if (memory == MAP_FAILED || mprotect(memory, 4096, PROT_READ | PROT_WRITE) != 0) {
        return -1;
    }
    memory[0] = 'x';
    return 0;
}

static long mapped_to_read(int fd)
{
    return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0;
}

/* Another descriptor at the number of the output. */
enum way { BY_DUP, BY_DUP2, BY_DUP3, BY_DUPFD, BY_DUPFD_CLOEXEC };

static int put(int fd, enum way way)
{
    int r;

    if (way == BY_DUP2) {
        return dup2(fd, place.output);
    }
    if (way == BY_DUP3) {
        return dup3(fd, place.output, O_CLOEXEC);
    }
    close(place.output);
    r = way == BY_DUP ? dup(fd)
                      : fcntl(fd, way == BY_DUPFD ? F_DUPFD : F_DUPFD_CLOEXEC, place.output);
    return r == place.output ? r : -1;
}

static long cut_instead(int fd, enum way way)
{
    return put(fd, way) < 0 ? -1 : ftruncate(place.output, 0);
}

static long written_instead(int fd, enum way way)
{
    return put(fd, way) < 0 ? -1 : pwrite(place.output, "x", 1, 0);
}

static long mode_changed_instead(enum way way)
{
    return put(place.image, way) < 0 ? -1 : fchmod(place.output, 06777);
}

static long duplicated(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, FIRST_DUPLICATE);
}

/* What the tool has opened to ask for a passphrase, or -1. */
static int terminal(void)
{
    for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS; fd++) {
        if (isatty(fd) == 1) {
            return fd;
        }
    }
    errno = ENXIO;
    return -1;
}

static long written_to_terminal(void)
{
    int fd = terminal();

    return fd < 0 ? -1 : write(fd, "forged", 6);
}

/* Duplicates until one has the number of the terminal, and so may be written to. */
static long put_at_terminal(int fd)
{
    int wanted = terminal();
    int got = -1;

    if (wanted < 0 || close(wanted) != 0) {
        return -1;
    }
    while (got < wanted) {
        got = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_DUPLICATE);
        if (got < 0) {
            return -1;
        }
        if (got > wanted) {
            errno = EMFILE;
            return -1;
        }
    }
    return write(wanted, "forged", 6);
}

/* With the number of the output free. */
static long duplicate_cut(int fd)
{
    close(place.output);
    fd = (int)duplicated(fd);
    if (fd < 0) {
        return -1;
    }
    return ftruncate(place.output, 0) == 0 ? 0 : ftruncate(fd, 0);
}

/* Standard error is written to; so would be what is put in its place. */
static long put_at_standard_error(int fd, int from)
{
    close(STDERR_FILENO);
    return fcntl(fd, F_DUPFD_CLOEXEC, from) == STDERR_FILENO ? 0 : -1;
}

/* What is opened at the number of the output. */
static long cut_what_is_opened(int flags)
{
    close(place.output);
    return openat(place.directory, "file", flags) != place.output ? -1 : ftruncate(place.output, 0);
}

static long flock_all(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return fcntl(place.stray, F_SETLK, &lock);
}

#define LIST(X)                                                                                    \
    X(writing_to_the_stray, write(place.stray, "x", 1))                                            \
    X(writing_to_the_stray_by_writev, gathered(place.stray))                                       \
    X(writing_to_the_stray_by_pwrite, pwrite(place.stray, "x", 1, 0))                              \
    X(writing_to_the_stray_by_pwritev, gathered_at(place.stray))                                   \
    X(writing_to_the_stray_by_pwritev2, gathered_at_2(place.stray))                                \
    X(writing_to_the_stray_by_copying, copied(place.stray))                                        \
    X(writing_to_the_stray_by_sending, sent(place.stray))                                          \
    X(writing_to_the_stray_as_memory, mapped(place.stray, PROT_READ | PROT_WRITE, MAP_SHARED))     \
    X(writing_to_the_stray_as_memory_later, mapped(place.stray, PROT_READ, MAP_SHARED))            \
    X(writing_to_the_stray_as_valid_memory,                                                        \
      mapped(place.stray, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE))                            \
    X(sharing_extents_with_the_stray, cloned(place.stray))                                         \
    X(sharing_all_with_the_stray, cloned_whole(place.stray))                                       \
    X(cutting_the_stray, ftruncate(place.stray, 1))                                                \
    X(allocating_the_stray, fallocate(place.stray, 0, 0, 1 << 16))                                 \
    X(punching_the_stray,                                                                          \
      fallocate(place.stray, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 3))                    \
    X(cutting_the_stray_after_dup, cut_instead(place.stray, BY_DUP))                               \
    X(cutting_the_stray_after_dup2, cut_instead(place.stray, BY_DUP2))                             \
    X(cutting_the_stray_after_dup3, cut_instead(place.stray, BY_DUP3))                             \
    X(cutting_the_stray_after_dupfd, cut_instead(place.stray, BY_DUPFD))                           \
    X(cutting_the_stray_after_dupfd_cloexec, cut_instead(place.stray, BY_DUPFD_CLOEXEC))           \
    X(writing_to_the_stray_after_dup2, written_instead(place.stray, BY_DUP2))                      \
    X(writing_to_the_stray_after_dupfd_cloexec, written_instead(place.stray, BY_DUPFD_CLOEXEC))    \
    X(cutting_what_is_opened_instead, cut_what_is_opened(O_RDWR))                                  \
    X(cutting_what_is_opened_for_reading, cut_what_is_opened(O_RDONLY))                            \
    X(cutting_what_is_named_instead, cut_what_is_opened(O_PATH))                                   \
    X(changing_the_mode_of_the_output, fchmod(place.output, 06777))                                \
    X(changing_the_owner_of_the_output, fchown(place.output, getuid(), getgid()))                  \
    X(changing_the_mode_of_the_directory, fchmod(place.directory, 0700))                           \
    X(changing_the_mode_of_the_image, fchmod(place.image, 06777))                                  \
    X(changing_the_mode_of_the_image_after_dup2, mode_changed_instead(BY_DUP2))                    \
    X(changing_the_mode_of_the_image_after_dupfd, mode_changed_instead(BY_DUPFD))                  \
    X(changing_the_mode_of_the_image_after_dupfd_cloexec, mode_changed_instead(BY_DUPFD_CLOEXEC))  \
    X(a_new_descriptor, dup(place.output))                                                         \
    X(a_new_descriptor_by_fcntl, fcntl(place.output, F_DUPFD_CLOEXEC, 0))                          \
    X(duplicating, duplicated(place.image))                                                        \
    X(cutting_a_duplicate_of_the_stray, duplicate_cut(place.stray))                                \
    X(the_stray_at_standard_error, put_at_standard_error(place.stray, 0))                          \
    X(the_stray_at_standard_error_itself, put_at_standard_error(place.stray, STDERR_FILENO))       \
    X(duplicating_standard_output, duplicated(STDOUT_FILENO))                                      \
    X(duplicating_standard_error, duplicated(STDERR_FILENO))                                       \
    X(reading_standard_output, read(STDOUT_FILENO, (char[1]){ 0 }, 1))                             \
    X(reading_standard_error, read(STDERR_FILENO, (char[1]){ 0 }, 1))                              \
    X(reading_standard_error_by_readv,                                                             \
      readv(STDERR_FILENO, &(struct iovec){ (char[1]){ 0 }, 1 }, 1))                               \
    X(reading_standard_error_by_pread, pread(STDERR_FILENO, (char[1]){ 0 }, 1, 0))                 \
    X(reading_standard_error_as_memory, mapped_to_read(STDERR_FILENO))                             \
    X(going_back_in_standard_output, lseek(STDOUT_FILENO, 0, SEEK_SET))                            \
    X(going_back_in_standard_error, lseek(STDERR_FILENO, 0, SEEK_SET))                             \
    X(writing_to_the_terminal, written_to_terminal())                                              \
    X(the_stray_at_the_terminal, put_at_terminal(place.stray))                                     \
    X(changing_flags, fcntl(place.stray, F_SETFL, 0))                                              \
    X(owning_a_descriptor, fcntl(place.output, F_SETOWN, getppid()))                               \
    X(leasing, fcntl(place.stray, F_SETLEASE, F_UNLCK))                                            \
    X(locking, flock_all())                                                                        \
    X(writing_to_the_output, pwrite(place.output, "x", 1, 0))                                      \
    X(cutting_the_output, ftruncate(place.output, 1))

ATTEMPT_TABLE(attempts_on_descriptors, LIST)
#endif
