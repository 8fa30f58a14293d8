/* SPDX-License-Identifier: MIT */
/* sized.c - see sized.h. */
#include "base/sized.h"

#include <string.h>

#include "base/error.h"

int q2_sized_copy(void *to, const void *from, size_t size, size_t known, struct qcow2_error *err)
{
    if (size < known) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the options' size of %zu bytes is below %zu",
                            size, known);
    }
    for (size_t i = known; i < size; i++) {
        if (((const unsigned char *)from)[i] != 0) {
            return q2_error_set(err, QCOW2_E_ARGUMENT,
                                "the options use byte %zu, which this version does not know", i);
        }
    }
    memcpy(to, from, known);
    return 0;
}
