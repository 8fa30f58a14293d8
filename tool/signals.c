/* SPDX-License-Identifier: MIT */
/* signals.c - what Ctrl-C, kill and a closed terminal do.
 * The only file with state that a signal handler sees. */
#include "signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <unistd.h>

static const int caught_signals[] = { SIGINT, SIGTERM, SIGHUP };
static const char *const caught_names[] = { "SIGINT", "SIGTERM", "SIGHUP" };
#define CAUGHT_COUNT (sizeof caught_signals / sizeof caught_signals[0])

/* All other signals whose default action ends the program, but for SIGKILL, those that signals_init ignores, and
 * the real-time ones, whose numbers are not constants. */
static const int ending_signals[] = {
    SIGQUIT,   SIGILL,  SIGTRAP, SIGABRT, SIGBUS,    SIGFPE,  SIGUSR1,
    SIGUSR2,   SIGSEGV, SIGALRM, SIGXCPU, SIGVTALRM, SIGPROF, SIGSYS,
#ifdef SIGIO
    SIGIO,
#endif
#ifdef SIGPWR
    SIGPWR,
#endif
#ifdef SIGSTKFLT
    SIGSTKFLT,
#endif
#ifdef SIGEMT
    SIGEMT,
#endif
};

/* Lock-free atomics are what a handler may touch and every thread sees. */
static atomic_int caught;
static atomic_bool at_once;
static atomic_bool line_open;
static atomic_bool progress_wanted;
static atomic_int unlink_directory;
static _Atomic(const char *) unlink_name;

void signals_remove_unfinished(void)
{
    const char *name = atomic_load(&unlink_name);

    if (name != NULL) {
        unlinkat(atomic_load(&unlink_directory), name, 0);
    }
}

/* False: the line could not be ended. */
static bool end_line(void)
{
    return !atomic_load(&line_open) || write(STDERR_FILENO, "\n", 1) == 1;
}

/* raise(3) of musl sends by tkill, which the sandbox does not allow for a thread. */
static void send_to_this_thread(int number)
{
#if defined(SYS_tgkill) && defined(SYS_gettid)
    syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), number);
#else
    raise(number);
#endif
}

void signals_end(int number)
{
    struct sigaction action;
    sigset_t only;

    signals_remove_unfinished();
    if (!end_line()) {
        _exit(128 + number); /* nothing else could be done about it */
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, NULL);
    sigemptyset(&only);
    sigaddset(&only, number);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    send_to_this_thread(number);
    _exit(128 + number);
}

static void want_progress(int number)
{
    (void)number;
    atomic_store(&progress_wanted, true);
}

static void handler(int number)
{
    int none = 0;

    if (atomic_compare_exchange_strong(&caught, &none, number) && !atomic_load(&at_once)) {
        return;
    }
    signals_remove_unfinished();
    if (!end_line()) {
        _exit(128 + number); /* nothing else could be done about it */
    }
    _exit(128 + number);
}

/* Where a signal has its default action: what the parent ignores stays ignored, and a sanitizer reports a fault. */
static void install_for_default(int number, const struct sigaction *action)
{
    struct sigaction old;

    if (sigaction(number, NULL, &old) == 0 && (old.sa_flags & SA_SIGINFO) == 0 &&
        old.sa_handler == SIG_DFL) {
        sigaction(number, action, NULL);
    }
}

static void install_ending(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = signals_end;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof ending_signals / sizeof ending_signals[0]; i++) {
        install_for_default(ending_signals[i], &action);
    }
#if defined(SIGRTMIN) && defined(SIGRTMAX)
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        install_for_default(number, &action);
    }
#endif
}

void signals_report_progress(void)
{
    struct sigaction action;
    struct sigaction old;

    memset(&action, 0, sizeof action);
    action.sa_handler = want_progress;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == signals_end) {
        sigaction(SIGUSR1, &action, NULL);
    }
#ifdef SIGINFO
    install_for_default(SIGINFO, &action);
#endif
}

bool signals_progress_wanted(void)
{
    return atomic_load_explicit(&progress_wanted, memory_order_relaxed) &&
           atomic_exchange(&progress_wanted, false);
}

static void install(void)
{
    struct sigaction action;
    struct sigaction old;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < CAUGHT_COUNT; i++) {
        sigaddset(&action.sa_mask, caught_signals[i]);
    }
    for (size_t i = 0; i < CAUGHT_COUNT; i++) {
        if (sigaction(caught_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(caught_signals[i], &action, NULL);
        }
    }
}

void signals_catch(void)
{
    atomic_store(&at_once, false);
    install();
}

void signals_exit_at_once(void)
{
    atomic_store(&at_once, true);
    install();
    /* One that came while signals_catch held would not be seen in a call that blocks. */
    if (signals_caught() != 0) {
        _exit(signals_exit_code());
    }
}

void signals_init(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    install_ending();
    signals_exit_at_once();
}

int signals_caught(void)
{
    return atomic_load_explicit(&caught, memory_order_relaxed);
}

int signals_exit_code(void)
{
    return 128 + signals_caught();
}

const char *signals_name(void)
{
    for (size_t i = 0; i < CAUGHT_COUNT; i++) {
        if (caught_signals[i] == signals_caught()) {
            return caught_names[i];
        }
    }
    return "a signal";
}

void signals_unlink(int directory_fd, const char *name)
{
    /* There is no name while the directory changes. */
    atomic_store(&unlink_name, NULL);
    atomic_store(&unlink_directory, directory_fd);
    atomic_store(&unlink_name, name);
}

void signals_line_open(bool open)
{
    atomic_store(&line_open, open);
}
