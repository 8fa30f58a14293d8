/* SPDX-License-Identifier: MIT */
/* grant.c - the ready-made answer to an image that asks for another file: yes, if
 * it is a regular file beneath a directory that the caller has named.
 *
 * The image's word for the file is never given to open(2) as it stands. path.c
 * follows it to a directory that is held open; that one must lie beneath an
 * allowed directory, which is held open too. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcow2.h>

#include "base/error.h"
#include "source/file.h"
#include "source/open_file.h"
#include "source/path.h"

static const char *kind_text(const struct qcow2_reference *reference)
{
    return reference->kind == QCOW2_REFERENCE_DATA_FILE ? "data file" : "backing file";
}

Q2_PRINTF(3, 4)
static int refuse(const struct qcow2_reference *reference, struct qcow2_error *err, const char *fmt,
                  ...)
{
    char name[96], reason[128];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    q2_escape(name, sizeof name, reference->name, SIZE_MAX);
    return q2_error_set(err, QCOW2_E_REFERENCE, "%s \"%s\" %s", kind_text(reference), name, reason);
}

/* "json:...", "nbd://...", "file:x": what QEMU would hand to a driver. A name that has a colon in its
 * first component can be written with "./" before it. */
static bool has_protocol(const char *name)
{
    size_t first = strcspn(name, ":/");

    return name[first] == ':';
}

/* Where a name is resolved from: a directory that is held, or the working directory, and the path from there; to be
 * freed. */
struct start {
    int directory;
    char *path;
};

/* The bytes of a directory's name that count: "a/" and "a" are the same, and "." is like nothing. */
static size_t name_bytes(const char *name)
{
    size_t n = strlen(name);

    while (n > 1 && name[n - 1] == '/') {
        n--;
    }
    return n == 1 && name[0] == '.' ? 0 : n;
}

/* What is left of the first n bytes of `path` after the directory `top`, without a slash at its start; NULL: it
 * does not begin so. */
static const char *rest_after(const char *top, const char *path, size_t n)
{
    size_t bytes = name_bytes(top);

    if (bytes == 0) {
        return path[0] != '/' ? path : NULL;
    }
    if (bytes > n || strncmp(top, path, bytes) != 0 ||
        (bytes < n && top[bytes - 1] != '/' && path[bytes] != '/')) {
        return NULL;
    }
    while (bytes < n && path[bytes] == '/') {
        bytes++;
    }
    return path + bytes;
}

/* The path to `name` from the first n bytes of `directory`; NULL without memory. */
static char *path_from(const char *directory, size_t n, const char *name)
{
    size_t bytes = n + 1 + strlen(name) + 1;
    char *path = malloc(bytes);

    if (path != NULL) {
        (void)snprintf(path, bytes, "%.*s%s%s", (int)n, directory,
                       n > 0 && directory[n - 1] != '/' ? "/" : "", name);
    }
    return path;
}

/* A relative name starts at the directory of the file that it is in. If that file is called by the name of an
 * allowed directory, the start is the directory that is held, not what has its name now. */
static struct start start_of(const struct qcow2_grant_directories *allowed,
                             const struct qcow2_reference *reference)
{
    const char *referrer = reference->referrer;
    size_t n = q2_path_directory_bytes(referrer);
    struct start start = { AT_FDCWD, NULL };
    const char *rest = referrer;
    size_t longest = 0;

    if (n > INT_MAX || reference->name[0] == '/') {
        start.path = strdup(reference->name);
        return start;
    }
    for (size_t i = 0; allowed->names != NULL && i < allowed->count; i++) {
        const char *name = allowed->fds[i] >= 0 ? allowed->names[i] : NULL;
        const char *after = name != NULL ? rest_after(name, referrer, n) : NULL;

        if (after != NULL && (start.directory < 0 || name_bytes(name) > longest)) {
            start.directory = allowed->fds[i];
            longest = name_bytes(name);
            rest = after;
        }
    }
    start.path = path_from(rest, n - (size_t)(rest - referrer), reference->name);
    return start;
}

/* Opens what the name leads to, wherever it comes by, if it lies beneath an allowed directory: a descriptor,
 * -EXDEV if it lies elsewhere, or what q2_open_file returns. */
static int open_allowed(const struct qcow2_grant_directories *allowed,
                        const struct qcow2_reference *reference)
{
    struct start start = start_of(allowed, reference);
    struct q2_path_end end;
    int beneath, r;

    if (start.path == NULL) {
        return -ENOMEM;
    }
    r = q2_path_walk(start.directory, start.path, &end);
    free(start.path);
    if (end.directory < 0) {
        return r;
    }
    beneath = q2_path_is_beneath(end.directory, allowed->fds, allowed->count);
    if (beneath <= 0) {
        /* What is found, or missing, elsewhere is not reported: it is no business of an image's. */
        r = beneath < 0 ? beneath : -EXDEV;
    } else if (r == 0) {
        r = q2_open_file(end.directory, end.name, Q2_OPEN_NOFOLLOW | Q2_OPEN_NO_DEVICES);
    }
    (void)close(end.directory);
    return r;
}

/* The name that the file's own references are relative to, put together as QEMU does; to be freed. */
static char *source_name(const struct qcow2_reference *reference)
{
    const size_t n = q2_path_directory_bytes(reference->referrer);

    return reference->name[0] == '/' || n > INT_MAX
               ? strdup(reference->name)
               : path_from(reference->referrer, n, reference->name);
}

static int grant_fd(const struct qcow2_reference *reference, int fd,
                    struct qcow2_source *source_ret, struct qcow2_error *err)
{
    char *name = source_name(reference);
    int r = name == NULL ? q2_error_nomem(err) : qcow2_source_from_fd(fd, name, 1, source_ret, err);

    free(name);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    q2_source_opened_here(source_ret);
    return 0;
}

static bool is_valid(const struct qcow2_grant_directories *allowed)
{
    return allowed != NULL && allowed->size >= sizeof *allowed &&
           (allowed->count == 0 || allowed->fds != NULL);
}

int qcow2_grant_beneath(void *directories, const struct qcow2_reference *reference,
                        struct qcow2_source *source_ret,
                        int *format_ret, /* NOLINT(readability-non-const-parameter): fixed type */
                        struct qcow2_error *err)
{
    const struct qcow2_grant_directories *allowed = directories;
    int fd;

    (void)format_ret; /* what the image says is as good as what a name could tell */
    if (!is_valid(allowed)) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the allowed directories are not a valid list");
    }
    if (reference == NULL || reference->name == NULL || reference->referrer == NULL ||
        source_ret == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the reference, a name in it or the place for the source is NULL");
    }
    if (has_protocol(reference->name)) {
        return refuse(reference, err, "has a protocol prefix; only plain file names are opened");
    }
    fd = open_allowed(allowed, reference);
    if (fd >= 0) {
        return grant_fd(reference, fd, source_ret, err);
    }
    switch (fd) {
    case -ENOMEM:
        return q2_error_nomem(err);
    case -EXDEV:
        return refuse(reference, err, "lies outside the directories that are allowed");
    case Q2_WRONG_KIND:
        return refuse(reference, err, "is not a regular file");
    default:
        return refuse(reference, err, "cannot be opened: %s", strerror(-fd));
    }
}
