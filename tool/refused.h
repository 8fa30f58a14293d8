/* SPDX-License-Identifier: MIT */
/* refused.h - options of qemu-img that there is no use for here, and why. */
#ifndef TOOL_REFUSED_H
#define TOOL_REFUSED_H

#include "args.h"

/* Why the command has no such option, as the end of a sentence: one of a letter (`name` NULL) or one of a
 * name (`letter` 0). NULL: nobody would expect it to. */
const char *refused_why(const struct command *command, int letter, const char *name);

#endif
