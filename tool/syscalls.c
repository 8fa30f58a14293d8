/* SPDX-License-Identifier: MIT */
/* syscalls.c - which system calls this process may still make, by the kernel's seccomp (libseccomp).
 * Knows what libc and the library call; must not know commands or files.
 *
 * A list of what is allowed, since nobody can list what is dangerous. What is not on it fails with
 * ENOSYS, as on a kernel that is too old: a libc that is newer than the list then takes the older way.
 * Calls that no libc makes behind one's back, and every attack tries, raise SIGSYS instead, so that
 * they are noticed. They do not happen either way. */
#include "syscalls.h"

/* Above the descriptors that most commands have. */
enum { FIRST_DUPLICATE = 32 };

int syscalls_first_duplicate(const struct syscalls_needs *needs)
{
    int first = FIRST_DUPLICATE;

    first = needs->output_fd >= first ? needs->output_fd + 1 : first;
    return needs->terminal_fd >= first ? needs->terminal_fd + 1 : first;
}

#ifdef SANDBOX_SECCOMP
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include "filter.h"

/* Whatever their arguments. Those that a machine does not have are passed over. */
static const int allowed[] = {
    /* bytes of open descriptors, but for writing */
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(lseek), SCMP_SYS(close),
    SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(_llseek), SCMP_SYS(fadvise64),
    SCMP_SYS(fadvise64_64), SCMP_SYS(arm_fadvise64_64), SCMP_SYS(poll), SCMP_SYS(ppoll),
    SCMP_SYS(ppoll_time64), SCMP_SYS(select), SCMP_SYS(_newselect), SCMP_SYS(pselect6),
    SCMP_SYS(pselect6_time64),
    /* what files are */
    SCMP_SYS(fstatfs), SCMP_SYS(fstat), SCMP_SYS(fstat64), SCMP_SYS(newfstatat),
    SCMP_SYS(fstatat64), SCMP_SYS(statx), SCMP_SYS(stat), SCMP_SYS(stat64), SCMP_SYS(lstat),
    SCMP_SYS(lstat64), SCMP_SYS(fstatfs64),
    /* memory, threads, signals to be received */
    SCMP_SYS(brk), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu),
    SCMP_SYS(set_robust_list), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
    SCMP_SYS(futex), SCMP_SYS(futex_time64), SCMP_SYS(rseq), SCMP_SYS(sigreturn),
    /* time, chance, and who we are */
    SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
    SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(uname), SCMP_SYS(sysinfo),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_gettime64), SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_nanosleep_time64), SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getuid32), SCMP_SYS(geteuid32),
    SCMP_SYS(getgid32), SCMP_SYS(getegid32), SCMP_SYS(getrlimit), SCMP_SYS(ugetrlimit),
    /* giving up more */
    SCMP_SYS(seccomp), SCMP_SYS(landlock_create_ruleset), SCMP_SYS(landlock_add_rule),
    SCMP_SYS(landlock_restrict_self)
};

/* Nothing here has a use for these. */
static const int trapped[] = {
    SCMP_SYS(execve),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kill),
    SCMP_SYS(mount),
    SCMP_SYS(unshare),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(socket),
    SCMP_SYS(connect),
    SCMP_SYS(bpf),
    SCMP_SYS(io_uring_setup),
};

static const int reads[] = { SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64) };

/* Bytes to the output, to standard output and error, and to the terminal of a question. */
static const int writes[] = { SCMP_SYS(write), SCMP_SYS(writev) };

/* What only the file or device that the disk is written to needs. */
static const int changes[] = { SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), SCMP_SYS(ftruncate64),
                               SCMP_SYS(fallocate) };

/* What names lead to, for finding what an image refers to: not needed once its last file is open. */
static const int before_seal[] = {
    SCMP_SYS(readlink),   SCMP_SYS(readlinkat), SCMP_SYS(getcwd),
    SCMP_SYS(faccessat2), SCMP_SYS(faccessat),  SCMP_SYS(access),
};

/* What terminals and devices are. Not TIOCSTI, which types into the user's shell. */
static const unsigned long ioctls[] = { TCGETS, TIOCGWINSZ, BLKGETSIZE64 };

/* With and without echo, for a passphrase. */
static const unsigned long terminal_ioctls[] = { TCSETS, TCSETSW, TCSETSF };

