/* SPDX-License-Identifier: MIT */
/* test_survey.c - what qcow2.h promises of the survey. Which anomalies it sees in which images is told
 * by tests/tool/test_tool_vet.py. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

enum { CLUSTER = 4096, LAYOUT_D = 3, LAYOUT_C = 3 };

static struct sample sample;

static int make_sample(void **state)
{
    (void)state;
    sample_init(&sample, 12, QCOW2_COMPRESSION_DEFLATE, "DDZ.CCDZC.", 512);
    return 0;
}

static int drop_sample(void **state)
{
    (void)state;
    sample_deinit(&sample);
    return 0;
}

static struct qcow2_image *open_sample(struct sample_source *source)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;

    options.flags = QCOW2_OPEN_METADATA_ONLY;
    return sample_open(source, &sample, &options);
}

static uint64_t load64(const unsigned char *from)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

static void sums_are_those_of_the_tables(void **state)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample_source source;
    struct qcow2_image *image = open_sample(&source);
    uint64_t clusters = (sample.file_bytes + CLUSTER - 1) / CLUSTER;

    (void)state;
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    for (unsigned i = 0; i < sizeof result.anomalies / sizeof result.anomalies[0]; i++) {
        assert_true(result.anomalies[i].count == 0 && result.anomalies[i].what == NULL);
    }
    assert_true(result.stored_bytes == (uint64_t)LAYOUT_D * CLUSTER);
    assert_true(result.compressed_bytes == (uint64_t)LAYOUT_C * CLUSTER);
    assert_true(result.stream_bytes > 0 && result.stream_bytes < result.compressed_bytes);
    assert_true(result.longest_stream_bytes > 0 &&
                result.longest_stream_bytes * LAYOUT_C >= result.stream_bytes);
    assert_true(result.l1_entries_needed == 1);
    assert_true(result.snapshots == 0 && result.snapshots_with_state == 0 && result.bitmaps == 0);
    assert_true(result.table_clusters + result.data_clusters + result.unused_clusters == clusters);
    /* Header, refcount table, L1 table, L2 table; a cluster stays empty before the L1 table. */
    assert_true(result.table_clusters == 4 && result.unused_clusters == 1);
    assert_true(result.leftover_bytes == 0);
    assert_true(result.byte_work_bytes >= CLUSTER + result.longest_stream_bytes);
    qcow2_close(image);
}

static void it_works_on_an_image_opened_for_reading_too(void **state)
{
    struct qcow2_survey_result wanted = QCOW2_SURVEY_RESULT_INIT, found = wanted;
    struct sample_source source;
    struct qcow2_image *image = open_sample(&source);

    (void)state;
    assert_int_equal(qcow2_survey(image, 0, &wanted, NULL), 0);
    qcow2_close(image);
    image = sample_open(&source, &sample, NULL);
    assert_int_equal(qcow2_survey(image, 0, &found, NULL), 0);
    assert_memory_equal(&wanted, &found, sizeof found);
    qcow2_close(image);
}

/* The L2 entry of a cluster of the layout. */
static unsigned char *entry_of(unsigned cluster)
{
    uint64_t l1_off = load64(sample.file + 40);
    uint64_t l2_off = load64(sample.file + l1_off) & UINT64_C(0x00fffffffffffe00);

    return sample.file + l2_off + (size_t)cluster * 8;
}

/* Entry 5 of the layout becomes a stream at 1 TiB, where there is no file. */
static void a_stream_outside_the_file_is_an_anomaly_and_in_no_sum(void **state)
{
    struct qcow2_survey_result sound = QCOW2_SURVEY_RESULT_INIT, found = sound;
    struct sample_source source;
    struct qcow2_image *image = open_sample(&source);
    unsigned char *entry = entry_of(5), before[8];

    (void)state;
    assert_int_equal(qcow2_survey(image, 0, &sound, NULL), 0);
    qcow2_close(image);
    memcpy(before, entry, sizeof before);
    sample_store(entry, UINT64_C(1) << 62 | UINT64_C(1) << 40, 8);
    image = open_sample(&source);
    assert_int_equal(qcow2_survey(image, 0, &found, NULL), 0);
    assert_true(found.anomalies[QCOW2_ANOMALY_OUTSIDE].count == 1);
    assert_true(found.compressed_bytes == sound.compressed_bytes - CLUSTER);
    assert_true(found.stream_bytes < sound.stream_bytes);
    qcow2_close(image);
    memcpy(entry, before, sizeof before);
}

