/* SPDX-License-Identifier: MIT */
/* syscalls.c - which system calls this process may still make, by the kernel's seccomp.
 * Knows what libc and the library call; must not know commands, files, or how a filter is made.
 *
 * A list of what is allowed, since nobody can list what is dangerous. What is not on it fails with
 * ENOSYS, as on a kernel that is too old: a libc that is newer than the list then takes the older way.
 * Calls that no libc makes behind one's back, and every attack tries, raise SIGSYS instead, so that
 * they are noticed. They do not happen either way. */
#include "syscalls.h"

#include "filter.h"

#if defined(__linux__) && __has_include(<linux/seccomp.h>)
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Whatever their arguments. What stands between #ifdef and #endif is missing on some machines. */
static const long allowed[] = {
    /* bytes of open descriptors */
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_close,
    SYS_fallocate,
    SYS_fsync,
    SYS_fdatasync,
#ifdef SYS__llseek
    SYS__llseek,
#endif
#ifdef SYS_ftruncate
    SYS_ftruncate,
#endif
#ifdef SYS_ftruncate64
    SYS_ftruncate64,
#endif
#ifdef SYS_copy_file_range
    SYS_copy_file_range,
#endif
#ifdef SYS_fadvise64
    SYS_fadvise64,
#endif
#ifdef SYS_fadvise64_64
    SYS_fadvise64_64,
#endif
#ifdef SYS_arm_fadvise64_64
    SYS_arm_fadvise64_64,
#endif
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef SYS_ppoll
    SYS_ppoll,
#endif
#ifdef SYS_ppoll_time64
    SYS_ppoll_time64,
#endif
#ifdef SYS_select
    SYS_select,
#endif
#ifdef SYS__newselect
    SYS__newselect,
#endif
#ifdef SYS_pselect6
    SYS_pselect6,
#endif
#ifdef SYS_pselect6_time64
    SYS_pselect6_time64,
#endif
    /* what files are called and what they are */
    SYS_fstatfs,
    SYS_readlinkat,
    SYS_getcwd,
    SYS_getdents64,
#ifdef SYS_fstat
    SYS_fstat,
#endif
#ifdef SYS_fstat64
    SYS_fstat64,
#endif
#ifdef SYS_newfstatat
    SYS_newfstatat,
#endif
#ifdef SYS_fstatat64
    SYS_fstatat64,
#endif
#ifdef SYS_statx
    SYS_statx,
#endif
#ifdef SYS_stat
    SYS_stat,
#endif
#ifdef SYS_stat64
    SYS_stat64,
#endif
#ifdef SYS_lstat
    SYS_lstat,
#endif
#ifdef SYS_lstat64
    SYS_lstat64,
#endif
#ifdef SYS_fstatfs64
    SYS_fstatfs64,
#endif
    SYS_faccessat,
#ifdef SYS_faccessat2
    SYS_faccessat2,
#endif
#ifdef SYS_access
    SYS_access,
#endif
#ifdef SYS_readlink
    SYS_readlink,
#endif
    /* memory, threads, signals to be received */
    SYS_brk,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_getcpu,
    SYS_set_robust_list,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_exit,
    SYS_exit_group,
    SYS_restart_syscall,
#ifdef SYS_futex
    SYS_futex,
#endif
#ifdef SYS_futex_time64
    SYS_futex_time64,
#endif
#ifdef SYS_rseq
    SYS_rseq,
#endif
#ifdef SYS_sigreturn
    SYS_sigreturn,
#endif
    /* time, chance, and who we are */
    SYS_getrandom,
    SYS_getpid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_uname,
    SYS_sysinfo,
#ifdef SYS_clock_gettime
    SYS_clock_gettime,
#endif
#ifdef SYS_clock_gettime64
    SYS_clock_gettime64,
#endif
#ifdef SYS_clock_getres
    SYS_clock_getres,
#endif
#ifdef SYS_clock_nanosleep
    SYS_clock_nanosleep,
#endif
#ifdef SYS_clock_nanosleep_time64
    SYS_clock_nanosleep_time64,
#endif
#ifdef SYS_nanosleep
    SYS_nanosleep,
#endif
#ifdef SYS_gettimeofday
    SYS_gettimeofday,
#endif
#ifdef SYS_time
    SYS_time,
#endif
#ifdef SYS_getuid32
    SYS_getuid32,
#endif
#ifdef SYS_geteuid32
    SYS_geteuid32,
#endif
#ifdef SYS_getgid32
    SYS_getgid32,
#endif
#ifdef SYS_getegid32
    SYS_getegid32,
#endif
#ifdef SYS_getrlimit
    SYS_getrlimit,
#endif
#ifdef SYS_ugetrlimit
    SYS_ugetrlimit,
#endif
/* giving up more */
#ifdef SYS_seccomp
    SYS_seccomp,
#endif
#ifdef SYS_landlock_create_ruleset
    SYS_landlock_create_ruleset,
#endif
#ifdef SYS_landlock_add_rule
    SYS_landlock_add_rule,
#endif
#ifdef SYS_landlock_restrict_self
    SYS_landlock_restrict_self,
#endif
};

