/* SPDX-License-Identifier: MIT */
/* target_image_nomem.c - a whole image while allocations fail; all of it is in target_image.c. */
#define FUZZ_NO_MEMORY
#include "target_image.c"