/* Clusters 4, 5 and 8 are compressed: 4 and 8 get one stream, and 5 between them one that lies before it. */
static void a_stream_named_twice_is_found_wherever_its_names_are(void **state)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample_source source;
    struct qcow2_image *image;
    unsigned char before[5 * 8];

    (void)state;
    memcpy(before, entry_of(4), sizeof before);
    memcpy(entry_of(5), before, 8);
    memcpy(entry_of(4), before + 8, 8);
    memcpy(entry_of(8), before + 8, 8);
    image = open_sample(&source);
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    assert_true(result.anomalies[QCOW2_ANOMALY_SHARED].count == 1);
    assert_string_equal(result.anomalies[QCOW2_ANOMALY_SHARED].what, "compressed data");
    qcow2_close(image);
    memcpy(entry_of(4), before, sizeof before);
}

/* A snapshot table in the cluster that the sample leaves empty. */
enum { TABLE_OFF = 2 * CLUSTER, ENTRY_BYTES = 64 };

struct entry {
    uint64_t l1_off;
    uint32_t l1_entries, state_bytes_32, extra_bytes;
    uint64_t state_bytes, disk_bytes;
};

/* Lets the sample have these snapshots; none are left when n is 0. */
static void put_snapshots(const struct entry *entries, unsigned n)
{
    unsigned char *to = sample.file + TABLE_OFF;

    memset(to, 0, CLUSTER);
    for (unsigned i = 0; i < n; i++, to += ENTRY_BYTES) {
        sample_store(to, entries[i].l1_off, 8);
        sample_store(to + 8, entries[i].l1_entries, 4);
        sample_store(to + 12, 24 - entries[i].extra_bytes, 2); /* length of the id: to the end */
        sample_store(to + 32, entries[i].state_bytes_32, 4);
        sample_store(to + 36, entries[i].extra_bytes, 4);
        sample_store(to + 40, entries[i].state_bytes, 8);
        sample_store(to + 48, entries[i].disk_bytes, 8);
    }
    sample_store(sample.file + 60, n, 4);
    sample_store(sample.file + 64, n > 0 ? TABLE_OFF : 0, 8);
}

static void survey_snapshots(const struct entry *entries, unsigned n,
                             struct qcow2_survey_result *result_ret)
{
    struct sample_source source;
    struct qcow2_image *image;

    put_snapshots(entries, n);
    image = open_sample(&source);
    assert_int_equal(qcow2_survey(image, 0, result_ret, NULL), 0);
    assert_true(result_ret->snapshots == n);
    qcow2_close(image);
    put_snapshots(NULL, 0);
}

/* Where extra data says how large the state is, the older field of 32 bits does not count: two entries have
 * a state, and one has not. */
static void the_state_of_a_snapshot_is_seen_by_its_wide_size(void **state)
{
    const struct entry entries[] = {
        { .extra_bytes = 16, .state_bytes = 1 },
        { .extra_bytes = 16, .state_bytes = UINT64_C(1) << 40 },
        { .extra_bytes = 16, .state_bytes_32 = 1 },
    };
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;

    (void)state;
    survey_snapshots(entries, 3, &result);
    assert_true(result.snapshots_with_state == 2);
    assert_true(result.snapshot_state_bytes == UINT64_C(1) << 40);
}

static void the_largest_disk_and_state_of_a_snapshot_are_told(void **state)
{
    const struct entry entries[] = {
        { .extra_bytes = 16, .state_bytes = 5, .disk_bytes = 1024 },
        { .extra_bytes = 16, .disk_bytes = (UINT64_C(1) << 62) + 511 },
        { .extra_bytes = 16, .disk_bytes = 4096 },
    };
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;

    (void)state;
    survey_snapshots(entries, 3, &result);
    assert_true(result.snapshot_disk_bytes == UINT64_C(1) << 62);
    assert_true(result.snapshot_state_bytes == 5);
}

/* Versions of QEMU before 1.1 did not say how large the disk of a snapshot was. */
static void a_snapshot_that_does_not_say_has_the_disk_that_the_image_has(void **state)
{
    const struct entry none = { .state_bytes_32 = 3, .disk_bytes = 0 };
    const struct entry half = { .extra_bytes = 8, .state_bytes = 7, .disk_bytes = UINT64_MAX };
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;

    (void)state;
    survey_snapshots(&none, 1, &result);
    assert_true(result.snapshot_disk_bytes == sample.size && result.snapshot_state_bytes == 3);
    survey_snapshots(&half, 1, &result);
    assert_true(result.snapshot_disk_bytes == sample.size && result.snapshot_state_bytes == 7);
}

