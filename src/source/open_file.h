/* SPDX-License-Identifier: MIT */
/* open_file.h - opening a file for reading once it is known what kind of file it is. */
#ifndef Q2_SOURCE_OPEN_FILE_H
#define Q2_SOURCE_OPEN_FILE_H

#include <stdbool.h>

enum q2_open_flags {
    Q2_OPEN_NOFOLLOW = 1 << 0,   /* a symbolic link is refused, with -ELOOP or another error */
    Q2_OPEN_NO_DEVICES = 1 << 1, /* only regular files */
};

/* What q2_open_file returns for a FIFO, a socket, a character device and, with NO_DEVICES, a block device: no errno has
 * this value. */
#define Q2_WRONG_KIND (-0x10000)

/* Opens `name` in `directory` (AT_FDCWD: as open(2) does) for reading. Only a regular file or a block
 * device is opened; anything else is examined without being opened, since opening a FIFO releases its writer and opening a
 * device may have effects. A descriptor, -EISDIR for a directory, Q2_WRONG_KIND, or another negative errno. */
int q2_open_file(int directory, const char *name, int flags);

#endif
