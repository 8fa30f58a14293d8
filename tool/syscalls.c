/* SPDX-License-Identifier: MIT */
/* syscalls.c - which system calls this process may still make, by the kernel's seccomp (libseccomp).
 * Knows what libc and the library call; must not know commands or files.
 *
 * A list of what is allowed, since nobody can list what is dangerous. What is not on it fails with
 * ENOSYS, as on a kernel that is too old: a libc that is newer than the list then takes the older way.
 * Calls that no libc makes behind one's back, and every attack tries, raise SIGSYS instead, so that
 * they are noticed. They do not happen either way. */
#include "syscalls.h"

#ifdef SANDBOX_SECCOMP
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Whatever their arguments. Those that a machine does not have are passed over. */
static const int allowed[] = {
    /* bytes of open descriptors */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(fallocate),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(_llseek),
    SCMP_SYS(ftruncate),
    SCMP_SYS(ftruncate64),
    SCMP_SYS(copy_file_range),
    SCMP_SYS(fadvise64),
    SCMP_SYS(fadvise64_64),
    SCMP_SYS(arm_fadvise64_64),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(ppoll_time64),
    SCMP_SYS(select),
    SCMP_SYS(_newselect),
    SCMP_SYS(pselect6),
    SCMP_SYS(pselect6_time64),
    /* what files are called and what they are */
    SCMP_SYS(fstatfs),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents64),
    SCMP_SYS(fstat),
    SCMP_SYS(fstat64),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fstatat64),
    SCMP_SYS(statx),
    SCMP_SYS(stat),
    SCMP_SYS(stat64),
    SCMP_SYS(lstat),
    SCMP_SYS(lstat64),
    SCMP_SYS(fstatfs64),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(access),
    SCMP_SYS(readlink),
    /* memory, threads, signals to be received */
    SCMP_SYS(brk),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(futex),
    SCMP_SYS(futex_time64),
    SCMP_SYS(rseq),
    SCMP_SYS(sigreturn),
    /* time, chance, and who we are */
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_gettime64),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_nanosleep_time64),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getuid32),
    SCMP_SYS(geteuid32),
    SCMP_SYS(getgid32),
    SCMP_SYS(getegid32),
    SCMP_SYS(getrlimit),
    SCMP_SYS(ugetrlimit),
    /* giving up more */
    SCMP_SYS(seccomp),
    SCMP_SYS(landlock_create_ruleset),
    SCMP_SYS(landlock_add_rule),
    SCMP_SYS(landlock_restrict_self),
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

/* Terminals, reflinks and the size of devices. Not TIOCSTI, which types into the user's shell. */
static const unsigned long ioctls[] = { TCGETS,     TCSETS,       TCSETSW,     TCSETSF,
                                        TIOCGWINSZ, FICLONERANGE, BLKGETSIZE64 };

/* F_SETOWN and F_SETSIG would send signals. */
static const int fcntls[] = { F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC };

/* What opens a file for anything but reading. (The bit of O_TMPFILE that is not O_DIRECTORY.) */
#define WRITING ((uint64_t)(O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY)))

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

/* One test of an argument. */
typedef struct scmp_arg_cmp test;

static test bits(unsigned arg, uint64_t mask, uint64_t value)
{
    return (test){ arg, SCMP_CMP_MASKED_EQ, mask, value & mask };
}

/* An int in a register: the upper half is no part of it. */
static test number(unsigned arg, int value)
{
    return bits(arg, UINT32_MAX, (uint32_t)value);
}

static test address(unsigned arg, const void *value)
{
    return (test){ arg, SCMP_CMP_EQ, (uintptr_t)value, 0 };
}

static test at_least(unsigned arg, uint64_t value)
{
    return (test){ arg, SCMP_CMP_GE, value, 0 };
}

/* A filter in the making. */
struct filter {
    scmp_filter_ctx context;
    int failure; /* of the first step that failed, or 0 */
};

static void note(struct filter *filter, int r)
{
    if (filter->failure == 0) {
        filter->failure = r;
    }
}

static void begin(struct filter *filter, uint32_t otherwise)
{
    filter->failure = 0;
    filter->context = seccomp_init(otherwise);
    if (filter->context == NULL) {
        filter->failure = -ENOMEM;
        return;
    }
    /* Calls of another machine that this one can stand in for, such as 32 bits. */
    note(filter, seccomp_attr_set(filter->context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP));
    /* "No new privileges" has been set, and is not a call that the first filter allows. */
    note(filter, seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_NNP, 0));
    /* A tree of numbers, not a list: shorter to make and to ask. */
    note(filter, seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_OPTIMIZE, 2));
    /* Else old kernels slow the whole process down, to keep its own secrets from it; those that are
     * older still cannot be told. */
    (void)seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_SSB, 1);
}

static void decide(struct filter *filter, uint32_t action, int call, unsigned count,
                   const test *tests)
{
    if (filter->failure == 0) {
        note(filter, seccomp_rule_add_array(filter->context, action, call, count, tests));
    }
}

/* Allows a call if its arguments pass. */
#define ALLOW_IF(filter, call, ...)                                                                \
    decide(filter, SCMP_ACT_ALLOW, call, COUNT_OF(((const test[]){ __VA_ARGS__ })),                \
           (const test[]){ __VA_ARGS__ })

static void decide_all(struct filter *filter, uint32_t action, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        decide(filter, action, calls[i], 0, NULL);
    }
}

