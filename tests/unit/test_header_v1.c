/* SPDX-License-Identifier: MIT */
/* test_header_v1.c - format/header_v1: what each field of the first version may say. */
#include "unit.h"

#include <string.h>

#include "format/header_v1.h"
#include "sample.h"

enum { HEADER_BYTES = 48, CLUSTER_BITS = 12, L2_BITS = 9 };

/* A disk of 1 MiB. */
static void sound(unsigned char *h)
{
    memset(h, 0, HEADER_BYTES);
    sample_store(h, 0x514649FB, 4);
    sample_store(h + 4, 1, 4);
    sample_store(h + 24, 1 << 20, 8);
    sample_store(h + 32, CLUSTER_BITS, 1);
    sample_store(h + 33, L2_BITS, 1);
    sample_store(h + 40, 0x30000, 8);
}

/* What a sound header with another value in one field is, and which place is blamed. */
static int decode_with(unsigned at, uint64_t value, unsigned bytes, struct q2_header *header)
{
    unsigned char h[HEADER_BYTES];
    struct qcow2_error err = QCOW2_ERROR_INIT;
    unsigned l2_bits = 0;
    int r;

    sound(h);
    sample_store(h + at, value, bytes);
    r = q2_header_decode_v1(h, sizeof h, header, &l2_bits, &err);
    if (r < 0) {
        assert_int_equal(err.code, r);
        assert_true(strlen(err.message) > 0);
        assert_int_equal(err.host_offset, at);
    } else {
        assert_int_equal(l2_bits, at == 33 ? value : L2_BITS);
    }
    return r;
}

static void a_sound_header_decodes_to_its_fields(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct q2_header h;
    unsigned l2_bits;

    (void)state;
    sound(bytes);
    sample_store(bytes + 8, 0x100, 8);
    sample_store(bytes + 16, 7, 4);
    sample_store(bytes + 36, 1, 4);
    assert_int_equal(q2_header_decode_v1(bytes, sizeof bytes, &h, &l2_bits, NULL), 0);
    assert_int_equal(h.version, 1);
    assert_int_equal(h.header_bytes, HEADER_BYTES);
    assert_int_equal(h.backing_off, 0x100);
    assert_int_equal(h.backing_bytes, 7);
    assert_int_equal(h.size_bytes, 1 << 20);
    assert_int_equal(h.cluster_bits, CLUSTER_BITS);
    assert_int_equal(h.crypt_method, QCOW2_ENCRYPTION_AES);
    assert_int_equal(h.l1_off, 0x30000);
    assert_int_equal(h.l1_entries, 1);
    assert_int_equal(l2_bits, L2_BITS);
}

static void a_header_cut_short_is_truncated(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct q2_header h;
    unsigned l2_bits;

    (void)state;
    sound(bytes);
    for (size_t n = 0; n < HEADER_BYTES; n++) {
        assert_int_equal(q2_header_decode_v1(bytes, n, &h, &l2_bits, NULL), QCOW2_E_TRUNCATED);
    }
}

static void cluster_and_table_sizes_have_limits_at_both_ends(void **state)
{
    struct q2_header h;

    (void)state;
    assert_int_equal(decode_with(32, 8, 1, &h), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(32, 9, 1, &h), 0);
    assert_int_equal(decode_with(32, 16, 1, &h), 0);
    assert_int_equal(decode_with(32, 17, 1, &h), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(33, 5, 1, &h), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(33, 6, 1, &h), 0);
    assert_int_equal(decode_with(33, 13, 1, &h), 0);
    assert_int_equal(decode_with(33, 14, 1, &h), QCOW2_E_CORRUPT);
}

static void disk_size_decides_the_length_of_the_l1_table(void **state)
{
    const unsigned span_bits = CLUSTER_BITS + L2_BITS;
    const uint64_t most = UINT64_C(0x7fffffff) / 8; /* entries */
    struct q2_header h;

    (void)state;
    assert_int_equal(decode_with(24, 0, 8, &h), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(24, 1, 8, &h), QCOW2_E_CORRUPT);
    assert_int_equal(decode_with(24, 2, 8, &h), 0);
    assert_int_equal(decode_with(24, UINT64_C(1) << span_bits, 8, &h), 0);
    assert_int_equal(h.l1_entries, 1);
    assert_int_equal(decode_with(24, (UINT64_C(1) << span_bits) + 1, 8, &h), 0);
    assert_int_equal(h.l1_entries, 2);
    assert_int_equal(decode_with(24, most << span_bits, 8, &h), 0);
    assert_int_equal(h.l1_entries, most);
    assert_int_equal(decode_with(24, (most << span_bits) + 1, 8, &h), QCOW2_E_LIMIT);
    assert_int_equal(decode_with(24, UINT64_MAX, 8, &h), QCOW2_E_LIMIT);
}

static void only_aes_is_known(void **state)
{
    struct q2_header h;

    (void)state;
    assert_int_equal(decode_with(36, 1, 4, &h), 0);
    assert_int_equal(decode_with(36, 2, 4, &h), QCOW2_E_UNSUPPORTED);
}

static void backing_name_counts_only_with_a_place(void **state)
{
    unsigned char bytes[HEADER_BYTES];
    struct q2_header h;
    unsigned l2_bits;

    (void)state;
    assert_int_equal(decode_with(16, 5000, 4, &h), 0); /* no place: no name */
    sound(bytes);
    sample_store(bytes + 8, 0x100, 8);
    sample_store(bytes + 16, 1023, 4);
    assert_int_equal(q2_header_decode_v1(bytes, sizeof bytes, &h, &l2_bits, NULL), 0);
    sample_store(bytes + 16, 1024, 4);
    assert_int_equal(q2_header_decode_v1(bytes, sizeof bytes, &h, &l2_bits, NULL), QCOW2_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_header_decodes_to_its_fields),
        cmocka_unit_test(a_header_cut_short_is_truncated),
        cmocka_unit_test(cluster_and_table_sizes_have_limits_at_both_ends),
        cmocka_unit_test(disk_size_decides_the_length_of_the_l1_table),
        cmocka_unit_test(only_aes_is_known),
        cmocka_unit_test(backing_name_counts_only_with_a_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
