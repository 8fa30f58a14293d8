/* SPDX-License-Identifier: MIT */
/* test_mapping.c - format/mapping: every class an L2 entry can be of, and every fault. */
#include "unit.h"

#include <stdbool.h>

#include "format/mapping.h"

#define COPIED      (UINT64_C(1) << 63)
#define COMPRESSED  (UINT64_C(1) << 62)
#define RESERVED    UINT64_C(0x3F000000000001FE)
#define ALLOC(k)    (UINT64_C(1) << (k))
#define ZERO_BIT(k) (UINT64_C(1) << (32 + (k)))
#define ALL_ALLOC   UINT64_C(0xFFFFFFFF)

static struct q2_mapping decode(unsigned version, uint64_t entry)
{
    struct q2_geometry g;

    q2_geometry_init(&g, version, 16, false, false);
    return q2_l2_decode(&g, entry, UINT64_MAX, 0, 0x30000);
}

static struct q2_mapping decode_extended(uint64_t entry, uint64_t bitmap, unsigned subcluster)
{
    struct q2_geometry g;

    q2_geometry_init(&g, 3, 16, true, false);
    return q2_l2_decode(&g, entry, bitmap, subcluster, 0x30000);
}

static struct q2_mapping decode_data_file(uint64_t entry, uint64_t guest_off)
{
    struct q2_geometry g;

    q2_geometry_init(&g, 3, 16, false, true);
    return q2_l2_decode(&g, entry, 0, 0, guest_off);
}

static void assert_mapping(struct q2_mapping m, enum q2_kind kind, uint64_t host_off)
{
    assert_int_equal(m.fault, Q2_FAULT_NONE);
    assert_int_equal(m.kind, kind);
    assert_true(m.host_off == host_off);
}

static void geometry_follows_from_the_header(void **state)
{
    struct q2_geometry g;

    (void)state;
    q2_geometry_init(&g, 2, 9, false, false);
    assert_true(g.cluster_bits == 9 && g.l2_bits == 6 && g.subcluster_bits == 9);
    assert_false(g.zero_flag || g.extended || g.data_file);
    q2_geometry_init(&g, 3, 21, true, true);
    assert_true(g.cluster_bits == 21 && g.l2_bits == 17 && g.subcluster_bits == 16);
    assert_true(g.zero_flag && g.extended && g.data_file);
}

static void standard_entries_are_classified(void **state)
{
    (void)state;
    assert_mapping(decode(3, 0), Q2_UNALLOCATED, Q2_NO_HOST);
    assert_mapping(decode(3, COPIED), Q2_UNALLOCATED, Q2_NO_HOST);
    assert_mapping(decode(3, RESERVED), Q2_UNALLOCATED, Q2_NO_HOST);
    assert_mapping(decode(3, 1), Q2_ZERO, Q2_NO_HOST);
    assert_mapping(decode(3, 1 | COPIED), Q2_ZERO, Q2_NO_HOST);
    assert_mapping(decode(3, 0x50000 | 1), Q2_ZERO, 0x50000);
    assert_mapping(decode(3, 0x50000), Q2_NORMAL, 0x50000);
    assert_mapping(decode(3, 0x50000 | COPIED | RESERVED), Q2_NORMAL, 0x50000);
    assert_mapping(decode(2, 0x50000 | COPIED), Q2_NORMAL, 0x50000);
    assert_mapping(decode(3, UINT64_C(0x00FFFFFFFFFF0000)), Q2_NORMAL,
                   UINT64_C(0x00FFFFFFFFFF0000));
    assert_int_equal(decode(3, 0x50000).subclusters, 1);
}

static void unaligned_offset_is_a_fault_also_of_a_zero_cluster(void **state)
{
    (void)state;
    for (unsigned bit = 9; bit < 16; bit++) {
        assert_int_equal(decode(3, 0x50000 | 1u << bit).fault, Q2_FAULT_UNALIGNED);
        assert_int_equal(decode(3, 0x50000 | 1u << bit | 1).fault, Q2_FAULT_UNALIGNED);
        assert_int_equal(decode(3, 1u << bit).fault, Q2_FAULT_UNALIGNED);
    }
}

static void zero_flag_in_version_2_is_a_fault(void **state)
{
    (void)state;
    assert_int_equal(decode(2, 1).fault, Q2_FAULT_ZERO_FLAG_V2);
    assert_int_equal(decode(2, 0x50000 | 1).fault, Q2_FAULT_ZERO_FLAG_V2);
}

