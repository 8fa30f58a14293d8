/* SPDX-License-Identifier: MIT */
/* share.c - letting two files share blocks instead of copying them.
 * Knows FICLONERANGE; must not know why or whose the files are. */
#include "share.h"

#include <errno.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

#if defined(__linux__) && defined(FICLONERANGE)
bool q2_share_possible(void)
{
    return true;
}

bool q2_share_range(int target_fd, uint64_t target_off, int host_fd, uint64_t host_off,
                    uint64_t bytes)
{
    struct file_clone_range range = {
        .src_fd = host_fd, .src_offset = host_off, .src_length = bytes, .dest_offset = target_off
    };
    int ret;

    do {
        ret = ioctl(target_fd, FICLONERANGE, &range);
    } while (ret != 0 && errno == EINTR);
    return ret == 0;
}
#else
bool q2_share_possible(void)
{
    return false;
}

bool q2_share_range(int target_fd, uint64_t target_off, int host_fd, uint64_t host_off,
                    uint64_t bytes)
{
    (void)target_fd;
    (void)target_off;
    (void)host_fd;
    (void)host_off;
    (void)bytes;
    return false;
}
#endif
