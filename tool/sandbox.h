/* SPDX-License-Identifier: MIT */
/* sandbox.h - the program takes from itself what reading images does not need. */
#ifndef TOOL_SANDBOX_H
#define TOOL_SANDBOX_H

#include <stdbool.h>

#include "syscalls.h"

/* F_DUPFD_CLOEXEC is allowed with this number alone, and only while images are opened. */
#define SANDBOX_FIRST_DUPLICATE SYSCALLS_FIRST_DUPLICATE

enum sandbox_mode {
    SANDBOX_AUTO,   /* as far as the system allows */
    SANDBOX_OFF,    /* not at all */
    SANDBOX_REQUIRE /* all of it, or nothing is read */
};

/* The exit code when the sandbox has to stop the program. */
void sandbox_init(int exit_code);

/* In this order: begin (enum sandbox_mode), what is to be allowed, enter. */
void sandbox_begin(int mode);
void sandbox_allow_reading(const char *path); /* and all beneath it */
void sandbox_allow_reading_fd(int fd); /* the same, by a descriptor, which may be an O_PATH one */

/* What finishing the output takes. It is copied, but its names must live as long as the program. */
void sandbox_allow_commit(const struct syscalls_commit *commit);

/* The disk is written to `fd`, at any place, and the file cut to its length. Standard output needs this
 * only where holes are left in it. At most one; also before sandbox_begin. */
void sandbox_allow_output(int fd);

/* A passphrase is asked for there, with echo off. */
void sandbox_allow_terminal(int fd);

/* First stage, before any byte of an image is looked at: only what was allowed can be opened, for
 * reading. False after a report: required, and cannot be had. */
bool sandbox_enter(void);

/* The file behind `fd` is one of an image. The library opens such files anew, from their descriptors, to
 * ask for holes without moving anybody's file offset; that stays possible. */
void sandbox_allow_reopening(int fd);

/* Second stage, once everything is open: nothing else can be opened. False after a report. */
bool sandbox_seal(void);

#endif
