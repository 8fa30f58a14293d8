/* SPDX-License-Identifier: MIT */
/* target.h - where a conversion goes: a new file that appears only when it is complete, a device,
 * or
 * whatever takes a stream. */
#ifndef TOOL_TARGET_H
#define TOOL_TARGET_H

#include <qcow2.h>
#include <stdbool.h>
#include <sys/types.h>

enum target_kind {
    TARGET_FILE,   /* written under another name beside the target, renamed when complete */
    TARGET_DEVICE, /* a block device, written in place */
    TARGET_STREAM  /* a pipe or a character device; standard output, if it is one of these */
};

struct target {
    int kind; /* enum target_kind */
    int fd;
    const char *path; /* as the user named it, for messages */
    /* TARGET_FILE: */
    int directory_fd;
    char *final_path; /* symbolic links resolved; owned */
    const char *final_name;
    char temporary_name[256];
    bool replaces; /* a file of that name exists; its owner and mode are kept */
    uid_t owner;
    gid_t group;
    mode_t mode;
};

/* Opens `path` for `bytes` of disk. Refuses, with a report, what would be a mistake: a directory, a
 * file of the image's own chain, a device too small or in use. True: finish with target_commit or
 * target_abandon. Signals must have been caught before (signals_catch); for a stream they end the
 * program at once from here on. */
bool target_open(struct target *target, const char *path, uint64_t bytes,
                 const struct qcow2_image *image, const char *image_path);

/* Closes it and lets a file appear under its name; with `sync`, after everything has reached the
 * medium. False after a report, nothing left behind. */
bool target_commit(struct target *target, bool sync);

/* Closes it and removes what was written to a file. */
void target_abandon(struct target *target);

/* Is the open file `fd` one of the files of the image? For standard output. */
bool target_is_image(int fd, const struct qcow2_image *image, const char *image_path);

#endif
