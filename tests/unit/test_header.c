/* SPDX-License-Identifier: MIT */
/* test_header.c - format/header: what each field may say, and what the decoder makes of it. */
#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "format/header.h"
#include "sample.h"

enum { HEADER_BYTES = 112 };

/* A sound header: a disk of 1 MiB in clusters of 64 KiB. */
static void sound(unsigned char *h, unsigned version)
{
    memset(h, 0, HEADER_BYTES);
    sample_store(h, 0x514649FB, 4);
    sample_store(h + 4, version, 4);
    sample_store(h + 20, 16, 4);
    sample_store(h + 24, 1 << 20, 8);
    sample_store(h + 36, 1, 4);
    sample_store(h + 40, 0x30000, 8);
    sample_store(h + 48, 0x10000, 8);
    sample_store(h + 56, 1, 4);
    if (version >= 3) {
        sample_store(h + 96, 4, 4);
        sample_store(h + 100, HEADER_BYTES, 4);
    }
}

/* One field of a sound version 3 header replaced: what the decoder returns, and where it points. */
struct field_case {
    unsigned at, bytes;
    uint64_t value;
    int code;
};

static void check_fields(const struct field_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char bytes[HEADER_BYTES];
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct q2_header header;
        int r;

        sound(bytes, 3);
        sample_store(bytes + cases[i].at, cases[i].value, cases[i].bytes);
        r = q2_header_decode(bytes, sizeof bytes, &header, &err);
        if (r != cases[i].code) {
            fail_msg("byte %u = 0x%llx: code %d instead of %d: %s", cases[i].at,
                     (unsigned long long)cases[i].value, r, cases[i].code, err.message);
        }
        assert_int_equal(err.code, cases[i].code);
        if (r < 0) {
            assert_true(strlen(err.message) > 0);
        }
    }
}

static void sound_headers_decode_to_their_fields(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_header h;

    (void)state;
    sound(bytes, 3);
    sample_store(bytes + 8, 0x200, 8);
    sample_store(bytes + 16, 10, 4);
    sample_store(bytes + 60, 3, 4);
    sample_store(bytes + 64, 0x80000, 8);
    sample_store(bytes + 72, 3 | 8, 8);
    sample_store(bytes + 80, UINT64_MAX, 8);
    sample_store(bytes + 88, 2, 8);
    sample_store(bytes + 96, 0, 4);
    sample_store(bytes + 104, 1, 1);
    assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, &err), 0);
    assert_int_equal(h.version, 3);
    assert_int_equal(h.cluster_bits, 16);
    assert_true(h.size_bytes == 1 << 20);
    assert_true(h.backing_off == 0x200 && h.backing_bytes == 10);
    assert_int_equal(h.crypt_method, QCOW2_ENCRYPTION_NONE);
    assert_true(h.l1_entries == 1 && h.l1_off == 0x30000);
    assert_true(h.refcount_table_off == 0x10000 && h.refcount_table_clusters == 1);
    assert_int_equal(h.refcount_order, 0);
    assert_true(h.snapshot_count == 3 && h.snapshots_off == 0x80000);
    assert_true(h.incompatible == 11 && h.compatible == UINT64_MAX && h.autoclear == 2);
    assert_int_equal(h.header_bytes, 112);
    assert_int_equal(h.compression, QCOW2_COMPRESSION_ZSTD);
    assert_true(q2_header_extensions_end(&h) == 0x200);
    assert_true(q2_header_has(&h, QCOW2_INCOMPATIBLE_CORRUPT));
    assert_false(q2_header_has(&h, QCOW2_INCOMPATIBLE_DATA_FILE));
}

static void version_2_has_fixed_values_for_what_version_3_added(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_header h;

    (void)state;
    sound(bytes, 2);
    memset(bytes + 72, 0xFF, sizeof bytes - 72); /* extensions, as far as version 2 is concerned */
    assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, &err), 0);
    assert_int_equal(h.version, 2);
    assert_true(h.incompatible == 0 && h.compatible == 0 && h.autoclear == 0);
    assert_int_equal(h.refcount_order, 4);
    assert_int_equal(h.header_bytes, 72);
    assert_int_equal(h.compression, QCOW2_COMPRESSION_DEFLATE);
    assert_true(q2_header_extensions_end(&h) == 65536);
    assert_int_equal(q2_header_decode(bytes, 72, &h, &err), 0);
}

