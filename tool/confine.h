/* SPDX-License-Identifier: MIT */
/* confine.h - what a command can still reach once it looks at images. */
#ifndef TOOL_CONFINE_H
#define TOOL_CONFINE_H

#include <stdbool.h>

#include "args.h"
#include "keys.h"
#include "target.h"

/* What a command is going to need. A command with one image and no output need not say so: opening the
 * image does it. */
struct confinement {
    const struct common_options *common;
    const char *const *images; /* all that will be opened by name */
    int image_count;
    int passes; /* how many times the one image is opened, if more than once */
    bool
        no_references; /* files that images refer to are not opened, nor their directories allowed */
    bool reopens;      /* images are opened again by name, to the end of the program */
    bool no_keys;      /* nothing is decrypted: no key file is read, and no passphrase asked for */
    const struct keys *second_keys; /* NULL: there are none but common->keys */
    const struct target *target;    /* open already; NULL: there is none */
};

/* Restricts the program to what is needed (the first stage of sandbox.h), once; further calls do
 * nothing. False after a report. */
bool confine(const struct confinement *needs);

/* An image has been opened, or cannot be. After the last one nothing can be opened any more (the
 * second stage). False after a report. */
bool confine_opened(void);

#endif