static void compressed_descriptors_give_offset_and_length(void **state)
{
    static const struct {
        uint64_t entry, host_off;
        unsigned cluster_bits;
        uint32_t bytes;
    } cases[] = {
        { UINT64_C(0x4008000000A00802), 0xA00802, 21, 2558 },
        { UINT64_C(0x6000000000000A01), 0xA01, 9, 1023 },
        { UINT64_C(0x4C00000000001234), 0x1234, 12, 1996 },
        { UINT64_C(0x40400000000500FF), 0x500FF, 16, 769 },
        { UINT64_C(0x4000000000000000), 0, 16, 512 },
        { UINT64_C(0x7FC0000000000000), 0, 16, 131072 },
        { UINT64_C(0x7FFE000000000000), 0, 21, 4194304 },
        { UINT64_C(0x7FFFFFFFFFFFFFFF), UINT64_C(0x1FFFFFFFFFFFFFFF), 9, 513 },
        { UINT64_C(0x43FFFFFFFFFFFFFF), UINT64_C(0x03FFFFFFFFFFFFFF), 12, 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int flagged = 0; flagged < 2; flagged++) {
            struct q2_geometry g;
            struct q2_mapping m;

            q2_geometry_init(&g, 2 + (unsigned)flagged, cases[i].cluster_bits, false, false);
            m = q2_l2_decode(&g, cases[i].entry | (flagged ? COPIED : 0), 0, 0, 0);
            assert_mapping(m, Q2_COMPRESSED, cases[i].host_off);
            assert_int_equal(m.compressed_bytes, cases[i].bytes);
        }
    }
}

static void compressed_offset_and_length_cannot_wrap(void **state)
{
    (void)state;
    for (unsigned bits = 9; bits <= 21; bits++) {
        struct q2_geometry g;
        struct q2_mapping m;

        q2_geometry_init(&g, 3, bits, false, false);
        m = q2_l2_decode(&g, UINT64_C(0x7FFFFFFFFFFFFFFF), 0, 0, 0);
        assert_int_equal(m.kind, Q2_COMPRESSED);
        assert_true(m.compressed_bytes <= UINT32_C(2) << bits);
        assert_true(m.host_off <= UINT64_MAX - m.compressed_bytes);
    }
}

static void extended_entry_is_seen_by_subclusters(void **state)
{
    const uint64_t entry = 0x50000 | COPIED;
    const uint64_t bitmap = ALLOC(0) | ALLOC(1) | ZERO_BIT(2) | ZERO_BIT(3) | ALLOC(31);

    (void)state;
    assert_mapping(decode_extended(entry, bitmap, 0), Q2_NORMAL, 0x50000);
    assert_int_equal(decode_extended(entry, bitmap, 0).subclusters, 2);
    assert_int_equal(decode_extended(entry, bitmap, 1).subclusters, 1);
    assert_mapping(decode_extended(entry, bitmap, 2), Q2_ZERO, 0x50000);
    assert_int_equal(decode_extended(entry, bitmap, 2).subclusters, 2);
    assert_mapping(decode_extended(entry, bitmap, 4), Q2_UNALLOCATED, 0x50000);
    assert_int_equal(decode_extended(entry, bitmap, 4).subclusters, 27);
    assert_mapping(decode_extended(entry, bitmap, 31), Q2_NORMAL, 0x50000);
    assert_int_equal(decode_extended(entry, bitmap, 31).subclusters, 1);
    assert_int_equal(decode_extended(entry, ALL_ALLOC, 0).subclusters, 32);
    assert_int_equal(decode_extended(entry, ALL_ALLOC, 5).subclusters, 27);
}

static void extended_entry_without_a_cluster(void **state)
{
    (void)state;
    assert_mapping(decode_extended(0, 0, 0), Q2_UNALLOCATED, Q2_NO_HOST);
    assert_mapping(decode_extended(0, ZERO_BIT(7), 7), Q2_ZERO, Q2_NO_HOST);
    assert_mapping(decode_extended(0, ZERO_BIT(7), 8), Q2_UNALLOCATED, Q2_NO_HOST);
}

static void extended_entry_has_no_zero_flag(void **state)
{
    (void)state;
    assert_mapping(decode_extended(1, 0, 0), Q2_UNALLOCATED, Q2_NO_HOST);
    assert_mapping(decode_extended(0x50001, ALL_ALLOC, 3), Q2_NORMAL, 0x50000);
}

static void subcluster_both_allocated_and_zero_spoils_its_cluster(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 32; k++) {
        assert_int_equal(decode_extended(0x50000, ALLOC(9) | ZERO_BIT(9), k).fault,
                         Q2_FAULT_SUBCLUSTER_CONFLICT);
        assert_int_not_equal(decode_extended(0, ALLOC(9), k).fault, Q2_FAULT_NONE);
        assert_int_not_equal(decode_extended(0, ALLOC(9) | ZERO_BIT(9), k).fault, Q2_FAULT_NONE);
    }
}

