/* SPDX-License-Identifier: MIT */
/* share.h - letting two files share blocks instead of copying them.
 * Knows FICLONERANGE; must not know why or whose the files are. */
#ifndef Q2_COPY_SHARE_H
#define Q2_COPY_SHARE_H

#include <stdbool.h>
#include <stdint.h>

/* Whether this system has a way to share blocks at all. */
bool q2_share_possible(void);

/* Makes `bytes` at target_off of target_fd the same blocks as those at host_off of host_fd. All
 * three are multiples of the file systems' block. False: it could not be done, for whatever
 * reason, and the target range must be written instead. */
bool q2_share_range(int target_fd, uint64_t target_off, int host_fd, uint64_t host_off,
                    uint64_t bytes);

#endif
