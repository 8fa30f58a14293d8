/* SPDX-License-Identifier: MIT */
/* host_holes.c - which parts of stored data are holes of the file that stores it.
 * Knows SEEK_DATA; must not know the image, the plan or the target.
 *
 * An image can set clusters aside that were never written (preallocation): a terabyte of "data"
 * that the file system knows to be nothing. Asking it saves reading zeros for minutes.
 *
 * SEEK_DATA moves the offset of the open file description. Where the library opened the file, nothing
 * depends on that offset. Else it may be the caller's own, so the question is put to a description of
 * ours, made from the descriptor itself and not from any name; where that cannot be had, holes are simply
 * not seen. */
#include "host_holes.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { VIEWS = sizeof(((struct q2_host_holes *)NULL)->view) / sizeof(struct q2_host_view) };

void q2_host_holes_init(struct q2_host_holes *holes)
{
    const struct q2_host_view unknown = { -1, -1, 0, 0, false };

    for (size_t i = 0; i < VIEWS; i++) {
        holes->view[i] = unknown;
    }
}

static void forget(struct q2_host_view *view)
{
    if (view->own_fd >= 0 && view->own_fd != view->fd) {
        close(view->own_fd);
    }
}

void q2_host_holes_deinit(struct q2_host_holes *holes)
{
    for (size_t i = 0; i < VIEWS; i++) {
        forget(&holes->view[i]);
    }
}

#if defined(__linux__) && defined(SEEK_DATA) && defined(SEEK_HOLE)
/* A description of the file behind fd that may be sought in, or -1. */
static int description_of(int fd, bool may_seek)
{
    char path[48];
    struct stat st;

    /* Only regular files have holes, and one with a block for every byte has none. */
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return -1;
    }
    if ((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size) {
        return -1;
    }
    if (may_seek) {
        return fd;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* Sets from, to and hole to what there is at host_off. What cannot be told counts as data, which
 * is then read: the answer that is always right. */
static void look(struct q2_host_view *view, uint64_t host_off)
{
    off_t at = (off_t)host_off;
    off_t end = lseek(view->own_fd, at, SEEK_DATA);
    struct stat st;

    view->from = host_off;
    view->hole = end > at;
    if (end == at) {
        end = lseek(view->own_fd, at, SEEK_HOLE);
    } else if (end < 0 && errno == ENXIO && fstat(view->own_fd, &st) == 0) {
        view->hole = st.st_size > at; /* no more data: a hole up to the end of the file */
        end = st.st_size;
    }
    view->to = end > at ? (uint64_t)end : UINT64_MAX;
}

uint64_t q2_host_holes_find(struct q2_host_holes *holes, int fd, bool may_seek, uint64_t host_off,
                            uint64_t bytes, bool *hole_ret)
{
    struct q2_host_view *view = &holes->view[(unsigned)fd % VIEWS];

    *hole_ret = false;
    if (fd != view->fd) {
        forget(view);
        view->fd = fd;
        view->own_fd = description_of(fd, may_seek);
        view->from = view->to = 0;
    }
    if (view->own_fd < 0) {
        return bytes;
    }
    if (host_off < view->from || host_off >= view->to) {
        look(view, host_off);
    }
    *hole_ret = view->hole;
    return view->to - host_off < bytes ? view->to - host_off : bytes;
}
#else
uint64_t q2_host_holes_find(struct q2_host_holes *holes, int fd, bool may_seek, uint64_t host_off,
                            uint64_t bytes, bool *hole_ret)
{
    (void)holes;
    (void)fd;
    (void)may_seek;
    (void)host_off;
    *hole_ret = false;
    return bytes;
}
#endif
