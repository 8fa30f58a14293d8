/* SPDX-License-Identifier: MIT */
/* target.h - where a conversion goes: a new file that appears only when it is complete, a device, or
 * whatever takes a stream. */
#ifndef TOOL_TARGET_H
#define TOOL_TARGET_H

#include <qcow2.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "output_mode.h"
#include "output_path.h"
#include "pinned.h"

enum target_kind {
    TARGET_FILE,   /* written under another name beside the target, renamed when complete */
    TARGET_DEVICE, /* a block device, written in place */
    TARGET_STREAM  /* a pipe or a character device; standard output, if it is one of these */
};

struct target {
    int kind; /* enum target_kind */
    int fd;
    const char *path; /* as the user named it, for messages */
    struct output_path where;
    /* TARGET_FILE, which replaces what exists and then keeps its owner and mode: */
    int sync_fd; /* the directory, to be flushed; -1 if that is not asked for */
    int held_fd; /* the unfinished file as an O_PATH descriptor; -1: there is no O_PATH */
    struct pinned_names names;
    bool
        has_acl; /* a new file that inherited an access control list; asked for before the sandbox is entered */
};

/* How a target is to be opened. */
struct target_wishes {
    bool sync;               /* it will be committed with that */
    bool in_place;           /* only what exists and is no file: a device or a pipe */
    struct output_mode mode; /* of a file that replaces none, beside the umask */
};

/* Opens `path`, and all that finishing it will take, so that no image need be looked at before: once
 * one is, nothing is opened for writing any more. Nothing that exists is changed yet. A file that
 * replaces another has that one's mode and access control list, and for root its owner, from now on. Refuses, with a report, a
 * directory or a device in use. True: finish with target_commit or target_abandon. Signals must end the
 * program at once (signals_exit_at_once), since a pipe may take for ever to open. */
bool target_open(struct target *target, const char *path, const struct target_wishes *wishes);

struct own_files;

/* May the disk of this image go there? Refuses, with a report, a file of the image's own chain, a device
 * too small, and a new file that more users could read than an encrypted image. */
bool target_is_fit(const struct target *target, const struct qcow2_image *image,
                   const struct own_files *own);

/* Gives every byte of a finished file its place on the medium, holes too; a device has it, and a stream
 * needs none. False with *err as qcow2_copy_to_fd sets it. */
bool target_allocate(const struct target *target, uint64_t bytes, struct qcow2_error *err);

/* Lets the sandbox allow what finishing it takes. */
void target_confine(const struct target *target);

/* Closes it and lets a file appear under its name; with `sync`, after everything has reached the
 * medium. If another file has taken the name since target_open, that one stays. False after a report,
 * nothing left behind. */
bool target_commit(struct target *target, bool sync);

/* Closes it and removes what was written to a file. */
void target_abandon(struct target *target);

#endif
