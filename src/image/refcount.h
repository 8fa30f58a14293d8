/* SPDX-License-Identifier: MIT */
/* refcount.h - the stored refcount of one cluster of a file. */
#ifndef Q2_IMAGE_REFCOUNT_H
#define Q2_IMAGE_REFCOUNT_H

#include "image/image.h"

#define Q2_REFCOUNT_UNKNOWN UINT64_MAX

/* The refcount that the layer, a qcow2 file of version 2 or 3, stores for the cluster at host_off of it,
 * or Q2_REFCOUNT_UNKNOWN if its tables cannot be read. Reading data never asks for it. */
uint64_t q2_refcount_lookup(struct qcow2_image *image, struct q2_lane *lane,
                            const struct q2_layer *layer, uint64_t host_off);

#endif
