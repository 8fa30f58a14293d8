/* SPDX-License-Identifier: MIT */
/* sandbox.c - the program takes from itself what reading images does not need.
 * Knows the order of steps and what to say; must not know which files a command needs (confine.c), nor
 * how the kernel is asked (landlock.c, syscalls.c).
 *
 * Landlock and seccomp each do a part, and each does it also where the other is missing. Where both
 * are, whoever gets hold of the program through a broken image can burn time, lie about this image in
 * the output that was asked for, and read what the image was allowed to refer to; no more. */
#include "sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/resource.h>
#endif

#include "landlock.h"
#include "report.h"
#include "signals.h"

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* not in the headers of every libc */
#endif

/* Sanitizers read /proc, start threads and processes and write reports, all at any time. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_DISABLED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANDBOX_DISABLED 1
#endif
#endif

static struct {
    int mode; /* enum sandbox_mode */
    struct landlock landlock;
    bool has_commit;
    struct syscalls_commit commit;
    int output_fd;
    int terminal_fd;
    int exit_code;
    bool files;    /* Landlock is in force */
    bool syscalls; /* seccomp is in force */
} sandbox = { .landlock = { .fd = -1 }, .output_fd = -1, .terminal_fd = -1, .exit_code = 1 };

void sandbox_init(int exit_code)
{
    sandbox.exit_code = exit_code;
}

void sandbox_begin(int mode)
{
    sandbox.mode = mode;
#ifndef SANDBOX_DISABLED
    if (mode != SANDBOX_OFF) {
        landlock_begin(&sandbox.landlock);
    }
#endif
}

void sandbox_allow_file(int fd)
{
    landlock_allow_file(&sandbox.landlock, fd);
}

void sandbox_allow_directory(int fd)
{
    landlock_allow_directory(&sandbox.landlock, fd);
}

void sandbox_allow_commit(const struct syscalls_commit *commit)
{
    sandbox.has_commit = true;
    sandbox.commit = *commit;
    landlock_allow_renaming(&sandbox.landlock, commit->directory_fd);
}

void sandbox_allow_output(int fd)
{
    sandbox.output_fd = fd;
}

void sandbox_allow_terminal(int fd)
{
    sandbox.terminal_fd = fd;
}

static struct syscalls_needs needs_of_calls(void)
{
    return (struct syscalls_needs){ .commit = sandbox.has_commit ? &sandbox.commit : NULL,
                                    .output_fd = sandbox.output_fd,
                                    .terminal_fd = sandbox.terminal_fd };
}

int sandbox_first_duplicate(void)
{
    const struct syscalls_needs needs = needs_of_calls();

    return syscalls_first_duplicate(&needs);
}

#if defined(__linux__) && !defined(SANDBOX_DISABLED)

/* A call that only an attack would make. Nothing but calls that are safe in a handler, since this may
 * come at any place. */
static void stop(int number, siginfo_t *info, void *context)
{
    static const char before[] =
        "qcow2: stopped by its own sandbox before it made system call number ";
    static const char after[] =
        ", which reading an image never needs; the image may be an attack, else please report it\n";
    char text[sizeof before + sizeof after + 16];
    char digits[16];
    size_t used = sizeof before - 1;
    size_t count = 0;
    unsigned value = (unsigned)info->si_syscall;

    (void)context;
    if (info->si_code != SYS_SECCOMP) {
        signals_end(number); /* another process sent it */
    }
    memcpy(text, before, used);
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (count > 0) {
        text[used++] = digits[--count];
    }
    memcpy(text + used, after, sizeof after - 1);
    used += sizeof after - 1;
    signals_remove_unfinished();
    if (write(STDERR_FILENO, text, used) < 0) {
        _exit(sandbox.exit_code); /* nothing else could be done about it */
    }
    _exit(sandbox.exit_code);
}

static void restrict_syscalls(void)
{
    const struct syscalls_needs needs = needs_of_calls();
    struct sigaction action;
    struct sigaction before;
    sigset_t raised;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = stop;
    action.sa_flags = SA_SIGINFO;
    sigfillset(&action.sa_mask);
    sigaction(SIGSYS, &action, &before);
    /* Where the parent held it back, the kernel would end the program past the handler. */
    sigemptyset(&raised);
    sigaddset(&raised, SIGSYS);
    sigprocmask(SIG_UNBLOCK, &raised, NULL);
    sandbox.syscalls = syscalls_restrict(&needs);
    if (!sandbox.syscalls) {
        sigaction(SIGSYS, &before, NULL);
    }
}

/* The kernel writes the memory of a process that crashes to a file, or starts a program that does, whatever
 * the process may do itself. This memory may hold passphrases, and what an attacker puts there. */
static void leave_no_core(void)
{
    const struct rlimit none = { 0, 0 };

    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void restrict_self(void)
{
    leave_no_core();
    /* Without it only root could go on, and with it no program could be started that may do more. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        landlock_drop(&sandbox.landlock);
        return;
    }
    sandbox.files = landlock_enforce(&sandbox.landlock);
    restrict_syscalls();
}
#else
static void restrict_self(void)
{
}
#endif

static bool complete(bool files, bool syscalls)
{
    return sandbox.mode != SANDBOX_REQUIRE || (files && syscalls);
}

/* Without them nobody could be kept from giving the output another name. */
static bool names_are_pinned(void)
{
    if (sandbox.mode != SANDBOX_REQUIRE || !sandbox.has_commit || sandbox.commit.names->end != 0) {
        return true;
    }
    report(NULL, "--require-sandbox: there is no memory for the names of the output that could be "
                 "kept unchanged; no image was parsed");
    return false;
}

bool sandbox_enter(void)
{
    if (!names_are_pinned()) {
        return false;
    }
    if (sandbox.mode != SANDBOX_OFF) {
        restrict_self();
    }
    if (complete(sandbox.files, sandbox.syscalls)) {
        return true;
    }
    report(NULL,
           "--require-sandbox: this system, or this build of the program, has no %s; no image was "
           "parsed",
           sandbox.files ? "seccomp" : "Landlock");
    return false;
}

bool sandbox_seal(void)
{
    struct landlock landlock;
    bool files = false;
    bool syscalls;

    /* Another layer of Landlock, which allows no file at all. */
    if (sandbox.files && landlock_begin(&landlock)) {
        if (sandbox.has_commit) {
            landlock_allow_renaming(&landlock, sandbox.commit.directory_fd);
        }
        files = landlock_enforce(&landlock);
    }
    syscalls = sandbox.syscalls && syscalls_seal();
    if (complete(files, syscalls)) {
        return true;
    }
    /* By now the headers of this image have been looked at, and `digest` has read others. */
    report(NULL,
           "--require-sandbox: the system refuses the second step of %s; no data of the last image "
           "was read",
           files ? "seccomp" : "Landlock");
    return false;
}
