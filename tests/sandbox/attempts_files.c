/* SPDX-License-Identifier: MIT */
/* attempts_files.c - files by their names: to read, write, create, empty, rename and change them, by
 * every call that can. */
#ifdef __linux__
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "attempts.h"

enum { DESCRIPTORS = 64 };

/* Calls that some machines do not have. */
#ifdef SYS_open
#define OLD(...) syscall(__VA_ARGS__)
#else
#define OLD(...) without()
static long without(void)
{
    errno = ENOSYS;
    return -1;
}
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* A bit in the half of a register that is no part of an int. */
#define BEYOND_INT ((uintptr_t)1 << (sizeof(uintptr_t) * 8 - 1))

static long opened(const char *name, uint64_t flags, uint64_t mode)
{
    uint64_t how[3] = { flags, mode, 0 };

    return syscall(SYS_openat2, place.directory, name, how, sizeof how);
}

/* By the number of a descriptor, as the library does to ask for holes. */
static long reopened(int fd, int flags)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* A descriptor that names the file alone, and then the file by its number. */
static long reopened_from_path(int flags)
{
    int fd = openat(place.directory, "file", O_PATH | O_NOFOLLOW);

    return fd < 0 ? -1 : reopened(fd, flags);
}

static long empty_path_xattr(void)
{
    return fsetxattr(place.stray, "user.a", "b", 1, 0);
}

static long handle(void)
{
    uint64_t room[20] = { 128 };
    int mount;

    return syscall(SYS_name_to_handle_at, place.directory, "file", room, &mount, 0);
}

static long looked_at(const char *name)
{
    struct stat info;

    return fstatat(place.directory, name, &info, 0);
}

static long link_read(void)
{
    char text[64];

    return readlink("/proc/self/exe", text, sizeof text);
}

static long link_read_at(void)
{
    char text[64];

    return readlinkat(AT_FDCWD, "/proc/self/exe", text, sizeof text);
}

static long listed(void)
{
    char room[4096];
    int fd = openat(place.directory, ".", O_RDONLY | O_DIRECTORY);

    return fd < 0 ? -1 : syscall(SYS_getdents64, fd, room, sizeof room);
}

/* One that was opened before. */
static long open_directory_listed(void)
{
    char room[4096];
    long result = -1;

    for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS && result < 0; fd++) {
        result = syscall(SYS_getdents64, fd, room, sizeof room);
    }
    return result;
}

static long working_directory(void)
{
    char room[4096];

    return getcwd(room, sizeof room) != NULL ? 0 : -1;
}

/* The names of the output, in the directory that "directory" has been made to be. */
static long rename_elsewhere(void)
{
    int other = openat(place.directory, "/sys", O_PATH | O_DIRECTORY);

    if (other < 0 || dup2(other, place.directory) < 0) {
        return -1;
    }
    return renameat(place.directory, place.names.temporary, place.directory, place.names.final);
}

/* The same, by opening another directory at the number. */
static long rename_where_opened(void)
{
    int other;

    if (close(place.directory) != 0) {
        return -1;
    }
    other = openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY);
    if (other != place.directory) {
        errno = other < 0 ? errno : EBADF; /* a lower number was free */
        return -1;
    }
    return renameat(place.directory, place.names.temporary, place.directory, place.names.final);
}

/* By the flags of renameat2: 1 replaces nothing, 2 exchanges both. */
static long renamed(unsigned flags)
{
    return syscall(SYS_renameat2, place.directory, place.names.temporary, place.directory,
                   place.names.final, flags);
}

#define RDONLY_CREAT (O_RDONLY | O_CREAT)
#define TMPFILE      (O_WRONLY | O_TMPFILE)

