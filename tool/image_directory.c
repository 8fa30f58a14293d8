/* SPDX-License-Identifier: MIT */
/* image_directory.c - see image_directory.h. Knows directories; must not know options or the sandbox. */
#include "image_directory.h"

#include <errno.h>
#include <fcntl.h>
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

static bool is_same(int a, int b)
{
    struct stat first, second;

    return a >= 0 && b >= 0 && fstat(a, &first) == 0 && fstat(b, &second) == 0 &&
           first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* Images in one directory share a descriptor, as far as they stand side by side. */
static void share_with_last(struct image_directory *image)
{
    const struct image_directory *last = image_count > 0 ? images[image_count - 1] : NULL;

    if (last != NULL && is_same(last->fd, image->fd)) {
        close(image->fd);
        image->fd = last->fd;
    }
}

static void open_directory(struct image_directory *image)
{
    int r = qcow2_open_directory_of(image->path, &image->fd, &image->name, &image->err);

    if (r == QCOW2_E_IO && image->err.sys_errno == EMFILE && raise_limit()) {
        r = qcow2_open_directory_of(image->path, &image->fd, &image->name, &image->err);
    }
    image->is_own = r == 1;
}

const struct image_directory *image_directory_of(const char *path)
{
    static const struct image_directory empty = { .fd = -1, .err = QCOW2_ERROR_INIT };
    struct image_directory *image, **grown;
    const char *slash = strrchr(path, '/');

    for (size_t i = 0; i < image_count; i++) {
        if (strcmp(images[i]->path, path) == 0) {
            return images[i];
        }
    }
    grown = realloc(images, (image_count + 1) * sizeof(*images));
    image = malloc(sizeof *image);
    if (grown != NULL) {
        images = grown;
    }
    if (grown == NULL || image == NULL) {
        free(image);
        return NULL;
    }
    *image = empty;
    image->path = path;
    image->prefix = strndup(path, slash != NULL ? (size_t)(slash - path) + 1 : 0);
    if (image->prefix == NULL) {
        free(image);
        return NULL;
    }
    open_directory(image);
    share_with_last(image);
    images[image_count++] = image;
    return image;
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
