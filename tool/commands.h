/* SPDX-License-Identifier: MIT */
/* commands.h - every command there is. A new one is declared here and listed in main.c. */
#ifndef TOOL_COMMANDS_H
#define TOOL_COMMANDS_H

#include "args.h"

extern const struct command command_info;
extern const struct command command_map;
extern const struct command command_convert;
extern const struct command command_cat;
extern const struct command command_digest;
extern const struct command command_check;
extern const struct command command_compare;
extern const struct command command_explain;
extern const struct command command_vet;

#endif
