/* SPDX-License-Identifier: MIT */
/* inherited.h - open files that whoever started the program left open, and did not mean for it. */
#ifndef TOOL_INHERITED_H
#define TOOL_INHERITED_H

/* Closes every descriptor above 2 but those that an argument names: /dev/fd/N or /proc/self/fd/N, also
 * behind "--option=", also with more of a path behind it. Before any file is opened. On Linux a file
 * or block device behind one of those, or behind standard input, can then be read alone. */
void inherited_close(int argc, char **argv);

#endif