/* The sample with two clusters more, for L1 tables of snapshots; what it was is in *before_ret. */
static void grow_sample(struct sample *before_ret)
{
    *before_ret = sample;
    sample.file = calloc(1, sample.file_bytes + 2 * CLUSTER);
    assert_non_null(sample.file);
    memcpy(sample.file, before_ret->file, sample.file_bytes);
    sample.file_bytes += 2 * CLUSTER;
}

static void shrink_sample(const struct sample *before)
{
    free(sample.file);
    sample = *before;
}

/* Each table counts as often as the snapshot names it, and the snapshot counts that stores most. Entries that
 * lead nowhere count for nothing. */
static void what_a_snapshot_stores_is_summed_up_over_its_tables(void **state)
{
    const uint64_t l2_off = load64(sample.file + load64(sample.file + 40)),
                   one_table = (uint64_t)(LAYOUT_D + LAYOUT_C) * CLUSTER;
    const uint64_t twice[] = { l2_off, l2_off },
                   once[] = { 1, UINT64_C(1) << 40, l2_off + 512, 0, l2_off };
    const struct entry entries[] = {
        { .l1_off = sample.file_bytes, .l1_entries = 2, .extra_bytes = 16 },
        { .l1_off = sample.file_bytes + CLUSTER, .l1_entries = 5, .extra_bytes = 16 },
    };
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample before;

    (void)state;
    grow_sample(&before);
    for (unsigned i = 0; i < 5; i++) {
        sample_store(sample.file + entries[0].l1_off + (size_t)i * 8, i < 2 ? twice[i] : 0, 8);
        sample_store(sample.file + entries[1].l1_off + (size_t)i * 8, once[i], 8);
    }
    survey_snapshots(entries, 2, &result);
    assert_true(result.anomalies[QCOW2_ANOMALY_OVERLAP].count == 0);
    assert_true(result.snapshot_data_bytes == 2 * one_table);
    survey_snapshots(entries + 1, 1, &result);
    assert_true(result.snapshot_data_bytes == one_table);
    shrink_sample(&before);
}

/* The disk's own L1 table as a snapshot's: it is not walked for that, and might hold anything. */
static void what_a_snapshot_may_store_is_bounded_where_its_table_overlaps(void **state)
{
    const uint64_t full = (uint64_t)(CLUSTER / 8) * CLUSTER;
    struct entry entry = { .l1_entries = 3, .extra_bytes = 16 };
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;

    (void)state;
    entry.l1_off = load64(sample.file + 40);
    survey_snapshots(&entry, 1, &result);
    assert_true(result.anomalies[QCOW2_ANOMALY_OVERLAP].count == 1);
    assert_true(result.snapshot_data_bytes == 3 * full);
}

/* Two snapshots with one L1 table: the second one is not summed up, whatever the first one stores. */
static void a_table_of_two_snapshots_is_summed_up_for_one(void **state)
{
    const uint64_t full = (uint64_t)(CLUSTER / 8) * CLUSTER;
    struct entry entries[] = { { .l1_entries = 2, .extra_bytes = 16 },
                               { .l1_entries = 1, .extra_bytes = 16 } };
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample before;

    (void)state;
    entries[0].l1_off = entries[1].l1_off = sample.file_bytes;
    grow_sample(&before);
    survey_snapshots(entries, 1, &result);
    assert_true(result.snapshot_data_bytes == 0);
    survey_snapshots(entries, 2, &result);
    assert_true(result.snapshot_data_bytes == full);
    shrink_sample(&before);
}

/* So that no part of the file is read a third time. */
static void a_table_that_is_an_l2_table_too_is_not_summed_up(void **state)
{
    const uint64_t full = (uint64_t)(CLUSTER / 8) * CLUSTER;
    struct entry entry = { .l1_off = sample.file_bytes, .l1_entries = 2, .extra_bytes = 16 };
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample before;

    (void)state;
    grow_sample(&before);
    sample_store(sample.file + entry.l1_off, entry.l1_off, 8);
    survey_snapshots(&entry, 1, &result);
    assert_true(result.anomalies[QCOW2_ANOMALY_OVERLAP].count > 0);
    assert_true(result.snapshot_data_bytes == 2 * full);
    shrink_sample(&before);
}

static void a_table_outside_the_file_is_an_anomaly_with_its_place(void **state)
{
    const uint64_t outside = UINT64_C(1) << 40;
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    const struct qcow2_anomalies *found = &result.anomalies[QCOW2_ANOMALY_OUTSIDE];
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    sample_store(sample.file + 48, outside, 8);
    image = open_sample(&source);
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    assert_true(found->count == 1 && found->host_offset == outside);
    assert_string_equal(found->what, "refcount table");
    qcow2_close(image);
    sample_store(sample.file + 48, CLUSTER, 8);
}

