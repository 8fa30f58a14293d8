/* SPDX-License-Identifier: MIT */
/* hidden.h - the characters that are never printed as they are. */
#ifndef TOOL_HIDDEN_H
#define TOOL_HIDDEN_H

#include <stdbool.h>
#include <stdint.h>

/* Is this a character that a terminal obeys, that changes the order of the text around it, that shows
 * nothing, or that each font shows in its own way? */
bool hidden_character(uint32_t code);

#endif
