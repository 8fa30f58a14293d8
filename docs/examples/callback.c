/* SPDX-License-Identifier: MIT */
/* callback.c - reads an image through a source of one's own: a file that was cut into parts.
 *
 *     split -b 200000 disk.qcow2 part.
 *     ./callback part.* >disk.raw
 *
 * Anything that can be read at an offset can be a source: an object store, a member of an archive, a
 * block of memory. The library calls read_at from several threads at once here (qcow2_copy_to_fd has
 * workers), which pread(2) does not mind. */
#include <errno.h>
#include <fcntl.h>
#include <qcow2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct part {
    int fd;
    uint64_t start; /* where it begins in the whole */
    uint64_t bytes;
};

struct parts {
    size_t count;
    struct part *part;
};

/* One part's share of a read. 0, or an errno value; a part that ends early has been cut. */
static int read_part(const struct part *part, char *buf, size_t count, uint64_t offset)
{
    while (count > 0) {
        ssize_t n = pread(part->fd, buf, count, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        buf += n;
        count -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static int parts_read_at(void *ctx, void *buf, size_t count, uint64_t offset)
{
    const struct parts *parts = ctx;
    char *to = buf;

    for (size_t i = 0; i < parts->count && count > 0; i++) {
        const struct part *part = &parts->part[i];
        size_t here;
        int error;

        if (offset < part->start || offset - part->start >= part->bytes)
            continue;
        here = count;
        if (part->bytes - (offset - part->start) < here)
            here = (size_t)(part->bytes - (offset - part->start));
        error = read_part(part, to, here, offset - part->start);
        if (error != 0)
            return error;
        to += here;
        count -= here;
        offset += here;
    }
    return count == 0 ? 0 : EIO;
}

static int parts_get_size(void *ctx, uint64_t *bytes_ret)
{
    const struct parts *parts = ctx;
    const struct part *last = &parts->part[parts->count - 1];

    *bytes_ret = last->start + last->bytes;
    return 0;
}

static void parts_close(void *ctx)
{
    struct parts *parts = ctx;

    for (size_t i = 0; i < parts->count; i++)
        close(parts->part[i].fd);
    free(parts->part);
    parts->part = NULL;
    parts->count = 0;
}

/* Opens every file of paths; on failure says which, and leaves nothing open. */
static int parts_open(struct parts *parts, size_t count, char **paths)
{
    uint64_t start = 0;

    parts->count = 0;
    parts->part = calloc(count, sizeof *parts->part);
    if (parts->part == NULL) {
        perror("callback");
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        struct stat status;
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fstat(fd, &status) < 0) {
            fprintf(stderr, "callback: %s: %s\n", paths[i], strerror(errno));
            if (fd >= 0)
                close(fd);
            parts_close(parts);
            return -1;
        }
        parts->part[parts->count++] =
            (struct part){ .fd = fd, .start = start, .bytes = (uint64_t)status.st_size };
        start += (uint64_t)status.st_size;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;
    struct parts parts;
    struct qcow2_source source = {
        .size = sizeof source,
        .ctx = &parts,
        .name = "parts",
        .read_at = parts_read_at,
        .get_size = parts_get_size,
        .close = parts_close,
    };
    int status;

    if (argc < 2) {
        fputs("usage: callback PART... >RAW\n", stderr);
        return 2;
    }
    if (parts_open(&parts, (size_t)argc - 1, argv + 1) < 0)
        return 1;
    /* The source belongs to the library from here on, also if this fails. */
    status = qcow2_open_source(&source, NULL, &image, &err);
    if (status == 0) {
        status = qcow2_copy_to_fd(image, STDOUT_FILENO, NULL, &err);
        qcow2_close(image);
    }
    if (status < 0)
        fprintf(stderr, "callback: %s\n", err.message);
    return status < 0;
}
