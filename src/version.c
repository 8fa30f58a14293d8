/* SPDX-License-Identifier: MIT */
/* version.c - which library is running. */
#include <qcow2.h>

#define TEXT(number)   #number
#define DIGITS(number) TEXT(number)

const char *qcow2_version(void)
{
    return DIGITS(QCOW2_VERSION_MAJOR) "." DIGITS(QCOW2_VERSION_MINOR) "." DIGITS(
        QCOW2_VERSION_PATCH);
}
