/* SPDX-License-Identifier: MIT */
/* sandbox.h - the program takes from itself what reading images does not need. */
#ifndef TOOL_SANDBOX_H
#define TOOL_SANDBOX_H

#include <stdbool.h>

#include "syscalls.h"

enum sandbox_mode {
    SANDBOX_AUTO,   /* as far as the system allows */
    SANDBOX_OFF,    /* not at all */
    SANDBOX_REQUIRE /* all of it, or nothing is read */
};

/* The exit code when the sandbox has to stop the program. */
void sandbox_init(int exit_code);

/* In this order: begin (enum sandbox_mode), what is to be allowed, enter. */
void sandbox_begin(int mode);
void sandbox_allow_file(int fd); /* for reading; may be an O_PATH one; a directory gives no right */
void sandbox_allow_directory(int fd); /* and all beneath it; a file gives no right */

/* What finishing the output takes. It is copied, but its names must live as long as the program. */
void sandbox_allow_commit(const struct syscalls_commit *commit);

/* The disk is written to `fd`, at any place, and the file cut to its length. Standard output needs this
 * only where holes are left in it. At most one; also before sandbox_begin. */
void sandbox_allow_output(int fd);

/* A passphrase is asked for there, with echo off. It is to be closed before sandbox_seal. */
void sandbox_allow_terminal(int fd);

/* First stage, before any byte of an image is looked at: only what was allowed can be opened, for
 * reading. False after a report: required, and cannot be had. */
bool sandbox_enter(void);

/* F_DUPFD_CLOEXEC is allowed with this number alone, and only before sandbox_seal. */
int sandbox_first_duplicate(void);

/* Second stage, once everything is open: nothing can be opened any more. False after a report. */
bool sandbox_seal(void);

#endif
