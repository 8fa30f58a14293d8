/* SPDX-License-Identifier: MIT */
/* landlock.h - which files this process may still open, by the kernel's Landlock. */
#ifndef TOOL_LANDLOCK_H
#define TOOL_LANDLOCK_H

#include <stdbool.h>

/* A set of rules in the making. Begin with landlock_begin, add rules, then landlock_enforce or
 * landlock_drop. */
struct landlock {
    int fd; /* -1: there is no Landlock here */
    int version;
    int failure; /* errno of the first rule that could not be made, or 0 */
};

/* False: not on this system, or switched off in its kernel. */
bool landlock_begin(struct landlock *landlock);

/* The file behind the descriptor, which may be an O_PATH one, may be opened for reading. Nothing happens if
 * it is a directory. */
void landlock_allow_file(struct landlock *landlock, int fd);

/* The directory behind the descriptor, and all beneath it, may be opened for reading. Nothing happens if it is
 * no directory. */
void landlock_allow_directory(struct landlock *landlock, int fd);

/* Files may appear in and disappear from the directory and those beneath it: what a rename is. */
void landlock_allow_renaming(struct landlock *landlock, int directory_fd);

/* From here on this thread and those it starts can open only what the rules allow, and no rule can
 * be taken back. Needs no_new_privs. False: the kernel did not do it, or not all rules could be made;
 * then nothing has changed. */
bool landlock_enforce(struct landlock *landlock);

void landlock_drop(struct landlock *landlock);

#endif
