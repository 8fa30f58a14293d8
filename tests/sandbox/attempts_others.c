/* SPDX-License-Identifier: MIT */
/* attempts_others.c - programs, processes, the network, the terminal, and calls of other machines. */
#ifdef __linux__
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "attempts.h"

static char program[] = "/bin/true";
static char *program_arguments[] = { program, NULL };

static long program_run_at(void)
{
    int fd = open(program, O_PATH);

    return syscall(SYS_execveat, fd, "", program_arguments, NULL, AT_EMPTY_PATH);
}

static long ended(pid_t child)
{
    if (child == 0) {
        _exit(0);
    }
    return child > 0 ? (waitpid(child, NULL, 0) == child ? 0 : -1) : -1;
}

static long cloned(unsigned long flags)
{
#ifdef __s390__
    return ended((pid_t)syscall(SYS_clone, 0, flags | SIGCHLD, 0, 0, 0));
#else
    return ended((pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
#endif
}

/* Past libc: musl holds all signals back meanwhile, SIGSYS too. */
static long forked(void)
{
#ifdef SYS_fork
    return ended((pid_t)syscall(SYS_fork));
#else
    return cloned(0);
#endif
}

static long cloned_by_structure(void)
{
    uint64_t how[8] = { 0, 0, 0, 0, SIGCHLD, 0, 0, 0 };

    return ended((pid_t)syscall(SYS_clone3, how, sizeof how));
}

/* A thread with mounts of its own: root's alone. It is never started, since it has no stack. */
static long thread_with_mounts(void)
{
    unsigned long flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNS;

#ifdef __s390__
    return syscall(SYS_clone, 0, flags | CLONE_NEWUSER, 0, 0, 0);
#else
    return syscall(SYS_clone, flags | CLONE_NEWUSER, 0, 0, 0, 0);
#endif
}

static void *set_flag(void *flag)
{
    *(int *)flag = 1;
    return NULL;
}

static long thread(void)
{
    pthread_t started;
    int flag = 0;

    errno = pthread_create(&started, NULL, set_flag, &flag);
    if (errno != 0 || (errno = pthread_join(started, NULL)) != 0) {
        return -1;
    }
    return flag == 1 ? 0 : -1;
}

/* What a thread does is as forbidden. */
static void *create_in_thread(void *result)
{
    *(long *)result = openat(place.directory, "new", O_WRONLY | O_CREAT, 0600);
    return NULL;
}

static long created_in_thread(void)
{
    pthread_t started;
    long result = -1;

    if (pthread_create(&started, NULL, create_in_thread, &result) != 0 ||
        pthread_join(started, NULL) != 0) {
        return -1;
    }
    errno = result < 0 ? ENOSYS : 0; /* errno is the thread's */
    return result;
}

static long limit_set(void)
{
    const uint64_t limit[2] = { 0, 0 };

    /* Not by libc: where the call is unknown, musl goes on to signal all threads. */
    return syscall(SYS_prlimit64, 0, RLIMIT_CORE, limit, NULL);
}

static long echo_changed(void)
{
    struct termios terminal;

    return tcgetattr(STDIN_FILENO, &terminal) != 0 ? -1
                                                   : tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
}

#if defined(__x86_64__)
/* The numbers of two other machines that this one stands in for. Their arguments have 32 bits. */
static long i386(long number, long first, long second, long third)
{
    long result;

    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "memory");
    errno = result < 0 ? (int)-result : 0;
    return result < 0 ? -1 : result;
}

static long created_as_i386(void)
{
    char *name =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

    name[0] = 'n';
    return i386(8, (long)(intptr_t)name, 0600, 0);
}

#define X32(number) (0x40000000 | (number))
#define MACHINES(X)                                                                                \
    X(creating_as_i386, created_as_i386())                                                         \
    X(asking_who_we_are_as_i386, i386(20, 0, 0, 0))                                                \
    X(creating_as_x32, syscall(X32(SYS_creat), "new", 0600))                                       \
    X(asking_who_we_are_as_x32, syscall(X32(SYS_getpid)))
#else
#define MACHINES(X)
#endif

#define LIST(X)                                                                                    \
    X(running_a_program, execve(program, program_arguments, NULL))                                 \
    X(running_a_program_by_number, program_run_at())                                               \
    X(a_new_process, forked())                                                                     \
    X(a_new_process_by_clone, cloned(0))                                                           \
    X(a_new_process_by_clone3, cloned_by_structure())                                              \
    X(a_new_process_with_a_user, cloned(CLONE_NEWUSER))                                            \
    X(a_thread, thread())                                                                          \
    X(a_thread_with_mounts, thread_with_mounts())                                                  \
    X(creating_in_a_thread, created_in_thread())                                                   \
    X(other_mounts, unshare(CLONE_NEWUSER))                                                        \
    X(a_socket, socket(AF_INET, SOCK_STREAM, 0))                                                   \
    X(a_pair_of_sockets, syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, (int[2]){ 0, 0 }))       \
    X(sending_to_a_socket, send(STDIN_FILENO, "x", 1, 0))                                          \
    X(a_signal_to_another, kill(getppid(), 0))                                                     \
    X(a_signal_to_anothers_thread, syscall(SYS_tgkill, getppid(), getppid(), 0))                   \
    X(a_signal_to_anothers_only_thread, syscall(SYS_tkill, getppid(), 0))                          \
    X(a_signal_by_descriptor, syscall(434, getppid(), 0))                                          \
    X(a_signal_with_a_value, syscall(SYS_rt_sigqueueinfo, getppid(), 0, NULL))                     \
    X(tracing, ptrace(PTRACE_TRACEME, 0, NULL, NULL))                                              \
    X(a_descriptor_of_another, syscall(438, 0, 0, 0))                                              \
    X(advice_to_another, syscall(440, 0, NULL, 0, 0, 0))                                           \
    X(memory_of_another, syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0))            \
    X(memory_to_another, syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0))           \
    X(typing_for_the_user, ioctl(STDIN_FILENO, TIOCSTI, "x"))                                      \
    X(changing_the_terminal, echo_changed())                                                       \
    X(raising_a_limit, limit_set())                                                                \
    X(a_ring, syscall(425, 0, NULL))                                                               \
    X(entering_a_ring, syscall(426, 0, 0, 0, 0, NULL, 0))                                          \
    X(a_file_in_memory, memfd_create("x", 0))                                                      \
    X(faults_of_our_own, syscall(SYS_userfaultfd, 0))                                              \
    X(what_is_about_the_process, prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))                               \
    X(an_unknown_call, syscall(SYS_sync))                                                          \
    MACHINES(X)

ATTEMPT_TABLE(attempts_on_others, LIST)
#endif