static void bytes_after_a_table_are_slack_and_the_first_of_them_is_told(void **state)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    const struct qcow2_anomalies *found = &result.anomalies[QCOW2_ANOMALY_SLACK];
    const uint64_t l1 = load64(sample.file + 40);
    struct sample_source source;
    struct qcow2_image *image = open_sample(&source);

    (void)state;
    sample.file[l1 + 8] = 1;
    sample.file[l1 + CLUSTER - 1] = 1;
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    assert_true(found->count == 1 && found->host_offset == l1 + 8);
    assert_string_equal(found->what, "bytes after the L1 table");
    sample.file[l1 + 8] = 0;
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    assert_true(found->count == 1 && found->host_offset == l1 + CLUSTER - 1);
    sample.file[l1 + CLUSTER - 1] = 0;
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    assert_true(found->count == 0 && found->what == NULL);
    qcow2_close(image);
}

static void no_data_is_read(void **state)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample_source source;
    struct qcow2_image *image = open_sample(&source);
    unsigned before = source.reads;

    (void)state;
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    /* The refcount table; the L1 table and the L2 table, each with the part that the disk does not need. */
    assert_int_equal(source.reads - before, 5);
    assert_false(source.strayed);
    qcow2_close(image);
}

/* The scratch memory of a thread: a cluster, and streams of two. */
static void memory_of_a_thread_goes_with_the_cluster(void **state)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct qcow2_image *image;
    struct sample_source source;
    struct sample large;

    (void)state;
    sample_init(&large, 21, QCOW2_COMPRESSION_DEFLATE, ".", 0);
    image = sample_open(&source, &large, NULL);
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    assert_true(result.thread_memory_bytes > (uint64_t)3 << 21);
    assert_true(result.thread_memory_bytes < (uint64_t)4 << 21);
    qcow2_close(image);
    sample_deinit(&large);
}

static void memory_has_a_limit(void **state)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct sample_source source;
    struct qcow2_image *image = open_sample(&source);

    (void)state;
    assert_int_equal(qcow2_survey(image, 4, &result, &err), QCOW2_E_LIMIT);
    assert_int_equal(err.code, QCOW2_E_LIMIT);
    assert_true(result.table_clusters == 0);
    /* Enough for the clusters, not for the streams. */
    assert_int_equal(qcow2_survey(image, 4096, &result, &err), QCOW2_E_LIMIT);
    qcow2_close(image);
}

static void a_read_that_fails_is_told_and_leaves_the_image_usable(void **state)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample_source source;
    struct qcow2_image *image = open_sample(&source);

    (void)state;
    for (unsigned n = 1; n <= 3; n++) {
        struct qcow2_error err = QCOW2_ERROR_INIT;

        source.fail_from = source.reads + n;
        source.fail_count = 1;
        assert_int_equal(qcow2_survey(image, 0, &result, &err), QCOW2_E_IO);
        assert_int_equal(err.sys_errno, ETIMEDOUT);
        assert_true(result.table_clusters == 0);
    }
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    assert_true(result.table_clusters > 0);
    qcow2_close(image);
}

/* The table of snapshots and their L1 tables are read twice, and what lies after each table once. */
static void a_read_that_fails_among_snapshots_is_told(void **state)
{
    enum { READS = 13 };
    const struct entry entry = { .l1_off = sample.file_bytes, .l1_entries = 1, .extra_bytes = 16 };
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample_source source;
    struct qcow2_image *image;
    struct sample before;
    unsigned reads;

    (void)state;
    grow_sample(&before);
    put_snapshots(&entry, 1);
    sample_store(sample.file + entry.l1_off, load64(sample.file + load64(sample.file + 40)), 8);
    image = open_sample(&source);
    for (unsigned n = 1; n <= READS; n++) {
        struct qcow2_error err = QCOW2_ERROR_INIT;

        source.fail_from = source.reads + n;
        source.fail_count = 1;
        assert_int_equal(qcow2_survey(image, 0, &result, &err), QCOW2_E_IO);
        assert_int_equal(err.sys_errno, ETIMEDOUT);
    }
    reads = source.reads;
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    assert_int_equal(source.reads - reads, READS);
    qcow2_close(image);
    put_snapshots(NULL, 0);
    shrink_sample(&before);
}