static void header_cut_short_is_truncated(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct q2_header h;

    (void)state;
    for (size_t n = 0; n < HEADER_BYTES; n++) {
        int code = n < 4 ? QCOW2_E_NOT_QCOW2 : n < 104 ? QCOW2_E_TRUNCATED : 0;

        sound(bytes, 3);
        assert_int_equal(q2_header_decode(bytes, n, &h, NULL), code);
        sound(bytes, 2);
        code = n < 4 ? QCOW2_E_NOT_QCOW2 : n < 72 ? QCOW2_E_TRUNCATED : 0;
        assert_int_equal(q2_header_decode(bytes, n, &h, NULL), code);
    }
}

static void compression_type_past_the_end_of_the_file_is_deflate(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct q2_header h;

    (void)state;
    sound(bytes, 3);
    bytes[104] = 9;
    assert_int_equal(q2_header_decode(bytes, 104, &h, NULL), 0);
    assert_int_equal(h.compression, QCOW2_COMPRESSION_DEFLATE);
}

static void failure_leaves_the_result_alone(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct q2_header h;

    (void)state;
    memset(&h, 0x5A, sizeof h);
    sound(bytes, 3);
    sample_store(bytes + 40, 1, 8);
    assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), QCOW2_E_CORRUPT);
    for (size_t i = 0; i < sizeof h; i++) {
        assert_int_equal(((unsigned char *)&h)[i], 0x5A);
    }
}

static void magic_and_version_tell_other_files_from_newer_ones(void **state)
{
    static const struct field_case cases[] = {
        { 0, 1, 'q', QCOW2_E_NOT_QCOW2 },
        { 3, 1, 0xFA, QCOW2_E_NOT_QCOW2 },
        { 4, 4, 0, QCOW2_E_UNSUPPORTED },
        { 4, 4, 1, QCOW2_E_UNSUPPORTED },
        { 4, 4, 2, 0 },
        { 4, 4, 4, QCOW2_E_UNSUPPORTED },
        { 4, 4, 1u << 31, QCOW2_E_UNSUPPORTED },
    };

    (void)state;
    check_fields(cases, sizeof cases / sizeof cases[0]);
}

static void cluster_bits_are_9_to_21(void **state)
{
    static const struct field_case cases[] = {
        { 20, 4, 0, QCOW2_E_CORRUPT },
        { 20, 4, 8, QCOW2_E_CORRUPT },
        { 20, 4, 22, QCOW2_E_UNSUPPORTED },
        { 20, 4, 32, QCOW2_E_UNSUPPORTED },
        { 20, 4, 64, QCOW2_E_UNSUPPORTED },
        { 20, 4, UINT32_MAX, QCOW2_E_UNSUPPORTED },
        { 20, 4, 9, QCOW2_E_CORRUPT }, /* one L1 entry is not enough for the disk then */
        { 20, 4, 15, 0 },
    };
    unsigned char bytes[HEADER_BYTES];
    struct q2_header h;

    (void)state;
    check_fields(cases, sizeof cases / sizeof cases[0]);
    for (unsigned bits = 9; bits <= 21; bits++) {
        sound(bytes, 3);
        sample_store(bytes + 20, bits, 4);
        sample_store(bytes + 24, UINT64_C(1) << (2 * bits - 3), 8); /* what one entry covers */
        sample_store(bytes + 40, 3u << bits, 8);
        sample_store(bytes + 48, 1u << bits, 8);
        assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), 0);
        assert_int_equal(h.cluster_bits, bits);
        sample_store(bytes + 24, (UINT64_C(1) << (2 * bits - 3)) + 1, 8);
        assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), QCOW2_E_CORRUPT);
    }
}

