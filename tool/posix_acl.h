/* SPDX-License-Identifier: MIT */
/* posix_acl.h - POSIX access control lists of files: is there one, remove it, copy it.
 * A file with a list has in the group bits of its mode the mask of the list, not what its group may do. */
#ifndef TOOL_POSIX_ACL_H
#define TOOL_POSIX_ACL_H

#include <stdbool.h>

/* Has the open file an access control list? True also where the system cannot tell. */
bool posix_acl_exists(int fd);

/* The same of a file by an O_PATH descriptor. -1: unknown, true where files have lists. */
bool posix_acl_exists_at(int path_fd);

/* Removes the access control list that a new file has inherited from its directory. 0, or an errno value. */
int posix_acl_remove(int fd);

enum posix_acl_copy {
    POSIX_ACL_NONE,   /* there is none to copy */
    POSIX_ACL_COPIED, /* and the mode with it */
    POSIX_ACL_UNKNOWN /* it cannot be read or set */
};

/* Gives the open file `fd` the list of the file of an O_PATH descriptor. */
enum posix_acl_copy posix_acl_copy(int path_fd, int fd);

#endif