/* F_SETOWN and F_SETSIG would send signals. */
static const int fcntls[] = { F_GETFD, F_SETFD, F_GETFL };

/* What libc, libcrypto and compilers' runtimes advise about their own memory. Others break memory for all who
 * have the same file in it (MADV_HWPOISON, with the rights of root), or write to files. The numbers that
 * older headers lack are those of guard pages, which threads of newer libc have. */
static const int advice[] = {
    MADV_NORMAL, MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP,
    MADV_DODUMP, 102,           103
};

/* What opens a file for anything but reading: the access mode (O_ACCMODE of musl has the bit of O_PATH,
 * too, and that neither reads nor writes), and the bit of O_TMPFILE that is not O_DIRECTORY. */
#define WRITING ((uint64_t)(O_RDWR | O_WRONLY | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY)))

/* A thread of this process has CLONE_THREAD and none of the others, with which root could give it a
 * network or mounts of its own. */
#define CLONE_OTHERS                                                                               \
    ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
                CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE | CLONE_UNTRACED))

/* Where these have their arguments in memory, no filter sees them: the older mmap of machines that also
 * have an mmap2, and the only one of s390. */
#if defined(__NR_mmap2)
#define MMAP SCMP_SYS(mmap2)
#else
#define MMAP SCMP_SYS(mmap)
#endif
#ifdef __s390__
enum { MMAP_IS_SEEN = 0 };
#else
enum { MMAP_IS_SEEN = 1 };
#endif

/* openat2 is not among them, since its flags lie in memory, where no filter sees them: with it files
 * could be created, and emptied where Landlock does not know of that. Without it the library walks. */
static void allow_opening(struct filter *filter)
{
    ALLOW_IF(filter, SCMP_SYS(openat), filter_bits(2, WRITING, 0));
    ALLOW_IF(filter, SCMP_SYS(open), filter_bits(1, WRITING, 0));
}

static void allow_fcntls(struct filter *filter, int first_duplicate)
{
    for (size_t i = 0; i < FILTER_COUNT_OF(fcntls); i++) {
        ALLOW_IF(filter, SCMP_SYS(fcntl), filter_number(1, fcntls[i]));
        ALLOW_IF(filter, SCMP_SYS(fcntl64), filter_number(1, fcntls[i]));
    }
    ALLOW_IF(filter, SCMP_SYS(fcntl), filter_number(1, F_DUPFD_CLOEXEC),
             filter_number(2, first_duplicate));
    ALLOW_IF(filter, SCMP_SYS(fcntl64), filter_number(1, F_DUPFD_CLOEXEC),
             filter_number(2, first_duplicate));
}

static void allow_ioctls(struct filter *filter, int terminal_fd)
{
    for (size_t i = 0; i < FILTER_COUNT_OF(ioctls); i++) {
        ALLOW_IF(filter, SCMP_SYS(ioctl), filter_bits(1, UINT32_MAX, ioctls[i]));
    }
    for (size_t i = 0; terminal_fd >= 0 && i < FILTER_COUNT_OF(terminal_ioctls); i++) {
        ALLOW_IF(filter, SCMP_SYS(ioctl), filter_number(0, terminal_fd),
                 filter_bits(1, UINT32_MAX, terminal_ioctls[i]));
    }
}

/* A descriptor is known by its number. Nothing can put another file that is open for writing there:
 * duplicates get higher numbers than all of these, and what is opened is for reading. */
static void allow_writing(struct filter *filter, const struct syscalls_needs *needs)
{
    for (size_t i = 0; i < FILTER_COUNT_OF(writes); i++) {
        ALLOW_IF(filter, writes[i], filter_number(0, STDOUT_FILENO));
        ALLOW_IF(filter, writes[i], filter_number(0, STDERR_FILENO));
        if (needs->output_fd > STDERR_FILENO) {
            ALLOW_IF(filter, writes[i], filter_number(0, needs->output_fd));
        }
        if (needs->terminal_fd > STDERR_FILENO) {
            ALLOW_IF(filter, writes[i], filter_number(0, needs->terminal_fd));
        }
    }
    if (needs->output_fd < 0) {
        return;
    }
    for (size_t i = 0; i < FILTER_COUNT_OF(changes); i++) {
        ALLOW_IF(filter, changes[i], filter_number(0, needs->output_fd));
    }
    ALLOW_IF(filter, SCMP_SYS(ioctl), filter_number(0, needs->output_fd),
             filter_bits(1, UINT32_MAX, FICLONERANGE));
}