static void tables_are_aligned_and_end_below_2_to_63(void **state)
{
    static const struct field_case cases[] = {
        { 40, 8, 0, 0 },
        { 40, 8, 1, QCOW2_E_CORRUPT },
        { 40, 8, 0x8000, QCOW2_E_CORRUPT },
        { 40, 8, UINT64_C(0x7FFFFFFFFFFF0000), 0 },
        { 40, 8, UINT64_C(1) << 63, QCOW2_E_CORRUPT },
        { 40, 8, UINT64_C(0xFFFFFFFFFFFF0000), QCOW2_E_CORRUPT },
        { 48, 8, 0, 0 },
        { 48, 8, 512, QCOW2_E_CORRUPT },
        { 48, 8, UINT64_C(0x7FFFFFFFFFFF0000), QCOW2_E_CORRUPT }, /* one cluster long */
        { 48, 8, UINT64_C(0x7FFFFFFFFFFE0000), 0 },
        { 48, 8, UINT64_C(1) << 63, QCOW2_E_CORRUPT },
        { 64, 8, 8, QCOW2_E_CORRUPT }, /* although there are no snapshots */
        { 64, 8, 0x10000, 0 },
    };

    (void)state;
    check_fields(cases, sizeof cases / sizeof cases[0]);
}

static void table_sizes_have_limits(void **state)
{
    static const struct field_case cases[] = {
        { 36, 4, 0, QCOW2_E_CORRUPT },
        { 36, 4, 4194304, 0 },
        { 36, 4, 4194305, QCOW2_E_LIMIT },
        { 36, 4, UINT32_MAX, QCOW2_E_LIMIT },
        { 56, 4, 0, 0 }, /* refused later, unless the image is only to be checked */
        { 56, 4, 128, 0 },
        { 56, 4, 129, QCOW2_E_LIMIT },
        { 56, 4, UINT32_MAX, QCOW2_E_LIMIT },
        { 96, 4, 6, 0 },
        { 96, 4, 7, QCOW2_E_CORRUPT },
        { 96, 4, UINT32_MAX, QCOW2_E_CORRUPT },
        { 60, 4, UINT32_MAX, 0 }, /* too many snapshots must not cost the disk */
    };

    (void)state;
    check_fields(cases, sizeof cases / sizeof cases[0]);
}

static void sizes_are_compared_without_wrapping(void **state)
{
    static const struct field_case cases[] = {
        { 24, 8, 0, 0 },
        { 24, 8, UINT64_C(1) << 29, 0 },
        { 24, 8, (UINT64_C(1) << 29) + 1, QCOW2_E_CORRUPT },
        { 24, 8, INT64_MAX, QCOW2_E_CORRUPT },
        { 24, 8, UINT64_C(1) << 63, QCOW2_E_CORRUPT },
        { 24, 8, UINT64_MAX, QCOW2_E_CORRUPT },
        { 24, 8, UINT64_MAX - (1 << 29) + 1, QCOW2_E_CORRUPT },
    };

    (void)state;
    check_fields(cases, sizeof cases / sizeof cases[0]);
}

static void header_length_is_104_to_one_cluster(void **state)
{
    static const struct field_case cases[] = {
        { 100, 4, 0, QCOW2_E_CORRUPT },
        { 100, 4, 72, QCOW2_E_CORRUPT },
        { 100, 4, 103, QCOW2_E_CORRUPT },
        { 100, 4, 104, 0 },
        { 100, 4, 105, 0 },
        { 100, 4, 65536, 0 },
        { 100, 4, 65537, QCOW2_E_CORRUPT },
        { 100, 4, UINT32_MAX, QCOW2_E_CORRUPT },
    };

    (void)state;
    check_fields(cases, sizeof cases / sizeof cases[0]);
}

static void compression_type_and_feature_bit_agree_or_the_header_is_refused(void **state)
{
    static const struct {
        unsigned bit, type, length;
        int code;
    } cases[] = {
        { 0, 0, 112, 0 }, { 0, 1, 112, QCOW2_E_CORRUPT },     { 1, 0, 112, QCOW2_E_CORRUPT },
        { 1, 1, 112, 0 }, { 1, 1, 104, QCOW2_E_CORRUPT }, /* the field is not there, so it is 0 */
        { 0, 1, 104, 0 }, { 0, 2, 112, QCOW2_E_UNSUPPORTED }, { 1, 255, 112, QCOW2_E_UNSUPPORTED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char bytes[HEADER_BYTES];
        struct q2_header h;

        sound(bytes, 3);
        sample_store(bytes + 72, cases[i].bit << 3, 8);
        sample_store(bytes + 100, cases[i].length, 4);
        sample_store(bytes + 104, cases[i].type, 1);
        assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), cases[i].code);
    }
}

