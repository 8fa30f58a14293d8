/* SPDX-License-Identifier: MIT */
/* survey.c - the survey of an image's tables: its sums against each other, and against what the walk over the
 * disk has read. */
#include "walk.h"

/* Each table is read once, but tables of 2 MiB take a fuzzer's time: a source that fails ends it. */
enum { MAX_BYTES = 1 << 20, MAX_MEMORY_BYTES = 1 << 20 };

static void require_anomalies(const struct qcow2_survey_result *result)
{
    for (size_t i = 0; i < sizeof result->anomalies / sizeof result->anomalies[0]; i++) {
        const struct qcow2_anomalies *anomalies = &result->anomalies[i];

        FUZZ_REQUIRE((anomalies->count > 0) == (anomalies->what != NULL),
                     "what was seen has a name");
        FUZZ_REQUIRE(i <= QCOW2_ANOMALY_SLACK || anomalies->count == 0, "anomalies are of a kind");
    }
}

static void require_sums(const struct fuzz_walk *walk, const struct qcow2_survey_result *result)
{
    uint64_t cluster = walk->layers[0].cluster_size, file = walk->world->sparse->sizes[0];
    uint64_t clusters = (file + cluster - 1) / cluster;
    uint64_t used = result->table_clusters + result->data_clusters + result->unused_clusters;

    FUZZ_REQUIRE(result->table_clusters >= 1, "the header is a table");
    FUZZ_REQUIRE(used <= clusters, "clusters are those of the file");
    FUZZ_REQUIRE(result->leftover_bytes == (used < clusters ? file - used * cluster : 0),
                 "the rest is left over");
    FUZZ_REQUIRE((result->longest_stream_bytes > 0) == (result->compressed_bytes > 0) &&
                     result->longest_stream_bytes <= result->stream_bytes,
                 "what is compressed has a stream");
    FUZZ_REQUIRE(result->snapshots_with_state <= result->snapshots,
                 "a snapshot with a state is a snapshot");
}

/* Of the disk itself, in a file where reading finds no other tables than the survey. */
static void require_bounds(const struct fuzz_walk *walk, const struct qcow2_survey_result *result)
{
    FUZZ_REQUIRE(walk->stored_bytes <= result->stored_bytes, "no more is stored than tables say");
    FUZZ_REQUIRE(walk->compressed_bytes <= result->compressed_bytes,
                 "nor is more of it compressed");
}

/* What opening took, and what one byte takes, in an image by itself: the caches are small, or none. */
static void require_needs(struct fuzz_walk *walk, const struct qcow2_survey_result *result)
{
    static const uint64_t parts[] = { 0, 1, 2, 3, 5, 8 }; /* eighths of the disk */
    uint64_t size = qcow2_size(walk->image);

    FUZZ_REQUIRE(walk->world->open_memory_bytes <= result->open_memory_bytes,
                 "opening takes what the survey says");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct qcow2_error err = fuzz_error();
        const uint8_t *byte;
        long long r = fuzz_pread(walk, 0, size / 8 * parts[i], 1, &byte, &err);

        fuzz_require_result(r, &err);
        FUZZ_REQUIRE(walk->world->bytes <= result->byte_work_bytes,
                     "a byte takes what the survey says");
    }
}

void fuzz_walk_survey(struct fuzz_walk *walk, bool comparable)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct qcow2_error err = fuzz_error();
    bool has_tables = walk->layers[0].format == QCOW2_FORMAT_QCOW2 && walk->layers[0].version >= 2;
    int r;

    walk->world->reads = walk->world->bytes = 0;
    walk->world->max_bytes = MAX_BYTES;
    r = qcow2_survey(walk->image, MAX_MEMORY_BYTES, &result, &err);
    walk->world->max_bytes = 0;
    FUZZ_REQUIRE(r == QCOW2_E_NOMEM ||
                     (r == QCOW2_E_UNSUPPORTED) == (!has_tables || walk->no_length),
                 "what has tables can be surveyed");
    if (!fuzz_walk_result(walk, r, &err)) {
        return;
    }
    FUZZ_REQUIRE(r == 0, "a survey is done or fails");
    require_anomalies(&result);
    require_sums(walk, &result);
    if (comparable) {
        require_bounds(walk, &result);
        if (walk->n_layers == 1) {
            require_needs(walk, &result);
        }
    }
    fuzz_walk_fold(walk, &result, sizeof result);
}