/* The part of a snapshot table before an entry that could not be read was still claimed, and the claim, for
 * want of memory, wrote its error over that of the read. The table is in a part of the file of its own, so claiming it takes memory. */
static void the_first_of_two_failures_is_told(void **state)
{
    enum { FAR_CLUSTER = 64, FAR_FILE = (FAR_CLUSTER + 1) * CLUSTER, MAX_MEMORY = 2048, READS = 8 };
    unsigned char *file = calloc(1, FAR_FILE);
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct sample_source source;
    struct qcow2_image *image;
    bool read_failed = false, memory_failed = false;

    (void)state;
    assert_non_null(file);
    memcpy(file, sample.file, sample.file_bytes);
    sample_store(file + 60, 2, 4); /* all zeros, and without extra data */
    sample_store(file + 64, FAR_CLUSTER * CLUSTER, 8);
    sample_source_init(&source, file, FAR_FILE);
    options.flags = QCOW2_OPEN_METADATA_ONLY;
    assert_int_equal(qcow2_open_source(&source.source, &options, &image, NULL), 0);
    for (unsigned memory = 8; memory <= MAX_MEMORY; memory += 8) {
        for (unsigned n = 1; n <= READS; n++) {
            struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
            struct qcow2_error err = QCOW2_ERROR_INIT;
            int r;

            source.fail_from = source.reads + n;
            source.fail_count = 1;
            r = qcow2_survey(image, memory, &result, &err);
            assert_int_equal(err.code, r);
            read_failed |= r == QCOW2_E_IO;
            memory_failed |= r == QCOW2_E_LIMIT;
        }
    }
    assert_true(read_failed && memory_failed);
    qcow2_close(image);
    free(file);
}

static void what_has_no_such_tables_is_unsupported(void **state)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    options.format = QCOW2_FORMAT_RAW;
    image = sample_open(&source, &sample, &options);
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), QCOW2_E_UNSUPPORTED);
    qcow2_close(image);
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.source.get_size = NULL;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), 0);
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), QCOW2_E_UNSUPPORTED);
    qcow2_close(image);
}

static void a_shorter_result_is_filled_as_far_as_it_goes(void **state)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
    struct sample_source source;
    struct qcow2_image *image = open_sample(&source);

    (void)state;
    result.size = offsetof(struct qcow2_survey_result, compressed_bytes);
    assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
    assert_true(result.size == offsetof(struct qcow2_survey_result, compressed_bytes));
    assert_true(result.stored_bytes > 0 && result.compressed_bytes == 0);
    assert_int_equal(qcow2_survey(image, 0, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_survey(NULL, 0, &result, NULL), QCOW2_E_ARGUMENT);
    qcow2_close(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_the_tables),
        cmocka_unit_test(it_works_on_an_image_opened_for_reading_too),
        cmocka_unit_test(a_stream_outside_the_file_is_an_anomaly_and_in_no_sum),
        cmocka_unit_test(a_stream_named_twice_is_found_wherever_its_names_are),
        cmocka_unit_test(the_state_of_a_snapshot_is_seen_by_its_wide_size),
        cmocka_unit_test(the_largest_disk_and_state_of_a_snapshot_are_told),
        cmocka_unit_test(a_snapshot_that_does_not_say_has_the_disk_that_the_image_has),
        cmocka_unit_test(what_a_snapshot_stores_is_summed_up_over_its_tables),
        cmocka_unit_test(what_a_snapshot_may_store_is_bounded_where_its_table_overlaps),
        cmocka_unit_test(a_table_of_two_snapshots_is_summed_up_for_one),
        cmocka_unit_test(a_table_that_is_an_l2_table_too_is_not_summed_up),
        cmocka_unit_test(a_table_outside_the_file_is_an_anomaly_with_its_place),
        cmocka_unit_test(bytes_after_a_table_are_slack_and_the_first_of_them_is_told),
        cmocka_unit_test(no_data_is_read),
        cmocka_unit_test(memory_of_a_thread_goes_with_the_cluster),
        cmocka_unit_test(memory_has_a_limit),
        cmocka_unit_test(a_read_that_fails_is_told_and_leaves_the_image_usable),
        cmocka_unit_test(a_read_that_fails_among_snapshots_is_told),
        cmocka_unit_test(the_first_of_two_failures_is_told),
        cmocka_unit_test(what_has_no_such_tables_is_unsupported),
        cmocka_unit_test(a_shorter_result_is_filled_as_far_as_it_goes),
    };

    return cmocka_run_group_tests_name("survey", tests, make_sample, drop_sample);
}
