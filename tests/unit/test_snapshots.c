/* SPDX-License-Identifier: MIT */
/* test_snapshots.c - internal snapshots of an image as a whole: the table, and opening one of them. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

enum { BITS = 16, CLUSTER = 1 << BITS, ENTRY_BYTES = 64 };
enum { L1_OFFSET = 0, L1_ENTRIES = 8, EXTRA_LENGTH = 36, VM_STATE = 40, DISK_SIZE = 48 };

/* A sample disk with one snapshot, id "1", name "a", which shows the same disk. */
struct kept {
    struct sample sample;
    struct sample_source source;
    struct qcow2_image *image;
    unsigned char *entry;
    uint64_t entry_off;
};

static int set_up(void **state)
{
    struct kept *k = calloc(1, sizeof *k);
    unsigned char *grown;
    size_t old;

    assert_non_null(k);
    sample_init(&k->sample, BITS, QCOW2_COMPRESSION_DEFLATE, "DZ.D", 0);
    old = k->sample.file_bytes;
    grown = realloc(k->sample.file, old + CLUSTER);
    assert_non_null(grown);
    memset(grown + old, 0, CLUSTER);
    k->sample.file = grown;
    k->sample.file_bytes = old + CLUSTER;
    k->entry_off = old;
    k->entry = grown + old;
    sample_store(grown + 60, 1, 4);
    sample_store(grown + 64, old, 8);

    memcpy(k->entry + L1_OFFSET, grown + 40, 8); /* the live table */
    memcpy(k->entry + L1_ENTRIES, grown + 36, 4);
    sample_store(k->entry + 12, 1, 2);
    sample_store(k->entry + 14, 1, 2);
    sample_store(k->entry + EXTRA_LENGTH, 16, 4);
    sample_store(k->entry + DISK_SIZE, k->sample.size, 8);
    (void)snprintf((char *)k->entry + 56, 8, "1a");
    *state = k;
    return 0;
}

static int tear_down(void **state)
{
    struct kept *k = *state;

    qcow2_close(k->image);
    sample_deinit(&k->sample);
    free(k);
    return 0;
}

/* Opens the snapshot "a". */
static int open_kept(struct kept *k, uint32_t flags, struct qcow2_error *err)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;

    options.snapshot = "a";
    options.flags = flags;
    sample_source_init(&k->source, k->sample.file, k->sample.file_bytes);
    return qcow2_open_source(&k->source.source, &options, &k->image, err);
}

/* What opening is with another value in one field of the entry, and where it is blamed. */
static int open_with(struct kept *k, unsigned at, unsigned bytes, uint64_t value)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    int r;

    sample_store(k->entry + at, value, bytes);
    r = open_kept(k, 0, &err);
    assert_int_equal(err.code, r);
    return r;
}

static void a_snapshot_is_a_disk_of_its_own(void **state)
{
    struct kept *k = *state;

    assert_int_equal(open_with(k, DISK_SIZE, 8, CLUSTER + 512), 0);
    assert_int_equal(qcow2_size(k->image), CLUSTER + 512);
    k->sample.size = CLUSTER + 512;
    sample_check_read(k->image, &k->sample, 0, CLUSTER + 512);
}

static void without_a_size_of_its_own_it_has_the_disks(void **state)
{
    struct kept *k = *state;

    sample_store(k->entry + EXTRA_LENGTH, 8, 4);
    memcpy(k->entry + 48, "1a", 2);
    assert_int_equal(open_kept(k, 0, NULL), 0);
    assert_int_equal(qcow2_size(k->image), k->sample.size);
    sample_check_read(k->image, &k->sample, 0, (size_t)k->sample.size);
}

static void an_id_goes_before_a_name(void **state)
{
    struct kept *k = *state;

    /* Two entries: the first is named "a", the second has the id "a" and a smaller disk. */
    memcpy(k->entry + ENTRY_BYTES, k->entry, ENTRY_BYTES);
    sample_store(k->sample.file + 60, 2, 4);
    k->entry[ENTRY_BYTES + 56] = 'a';
    k->entry[ENTRY_BYTES + 57] = 'x';
    sample_store(k->entry + ENTRY_BYTES + DISK_SIZE, 1024, 8);
    assert_int_equal(open_kept(k, 0, NULL), 0);
    assert_int_equal(qcow2_size(k->image), 1024);
}

