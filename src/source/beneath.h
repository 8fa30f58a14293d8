/* SPDX-License-Identifier: MIT */
/* beneath.h - opening a file without being led out of a directory. */
#ifndef Q2_SOURCE_BENEATH_H
#define Q2_SOURCE_BENEATH_H

/* Opens `path` read-only and non-blocking, beneath the directory that `top` is open on: neither "..", nor
 * an absolute path, nor a symbolic link (also of the kind that /proc has) leads out of it. A descriptor,
 * or a negative errno: -EXDEV for a path that would leave. */
int q2_open_beneath(int top, const char *path);

/* The same by hand, for systems without openat2(2): what q2_open_beneath falls back to. */
int q2_walk_beneath(int top, const char *path);

#endif
