/* SPDX-License-Identifier: MIT */
/* common.h - the options that all commands share. args.c is their only caller. */
#ifndef TOOL_COMMON_H
#define TOOL_COMMON_H

#include "args.h"

/* All of them, in the order of the help; ends with an entry whose name is NULL. */
extern const struct arg_option common_table[];

/* Does the command have this option? (One of its own it has.) */
bool common_applies(const struct command *command, const struct arg_option *option);

/* Does what args->option, one of these or "output", says with args->value. False: the value was bad, and has
 * been reported. */
bool common_take(struct args *args, int id);

#endif