static void extended_entry_unaligned_is_a_fault_whatever_the_subcluster(void **state)
{
    (void)state;
    assert_int_equal(decode_extended(0x50200, ZERO_BIT(0), 0).fault, Q2_FAULT_UNALIGNED);
    assert_int_equal(decode_extended(0x50200, 0, 5).fault, Q2_FAULT_UNALIGNED);
}

static void extended_compressed_entry_ignores_its_bitmap(void **state)
{
    struct q2_mapping m = decode_extended(UINT64_C(0x40400000000500FF), UINT64_MAX, 3);

    (void)state;
    assert_mapping(m, Q2_COMPRESSED, 0x500FF);
    assert_int_equal(m.compressed_bytes, 769);
    assert_int_equal(m.subclusters, 29);
}

static void data_file_cluster_0_is_told_from_nothing_by_the_copied_flag(void **state)
{
    (void)state;
    assert_mapping(decode_data_file(COPIED, 0), Q2_NORMAL, 0);
    assert_mapping(decode_data_file(0, 0), Q2_UNALLOCATED, Q2_NO_HOST);
    assert_mapping(decode_data_file(COPIED | 1, 0), Q2_ZERO, Q2_NO_HOST);
}

static void data_file_offsets_are_the_guests(void **state)
{
    (void)state;
    assert_mapping(decode_data_file(0x50000, 0x50000), Q2_NORMAL, 0x50000);
    assert_int_equal(decode_data_file(0x50000, 0x60000).fault, Q2_FAULT_DATA_FILE_OFFSET);
    assert_int_equal(decode_data_file(0x50000 | 1, 0x60000).fault, Q2_FAULT_DATA_FILE_OFFSET);
    assert_int_equal(decode_data_file(COMPRESSED | 0x50000, 0x50000).fault,
                     Q2_FAULT_DATA_FILE_COMPRESSED);
}

static void every_fault_has_words(void **state)
{
    (void)state;
    for (int fault = Q2_FAULT_NONE; fault <= Q2_FAULT_DATA_FILE_OFFSET; fault++) {
        assert_non_null(q2_fault_text((enum q2_fault)fault));
    }
}

static void version_1_offsets_are_whole_sectors_anywhere(void **state)
{
    struct q2_geometry g;
    struct q2_mapping m;

    (void)state;
    q2_geometry_init_v1(&g, 12, 9);
    m = q2_l2_decode(&g, 0, 0, 0, 0);
    assert_int_equal(m.kind, Q2_UNALLOCATED);
    assert_true(m.host_off == Q2_NO_HOST);
    m = q2_l2_decode(&g, 512, 0, 0, 0); /* not aligned to a cluster, which matters to nobody */
    assert_int_equal(m.kind, Q2_NORMAL);
    assert_int_equal(m.fault, Q2_FAULT_NONE);
    assert_int_equal(m.host_off, 512);
    assert_int_equal(q2_l2_decode(&g, 513, 0, 0, 0).fault, Q2_FAULT_UNALIGNED);
    assert_int_equal(q2_l2_decode(&g, 256, 0, 0, 0).fault, Q2_FAULT_UNALIGNED);
    /* 51 bits of offset, then 12 of length. */
    m = q2_l2_decode(&g, UINT64_C(1) << 63 | UINT64_C(0xfff) << 51 | 0x1234567, 0, 0, 0);
    assert_int_equal(m.kind, Q2_COMPRESSED);
    assert_int_equal(m.host_off, 0x1234567);
    assert_int_equal(m.compressed_bytes, 0xfff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(geometry_follows_from_the_header),
        cmocka_unit_test(standard_entries_are_classified),
        cmocka_unit_test(unaligned_offset_is_a_fault_also_of_a_zero_cluster),
        cmocka_unit_test(zero_flag_in_version_2_is_a_fault),
        cmocka_unit_test(compressed_descriptors_give_offset_and_length),
        cmocka_unit_test(compressed_offset_and_length_cannot_wrap),
        cmocka_unit_test(extended_entry_is_seen_by_subclusters),
        cmocka_unit_test(extended_entry_without_a_cluster),
        cmocka_unit_test(extended_entry_has_no_zero_flag),
        cmocka_unit_test(subcluster_both_allocated_and_zero_spoils_its_cluster),
        cmocka_unit_test(extended_entry_unaligned_is_a_fault_whatever_the_subcluster),
        cmocka_unit_test(extended_compressed_entry_ignores_its_bitmap),
        cmocka_unit_test(data_file_cluster_0_is_told_from_nothing_by_the_copied_flag),
        cmocka_unit_test(data_file_offsets_are_the_guests),
        cmocka_unit_test(every_fault_has_words),
        cmocka_unit_test(version_1_offsets_are_whole_sectors_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