/* Ids and names need not be unique: of two snapshots with one id, opening by id reaches the first alone. */
static void snapshots_with_one_id_are_reached_by_their_index(void **state)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct kept *k = *state;
    const uint64_t sizes[] = { 4096, 1024 };

    memcpy(k->entry + ENTRY_BYTES, k->entry, ENTRY_BYTES);
    sample_store(k->sample.file + 60, 2, 4);
    options.flags = QCOW2_OPEN_SNAPSHOT_INDEX;
    for (uint32_t i = 0; i < 2; i++) {
        sample_store(k->entry + (size_t)i * ENTRY_BYTES + DISK_SIZE, sizes[i], 8);
    }
    for (uint32_t i = 0; i < 2; i++) {
        options.snapshot_index = i;
        sample_source_init(&k->source, k->sample.file, k->sample.file_bytes);
        assert_int_equal(qcow2_open_source(&k->source.source, &options, &k->image, &err), 0);
        assert_int_equal(qcow2_size(k->image), sizes[i]);
        qcow2_close(k->image);
    }
    options.snapshot_index = 2;
    sample_source_init(&k->source, k->sample.file, k->sample.file_bytes);
    assert_int_equal(qcow2_open_source(&k->source.source, &options, &k->image, &err),
                     QCOW2_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "index 2"));
}

static void snapshot_by_index_in_a_broken_table_is_refused(void **state)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct kept *k = *state;

    options.flags = QCOW2_OPEN_SNAPSHOT_INDEX;
    sample_store(k->entry + EXTRA_LENGTH, 1025, 4);
    sample_source_init(&k->source, k->sample.file, k->sample.file_bytes);
    assert_int_equal(qcow2_open_source(&k->source.source, &options, &k->image, NULL),
                     QCOW2_E_LIMIT);
    sample_store(k->sample.file + 60, 65537, 4);
    sample_source_init(&k->source, k->sample.file, k->sample.file_bytes);
    assert_int_equal(qcow2_open_source(&k->source.source, &options, &k->image, NULL),
                     QCOW2_E_LIMIT);
}

static void tables_and_sizes_out_of_bounds_are_refused(void **state)
{
    struct kept *k = *state;
    unsigned char sound[ENTRY_BYTES];

    memcpy(sound, k->entry, sizeof sound);
    assert_int_equal(open_with(k, L1_OFFSET, 8, 512), QCOW2_E_CORRUPT);
    memcpy(k->entry, sound, sizeof sound);
    assert_int_equal(open_with(k, L1_OFFSET, 8, UINT64_C(1) << 40), QCOW2_E_TRUNCATED);
    memcpy(k->entry, sound, sizeof sound);
    assert_int_equal(open_with(k, L1_ENTRIES, 4, 4194305), QCOW2_E_LIMIT);
    memcpy(k->entry, sound, sizeof sound);
    assert_int_equal(open_with(k, DISK_SIZE, 8, UINT64_C(1) << 63), QCOW2_E_CORRUPT);
    memcpy(k->entry, sound, sizeof sound);
    assert_int_equal(open_with(k, VM_STATE, 8, INT64_MAX), QCOW2_E_CORRUPT);
    memcpy(k->entry, sound, sizeof sound);
    assert_int_equal(open_with(k, EXTRA_LENGTH, 4, 1025), QCOW2_E_LIMIT);
}

static void vm_state_past_the_largest_offset_is_refused(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct kept *k = *state;

    /* Disk and state fit, but not with the disk rounded up to what an L1 entry spans. */
    sample_store(k->entry + DISK_SIZE, INT64_MAX - 100, 8);
    sample_store(k->entry + VM_STATE, 100, 8);
    assert_int_equal(open_kept(k, QCOW2_OPEN_VM_STATE, &err), QCOW2_E_CORRUPT);
}

