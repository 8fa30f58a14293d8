/* SPDX-License-Identifier: MIT */
/* own_files.c - which files are an image's own, so that no output may take their place.
 * Knows names and what the system says of files; opens none. */
#include "own_files.h"

#include <stdlib.h>
#include <string.h>

static bool same_file(const struct stat *a, const struct stat *b)
{
    if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode)) {
        return a->st_rdev == b->st_rdev; /* one device may have several nodes */
    }
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

char *own_files_join(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t directory = slash != NULL && name[0] != '/' ? (size_t)(slash - path) + 1 : 0;
    size_t count = strlen(name) + 1;
    char *joined = malloc(directory + count);

    if (joined != NULL) {
        memcpy(joined, path, directory);
        memcpy(joined + directory, name, count);
    }
    return joined;
}

/* A file that cannot be looked at any more cannot be compared. */
static bool is_at(const struct stat *file, const char *path)
{
    struct stat other;

    return stat(path, &other) == 0 && same_file(file, &other);
}

/* Does `name`, said by the file `path`, mean this file? Nothing is overwritten when there is no memory to
 * compare. */
static bool is_named(const struct stat *file, const char *path, const char *name)
{
    char *joined = name != NULL ? own_files_join(path, name) : NULL;
    bool is = name != NULL && (joined == NULL || is_at(file, joined));

    free(joined);
    return is;
}

bool own_files_have(const struct qcow2_image *image, const char *image_path,
                    const struct stat *file)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    /* No image is made of anything else, so names that it says need not be looked at. */
    if (!S_ISREG(file->st_mode) && !S_ISBLK(file->st_mode)) {
        return false;
    }
    for (int depth = 0; qcow2_get_info(image, depth, &info, NULL) == 0; depth++) {
        const char *path = depth == 0 ? image_path : info.source_name;

        if (is_at(file, path) || is_named(file, path, info.data_file) ||
            is_named(file, path, info.backing_file)) {
            return true;
        }
    }
    return false;
}

bool own_files_have_fd(const struct qcow2_image *image, const char *image_path, int fd)
{
    struct stat file;

    return qcow2_has_file(image, fd) ||
           (fstat(fd, &file) == 0 && own_files_have(image, image_path, &file));
}
