/* SPDX-License-Identifier: MIT */
/* own_files.h - which files are an image's own, so that no output may take their place. */
#ifndef TOOL_OWN_FILES_H
#define TOOL_OWN_FILES_H

#include <qcow2.h>
#include <stdbool.h>
#include <sys/stat.h>

/* Is this file one that the image is made of? Those that it names are, whether they were opened (the
 * backing file is not, with QCOW2_OPEN_NO_BACKING) or not. `image_path` is what it was opened by. */
bool own_files_have(const struct qcow2_image *image, const char *image_path,
                    const struct stat *file);

/* The same for an open file. */
bool own_files_have_fd(const struct qcow2_image *image, const char *image_path, int fd);

/* What `name`, said by the file `path`, leads to: the caller's to free; NULL without memory. */
char *own_files_join(const char *path, const char *name);

#endif