/* Nothing here has a use for these. */
static const long trapped[] = {
    SYS_execve,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kill,
    SYS_mount,
    SYS_unshare,
    SYS_open_by_handle_at,
#ifdef SYS_execveat
    SYS_execveat,
#endif
#ifdef SYS_fork
    SYS_fork,
#endif
#ifdef SYS_vfork
    SYS_vfork,
#endif
#ifdef SYS_socket
    SYS_socket,
#endif
#ifdef SYS_socketcall
    SYS_socketcall,
#endif
#ifdef SYS_connect
    SYS_connect,
#endif
#ifdef SYS_bpf
    SYS_bpf,
#endif
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup,
#endif
};

/* Terminals, reflinks and the size of devices. Not TIOCSTI, which types into the user's shell. */
static const unsigned long ioctls[] = { TCGETS,     TCSETS,       TCSETSW,     TCSETSF,
                                        TIOCGWINSZ, FICLONERANGE, BLKGETSIZE64 };

/* F_SETOWN and F_SETSIG would send signals. */
static const int fcntls[] = { F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC };

#ifdef SYS_fcntl64
#define FCNTL SYS_fcntl64
#else
#define FCNTL SYS_fcntl
#endif
/* Where there is an mmap2, mmap has its arguments in memory, and is not used. */
#ifdef SYS_mmap2
#define MMAP SYS_mmap2
#else
#define MMAP SYS_mmap
#endif

/* An int in a register: the upper half is no part of it. */
#define INT UINT64_C(0xffffffff)
#define ALL UINT64_MAX

/* What opens a file for anything but reading. (The bit of O_TMPFILE that is not O_DIRECTORY.) */
#define WRITING ((uint64_t)(O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY)))

static struct filter_rule *allow(struct filter *filter, long number)
{
    return filter_add(filter, number, SECCOMP_RET_ALLOW);
}

static void allow_opening(struct filter *filter, bool landlocked)
{
    filter_bits(allow(filter, SYS_openat), 2, WRITING, 0);
#ifdef SYS_open
    filter_bits(allow(filter, SYS_open), 1, WRITING, 0);
#endif
#ifdef SYS_openat2
    if (landlocked) {
        /* Its flags are in memory, where no filter sees them. Without it the library walks. */
        allow(filter, SYS_openat2);
    }
#else
    (void)landlocked;
#endif
}

/* Memory that begins below `end` stays as it is; 0: there is none to protect. */
static void allow_memory(struct filter *filter, size_t end)
{
    struct filter_rule *rule;

    filter_at_least(allow(filter, SYS_munmap), 0, end);
    filter_at_least(allow(filter, SYS_mprotect), 0, end);
    filter_at_least(allow(filter, SYS_madvise), 0, end);
    filter_bits(allow(filter, MMAP), 3, MAP_FIXED, 0);
    filter_at_least(allow(filter, MMAP), 0, end);
    rule = allow(filter, SYS_mremap);
    filter_at_least(rule, 0, end);
    filter_bits(rule, 3, MREMAP_FIXED, 0);
}

