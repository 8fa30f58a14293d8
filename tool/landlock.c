/* SPDX-License-Identifier: MIT */
/* landlock.c - which files this process may still open, by the kernel's Landlock.
 * Knows the three system calls and their versions; must not know which files a command needs.
 *
 * Everything the running kernel can deny is denied, and rules hand back the little that is needed. The
 * headers a build sees may be older than the kernel it runs on, so what came later has its values here. */
#include "landlock.h"

#ifdef __linux__
#include <sys/syscall.h>
#endif

#if defined(SYS_landlock_create_ruleset) && __has_include(<linux/landlock.h>)
#include <errno.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

/* struct landlock_ruleset_attr as it has grown: a kernel takes as much of it as it knows. */
struct ruleset {
    uint64_t files;   /* version 1 */
    uint64_t network; /* version 4 */
    uint64_t scopes;  /* version 6 */
};

/* The rights over files that version 1 knows: executing, reading, writing, listing, and making and
 * removing each kind of file. Later versions added REFER (2), TRUNCATE (3) and IOCTL_DEV (5). */
#define FILES_1       ((UINT64_C(1) << 13) - 1)
#define FILE_REFER    (UINT64_C(1) << 13)
#define FILE_TRUNCATE (UINT64_C(1) << 14)
/* Binding and connecting TCP sockets; abstract sockets of others, and signals to others. */
#define NETWORK_4 UINT64_C(3)
#define SCOPES_6  UINT64_C(3)

bool landlock_begin(struct landlock *landlock)
{
    struct ruleset ruleset = { .files = FILES_1 };
    size_t bytes = offsetof(struct ruleset, network);
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    landlock->fd = -1;
    landlock->version = (int)version;
    landlock->failure = 0;
    if (version < 1) {
        return false;
    }
    ruleset.files |= version >= 2 ? FILE_REFER : 0;
    ruleset.files |= version >= 3 ? FILE_TRUNCATE : 0;
    if (version >= 4) {
        ruleset.network = NETWORK_4;
        bytes = offsetof(struct ruleset, scopes);
    }
    if (version >= 6) {
        ruleset.scopes = SCOPES_6;
        bytes = sizeof ruleset;
    }
    landlock->fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, bytes, 0);
    return landlock->fd >= 0;
}

/* A rule that cannot be made leaves more forbidden: perhaps even to finish a file, or to remove it. */
static void allow(struct landlock *landlock, int fd, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = { .allowed_access = rights, .parent_fd = fd };

    if (syscall(SYS_landlock_add_rule, landlock->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 &&
        landlock->failure == 0) {
        landlock->failure = errno;
    }
}

/* The same where it does not matter if `fd` has been closed since (EBADF), or is a file that has no place
 * in a file system, such as a pipe (EBADFD): Landlock lets those be opened without a rule. */
static void allow_reading(struct landlock *landlock, int fd, uint64_t rights)
{
    const int failure = landlock->failure;

    allow(landlock, fd, rights);
    if (landlock->failure == EBADF || landlock->failure == EBADFD) {
        landlock->failure = failure;
    }
}

void landlock_allow_file(struct landlock *landlock, int fd)
{
    struct stat info;

    /* A right that is given to a directory is a right to all beneath it. */
    if (landlock->fd >= 0 && fstat(fd, &info) == 0 && !S_ISDIR(info.st_mode)) {
        allow_reading(landlock, fd, LANDLOCK_ACCESS_FS_READ_FILE);
    }
}

void landlock_allow_directory(struct landlock *landlock, int fd)
{
    struct stat info;

    if (landlock->fd >= 0 && fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
        allow_reading(landlock, fd, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
    }
}

void landlock_allow_renaming(struct landlock *landlock, int directory_fd)
{
    if (landlock->fd >= 0) {
        allow(landlock, directory_fd, LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE);
    }
}

bool landlock_enforce(struct landlock *landlock)
{
    bool done = landlock->fd >= 0 && landlock->failure == 0 &&
                syscall(SYS_landlock_restrict_self, landlock->fd, 0) == 0;

    landlock_drop(landlock);
    return done;
}

void landlock_drop(struct landlock *landlock)
{
    if (landlock->fd >= 0) {
        close(landlock->fd);
    }
    landlock->fd = -1;
}

#else /* no Landlock */

bool landlock_begin(struct landlock *landlock)
{
    landlock->fd = -1;
    landlock->version = 0;
    return false;
}

void landlock_allow_file(struct landlock *landlock, int fd)
{
    (void)landlock;
    (void)fd;
}

void landlock_allow_directory(struct landlock *landlock, int fd)
{
    (void)landlock;
    (void)fd;
}

void landlock_allow_renaming(struct landlock *landlock, int directory_fd)
{
    (void)landlock;
    (void)directory_fd;
}

bool landlock_enforce(struct landlock *landlock)
{
    (void)landlock;
    return false;
}

void landlock_drop(struct landlock *landlock)
{
    (void)landlock;
}

#endif