static void more_snapshots_than_there_can_be_are_over_the_limit(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_snapshot snapshot;
    struct kept *k = *state;
    uint64_t cursor = 0;

    sample_store(k->sample.file + 60, 65537, 4);
    assert_int_equal(open_kept(k, 0, &err), QCOW2_E_LIMIT);
    assert_int_equal(err.host_offset, 60);
    k->image = sample_open(&k->source, &k->sample, NULL);
    assert_int_equal(qcow2_next_snapshot(k->image, &cursor, &snapshot, &err), QCOW2_E_LIMIT);
    sample_check_read(k->image, &k->sample, 0, (size_t)k->sample.size);
}

static void a_table_past_the_end_costs_the_snapshots_alone(void **state)
{
    struct qcow2_snapshot snapshot;
    struct kept *k = *state;
    uint64_t cursor = 0;

    sample_store(k->sample.file + 64, UINT64_C(1) << 40, 8);
    assert_int_equal(open_kept(k, 0, NULL), QCOW2_E_TRUNCATED);
    k->image = sample_open(&k->source, &k->sample, NULL);
    assert_int_equal(qcow2_next_snapshot(k->image, &cursor, &snapshot, NULL), QCOW2_E_TRUNCATED);
    sample_check_read(k->image, &k->sample, 0, (size_t)k->sample.size);
}

static void a_cursor_far_behind_the_table_is_over_the_limit(void **state)
{
    struct qcow2_snapshot snapshot;
    struct kept *k = *state;
    uint64_t cursor = (UINT64_C(64) << 20) + 8;

    k->image = sample_open(&k->source, &k->sample, NULL);
    assert_int_equal(qcow2_next_snapshot(k->image, &cursor, &snapshot, NULL), QCOW2_E_LIMIT);
}

static void an_entry_longer_than_the_first_look_is_read_whole(void **state)
{
    struct qcow2_snapshot snapshot;
    struct kept *k = *state;
    uint64_t cursor = 0;

    /* A name of 60,000 bytes, cut to what fits. */
    sample_store(k->entry + 14, 60000, 2);
    memset(k->entry + 57, 'n', 60000);
    k->image = sample_open(&k->source, &k->sample, NULL);
    assert_int_equal(qcow2_next_snapshot(k->image, &cursor, &snapshot, NULL), 1);
    assert_string_equal(snapshot.id, "1");
    assert_int_equal(strlen(snapshot.name), sizeof snapshot.name - 1);
    assert_int_equal(snapshot.name[sizeof snapshot.name - 2], 'n');
    assert_int_equal(snapshot.icount, UINT64_MAX);
    assert_int_equal(qcow2_next_snapshot(k->image, &cursor, &snapshot, NULL), 0);
}

