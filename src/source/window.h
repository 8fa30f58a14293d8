/* SPDX-License-Identifier: MIT */
/* window.h - a source with an end.
 *
 * Everything the library reads comes through here, so no pointer out of an
 * image can be followed past the end of its file. The end is decided once, when
 * the image is opened. */
#ifndef Q2_SOURCE_WINDOW_H
#define Q2_SOURCE_WINDOW_H

#include <stdbool.h>

#include <qcow2.h>

/* What tells files apart, as far as the system says: two with one identity are one file. */
struct q2_identity {
    bool known;
    bool is_device; /* a block device, by its number: it may have several names */
    uint64_t device, inode;
    uint64_t stored_bytes; /* in blocks of the file system; UINT64_MAX: not known */
};

struct q2_window {
    struct qcow2_source source; /* ours; its name is the copy below */
    char *name;                 /* "" if the source has none */
    uint64_t size_bytes;        /* UINT64_MAX: not known */
    uint64_t stored_bytes;      /* what is stored of them: less, if the file has holes */
    uint64_t end;               /* how far reads may reach: the size rounded up to a cluster */
    int fd;                     /* for the copy engine, or -1 */
    bool own_offset;            /* of `fd`: nothing depends on where it stands */
    struct q2_identity identity;
};

/* Takes the source over whatever the outcome, unless it is malformed (QCOW2_E_ARGUMENT). */
int q2_window_init(struct q2_window *window, const struct qcow2_source *source,
                   struct qcow2_error *err);
void q2_window_deinit(struct q2_window *window);

/* Of what an open descriptor leads to; -1 has none. */
struct q2_identity q2_identity_of(int fd);
bool q2_identity_same(const struct q2_identity *a, const struct q2_identity *b);

/* Sets the end. A file may stop inside its last cluster: what is missing of that reads as zeros.
 * With `endless` so does everything behind it. */
void q2_window_set_clusters(struct q2_window *window, unsigned cluster_bits, bool endless);

/* Where QEMU's reads begin to fail, whatever the file: the largest offset less what it aligns requests to. */
#define Q2_WINDOW_FAR_END ((UINT64_C(1) << 63) - (UINT64_C(1) << 30))

/* Whether [host_off, host_off + count) lies below the limit, and where anything can be read. */
static inline bool q2_window_below(uint64_t limit, uint64_t host_off, uint64_t count)
{
    limit = limit < Q2_WINDOW_FAR_END ? limit : Q2_WINDOW_FAR_END;
    return count <= limit && host_off <= limit - count;
}

/* QCOW2_E_TRUNCATED for a range that does not lie before the end. */
int q2_window_fail_range(const struct q2_window *window, uint64_t host_off, uint64_t count,
                         const char *what, struct qcow2_error *err);

/* Whether [host_off, host_off + count) lies before the end; `what` names it in the message. */
static inline int q2_window_check(const struct q2_window *window, uint64_t host_off, uint64_t count,
                                  const char *what, struct qcow2_error *err)
{
    return q2_window_below(window->end, host_off, count)
               ? 0
               : q2_window_fail_range(window, host_off, count, what, err);
}

/* QCOW2_E_IO for a read that failed. */
int q2_window_fail_read(int sys_errno, size_t count, uint64_t host_off, const char *what,
                        struct qcow2_error *err);

/* The read alone, for ranges that do exist: no byte past size_bytes may be asked for. */
static inline int q2_window_read_existing(const struct q2_window *window, void *buf, size_t count,
                                          uint64_t host_off, const char *what,
                                          struct qcow2_error *err)
{
    int sys_errno = window->source.read_at(window->source.ctx, buf, count, host_off);

    return sys_errno == 0 ? 0 : q2_window_fail_read(sys_errno, count, host_off, what, err);
}

/* q2_window_read of a range that the file may not have all of. */
int q2_window_read_padded(const struct q2_window *window, void *buf, size_t count,
                          uint64_t host_off, const char *what, struct qcow2_error *err);

/* Reads what exists of a range that passes q2_window_check, and zeros for the rest. */
static inline int q2_window_read(const struct q2_window *window, void *buf, size_t count,
                                 uint64_t host_off, const char *what, struct qcow2_error *err)
{
    return q2_window_below(window->size_bytes, host_off, count)
               ? q2_window_read_existing(window, buf, count, host_off, what, err)
               : q2_window_read_padded(window, buf, count, host_off, what, err);
}

/* How many bytes of [host_off, host_off + count) the file really has, from host_off on. */
uint64_t q2_window_existing(const struct q2_window *window, uint64_t host_off, uint64_t count);

#endif
