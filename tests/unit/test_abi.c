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
        AT(qcow2_options, reserved, 12),
        AT(qcow2_options, table_cache_bytes, 16),
        AT(qcow2_options, cluster_cache_bytes, 24),
        SIZE(qcow2_options, 32),
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
        AT(qcow2_extent, reserved, 32),
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
        cmocka_unit_test(codes_keep_their_numbers),
        cmocka_unit_test(flags_and_kinds_keep_their_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
