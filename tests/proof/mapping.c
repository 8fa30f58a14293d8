/* SPDX-License-Identifier: MIT */
/* mapping.c - every L2 entry with every bitmap, under every geometry that a header can ask for: no shift
 * leaves its word, no sum wraps, and a stream or a run is never longer than the format can make it. */
#include "any.h"
#include "format/mapping.h"

static void decode(const struct q2_geometry *geometry, unsigned subcluster)
{
    struct q2_mapping mapping = q2_l2_decode(geometry, any_u64(), any_u64(), subcluster, any_u64());

    /*@ assert mapping.kind <= 3; */
    /*@ assert 1 <= mapping.subclusters <= 32; */
    /*@ assert mapping.kind != 3 || mapping.compressed_bytes <= 2 * 2097152; */
    /*@ assert mapping.fault <= 6; */
    (void)mapping;
    (void)q2_l1_table_off(geometry, any_u64());
    (void)q2_l2_table_bytes(geometry);
}

int main(void)
{
    struct q2_geometry geometry;

    for (int fault = Q2_FAULT_NONE; fault <= Q2_FAULT_DATA_FILE_OFFSET + 1; fault++) {
        (void)q2_fault_text((enum q2_fault)fault);
    }
    for (unsigned bits = Q2_MIN_CLUSTER_BITS; bits <= Q2_MAX_CLUSTER_BITS; bits++) {
        q2_geometry_init(&geometry, any_unsigned(2, 3), bits, false, any_bool());
        decode(&geometry, 0);
        if (bits >= Q2_MIN_EXTENDED_CLUSTER_BITS) {
            q2_geometry_init(&geometry, 3, bits, true, any_bool());
            for (unsigned subcluster = 0; subcluster < Q2_SUBCLUSTERS; subcluster++) {
                decode(&geometry, subcluster);
            }
        }
    }
    for (unsigned bits = Q2_MIN_CLUSTER_BITS; bits <= 16; bits++) {
        q2_geometry_init_v1(&geometry, bits, any_unsigned(6, 13));
        decode(&geometry, 0);
    }
    return 0;
}
