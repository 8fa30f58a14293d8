/* SPDX-License-Identifier: MIT */
/* test_abi.c - where the members of the public structs lie, and what the enumerators are.
 *
 * Programs are built with one version of the header and run with a later library: members may only be
 * added at the end, and numbers never change. When this fails, the header is wrong, not the test. The
 * offsets are those of 64-bit machines. */
#include "unit.h"

#include <qcow2.h>

struct member {
    const char *name;
    size_t wanted, found;
};

#define AT(type, member, wanted)                                                                   \
    {                                                                                              \
#type "." #member, wanted, offsetof(struct type, member)                                   \
    }
#define SIZE(type, wanted)                                                                         \
    {                                                                                              \
        "sizeof " #type, wanted, sizeof(struct type)                                               \
    }

static void check(const struct member *members, size_t count)
{
    if (sizeof(void *) != 8 || sizeof(long) != 8) {
        skip();
    }
    for (size_t i = 0; i < count; i++) {
        if (members[i].wanted != members[i].found) {
            fail_msg("%s: %zu instead of %zu", members[i].name, members[i].found,
                     members[i].wanted);
        }
    }
}

static void error_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_error, size, 0),
        AT(qcow2_error, code, 8),
        AT(qcow2_error, sys_errno, 12),
        AT(qcow2_error, depth, 16),
        AT(qcow2_error, reserved, 20),
        AT(qcow2_error, host_offset, 24),
        AT(qcow2_error, guest_offset, 32),
        AT(qcow2_error, message, 40),
        SIZE(qcow2_error, 296),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void source_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_source, size, 0),     AT(qcow2_source, ctx, 8),       AT(qcow2_source, name, 16),
        AT(qcow2_source, read_at, 24), AT(qcow2_source, get_size, 32), AT(qcow2_source, get_fd, 40),
        AT(qcow2_source, close, 48),   SIZE(qcow2_source, 56),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void options_keep_their_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_options, size, 0),
        AT(qcow2_options, flags, 8),
        AT(qcow2_options, max_chain_depth, 12),
        AT(qcow2_options, format, 16),
        AT(qcow2_options, snapshot_index, 20),
        AT(qcow2_options, table_cache_bytes, 24),
        AT(qcow2_options, cluster_cache_bytes, 32),
        AT(qcow2_options, snapshot, 40),
        AT(qcow2_options, grant, 48),
        AT(qcow2_options, grant_ctx, 56),
        AT(qcow2_options, get_key, 64),
        AT(qcow2_options, get_key_ctx, 72),
        AT(qcow2_options, max_key_iterations, 80),
        SIZE(qcow2_options, 88),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void extent_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_extent, offset, 0),
        AT(qcow2_extent, length, 8),
        AT(qcow2_extent, kind, 16),
        AT(qcow2_extent, depth, 20),
        AT(qcow2_extent, host_offset, 24),
        AT(qcow2_extent, stream_offset, 32),
        SIZE(qcow2_extent, 40),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void stats_keep_their_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_stats, size, 0),
        AT(qcow2_stats, reads, 8),
        AT(qcow2_stats, bytes_read, 16),
        AT(qcow2_stats, cluster_reads, 24),
        AT(qcow2_stats, cluster_holes, 32),
        AT(qcow2_stats, cluster_standard, 40),
        AT(qcow2_stats, cluster_compressed, 48),
        AT(qcow2_stats, l2_cache_hits, 56),
        AT(qcow2_stats, l2_cache_misses, 64),
        AT(qcow2_stats, l2_cache_evictions, 72),
        AT(qcow2_stats, comp_cache_hits, 80),
        AT(qcow2_stats, comp_cache_misses, 88),
        AT(qcow2_stats, comp_cache_evictions, 96),
        AT(qcow2_stats, source_reads, 104),
        AT(qcow2_stats, source_bytes, 112),
        SIZE(qcow2_stats, 120),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void info_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_info, size, 0),
        AT(qcow2_info, format, 8),
        AT(qcow2_info, version, 12),
        AT(qcow2_info, source_name, 16),
        AT(qcow2_info, virtual_size, 24),
        AT(qcow2_info, header_size, 32),
        AT(qcow2_info, file_size, 40),
        AT(qcow2_info, incompatible_features, 48),
        AT(qcow2_info, compatible_features, 56),
        AT(qcow2_info, autoclear_features, 64),
        AT(qcow2_info, cluster_size, 72),
        AT(qcow2_info, refcount_bits, 76),
        AT(qcow2_info, header_length, 80),
        AT(qcow2_info, compression, 84),
        AT(qcow2_info, encryption, 88),
        AT(qcow2_info, l1_entries, 92),
        AT(qcow2_info, l1_offset, 96),
        AT(qcow2_info, refcount_table_offset, 104),
        AT(qcow2_info, refcount_table_clusters, 112),
        AT(qcow2_info, snapshot_count, 116),
        AT(qcow2_info, snapshots_offset, 120),
        AT(qcow2_info, backing_file, 128),
        AT(qcow2_info, backing_format, 136),
        AT(qcow2_info, data_file, 144),
        SIZE(qcow2_info, 152),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void extension_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_extension, type, 0),        AT(qcow2_extension, length, 4),
        AT(qcow2_extension, host_offset, 8), AT(qcow2_extension, name, 16),
        AT(qcow2_extension, data, 24),       SIZE(qcow2_extension, 32),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void copy_options_keep_their_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_copy_options, size, 0),          AT(qcow2_copy_options, flags, 8),
        AT(qcow2_copy_options, threads, 12),      AT(qcow2_copy_options, offset, 16),
        AT(qcow2_copy_options, length, 24),       AT(qcow2_copy_options, progress, 32),
        AT(qcow2_copy_options, progress_ctx, 40), SIZE(qcow2_copy_options, 48),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void reference_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_reference, size, 0),    AT(qcow2_reference, kind, 8),
        AT(qcow2_reference, depth, 12),  AT(qcow2_reference, name, 16),
        AT(qcow2_reference, format, 24), AT(qcow2_reference, referrer, 32),
        SIZE(qcow2_reference, 40),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void grant_directories_keep_their_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_grant_directories, size, 0), AT(qcow2_grant_directories, count, 8),
        AT(qcow2_grant_directories, fds, 16), AT(qcow2_grant_directories, names, 24),
        SIZE(qcow2_grant_directories, 32),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void luks_info_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_luks_info, size, 0),
        AT(qcow2_luks_info, cipher, 8),
        AT(qcow2_luks_info, cipher_mode, 24),
        AT(qcow2_luks_info, iv_generator, 32),
        AT(qcow2_luks_info, iv_hash, 48),
        AT(qcow2_luks_info, hash, 64),
        AT(qcow2_luks_info, uuid, 80),
        AT(qcow2_luks_info, payload_offset, 128),
        AT(qcow2_luks_info, header_offset, 136),
        AT(qcow2_luks_info, header_length, 144),
        AT(qcow2_luks_info, master_key_iterations, 152),
        AT(qcow2_luks_info, slots, 160),
        AT(qcow2_luks_info, passphrase_work, 352),
        SIZE(qcow2_luks_info, 360),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void luks_slot_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_luks_slot, active, 0),  AT(qcow2_luks_slot, iterations, 4),
        AT(qcow2_luks_slot, stripes, 8), AT(qcow2_luks_slot, key_offset, 16),
        SIZE(qcow2_luks_slot, 24),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void snapshot_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_snapshot, id, 0),
        AT(qcow2_snapshot, name, 128),
        AT(qcow2_snapshot, disk_size, 384),
        AT(qcow2_snapshot, vm_state_size, 392),
        AT(qcow2_snapshot, date_seconds, 400),
        AT(qcow2_snapshot, date_nanoseconds, 408),
        AT(qcow2_snapshot, reserved, 412),
        AT(qcow2_snapshot, vm_clock_nanoseconds, 416),
        AT(qcow2_snapshot, icount, 424),
        SIZE(qcow2_snapshot, 432),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void bitmap_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_bitmap, name, 0),
        AT(qcow2_bitmap, granularity, 1024),
        AT(qcow2_bitmap, flags, 1032),
        AT(qcow2_bitmap, table_entries, 1036),
        AT(qcow2_bitmap, table_offset, 1040),
        SIZE(qcow2_bitmap, 1048),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void check_options_keep_their_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_check_options, size, 0),
        AT(qcow2_check_options, max_memory_bytes, 8),
        AT(qcow2_check_options, max_entries, 16),
        AT(qcow2_check_options, max_messages, 24),
        SIZE(qcow2_check_options, 32),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void check_result_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_check_result, size, 0),
        AT(qcow2_check_result, corruptions, 8),
        AT(qcow2_check_result, leaks, 16),
        AT(qcow2_check_result, check_errors, 24),
        AT(qcow2_check_result, image_end_offset, 32),
        AT(qcow2_check_result, total_clusters, 40),
        AT(qcow2_check_result, allocated_clusters, 48),
        AT(qcow2_check_result, fragmented_clusters, 56),
        AT(qcow2_check_result, compressed_clusters, 64),
        SIZE(qcow2_check_result, 72),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void survey_result_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_anomalies, count, 0),
        AT(qcow2_anomalies, host_offset, 8),
        AT(qcow2_anomalies, what, 16),
        SIZE(qcow2_anomalies, 24),
        AT(qcow2_survey_result, size, 0),
        AT(qcow2_survey_result, anomalies, 8),
        AT(qcow2_survey_result, stored_bytes, 392),
        AT(qcow2_survey_result, compressed_bytes, 400),
        AT(qcow2_survey_result, stream_bytes, 408),
        AT(qcow2_survey_result, longest_stream_bytes, 416),
        AT(qcow2_survey_result, l1_entries_needed, 424),
        AT(qcow2_survey_result, snapshots, 432),
        AT(qcow2_survey_result, snapshots_with_state, 440),
        AT(qcow2_survey_result, bitmaps, 448),
        AT(qcow2_survey_result, table_clusters, 456),
        AT(qcow2_survey_result, data_clusters, 464),
        AT(qcow2_survey_result, unused_clusters, 472),
        AT(qcow2_survey_result, leftover_bytes, 480),
        AT(qcow2_survey_result, open_memory_bytes, 488),
        AT(qcow2_survey_result, cache_memory_bytes, 496),
        AT(qcow2_survey_result, thread_memory_bytes, 504),
        AT(qcow2_survey_result, byte_work_bytes, 512),
        AT(qcow2_survey_result, snapshot_disk_bytes, 520),
        AT(qcow2_survey_result, snapshot_state_bytes, 528),
        AT(qcow2_survey_result, snapshot_data_bytes, 536),
        AT(qcow2_survey_result, bitmap_bytes, 544),
        SIZE(qcow2_survey_result, 552),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void explanation_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_explanation, depth, 0),
        AT(qcow2_explanation, format, 4),
        AT(qcow2_explanation, kind, 8),
        AT(qcow2_explanation, decides, 12),
        AT(qcow2_explanation, l1_offset, 16),
        AT(qcow2_explanation, l1_index, 24),
        AT(qcow2_explanation, l1_entry, 32),
        AT(qcow2_explanation, l2_offset, 40),
        AT(qcow2_explanation, l2_index, 48),
        AT(qcow2_explanation, l2_entry, 56),
        AT(qcow2_explanation, l2_bitmap, 64),
        AT(qcow2_explanation, subcluster, 72),
        AT(qcow2_explanation, compressed_bytes, 76),
        AT(qcow2_explanation, host_offset, 80),
        AT(qcow2_explanation, refcount, 88),
        AT(qcow2_explanation, encrypted, 96),
        AT(qcow2_explanation, in_data_file, 100),
        SIZE(qcow2_explanation, 104),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void compare_result_keeps_its_layout(void **state)
{
    static const struct member members[] = {
        AT(qcow2_compare_result, size, 0),
        AT(qcow2_compare_result, offset, 8),
        AT(qcow2_compare_result, read_bytes, 16),
        AT(qcow2_compare_result, skipped_bytes, 24),
        AT(qcow2_compare_result, failed_image, 32),
        AT(qcow2_compare_result, reserved, 36),
        SIZE(qcow2_compare_result, 40),
    };

    (void)state;
    check(members, sizeof members / sizeof members[0]);
}