static void null_arguments_are_argument_errors(void **state)
{
    struct qcow2_snapshot snapshot;
    struct kept *k = *state;
    uint64_t cursor = 0;

    k->image = sample_open(&k->source, &k->sample, NULL);
    assert_int_equal(qcow2_next_snapshot(NULL, &cursor, &snapshot, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_snapshot(k->image, NULL, &snapshot, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_snapshot(k->image, &cursor, NULL, NULL), QCOW2_E_ARGUMENT);
}

#define KEPT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Opens what is in the file as that format, and wants the snapshot "a" of it. */
static int open_as(struct kept *k, uint32_t format)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;

    options.snapshot = "a";
    options.format = format;
    sample_source_init(&k->source, k->sample.file, k->sample.file_bytes);
    return qcow2_open_source(&k->source.source, &options, &k->image, NULL);
}

/* A raw disk was shown as if it were the snapshot that was asked for. */
static void what_has_no_snapshots_is_not_shown_in_place_of_one(void **state)
{
    struct kept *k = *state;

    assert_int_equal(open_as(k, QCOW2_FORMAT_RAW), QCOW2_E_NOT_FOUND);
    assert_int_equal(k->source.closes, 1);
    k->sample.file[0] = 'x';
    assert_int_equal(open_as(k, QCOW2_FORMAT_PROBE), QCOW2_E_NOT_FOUND);
    k->sample.file[0] = 'Q';
    /* Version 1: a MiB of 64 KiB clusters, whose L1 table is zeros. */
    memset(k->sample.file + 4, 0, 44);
    sample_store(k->sample.file + 4, 1, 4);
    sample_store(k->sample.file + 24, 1 << 20, 8);
    sample_store(k->sample.file + 32, 16, 1);
    sample_store(k->sample.file + 33, 13, 1);
    sample_store(k->sample.file + 40, 1024, 8);
    assert_int_equal(open_as(k, QCOW2_FORMAT_QCOW2), QCOW2_E_NOT_FOUND);
}

/* A snapshot keeps the table that the disk had when it was made. */
static void bytes_behind_the_snapshots_table_are_zeros(void **state)
{
    struct kept *k = *state;
    struct qcow2_explanation e;
    unsigned char bytes[16], zeros[16] = { 0 };
    uint64_t cursor = 0;

    assert_int_equal(open_with(k, L1_ENTRIES, 4, 0), 0);
    memset(bytes, 0xEE, sizeof bytes);
    assert_int_equal(qcow2_pread(k->image, bytes, sizeof bytes, 5, NULL), sizeof bytes);
    assert_memory_equal(bytes, zeros, sizeof bytes);
    assert_int_equal(qcow2_next_explanation(k->image, 5, &cursor, &e, NULL), 1);
    assert_int_equal(e.kind, QCOW2_EXTENT_HOLE);
    assert_true(e.l1_offset == UINT64_MAX);
}

/* As is everything that the last cluster of a file has lost. */
static void an_entry_in_the_lost_tail_of_the_last_cluster_is_zeros(void **state)
{
    struct kept *k = *state;
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_snapshot snapshot;
    uint64_t cursor = 0;

    sample_store(k->sample.file + 60, 2, 4);
    k->sample.file_bytes = (size_t)k->entry_off + ENTRY_BYTES;
    options.flags = QCOW2_OPEN_METADATA_ONLY;
    k->image = sample_open(&k->source, &k->sample, &options);
    assert_int_equal(qcow2_next_snapshot(k->image, &cursor, &snapshot, NULL), 1);
    assert_string_equal(snapshot.name, "a");
    assert_int_equal(qcow2_next_snapshot(k->image, &cursor, &snapshot, NULL), 1);
    assert_string_equal(snapshot.id, "");
    assert_string_equal(snapshot.name, "");
    assert_int_equal(qcow2_next_snapshot(k->image, &cursor, &snapshot, NULL), 0);
    assert_false(k->source.strayed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEPT_TEST(a_snapshot_is_a_disk_of_its_own),
        KEPT_TEST(without_a_size_of_its_own_it_has_the_disks),
        KEPT_TEST(an_id_goes_before_a_name),
        KEPT_TEST(snapshots_with_one_id_are_reached_by_their_index),
        KEPT_TEST(snapshot_by_index_in_a_broken_table_is_refused),
        KEPT_TEST(tables_and_sizes_out_of_bounds_are_refused),
        KEPT_TEST(vm_state_past_the_largest_offset_is_refused),
        KEPT_TEST(more_snapshots_than_there_can_be_are_over_the_limit),
        KEPT_TEST(a_table_past_the_end_costs_the_snapshots_alone),
        KEPT_TEST(a_cursor_far_behind_the_table_is_over_the_limit),
        KEPT_TEST(an_entry_longer_than_the_first_look_is_read_whole),
        KEPT_TEST(null_arguments_are_argument_errors),
        KEPT_TEST(what_has_no_snapshots_is_not_shown_in_place_of_one),
        KEPT_TEST(bytes_behind_the_snapshots_table_are_zeros),
        KEPT_TEST(an_entry_in_the_lost_tail_of_the_last_cluster_is_zeros),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
