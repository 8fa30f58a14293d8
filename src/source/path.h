/* SPDX-License-Identifier: MIT */
/* path.h - walking a path by descriptors: where a name leads, and whether that lies beneath a directory. */
#ifndef Q2_SOURCE_PATH_H
#define Q2_SOURCE_PATH_H

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* For opening a directory of which only the contents are of interest: no permission to list it is needed
 * where the system can do without. */
#if defined(O_PATH)
#define Q2_DIRECTORY_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#elif defined(O_SEARCH)
#define Q2_DIRECTORY_FLAGS (O_SEARCH | O_DIRECTORY | O_CLOEXEC)
#else
#define Q2_DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#endif

/* Where a path leads: a directory, held open, and a name in it that was no symbolic link. */
struct q2_path_end {
    int directory; /* the caller's to close; -1: there is none */
    char name[NAME_MAX + 1];
};

/* Follows `path` from the directory `start` (a descriptor or AT_FDCWD), one component after the other, through
 * symbolic links too. The links of /proc are followed by their text alone. 0, or a negative errno: then
 * `directory` is the one in which the walk ended, or -1, and `name` is empty. */
int q2_path_walk(int start, const char *path, struct q2_path_end *end_ret);

/* Does `directory` lie beneath one of the directories in `tops`, or is it one of them? 1, 0, or a negative errno if
 * that cannot be found out. It is found by going up from the directory, so that the names it has do not matter. A
 * negative descriptor in `tops` is passed over. */
int q2_path_is_beneath(int directory, const int *tops, size_t count);

/* Do both descriptors stand for the same file? False also if one of them cannot be examined. */
bool q2_path_same(int a, int b);

/* The bytes of `path` that name its directory: 0 if it has none, 1 for "/x". Repeated slashes at the end of the
 * directory are not counted. */
size_t q2_path_directory_bytes(const char *path);

#endif
