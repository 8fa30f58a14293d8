/* SPDX-License-Identifier: MIT */
/* stats.c - the counters, gathered. */
#include "image/image.h"

#include <string.h>

void qcow2_get_stats(const struct qcow2_image *image, struct qcow2_stats *stats_ret)
{
    struct qcow2_stats stats = { .size = sizeof stats };
    const struct q2_lanes *lanes;
    size_t room;

    if (image == NULL || stats_ret == NULL) {
        return;
    }
    lanes = &image->lanes;
    stats.reads = q2_lanes_sum(lanes, Q2_READS);
    stats.bytes_read = q2_lanes_sum(lanes, Q2_BYTES_READ);
    stats.cluster_holes = q2_lanes_sum(lanes, Q2_CLUSTER_HOLES);
    stats.cluster_standard = q2_lanes_sum(lanes, Q2_CLUSTER_STANDARD);
    stats.cluster_compressed = q2_lanes_sum(lanes, Q2_CLUSTER_COMPRESSED);
    /* Every step is of one of the three kinds. */
    stats.cluster_reads = stats.cluster_holes + stats.cluster_standard + stats.cluster_compressed;
    stats.l2_cache_hits = q2_lanes_sum(lanes, Q2_L2_HITS);
    stats.l2_cache_misses = q2_lanes_sum(lanes, Q2_L2_MISSES);
    stats.l2_cache_evictions = q2_cache_evictions(&image->tables);
    stats.comp_cache_hits = q2_lanes_sum(lanes, Q2_COMP_HITS);
    stats.comp_cache_misses = q2_lanes_sum(lanes, Q2_COMP_MISSES);
    stats.comp_cache_evictions = q2_cache_evictions(&image->clusters);
    stats.source_reads = q2_lanes_sum(lanes, Q2_SOURCE_READS);
    stats.source_bytes = q2_lanes_sum(lanes, Q2_SOURCE_BYTES);

    /* A program built with a longer struct gets what there is, one with a shorter what it knows. */
    room = stats_ret->size;
    stats.size = room;
    memcpy(stats_ret, &stats, room < sizeof stats ? room : sizeof stats);
}
