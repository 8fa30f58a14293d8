/* SPDX-License-Identifier: MIT */
/* signals.c - what Ctrl-C, kill and a closed terminal do.
 * The only file with state that a signal handler sees. */
#include "signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static const int caught_signals[] = { SIGINT, SIGTERM, SIGHUP };
static const char *const caught_names[] = { "SIGINT", "SIGTERM", "SIGHUP" };
#define CAUGHT_COUNT (sizeof caught_signals / sizeof caught_signals[0])

/* Lock-free atomics are what a handler may touch and every thread sees. */
static atomic_int caught;
static atomic_bool at_once;
static atomic_bool line_open;
static atomic_int unlink_directory;
static _Atomic(const char *) unlink_name;

void signals_remove_unfinished(void)
{
    const char *name = atomic_load(&unlink_name);

    if (name != NULL) {
        unlinkat(atomic_load(&unlink_directory), name, 0);
    }
}

static void handler(int number)
{
    int none = 0;

    if (atomic_compare_exchange_strong(&caught, &none, number) && !atomic_load(&at_once)) {
        return;
    }
    signals_remove_unfinished();
    if (atomic_load(&line_open) && write(STDERR_FILENO, "\n", 1) < 0) {
        _exit(128 + number); /* nothing else could be done about it */
    }
    _exit(128 + number);
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