/* In force for this thread and those it starts. */
static bool load(struct filter *filter)
{
    if (filter->failure == 0) {
        note(filter, seccomp_load(filter->context));
    }
    if (filter->context != NULL) {
        seccomp_release(filter->context);
    }
    return filter->failure == 0;
}

static void allow_opening(struct filter *filter, bool landlocked)
{
    ALLOW_IF(filter, SCMP_SYS(openat), bits(2, WRITING, 0));
    ALLOW_IF(filter, SCMP_SYS(open), bits(1, WRITING, 0));
    if (landlocked) {
        /* Its flags are in memory, where no filter sees them. Without it the library walks. */
        decide(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat2), 0, NULL);
    }
}

/* Memory that begins below `end` stays as it is; 0: there is none to protect. */
static void allow_memory(struct filter *filter, size_t end)
{
    ALLOW_IF(filter, SCMP_SYS(munmap), at_least(0, end));
    ALLOW_IF(filter, SCMP_SYS(mprotect), at_least(0, end));
    ALLOW_IF(filter, SCMP_SYS(madvise), at_least(0, end));
    ALLOW_IF(filter, SCMP_SYS(mremap), at_least(0, end), bits(3, MREMAP_FIXED, 0));
    if (MMAP_IS_SEEN) {
        ALLOW_IF(filter, MMAP, bits(3, MAP_FIXED, 0));
        ALLOW_IF(filter, MMAP, at_least(0, end));
    } else {
        decide(filter, SCMP_ACT_ALLOW, MMAP, 0, NULL);
    }
}

static void allow_processes(struct filter *filter)
{
#ifdef __s390__
    const unsigned clone_flags = 1;
#else
    const unsigned clone_flags = 0;
#endif
    const test process = bits(clone_flags, CLONE_THREAD, 0);

    /* A thread of this process; any other clone is a new process. */
    ALLOW_IF(filter, SCMP_SYS(clone), bits(clone_flags, CLONE_THREAD, CLONE_THREAD));
    decide(filter, SCMP_ACT_TRAP, SCMP_SYS(clone), 1, &process);
    /* raise(3) and abort(3): signals to ourselves. */
    ALLOW_IF(filter, SCMP_SYS(tgkill), number(0, getpid()));
    ALLOW_IF(filter, SCMP_SYS(tkill), number(0, getpid()));
    /* Asking for a limit, not setting one. */
    ALLOW_IF(filter, SCMP_SYS(prlimit64), number(0, 0), address(2, NULL));
}

static void allow_commit(struct filter *filter, const struct syscalls_commit *commit)
{
    const int directory = commit->directory_fd;
    const char *temporary = commit->names->temporary, *final = commit->names->final;

    ALLOW_IF(filter, SCMP_SYS(fchmod), number(0, commit->file_fd));
    ALLOW_IF(filter, SCMP_SYS(fchown), number(0, commit->file_fd));
    ALLOW_IF(filter, SCMP_SYS(fchown32), number(0, commit->file_fd));
    ALLOW_IF(filter, SCMP_SYS(unlinkat), number(0, directory), address(1, temporary), number(2, 0));
    ALLOW_IF(filter, SCMP_SYS(renameat), number(0, directory), address(1, temporary),
             number(2, directory), address(3, final));
    ALLOW_IF(filter, SCMP_SYS(renameat2), number(0, directory), address(1, temporary),
             number(2, directory), address(3, final), bits(4, ~(uint32_t)RENAME_NOREPLACE, 0));
}

bool syscalls_restrict(const struct syscalls_commit *commit, bool landlocked)
{
    struct filter filter;

    begin(&filter, SCMP_ACT_ERRNO(ENOSYS));
    decide_all(&filter, SCMP_ACT_ALLOW, allowed, COUNT_OF(allowed));
    decide_all(&filter, SCMP_ACT_TRAP, trapped, COUNT_OF(trapped));
    for (size_t i = 0; i < COUNT_OF(ioctls); i++) {
        ALLOW_IF(&filter, SCMP_SYS(ioctl), bits(1, UINT32_MAX, ioctls[i]));
    }
    for (size_t i = 0; i < COUNT_OF(fcntls); i++) {
        ALLOW_IF(&filter, SCMP_SYS(fcntl), number(1, fcntls[i]));
        ALLOW_IF(&filter, SCMP_SYS(fcntl64), number(1, fcntls[i]));
    }
    allow_opening(&filter, landlocked);
    allow_memory(&filter, commit != NULL ? commit->names->end : 0);
    allow_processes(&filter);
    if (commit != NULL) {
        allow_commit(&filter, commit);
    }
    return load(&filter);
}

bool syscalls_seal(bool landlocked)
{
    static const int opens[] = { SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(open) };
    const test executable = bits(2, PROT_EXEC, PROT_EXEC);
    struct filter filter;

    begin(&filter, SCMP_ACT_ALLOW);
    if (!landlocked) {
        decide_all(&filter, SCMP_ACT_ERRNO(EACCES), opens, COUNT_OF(opens));
    }
    if (MMAP_IS_SEEN) {
        decide(&filter, SCMP_ACT_ERRNO(EACCES), MMAP, 1, &executable);
    }
    decide(&filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mprotect), 1, &executable);
    return load(&filter);
}

#else /* no seccomp */

bool syscalls_restrict(const struct syscalls_commit *commit, bool landlocked)
{
    (void)commit;
    (void)landlocked;
    return false;
}

bool syscalls_seal(bool landlocked)
{
    (void)landlocked;
    return false;
}

#endif
