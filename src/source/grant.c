/* SPDX-License-Identifier: MIT */
/* grant.c - the ready-made answer to an image that asks for another file: yes, if
 * it is a regular file beneath a directory that the caller has named.
 *
 * The image's word for the file is never given to open(2) as it stands. It is
 * resolved from the allowed directory down by beneath.c, which cannot leave it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <qcow2.h>

#include "base/error.h"
#include "source/beneath.h"

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

/* What b is called from the directory a, to be freed; NULL if there is no memory. The root has its slash
 * already: two at the start are a place of their own to some C libraries. */
static char *join(const char *a, const char *b)
{
    size_t bytes = strlen(a) + 1 + strlen(b) + 1;
    char *joined = malloc(bytes);

    if (joined != NULL) {
        (void)snprintf(joined, bytes, "%s%s%s", a, strcmp(a, "/") == 0 ? "" : "/", b);
    }
    return joined;
}

/* The directory of a path, to be freed: "a/b" has "a", "b" has ".", "/b" has "/". */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        return strdup(".");
    }
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* What is left of `path` below `top`; both are absolute, without symbolic links or "..". NULL: it is not
 * below. */
static const char *below(const char *top, const char *path)
{
    size_t n = strlen(top);

    if (n == 1) {
        return path + 1;
    }
    if (strncmp(top, path, n) != 0 || (path[n] != '/' && path[n] != '\0')) {
        return NULL;
    }
    return path[n] == '/' ? path + n + 1 : path + n;
}

/* The way from `top` to what `path` names, if its directory lies beneath, wherever the path came by; to
 * be freed. Both are absolute. NULL with errno 0: it does not lie there. */
static char *way_round(const char *top, const char *path)
{
    const char *last = strrchr(path, '/') + 1;
    char *written = strndup(path, (size_t)(last - path));
    char *real = written != NULL ? realpath(written, NULL) : NULL;
    const char *rest = real != NULL ? below(top, real) : NULL;
    char *way = NULL;

    errno = real == NULL ? errno : 0;
    if (rest != NULL && *last != '\0') {
        way = join(*rest != '\0' ? rest : ".", last);
    }
    free(written);
    free(real);
    return way;
}

/* The same for an absolute name: as it is written, or as the directory was, or by its real place. */
static char *way_to_absolute(const char *top, const char *directory, const char *name)
{
    const char *rest = below(top, name);

    if (rest == NULL && directory[0] == '/') {
        rest = below(directory, name);
    }
    return rest != NULL ? join(".", rest) : way_round(top, name);
}

/* The same for a name relative to the directory `from`. */
static char *way_to_relative(const char *top, const char *from, const char *name)
{
    const char *rest = below(top, from);
    char *path, *way;

    if (rest != NULL) {
        return join(*rest != '\0' ? rest : ".", name);
    }
    /* The referrer is elsewhere: its name for the file may still lead here. */
    path = join(from, name);
    way = path != NULL ? way_round(top, path) : NULL;
    free(path);
    return way;
}

/* The same for either, by the real place of the file's directory alone: for names that leave `top` on the
 * way and come back. */
static char *way_by_real_place(const char *top, const char *from, const char *name)
{
    char *path = name[0] == '/' ? strdup(name) : join(from, name);
    char *way = path != NULL ? way_round(top, path) : NULL;

    free(path);
    return way;
}

/* Where to start from `directory` to get to the name: a path to be resolved beneath it, to be freed.
 * NULL with errno 0: the name does not lead there. */
static char *relative_to(const char *directory, const struct qcow2_reference *reference,
                         bool by_real_place)
{
    const bool absolute = reference->name[0] == '/';
    char *top = realpath(directory, NULL), *start, *from, *way = NULL;

    if (top == NULL) {
        return NULL;
    }
    start = absolute ? NULL : directory_of(reference->referrer);
    from = start != NULL ? realpath(start, NULL) : NULL;
    if (absolute || from != NULL) {
        way = by_real_place ? way_by_real_place(top, from, reference->name)
              : absolute    ? way_to_absolute(top, directory, reference->name)
                            : way_to_relative(top, from, reference->name);
    }
    free(top);
    free(start);
    free(from);
    return way;
}

/* Opens the name beneath one directory, by one way: a descriptor, or a negative errno. */
static int open_by_way(const char *directory, const struct qcow2_reference *reference,
                       bool by_real_place)
{
    char *path = relative_to(directory, reference, by_real_place);
    int top, fd;

    if (path == NULL) {
        return errno != 0 ? -errno : -EXDEV;
    }
    top = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) {
        fd = -errno;
    } else {
        fd = q2_open_beneath(top, path);
        (void)close(top);
    }
    free(path);
    return fd;
}

/* The same by any way. What is opened lies beneath the directory, whichever led there. */
static int open_beneath(const char *directory, const struct qcow2_reference *reference)
{
    int fd = open_by_way(directory, reference, false);
    int again = fd == -EXDEV ? open_by_way(directory, reference, true) : fd;

    return again >= 0 || again == -ENOMEM ? again : fd;
}

/* The name that the file's own references are relative to, put together as QEMU does; to be freed. */
static char *source_name(const struct qcow2_reference *reference)
{
    const char *slash = strrchr(reference->referrer, '/');
    char *directory, *name;

    if (reference->name[0] == '/' || slash == NULL) {
        return strdup(reference->name);
    }
    directory = strndup(reference->referrer, (size_t)(slash - reference->referrer));
    name = directory != NULL ? join(directory, reference->name) : NULL;
    free(directory);
    return name;
}

static int grant_fd(const struct qcow2_reference *reference, int fd,
                    struct qcow2_source *source_ret, struct qcow2_error *err)
{
    struct stat st;
    char *name;
    int r;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return refuse(reference, err, "is not a regular file");
    }
    name = source_name(reference);
    if (name == NULL) {
        return q2_error_nomem(err);
    }
    r = qcow2_source_from_fd(fd, name, 1, source_ret, err);
    free(name);
    return r;
}

int qcow2_grant_beneath(void *directories, const struct qcow2_reference *reference,
                        struct qcow2_source *source_ret,
                        int *format_ret, /* NOLINT(readability-non-const-parameter): fixed type */
                        struct qcow2_error *err)
{
    const struct qcow2_grant_directories *allowed = directories;
    int best = -EXDEV;

    (void)format_ret; /* what the image says is as good as what a name could tell */
    if (allowed == NULL || allowed->size < sizeof *allowed ||
        (allowed->count > 0 && allowed->directories == NULL)) {
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
    for (size_t i = 0; i < allowed->count; i++) {
        int fd = open_beneath(allowed->directories[i], reference);

        if (fd >= 0) {
            int r = grant_fd(reference, fd, source_ret, err);

            if (r < 0) {
                (void)close(fd);
            }
            return r;
        }
        /* "Outside" says least; any other reason is nearer to the point. */
        if (fd != -EXDEV) {
            best = fd;
        }
    }
    if (best == -ENOMEM) {
        return q2_error_nomem(err);
    }
    if (best == -EXDEV) {
        return refuse(reference, err, "lies outside the directories that are allowed");
    }
    return refuse(reference, err, "cannot be opened: %s", strerror(-best));
}