static void codes_keep_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(QCOW2_E_ARGUMENT, -1);
    assert_int_equal(QCOW2_E_NOMEM, -2);
    assert_int_equal(QCOW2_E_IO, -3);
    assert_int_equal(QCOW2_E_NOT_QCOW2, -4);
    assert_int_equal(QCOW2_E_UNSUPPORTED, -5);
    assert_int_equal(QCOW2_E_CORRUPT, -6);
    assert_int_equal(QCOW2_E_TRUNCATED, -7);
    assert_int_equal(QCOW2_E_LIMIT, -8);
    assert_int_equal(QCOW2_E_REFERENCE, -9);
    assert_int_equal(QCOW2_E_KEY, -10);
    assert_int_equal(QCOW2_E_NOT_FOUND, -11);
    assert_int_equal(QCOW2_E_CANCELLED, -12);
}

static void flags_and_kinds_keep_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(QCOW2_OPEN_NO_BACKING, 1);
    assert_int_equal(QCOW2_OPEN_METADATA_ONLY, 2);
    assert_int_equal(QCOW2_OPEN_ZEROS_PAST_END, 4);
    assert_int_equal(QCOW2_OPEN_VM_STATE, 8);
    assert_int_equal(QCOW2_OPEN_METADATA_CHAIN, 16);
    assert_int_equal(QCOW2_OPEN_SNAPSHOT_INDEX, 32);
    assert_int_equal(QCOW2_COMPARE_NO_LIMIT, 4);
    assert_int_equal(QCOW2_FORMAT_QCOW2, 0);
    assert_int_equal(QCOW2_FORMAT_RAW, 1);
    assert_int_equal(QCOW2_FORMAT_QCOW1, 2);
    assert_int_equal(QCOW2_FORMAT_PROBE, 3);
    assert_int_equal(QCOW2_REFERENCE_BACKING_FILE, 0);
    assert_int_equal(QCOW2_REFERENCE_DATA_FILE, 1);
    assert_int_equal(QCOW2_BITMAP_IN_USE, 1);
    assert_int_equal(QCOW2_BITMAP_AUTO, 2);
    assert_int_equal(QCOW2_FINDING_CORRUPTION, 0);
    assert_int_equal(QCOW2_FINDING_LEAK, 1);
    assert_int_equal(QCOW2_FINDING_UNCHECKED, 2);
    assert_int_equal(QCOW2_ANOMALY_OUTSIDE, 0);
    assert_int_equal(QCOW2_ANOMALY_UNALIGNED, 1);
    assert_int_equal(QCOW2_ANOMALY_OVERLAP, 2);
    assert_int_equal(QCOW2_ANOMALY_SHARED, 3);
    assert_int_equal(QCOW2_ANOMALY_ENTRY, 4);
    assert_int_equal(QCOW2_ANOMALY_RESERVED, 5);
    assert_int_equal(QCOW2_ANOMALY_SNAPSHOT_TABLE, 6);
    assert_int_equal(QCOW2_ANOMALY_BITMAPS, 7);
    assert_int_equal(QCOW2_ANOMALY_STRAY, 8);
    assert_int_equal(QCOW2_ANOMALY_SLACK, 9);
    assert_int_equal(QCOW2_EXTENT_HOLE, 0);
    assert_int_equal(QCOW2_EXTENT_ZERO, 1);
    assert_int_equal(QCOW2_EXTENT_DATA, 2);
    assert_int_equal(QCOW2_EXTENT_COMPRESSED, 3);
    assert_int_equal(QCOW2_COPY_TARGET_IS_ZERO, 1);
    assert_int_equal(QCOW2_COPY_KEEP_ZEROS, 2);
    assert_int_equal(QCOW2_COMPRESSION_DEFLATE, 0);
    assert_int_equal(QCOW2_COMPRESSION_ZSTD, 1);
    assert_int_equal(QCOW2_ENCRYPTION_NONE, 0);
    assert_int_equal(QCOW2_ENCRYPTION_AES, 1);
    assert_int_equal(QCOW2_ENCRYPTION_LUKS, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_keeps_its_layout),
        cmocka_unit_test(source_keeps_its_layout),
        cmocka_unit_test(options_keep_their_layout),
        cmocka_unit_test(extent_keeps_its_layout),
        cmocka_unit_test(stats_keep_their_layout),
        cmocka_unit_test(info_keeps_its_layout),
        cmocka_unit_test(extension_keeps_its_layout),
        cmocka_unit_test(copy_options_keep_their_layout),
        cmocka_unit_test(reference_keeps_its_layout),
        cmocka_unit_test(grant_directories_keep_their_layout),
        cmocka_unit_test(luks_info_keeps_its_layout),
        cmocka_unit_test(luks_slot_keeps_its_layout),
        cmocka_unit_test(snapshot_keeps_its_layout),
        cmocka_unit_test(bitmap_keeps_its_layout),
        cmocka_unit_test(check_options_keep_their_layout),
        cmocka_unit_test(check_result_keeps_its_layout),
        cmocka_unit_test(survey_result_keeps_its_layout),
        cmocka_unit_test(explanation_keeps_its_layout),
        cmocka_unit_test(compare_result_keeps_its_layout),
        cmocka_unit_test(codes_keep_their_numbers),
        cmocka_unit_test(flags_and_kinds_keep_their_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
