/* SPDX-License-Identifier: MIT */
/* image_directory.c - see image_directory.h. Knows directories; must not know options or the sandbox. */
#include "image_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct allowed {
    const char *path;
    int fd;
};

static struct image_directory **images;
static size_t image_count;
static struct allowed *allowed;
static size_t allowed_count;

/* As many descriptors as the system lets this program have: many images may lie in as many directories. */
static bool raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) {
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static struct image_directory *find(const char *path)
{
    for (size_t i = 0; i < image_count; i++) {
        if (strcmp(images[i]->path, path) == 0) {
            return images[i];
        }
    }
    return NULL;
}

/* Images in one directory share a descriptor, as far as they stand side by side. */
static void share_with_last(struct image_directory *image)
{
    const struct image_directory *last = image_count > 0 ? images[image_count - 1] : NULL;

    if (last != NULL && last != image && last->fd >= 0 && image->fd >= 0 &&
        last->device == image->device && last->inode == image->inode) {
        close(image->fd);
        image->fd = last->fd;
    }
}

static void fail(struct image_directory *image, int failed, const char *message)
{
    close(image->fd);
    image->fd = -1;
    image->err.code = QCOW2_E_IO;
    image->err.sys_errno = failed;
    snprintf(image->err.message, sizeof image->err.message, "%s", message);
}

/* A directory that was open before must be the one that it was then. */
static void identify(struct image_directory *image)
{
    struct stat info;

    if (fstat(image->fd, &info) != 0) {
        fail(image, errno, "cannot examine the directory of the file");
    } else if (image->is_known && (info.st_dev != image->device || info.st_ino != image->inode)) {
        fail(image, ESTALE, "the directory of the file has been replaced");
    } else {
        image->is_known = true;
        image->device = info.st_dev;
        image->inode = info.st_ino;
    }
}

static void open_directory(struct image_directory *image)
{
    int r = qcow2_open_directory_of(image->path, &image->fd, &image->name, &image->err);

    if (r == QCOW2_E_IO && image->err.sys_errno == EMFILE && raise_limit()) {
        r = qcow2_open_directory_of(image->path, &image->fd, &image->name, &image->err);
    }
    if (r >= 0) {
        image->is_own = image->is_known ? image->is_own : r == 1;
        identify(image);
    }
}

static struct image_directory *make(const char *path)
{
    static const struct image_directory empty = { .fd = -1, .err = QCOW2_ERROR_INIT };
    struct image_directory **grown = realloc(images, (image_count + 1) * sizeof(*images));
    struct image_directory *image = malloc(sizeof *image);
    const char *slash = strrchr(path, '/');

    if (grown != NULL) {
        images = grown;
    }
    if (image != NULL) {
        *image = empty;
        image->path = path;
        image->prefix = strndup(path, slash != NULL ? (size_t)(slash - path) + 1 : 0);
    }
    if (grown == NULL || image == NULL || image->prefix == NULL) {
        free(image);
        return NULL;
    }
    return image;
}

const struct image_directory *image_directory_of(const char *path)
{
    struct image_directory *image = find(path);

    if (image == NULL) {
        image = make(path);
        if (image == NULL) {
            return NULL;
        }
        open_directory(image);
        share_with_last(image);
        images[image_count++] = image;
    } else if (image->fd < 0 && image->is_known) {
        open_directory(image);
    }
    return image;
}

void image_directory_rest(const char *path)
{
    struct image_directory *image = find(path);
    struct rlimit limit;

    /* One that is shared has the number of an earlier one, which was low enough. */
    if (image != NULL && image->fd >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY && (rlim_t)image->fd >= limit.rlim_cur / 2) {
        close(image->fd);
        image->fd = -1;
    }
}

int allowed_directory(const char *path)
{
#ifdef O_PATH
    const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
#else
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
#endif
    struct allowed *grown;

    for (size_t i = 0; i < allowed_count; i++) {
        if (strcmp(allowed[i].path, path) == 0) {
            return allowed[i].fd;
        }
    }
    grown = realloc(allowed, (allowed_count + 1) * sizeof *allowed);
    if (grown == NULL) {
        return -1;
    }
    allowed = grown;
    allowed[allowed_count++] = (struct allowed){ path, open(path, flags) };
    return allowed[allowed_count - 1].fd;
}

int image_directory_open(const char *path, struct qcow2_source *source_ret, struct qcow2_error *err)
{
    const struct image_directory *image = image_directory_of(path);

    if (image == NULL) {
        err->code = QCOW2_E_NOMEM;
        strcpy(err->message, "out of memory");
        return QCOW2_E_NOMEM;
    }
    if (image->fd < 0) {
        *err = image->err;
        return err->code;
    }
    return qcow2_source_from_path_at(image->fd, image->name, path, source_ret, err);
}
