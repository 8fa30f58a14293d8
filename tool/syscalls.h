/* SPDX-License-Identifier: MIT */
/* syscalls.h - which system calls this process may still make, by the kernel's seccomp. */
#ifndef TOOL_SYSCALLS_H
#define TOOL_SYSCALLS_H

#include <stdbool.h>

#include "pinned.h"

/* What finishing a conversion to a file takes, beside writing to it. */
struct syscalls_commit {
    int directory_fd; /* where both names are; cannot be closed any more */
    const struct pinned_names *names;
};

/* What a command needs beside what all need. */
struct syscalls_needs {
    const struct syscalls_commit *commit; /* NULL: no file is finished */
    int output_fd; /* the disk is written to it: it alone can be written at any place and cut; -1: none */
    int terminal_fd; /* a passphrase is asked for there; -1: it is not */
};

/* Duplicates of descriptors get this number or a higher one, so that none takes the place of one that is
 * written to. */
int syscalls_first_duplicate(const struct syscalls_needs *needs);

/* From here on this thread and those it starts make no system call but those of reading files, writing
 * to standard output, standard error and the descriptors of `needs`, memory, threads and time, and those
 * of the commit. Files are opened for reading only, no directory is listed. Standard output and error are not read, and only
 * an output is written at another place than where it stands. Descriptors other than the standard ones are
 * duplicated by F_DUPFD_CLOEXEC with syscalls_first_duplicate alone. Calls that only an attack would make
 * raise SIGSYS, all others fail with ENOSYS. False: not built in, or the kernel refuses. */
bool syscalls_restrict(const struct syscalls_needs *needs);

/* And from here on no memory becomes executable, no descriptor is duplicated, no terminal is changed,
 * no link is read, and no file is opened at all (EACCES). */
bool syscalls_seal(void);

#endif
