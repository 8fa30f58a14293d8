/* SPDX-License-Identifier: MIT */
/* prompt.c - asking for a passphrase on the terminal.
 * Knows termios and signals; must not know what the answer is for.
 *
 * Signals are held back while the terminal is changed and let through only in pselect, so that none
 * can fall between a test and a wait. One that arrives is noted, the terminal put right, and only
 * then delivered again, to whatever handled it before. */
#include "prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <termios.h>
#include <unistd.h>

#include "sandbox.h"
#include "text.h"

static const int held_signals[] = { SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGTSTP,   SIGTTIN, SIGTTOU,
                                    SIGUSR1, SIGUSR2, SIGALRM, SIGXCPU, SIGVTALRM, SIGPROF };
#define HELD_COUNT (sizeof held_signals / sizeof held_signals[0])

static volatile sig_atomic_t arrived;

/* Opened before the sandbox, and kept: neither opened nor duplicated can it be later. */
static FILE *prepared;

static void note(int number)
{
    arrived = number;
}

struct session {
    int fd;
    struct termios before;
    sigset_t mask_before;
    struct sigaction actions_before[HELD_COUNT];
};

static void hold_signals(struct session *session)
{
    struct sigaction action;
    sigset_t held;

    memset(&action, 0, sizeof action);
    action.sa_handler = note;
    sigemptyset(&action.sa_mask);
    sigemptyset(&held);
    for (size_t i = 0; i < HELD_COUNT; i++) {
        sigaddset(&held, held_signals[i]);
    }
    sigprocmask(SIG_BLOCK, &held, &session->mask_before);
    for (size_t i = 0; i < HELD_COUNT; i++) {
        /* Ignored ones (nohup) stay ignored. */
        if (sigaction(held_signals[i], NULL, &session->actions_before[i]) == 0 &&
            session->actions_before[i].sa_handler != SIG_IGN) {
            sigaction(held_signals[i], &action, NULL);
        }
    }
}

static void release_signals(const struct session *session)
{
    for (size_t i = 0; i < HELD_COUNT; i++) {
        sigaction(held_signals[i], &session->actions_before[i], NULL);
    }
    sigprocmask(SIG_SETMASK, &session->mask_before, NULL);
}

/* Waits for input. False: a signal came first. */
static bool wait_for_input(const struct session *session)
{
    fd_set set;

    for (;;) {
        FD_ZERO(&set);
        FD_SET((unsigned)session->fd, &set);
        if (pselect(session->fd + 1, &set, NULL, NULL, NULL, &session->mask_before) > 0) {
            return true;
        }
        if (arrived != 0 || errno != EINTR) {
            return false;
        }
    }
}

/* Reads a line, character by character: what is typed ahead of it stays for others. */
static enum prompt_outcome read_line(const struct session *session, char *buf, size_t buf_bytes,
                                     size_t *length_ret)
{
    bool too_long = false;

    *length_ret = 0;
    while (wait_for_input(session)) {
        char byte;
        ssize_t n = read(session->fd, &byte, 1);

        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (n <= 0) {
            return PROMPT_GIVEN_UP;
        }
        if (byte == '\n' || byte == '\r') {
            return too_long ? PROMPT_TOO_LONG : PROMPT_DONE;
        }
        if (*length_ret < buf_bytes) {
            buf[(*length_ret)++] = byte;
        } else {
            too_long = true;
        }
    }
    return PROMPT_GIVEN_UP;
}

static enum prompt_outcome ask(struct session *session, FILE *terminal, const char *name, char *buf,
                               size_t buf_bytes, size_t *length_ret)
{
    enum prompt_outcome outcome;
    struct termios silent;

    hold_signals(session);
    silent = session->before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
    silent.c_lflag |= ECHONL | ICANON;
    if (tcsetattr(session->fd, TCSAFLUSH, &silent) != 0) {
        release_signals(session);
        return PROMPT_NO_TERMINAL;
    }
    fputs("Passphrase for ", terminal);
    text_put(terminal, name);
    fputs(": ", terminal);
    fflush(terminal);
    outcome = read_line(session, buf, buf_bytes, length_ret);
    if (outcome != PROMPT_DONE && outcome != PROMPT_TOO_LONG) {
        fputc('\n', terminal);
        fflush(terminal);
    }
    tcsetattr(session->fd, TCSAFLUSH, &session->before);
    release_signals(session);
    return outcome;
}

static int open_terminal(void)
{
    return open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
}

/* For the question only: the answer is read past stdio. NULL: there is no terminal. */
static FILE *terminal_stream(void)
{
    int fd = open_terminal();
    FILE *stream = fd >= 0 && fd < FD_SETSIZE ? fdopen(fd, "w") : NULL;

    if (stream == NULL && fd >= 0) {
        close(fd);
    }
    return stream;
}

void prompt_prepare(void)
{
    if (prepared == NULL && isatty(STDIN_FILENO) == 1) {
        prepared = terminal_stream();
        if (prepared != NULL) {
            sandbox_allow_terminal(fileno(prepared));
        }
    }
}

void prompt_end(void)
{
    if (prepared != NULL) {
        fclose(prepared);
        prepared = NULL;
    }
}

enum prompt_outcome prompt_passphrase(const char *name, char *buf, size_t buf_bytes,
                                      size_t *length_ret)
{
    struct session session;
    enum prompt_outcome outcome = PROMPT_NO_TERMINAL;
    FILE *terminal = prepared != NULL ? prepared : terminal_stream();

    if (terminal == NULL) {
        return PROMPT_NO_TERMINAL;
    }
    session.fd = fileno(terminal);
    if (tcgetattr(session.fd, &session.before) == 0) {
        do {
            arrived = 0;
            outcome = ask(&session, terminal, name, buf, buf_bytes, length_ret);
            if (arrived != 0) {
                raise(arrived);
            }
            /* Stopped and brought back: the question is asked anew. */
        } while (arrived == SIGTSTP || arrived == SIGTTIN || arrived == SIGTTOU);
    }
    if (terminal != prepared) {
        fclose(terminal);
    }
    return outcome;
}
