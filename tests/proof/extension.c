/* SPDX-License-Identifier: MIT */
/* extension.c - one step of the walk over header extensions, from any place in any area, with any part
 * of its bytes at hand; a whole feature name table; the names of everything that may be asked. */
#include "any.h"
#include "format/extension.h"

enum { AREA = 4096, TWO_FEATURES = 2 * (2 + Q2_FEATURE_NAME_BYTES) };

static uint8_t area[AREA];

static void step(void)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_extension extension;
    /* The area ends with a cluster at most, and the walk stands at most its padding behind it. */
    uint64_t end = any_size(2097152), pos = any_size(2097152 + 8);
    size_t n = any_size(sizeof area);

    any_bytes(area, sizeof area);
    if (q2_extension_next(area, n, &pos, end, &extension, any_bool() ? &err : NULL) == 1) {
        /*@ assert extension.data_off <= 2097152 + 16; */
        /*@ assert extension.length_bytes <= 2097152; */
        (void)q2_extension_name(extension.type);
    }
}

static void feature_names(void)
{
    struct q2_feature feature;
    size_t pos;

    any_bytes(area, sizeof area);
    /* Tables of every length up to two entries: the second stands for all behind it. */
    for (size_t n = 0; n <= TWO_FEATURES; n++) {
        for (size_t at = 0; at <= TWO_FEATURES; at += 2 + Q2_FEATURE_NAME_BYTES) {
            pos = at;
            if (q2_feature_next(area, n, &pos, &feature)) {
                /*@ assert feature.name_bytes <= 46; */
                /*@ assert at + 2 + feature.name_bytes <= n; */
                (void)q2_feature_name_known((int)feature.set, (int)feature.bit);
            }
        }
    }
}

int main(void)
{
    step();
    feature_names();
    (void)q2_extension_name(any_u32());
    (void)q2_feature_name_known((int)any_u32(), (int)any_u32());
    return 0;
}
