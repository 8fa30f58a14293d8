/* SPDX-License-Identifier: MIT */
/* syscalls.h - which system calls this process may still make, by the kernel's seccomp. */
#ifndef TOOL_SYSCALLS_H
#define TOOL_SYSCALLS_H

#include <stdbool.h>

#include "pinned.h"

/* What finishing a conversion to a file takes, beside writing to it. */
struct syscalls_commit {
    int directory_fd; /* where both names are */
    const struct pinned_names *names;
    int file_fd; /* gets its owner and mode */
};

/* From here on this thread and those it starts make no system call but those of reading files, writing
 * to open descriptors, memory, threads and time, and those of `commit` (NULL: none). Files are opened
 * for reading only. Calls that only an attack would make raise SIGSYS, all others fail with ENOSYS.
 * `landlocked`: Landlock guards what cannot be seen here. False: not built in, or the kernel refuses. */
bool syscalls_restrict(const struct syscalls_commit *commit, bool landlocked);

/* And from here on no memory becomes executable, and no file is opened at all (EACCES); with `landlocked`
 * those that Landlock has been told to allow still are. */
bool syscalls_seal(bool landlocked);

#endif
