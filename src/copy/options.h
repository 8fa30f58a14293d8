/* SPDX-License-Identifier: MIT */
/* options.h - the options that the calls of the engine share, checked and copied out.
 * Knows struct qcow2_copy_options; must not know what is done with it. */
#ifndef Q2_COPY_OPTIONS_H
#define Q2_COPY_OPTIONS_H

#include <qcow2.h>

/* Copies the options out, or the defaults for NULL. Refuses flags beyond `known_flags` and whatever
 * else this library does not know. */
int q2_copy_read_options(const struct qcow2_copy_options *options, uint32_t known_flags,
                         struct qcow2_copy_options *options_ret, struct qcow2_error *err);

#endif
