/* SPDX-License-Identifier: MIT */
/* convert_options.h - what the command line of qcow2 convert says. */
#ifndef TOOL_CONVERT_OPTIONS_H
#define TOOL_CONVERT_OPTIONS_H

#include <qcow2.h>
#include <stdbool.h>

#include "args.h"
#include "snapshot_words.h"

struct convert_options {
    struct qcow2_copy_options copy;
    struct snapshot_words snapshot; /* what must hold of common.snapshot */
    int progress_mode;
    bool sync;      /* finish when it is on the medium */
    bool force;     /* also to a terminal */
    bool no_create; /* the target is there already */
    bool allocate;  /* a file shall have no holes */
};

extern const struct arg_option convert_option_table[];

/* Reads options and operands; `options` has its initial values. False: stop with args->exit_code.
 * convert_options_free either way. */
bool convert_options_read(struct convert_options *options, struct args *args);

void convert_options_free(struct convert_options *options);

#endif
