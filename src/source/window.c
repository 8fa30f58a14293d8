/* SPDX-License-Identifier: MIT */
/* window.c - see window.h. Knows offsets and ends, nothing of what is read. */
#include "source/window.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/error.h"
#include "source/file.h"

enum { LEAST_BLOCKS = 8 };
#define UNCOUNTED_BYTES (UINT64_C(16) << 30)

struct q2_identity q2_identity_of(int fd)
{
    struct q2_identity identity = { .known = false, .stored_bytes = UINT64_MAX };
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0) {
        identity.known = true;
        identity.is_device = S_ISBLK(st.st_mode);
        identity.device = (uint64_t)(identity.is_device ? st.st_rdev : st.st_dev);
        identity.inode = identity.is_device ? 0 : (uint64_t)st.st_ino;
        /* Some file systems count no blocks, and some count those of a new file after seconds. No image is stored
         * in so few, but a file of any length may be: what it counts as is bounded. */
        if (S_ISREG(st.st_mode)) {
            identity.stored_bytes =
                st.st_blocks >= LEAST_BLOCKS ? (uint64_t)st.st_blocks * 512 : UNCOUNTED_BYTES;
        }
    }
    return identity;
}

bool q2_identity_same(const struct q2_identity *a, const struct q2_identity *b)
{
    return a->known && b->known && a->is_device == b->is_device && a->device == b->device &&
           a->inode == b->inode;
}

int q2_window_init(struct q2_window *window, const struct qcow2_source *source,
                   struct qcow2_error *err)
{
    int r;

    if (source == NULL || source->size < sizeof(struct qcow2_source) || source->read_at == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the source is NULL, has a wrong size or no read_at");
    }
    *window = (struct q2_window){ .source = *source, .size_bytes = UINT64_MAX, .fd = -1 };
    window->name = strdup(source->name != NULL ? source->name : "");
    window->source.name = window->name;
    if (window->name == NULL) {
        q2_window_deinit(window);
        return q2_error_nomem(err);
    }
    if (source->get_size != NULL && (r = source->get_size(source->ctx, &window->size_bytes)) != 0) {
        q2_window_deinit(window);
        return q2_error_set_errno(err, QCOW2_E_IO, r, UINT64_MAX,
                                  "cannot tell the size of the file");
    }
    if (source->get_fd != NULL) {
        window->fd = source->get_fd(source->ctx);
        window->own_offset = q2_source_has_own_offset(source);
    }
    window->identity = q2_identity_of(window->fd);
    window->stored_bytes = q2_min_u64(window->size_bytes, window->identity.stored_bytes);
    window->end = window->size_bytes;
    return 0;
}

void q2_window_deinit(struct q2_window *window)
{
    if (window->source.close != NULL) {
        window->source.close(window->source.ctx);
    }
    free(window->name);
    *window = (struct q2_window){ .fd = -1 };
}

void q2_window_set_clusters(struct q2_window *window, unsigned cluster_bits, bool endless)
{
    window->end = endless ? UINT64_MAX : q2_round_up(window->size_bytes, cluster_bits);
}

int q2_window_fail_range(const struct q2_window *window, uint64_t host_off, uint64_t count,
                         const char *what, struct qcow2_error *err)
{
    return q2_error_set_at(err, QCOW2_E_TRUNCATED, host_off,
                           "%s at 0x%llx (%llu bytes) lies past the end of the file (%llu bytes)",
                           what, (unsigned long long)host_off, (unsigned long long)count,
                           (unsigned long long)window->size_bytes);
}

uint64_t q2_window_existing(const struct q2_window *window, uint64_t host_off, uint64_t count)
{
    return host_off >= window->size_bytes ? 0 : q2_min_u64(count, window->size_bytes - host_off);
}

int q2_window_fail_read(int sys_errno, size_t count, uint64_t host_off, const char *what,
                        struct qcow2_error *err)
{
    return q2_error_set_errno(err, QCOW2_E_IO, sys_errno, host_off,
                              "cannot read %s at 0x%llx (%zu bytes)", what,
                              (unsigned long long)host_off, count);
}

int q2_window_read_padded(const struct q2_window *window, void *buf, size_t count,
                          uint64_t host_off, const char *what, struct qcow2_error *err)
{
    size_t existing;
    int r;

    if ((r = q2_window_check(window, host_off, count, what, err)) < 0) {
        return r;
    }
    existing = (size_t)q2_window_existing(window, host_off, count);
    if (existing > 0 &&
        (r = q2_window_read_existing(window, buf, existing, host_off, what, err)) < 0) {
        return r;
    }
    memset((char *)buf + existing, 0, count - existing);
    return 0;
}