#define LIST(X)                                                                                    \
    X(reading_inside, openat(place.directory, "file", O_RDONLY))                                   \
    X(reading_inside_from_a_path, reopened_from_path(O_RDONLY))                                    \
    X(reopening_the_image, reopened(place.image, O_RDONLY))                                        \
    X(reading_a_device, open("/dev/zero", O_RDONLY))                                               \
    X(naming_a_file_outside, open("/etc/passwd", O_PATH))                                          \
    X(opening_the_pipe_of_standard_output, open("/proc/self/fd/1", O_RDONLY | O_NONBLOCK))         \
    X(opening_a_name_of_the_kernel, open("/proc/self/ns/user", O_RDONLY))                          \
    X(naming_a_file, openat(place.directory, "file", O_PATH | O_NOFOLLOW))                         \
    X(looking_at_names, looked_at("file"))                                                         \
    X(listing_inside, listed())                                                                    \
    X(listing_an_open_directory, open_directory_listed())                                          \
    X(reading_a_link, link_read())                                                                 \
    X(reading_a_link_at, link_read_at())                                                           \
    X(asking_for_access, access("file", R_OK))                                                     \
    X(asking_for_access_at, faccessat(place.directory, "file", R_OK, 0))                           \
    X(asking_where_we_are, working_directory())                                                    \
    X(reading_outside, open("/etc/passwd", O_RDONLY))                                              \
    X(reading_outside_by_openat2, opened("/etc/passwd", O_RDONLY, 0))                              \
    X(listing_outside, open("/etc", O_RDONLY | O_DIRECTORY))                                       \
    X(writing_by_open, OLD(SYS_open, "file", O_WRONLY))                                            \
    X(writing_by_openat, openat(place.directory, "file", O_WRONLY))                                \
    X(writing_by_openat2, opened("file", O_WRONLY, 0))                                             \
    X(writing_and_reading_by_openat, openat(place.directory, "file", O_RDWR))                      \
    X(writing_and_reading_by_openat2, opened("file", O_RDWR, 0))                                   \
    X(writing_with_a_bit_more, syscall(SYS_openat, place.directory, "file", BEYOND_INT | O_RDWR))  \
    X(opening_for_ioctl_alone, openat(place.directory, "file", 3))                                 \
    X(writing_from_a_path, reopened_from_path(O_RDWR))                                             \
    X(writing_to_the_image_by_number, reopened(place.image, O_RDWR))                               \
    X(writing_to_the_stray_by_number, reopened(place.stray, O_WRONLY))                             \
    X(creating_by_open, OLD(SYS_open, "new", RDONLY_CREAT, 0600))                                  \
    X(creating_by_openat, openat(place.directory, "new", RDONLY_CREAT, 0600))                      \
    X(creating_by_openat2, opened("new", RDONLY_CREAT, 06755))                                     \
    X(creating_exclusively_by_openat2, opened("new", O_RDWR | O_CREAT | O_EXCL, 06755))            \
    X(creating_by_creat, OLD(SYS_creat, "new", 0600))                                              \
    X(creating_by_mknod, OLD(SYS_mknod, "new", S_IFREG | 0600, 0))                                 \
    X(creating_by_mknodat, mknodat(place.directory, "new", S_IFREG | 0600, 0))                     \
    X(creating_a_pipe, mkfifo("new", 0600))                                                        \
    X(creating_without_a_name_by_open, OLD(SYS_open, ".", TMPFILE, 0600))                          \
    X(creating_without_a_name_by_openat, openat(place.directory, ".", TMPFILE, 0600))              \
    X(creating_without_a_name_by_openat2, opened(".", TMPFILE, 0600))                              \
    X(creating_a_directory, mkdirat(place.directory, "new", 0700))                                 \
    X(emptying_by_open, OLD(SYS_open, "file", O_RDONLY | O_TRUNC))                                 \
    X(emptying_by_openat, openat(place.directory, "file", O_RDONLY | O_TRUNC))                     \
    X(emptying_by_openat2, opened("file", O_RDONLY | O_TRUNC, 0))                                  \
    X(emptying_by_truncate, truncate("file", 0))                                                   \
    X(emptying_the_image_by_number, reopened(place.image, O_RDONLY | O_TRUNC))                     \
    X(linking, linkat(place.directory, "file", place.directory, "link", 0))                        \
    X(linking_a_descriptor, linkat(place.stray, "", place.directory, "link", AT_EMPTY_PATH))       \
    X(a_symbolic_link, symlinkat("/etc/passwd", place.directory, "link"))                          \
    X(removing_a_file, unlinkat(place.directory, "file", 0))                                       \
    X(renaming_a_file, renameat(place.directory, "file", place.directory, "final"))                \
    X(renaming_by_other_words, renameat(place.directory, "temporary", place.directory, "final"))   \
    X(renaming_to_another_name,                                                                    \
      renameat(place.directory, place.names.temporary, place.directory, "file"))                   \
    X(renaming_in_another_directory, rename_elsewhere())                                           \
    X(renaming_in_a_directory_opened_instead, rename_where_opened())                               \
    X(changing_a_mode_by_chmod, chmod("file", 0777))                                               \
    X(changing_a_mode_by_fchmodat, fchmodat(place.directory, "file", 0777, 0))                     \
    X(changing_a_mode_by_fchmodat2,                                                                \
      syscall(SYS_fchmodat2, place.directory, "file", 0777, AT_SYMLINK_NOFOLLOW))                  \
    X(changing_an_owner_by_lchown, lchown("file", (uid_t)-1, (gid_t)-1))                           \
    X(changing_an_owner_by_fchownat, fchownat(place.directory, "file", getuid(), getgid(), 0))     \
    X(changing_times, utimensat(place.directory, "file", NULL, 0))                                 \
    X(changing_attributes, setxattr("file", "user.a", "b", 1, 0))                                  \
    X(changing_attributes_by_number, empty_path_xattr())                                           \
    X(asking_for_a_handle, handle())                                                               \
    X(going_elsewhere, chdir("/"))                                                                 \
    X(exchanging_files, renamed(2))                                                                \
    X(finishing_where_nothing_is, renamed(1))                                                      \
    X(finishing,                                                                                   \
      renameat(place.directory, place.names.temporary, place.directory, place.names.final))        \
    X(giving_up, unlinkat(place.directory, place.names.temporary, 0))

ATTEMPT_TABLE(attempts_on_files, LIST)
#endif
