/* SPDX-License-Identifier: MIT */
/* help.h - what --help prints. */
#ifndef TOOL_HELP_H
#define TOOL_HELP_H

#include "args.h"

/* The whole help of one command on stdout. `common` is the table of shared options. */
void help_print(const struct command *command, const struct arg_option *common);

#endif