static void allow_processes(struct filter *filter)
{
    uint64_t self = (uint64_t)getpid();
    struct filter_rule *rule;

    /* A thread of this process; any other clone is a new process. */
    filter_bits(allow(filter, SYS_clone), 0, CLONE_THREAD, CLONE_THREAD);
    filter_add(filter, SYS_clone, SECCOMP_RET_TRAP);
    /* raise(3) and abort(3): signals to ourselves. */
    filter_bits(allow(filter, SYS_tgkill), 0, INT, self);
    filter_bits(allow(filter, SYS_tkill), 0, INT, self);
    /* Asking for a limit, not setting one. */
    rule = allow(filter, SYS_prlimit64);
    filter_bits(rule, 0, INT, 0);
    filter_bits(rule, 2, ALL, 0);
}

static void allow_commit(struct filter *filter, const struct syscalls_commit *commit)
{
    uint64_t file = (uint64_t)commit->file_fd;
    uint64_t directory = (uint64_t)commit->directory_fd;
    uint64_t temporary = (uintptr_t)commit->names->temporary;
    uint64_t final = (uintptr_t)commit->names->final;
    struct filter_rule *rule;

    filter_bits(allow(filter, SYS_fchmod), 0, INT, file);
    filter_bits(allow(filter, SYS_fchown), 0, INT, file);
#ifdef SYS_fchown32
    filter_bits(allow(filter, SYS_fchown32), 0, INT, file);
#endif
    rule = allow(filter, SYS_unlinkat);
    filter_bits(rule, 0, INT, directory);
    filter_bits(rule, 1, ALL, temporary);
    filter_bits(rule, 2, INT, 0);
#ifdef SYS_renameat
    rule = allow(filter, SYS_renameat);
    filter_bits(rule, 0, INT, directory);
    filter_bits(rule, 1, ALL, temporary);
    filter_bits(rule, 2, INT, directory);
    filter_bits(rule, 3, ALL, final);
#endif
    rule = allow(filter, SYS_renameat2);
    filter_bits(rule, 0, INT, directory);
    filter_bits(rule, 1, ALL, temporary);
    filter_bits(rule, 2, INT, directory);
    filter_bits(rule, 3, ALL, final);
    filter_bits(rule, 4, INT, 0);
}

bool syscalls_restrict(const struct syscalls_commit *commit, bool landlocked)
{
    struct filter filter;

    filter_begin(&filter, SECCOMP_RET_ERRNO | ENOSYS);
    for (size_t i = 0; i < COUNT_OF(allowed); i++) {
        allow(&filter, allowed[i]);
    }
    for (size_t i = 0; i < COUNT_OF(trapped); i++) {
        filter_add(&filter, trapped[i], SECCOMP_RET_TRAP);
    }
    for (size_t i = 0; i < COUNT_OF(ioctls); i++) {
        filter_bits(allow(&filter, SYS_ioctl), 1, INT, ioctls[i]);
    }
    for (size_t i = 0; i < COUNT_OF(fcntls); i++) {
        filter_bits(allow(&filter, FCNTL), 1, INT, (uint64_t)fcntls[i]);
    }
    allow_opening(&filter, landlocked);
    allow_memory(&filter, commit != NULL ? commit->names->end : 0);
    allow_processes(&filter);
    if (commit != NULL) {
        allow_commit(&filter, commit);
    }
    return filter_load(&filter);
}

bool syscalls_seal(bool landlocked)
{
    static const long opens[] = {
        SYS_openat,
#ifdef SYS_openat2
        SYS_openat2,
#endif
#ifdef SYS_open
        SYS_open,
#endif
    };
    struct filter filter;

    filter_begin(&filter, SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < COUNT_OF(opens) && !landlocked; i++) {
        filter_add(&filter, opens[i], SECCOMP_RET_ERRNO | EACCES);
    }
    filter_bits(filter_add(&filter, MMAP, SECCOMP_RET_ERRNO | EACCES), 2, PROT_EXEC, PROT_EXEC);
    filter_bits(filter_add(&filter, SYS_mprotect, SECCOMP_RET_ERRNO | EACCES), 2, PROT_EXEC,
                PROT_EXEC);
    return filter_load(&filter);
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