/* Memory that begins below `end` stays as it is; 0: there is none to protect. Nothing is mapped that
 * would write to a file. */
static void allow_memory(struct filter *filter, size_t end)
{
    ALLOW_IF(filter, SCMP_SYS(munmap), filter_at_least(0, end));
    ALLOW_IF(filter, SCMP_SYS(mprotect), filter_at_least(0, end));
    for (size_t i = 0; i < FILTER_COUNT_OF(advice); i++) {
        ALLOW_IF(filter, SCMP_SYS(madvise), filter_at_least(0, end), filter_number(2, advice[i]));
    }
    ALLOW_IF(filter, SCMP_SYS(mremap), filter_at_least(0, end), filter_bits(3, MREMAP_FIXED, 0));
    if (MMAP_IS_SEEN) {
        ALLOW_IF(filter, MMAP, filter_bits(3, MAP_FIXED | MAP_SHARED, 0));
        ALLOW_IF(filter, MMAP, filter_at_least(0, end), filter_bits(3, MAP_SHARED, 0));
    } else {
        filter_decide(filter, SCMP_ACT_ALLOW, MMAP, 0, NULL);
    }
}

/* What is read from a standard output or error, or from a duplicate of it, is not an image's: another program's
 * file if it is open for reading too, or what the user types. */
static void exclude_reading(struct filter *filter, int fd)
{
    const uint32_t denied = SCMP_ACT_ERRNO(EACCES);

    for (size_t i = 0; i < FILTER_COUNT_OF(reads); i++) {
        FILTER_IF(filter, denied, reads[i], filter_number(0, fd));
    }
    FILTER_IF(filter, denied, SCMP_SYS(fcntl), filter_number(0, fd),
              filter_number(1, F_DUPFD_CLOEXEC));
    FILTER_IF(filter, denied, SCMP_SYS(fcntl64), filter_number(0, fd),
              filter_number(1, F_DUPFD_CLOEXEC));
    if (MMAP_IS_SEEN) {
        FILTER_IF(filter, denied, MMAP, filter_number(4, fd));
    }
}

/* Some machines ignore the highest byte of an address (a tag): to the kernel it is then one of the addresses
 * that are protected, to a filter it is a higher one. */
static void exclude_tags(struct filter *filter)
{
#if UINTPTR_MAX > UINT32_MAX
    static const int calls[] = { SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(madvise),
                                 SCMP_SYS(mremap) };
    const uint32_t denied = SCMP_ACT_ERRNO(ENOSYS);
    const struct scmp_arg_cmp tagged = filter_at_least(0, UINT64_C(1) << 56);

    for (size_t i = 0; i < FILTER_COUNT_OF(calls); i++) {
        filter_decide(filter, denied, calls[i], 1, &tagged);
    }
    if (MMAP_IS_SEEN) {
        filter_decide(filter, denied, MMAP, 1, &tagged);
    }
#else
    (void)filter;
#endif
}

static void allow_processes(struct filter *filter)
{
#ifdef __s390__
    const unsigned clone_flags = 1;
#else
    const unsigned clone_flags = 0;
#endif
    const struct scmp_arg_cmp process = filter_bits(clone_flags, CLONE_THREAD, 0);

    ALLOW_IF(filter, SCMP_SYS(clone),
             filter_bits(clone_flags, CLONE_THREAD | CLONE_OTHERS, CLONE_THREAD));
    filter_decide(filter, SCMP_ACT_TRAP, SCMP_SYS(clone), 1, &process);
    /* raise(3) and abort(3): signals to ourselves. */
    ALLOW_IF(filter, SCMP_SYS(tgkill), filter_number(0, getpid()));
    ALLOW_IF(filter, SCMP_SYS(tkill), filter_number(0, getpid()));
    /* Asking for a limit, not setting one. */
    ALLOW_IF(filter, SCMP_SYS(prlimit64), filter_number(0, 0), filter_address(2, NULL));
}