static void backing_name_lies_between_header_and_end_of_cluster(void **state)
{
    static const struct {
        uint64_t offset;
        uint32_t length;
        int code;
    } cases[] = {
        { 0, 0xFFFFFFFF, 0 }, /* no offset, no name */
        { 112, 1023, 0 },
        { 112, 1024, QCOW2_E_CORRUPT },
        { 111, 1, QCOW2_E_CORRUPT },
        { 8, 4, QCOW2_E_CORRUPT },
        { 65536, 0, 0 },
        { 65537, 0, QCOW2_E_CORRUPT },
        { 65530, 6, 0 },
        { 65530, 7, QCOW2_E_CORRUPT },
        { 65536, 1, QCOW2_E_CORRUPT },
        { UINT64_MAX, 1, QCOW2_E_CORRUPT },
        { UINT64_MAX, 0, QCOW2_E_CORRUPT },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char bytes[HEADER_BYTES];
        struct q2_header h;

        sound(bytes, 3);
        sample_store(bytes + 8, cases[i].offset, 8);
        sample_store(bytes + 16, cases[i].length, 4);
        assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), cases[i].code);
    }
}

static void extended_l2_needs_16_kib_clusters_and_twice_the_l1(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct q2_header h;

    (void)state;
    sound(bytes, 3);
    sample_store(bytes + 72, QCOW2_INCOMPATIBLE_EXTENDED_L2, 8);
    sample_store(bytes + 24, UINT64_C(1) << 28, 8);
    assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), 0);
    sample_store(bytes + 24, (UINT64_C(1) << 28) + 1, 8);
    assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), QCOW2_E_CORRUPT);
    sample_store(bytes + 24, 512, 8);
    sample_store(bytes + 20, 14, 4);
    assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), 0);
    sample_store(bytes + 20, 13, 4);
    assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), QCOW2_E_CORRUPT);
}

static void encryption_methods_above_2_are_unsupported(void **state)
{
    static const struct field_case cases[] = {
        { 32, 4, 1, 0 },
        { 32, 4, 2, 0 },
        { 32, 4, 3, QCOW2_E_UNSUPPORTED },
        { 32, 4, UINT32_MAX, QCOW2_E_UNSUPPORTED },
    };

    (void)state;
    check_fields(cases, sizeof cases / sizeof cases[0]);
}

static void unknown_feature_bits_are_handed_on(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct q2_header h;

    (void)state;
    sound(bytes, 3);
    sample_store(bytes + 72, UINT64_C(1) << 63 | 32, 8);
    assert_int_equal(q2_header_decode(bytes, sizeof bytes, &h, NULL), 0);
    assert_true(h.incompatible == (UINT64_C(1) << 63 | 32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_headers_decode_to_their_fields),
        cmocka_unit_test(version_2_has_fixed_values_for_what_version_3_added),
        cmocka_unit_test(header_cut_short_is_truncated),
        cmocka_unit_test(compression_type_past_the_end_of_the_file_is_deflate),
        cmocka_unit_test(failure_leaves_the_result_alone),
        cmocka_unit_test(magic_and_version_tell_other_files_from_newer_ones),
        cmocka_unit_test(cluster_bits_are_9_to_21),
        cmocka_unit_test(tables_are_aligned_and_end_below_2_to_63),
        cmocka_unit_test(table_sizes_have_limits),
        cmocka_unit_test(sizes_are_compared_without_wrapping),
        cmocka_unit_test(header_length_is_104_to_one_cluster),
        cmocka_unit_test(compression_type_and_feature_bit_agree_or_the_header_is_refused),
        cmocka_unit_test(backing_name_lies_between_header_and_end_of_cluster),
        cmocka_unit_test(extended_l2_needs_16_kib_clusters_and_twice_the_l1),
        cmocka_unit_test(encryption_methods_above_2_are_unsupported),
        cmocka_unit_test(unknown_feature_bits_are_handed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
