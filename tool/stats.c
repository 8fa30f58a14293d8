/* SPDX-License-Identifier: MIT */
/* stats.c - the counters of the library, for --stats.
 * Knows struct qcow2_stats field by field, and how to print it. */
#include "stats.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "text.h"

#define COUNTER(name)                                                                              \
    {                                                                                              \
#name, offsetof(struct qcow2_stats, name)                                                  \
    }

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
    COUNTER(reads),           COUNTER(bytes_read),        COUNTER(cluster_reads),
    COUNTER(cluster_holes),   COUNTER(cluster_standard),  COUNTER(cluster_compressed),
    COUNTER(l2_cache_hits),   COUNTER(l2_cache_misses),   COUNTER(l2_cache_evictions),
    COUNTER(comp_cache_hits), COUNTER(comp_cache_misses), COUNTER(comp_cache_evictions),
    COUNTER(source_reads),    COUNTER(source_bytes),
};

void stats_print(const char *path, const struct qcow2_image *image,
                 const struct common_options *common)
{
    struct qcow2_stats stats = QCOW2_STATS_INIT;
    bool json = common->stats_style == OUTPUT_JSON;

    if (!common->stats) {
        return;
    }
    qcow2_get_stats(image, &stats);
    if (json) {
        fputs("{\"filename\": ", stderr);
        json_put_text(stderr, path);
    } else {
        fputs("counters of ", stderr);
        text_put(stderr, path);
        fputs(":\n", stderr);
    }
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        uint64_t value;

        memcpy(&value, (const char *)&stats + counters[i].offset, sizeof value);
        fprintf(stderr, json ? ", \"%s\": %" PRIu64 : "  %-22s%" PRIu64 "\n", counters[i].name,
                value);
    }
    if (json) {
        fputs("}\n", stderr);
    }
}
