/* SPDX-License-Identifier: MIT */
/* unit.h - cmocka with the headers it wants before it. */
#ifndef UNIT_UNIT_H
#define UNIT_UNIT_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

/* An emulator may show another directory when the root is opened, which absolute paths do not lead through. */
static inline int root_is_another(void)
{
    int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int found = faccessat(root, "proc/self/exe", F_OK, 0);

    (void)close(root);
    return found != 0;
}

#endif
