/* SPDX-License-Identifier: MIT */
/* image_directory.h - the directories of the images on the command line, and those of --allow, held open from
 * before the sandbox on: what is opened, allowed and granted later is found beneath these descriptors, whatever
 * has become of the names. */
#ifndef TOOL_IMAGE_DIRECTORY_H
#define TOOL_IMAGE_DIRECTORY_H

#include <qcow2.h>
#include <stdbool.h>
#include <sys/types.h>

struct image_directory {
    const char *path; /* of the image, as the user wrote it */
    char *prefix;     /* the part of it that names the directory, up to `name` */
    const char *name; /* of the image in its directory */
    int fd;           /* -1: `err` */
    bool is_own;      /* files beneath it may be granted to the image (qcow2_open_directory_of) */
    bool is_known;    /* it has been open before, and then was: */
    dev_t device;
    ino_t inode;
    bool was_open; /* the image file has been, and then was: */
    dev_t file_device;
    ino_t file_inode;
    struct qcow2_error err;
};

/* The directory of the image at `path`, opened at the first call for this path and kept to the end of the program or
 * until image_directory_rest. NULL: out of memory. */
const struct image_directory *image_directory_of(const char *path);

/* Closes the directory if so many are open that there may be too few descriptors for the images. The next
 * image_directory_of opens it again, and only if it is still the same. */
void image_directory_rest(const char *path);

/* The directory at `path`, likewise; a negative errno: it cannot be opened. */
int allowed_directory(const char *path);

/* Opens the image file. 0, or a code of the library with *err filled: also if it is not the file that it was when it was
 * opened before, and if standard output or standard error would be written to it. */
int image_directory_open(const char *path, struct qcow2_source *source_ret,
                         struct qcow2_error *err);

/* Is the file behind `fd` one that standard output or standard error is open on for writing? Its name, or NULL. */
const char *standard_stream_on(int fd);

#endif