static void allow_commit(struct filter *filter, const struct syscalls_commit *commit)
{
    const int directory = commit->directory_fd;
    const char *temporary = commit->names->temporary, *final = commit->names->final;

    ALLOW_IF(filter, SCMP_SYS(unlinkat), filter_number(0, directory), filter_address(1, temporary),
             filter_number(2, 0));
    ALLOW_IF(filter, SCMP_SYS(renameat), filter_number(0, directory), filter_address(1, temporary),
             filter_number(2, directory), filter_address(3, final));
    /* Also where nothing has the name, but never in exchange for what has it. */
    ALLOW_IF(filter, SCMP_SYS(renameat2), filter_number(0, directory), filter_address(1, temporary),
             filter_number(2, directory), filter_address(3, final),
             filter_bits(4, ~(uint32_t)RENAME_NOREPLACE, 0));
}

/* What other arguments of allowed calls would do. A filter of its own, since one that lists what is allowed
 * cannot exclude single descriptors, nor test an argument twice. */
static bool exclude(const struct syscalls_needs *needs)
{
    struct filter filter;

    filter_begin(&filter, SCMP_ACT_ALLOW);
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        exclude_reading(&filter, fd);
        if (fd != needs->output_fd) {
            /* As with a pipe. */
            FILTER_IF(&filter, SCMP_ACT_ERRNO(ESPIPE), SCMP_SYS(lseek), filter_number(0, fd));
            FILTER_IF(&filter, SCMP_ACT_ERRNO(ESPIPE), SCMP_SYS(_llseek), filter_number(0, fd));
        }
    }
    exclude_tags(&filter);
    if (needs->commit != NULL) {
        /* Else another directory could be opened at the number of the output's. */
        FILTER_IF(&filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(close),
                  filter_number(0, needs->commit->directory_fd));
    }
    return filter_load(&filter);
}

bool syscalls_restrict(const struct syscalls_needs *needs)
{
    struct filter filter;

    if (!exclude(needs)) {
        return false;
    }
    filter_begin(&filter, SCMP_ACT_ERRNO(ENOSYS));
    filter_decide_all(&filter, SCMP_ACT_ALLOW, allowed, FILTER_COUNT_OF(allowed));
    filter_decide_all(&filter, SCMP_ACT_ALLOW, before_seal, FILTER_COUNT_OF(before_seal));
    filter_decide_all(&filter, SCMP_ACT_TRAP, trapped, FILTER_COUNT_OF(trapped));
    allow_opening(&filter);
    allow_fcntls(&filter, syscalls_first_duplicate(needs));
    allow_ioctls(&filter, needs->terminal_fd);
    allow_writing(&filter, needs);
    allow_memory(&filter, needs->commit != NULL ? needs->commit->names->end : 0);
    allow_processes(&filter);
    /* Whether an open file has an attribute, not its bytes: access control lists. */
    ALLOW_IF(&filter, SCMP_SYS(fgetxattr), filter_address(2, NULL), filter_address(3, NULL));
    if (needs->commit != NULL) {
        allow_commit(&filter, needs->commit);
    }
    return filter_load(&filter);
}

bool syscalls_seal(void)
{
    static const int opens[] = { SCMP_SYS(openat), SCMP_SYS(open) };
    struct filter filter;

    filter_begin(&filter, SCMP_ACT_ALLOW);
    filter_decide_all(&filter, SCMP_ACT_ERRNO(ENOSYS), before_seal, FILTER_COUNT_OF(before_seal));
    filter_decide_all(&filter, SCMP_ACT_ERRNO(EACCES), opens, FILTER_COUNT_OF(opens));
    filter_decide(&filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(fgetxattr), 0, NULL);
    FILTER_IF(&filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(fcntl), filter_number(1, F_DUPFD_CLOEXEC));
    FILTER_IF(&filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(fcntl64),
              filter_number(1, F_DUPFD_CLOEXEC));
    for (size_t i = 0; i < FILTER_COUNT_OF(terminal_ioctls); i++) {
        FILTER_IF(&filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(ioctl),
                  filter_bits(1, UINT32_MAX, terminal_ioctls[i]));
    }
    if (MMAP_IS_SEEN) {
        FILTER_IF(&filter, SCMP_ACT_ERRNO(EACCES), MMAP, filter_bits(2, PROT_EXEC, PROT_EXEC));
    }
    FILTER_IF(&filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mprotect),
              filter_bits(2, PROT_EXEC, PROT_EXEC));
    return filter_load(&filter);
}

#else /* no seccomp */

bool syscalls_restrict(const struct syscalls_needs *needs)
{
    (void)needs;
    return false;
}

bool syscalls_seal(void)
{
    return false;
}

#endif
