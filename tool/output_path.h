/* SPDX-License-Identifier: MIT */
/* output_path.h - what the path of an output leads to: looked at once, and checked again before it is
 * replaced. */
#ifndef TOOL_OUTPUT_PATH_H
#define TOOL_OUTPUT_PATH_H

#include <stdbool.h>
#include <sys/stat.h>

struct output_path {
    const char *path; /* as the user named it, for messages */
    bool exists;
    struct stat found; /* what exists, behind all symbolic links */
    int fd; /* the same as an O_PATH descriptor; -1: nothing exists, or there is no O_PATH */
    /* Of a regular file, or of one that does not exist: */
    int directory_fd; /* the directory that has it, or will */
    char *name;       /* its name in there, which is no symbolic link; owned */
    /* The path goes by the number of a descriptor (/dev/fd/N), which goes on leading to the old file when another
     * has its name. */
    bool by_descriptor;
};

/* Resolves `path`, symbolic links at its end included, also one whose target does not exist. Nothing is
 * opened for reading or writing. Refuses what another user has put into a sticky directory, as Linux does where
 * files are created. False after a report; output_path_close either way. */
bool output_path_find(struct output_path *where, const char *path);

/* Opens what was found, and nothing else: for devices and pipes. -1 with errno; ESTALE: the path leads to
 * something else now. */
int output_path_open(const struct output_path *where, int flags);

/* May what was found be written to? 0, or an errno value. */
int output_path_access(const struct output_path *where);

/* Does the directory have the open file `fd` under `name`? 0: yes; ESTALE: it has been removed or replaced; another
 * errno value: that cannot be found out. */
int output_path_holds(const struct output_path *where, const char *name, int fd);

/* Renames the file `from` of the directory to `to`, which has the text of where->name. `fd`: an O_PATH descriptor of
 * it, or -1. False, with a report, if something else has that name by now than when the path was found, or if the
 * path leads elsewhere; that stays. False too if the path does not lead to the file afterwards. */
bool output_path_give(const struct output_path *where, const char *from, const char *to, int fd);

void output_path_close(struct output_path *where);

#endif
