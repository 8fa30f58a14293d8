/* SPDX-License-Identifier: MIT */
/* prompt.h - asking for a passphrase on the terminal. */
#ifndef TOOL_PROMPT_H
#define TOOL_PROMPT_H

#include <stddef.h>

enum prompt_outcome {
    PROMPT_DONE,
    PROMPT_NO_TERMINAL,
    PROMPT_TOO_LONG,
    PROMPT_GIVEN_UP /* end of input, or a signal that did not end the program */
};

/* Opens the terminal, if standard input is one, for a program that will not be able to open anything
 * when the question comes up. */
void prompt_prepare(void);

/* No question comes up any more: closes what prompt_prepare opened, so that the terminal can be neither
 * read nor written. */
void prompt_end(void);

/* Asks for the passphrase of `name` on the terminal, with echo off, and reads a line of at most
 * buf_bytes bytes into `buf`, without its line end. Whatever happens, signals included, the terminal
 * is left as it was. */
enum prompt_outcome prompt_passphrase(const char *name, char *buf, size_t buf_bytes,
                                      size_t *length_ret);

#endif
