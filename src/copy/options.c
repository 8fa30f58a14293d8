/* SPDX-License-Identifier: MIT */
/* options.c - the options that the calls of the engine share, checked and copied out.
 * Knows struct qcow2_copy_options; must not know what is done with it. */
#include "options.h"
#include "fault.h"
#include "team.h"
#include "zero.h"

int q2_copy_read_options(const struct qcow2_copy_options *options, uint32_t known_flags,
                         struct qcow2_copy_options *options_ret, struct qcow2_error *err)
{
    const struct qcow2_copy_options defaults = QCOW2_COPY_OPTIONS_INIT;

    *options_ret = defaults;
    if (options == NULL) {
        return 0;
    }
    if (options->size < sizeof *options) {
        return q2_fault_set(err, QCOW2_E_ARGUMENT, 0, "copy options: a size of %zu is too small",
                            options->size);
    }
    /* A newer program may have a larger struct, as long as it asks for nothing we do not know. */
    if (!q2_zero_all((const char *)options + sizeof *options, options->size - sizeof *options)) {
        return q2_fault_set(err, QCOW2_E_ARGUMENT, 0,
                            "copy options: a field that this version does not know is set");
    }
    if ((options->flags & ~known_flags) != 0) {
        return q2_fault_set(err, QCOW2_E_ARGUMENT, 0, "copy options: unknown flags 0x%x",
                            (unsigned)(options->flags & ~known_flags));
    }
    if (options->threads > Q2_COPY_MAX_THREADS) {
        return q2_fault_set(err, QCOW2_E_ARGUMENT, 0, "copy options: %u threads are more than %d",
                            (unsigned)options->threads, Q2_COPY_MAX_THREADS);
    }
    *options_ret = *options;
    return 0;
}
