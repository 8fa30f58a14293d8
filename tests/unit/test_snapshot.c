/* SPDX-License-Identifier: MIT */
/* test_snapshot.c - entries of the snapshot table, field by field and cut short. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "format/snapshot.h"

/* id "7", name "seven", 24 bytes of extra data. */
static const uint8_t seven[] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, /* L1 table at 0x50000 */
    0x00, 0x00, 0x00, 0x03,                         /* of 3 entries */
    0x00, 0x01, 0x00, 0x05,                         /* id of 1 byte, name of 5 */
    0x65, 0x00, 0x00, 0x01, 0x3b, 0x9a, 0xc9, 0xff, /* date: seconds, nanoseconds */
    0x00, 0x00, 0x00, 0x02, 0x54, 0x0b, 0xe4, 0x00, /* clock: 10 seconds */
    0x00, 0x00, 0x00, 0x11,                         /* VM state, narrow */
    0x00, 0x00, 0x00, 0x18,                         /* extra data: */
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x22, /* VM state, wide */
    0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, /* disk of 1 GiB */
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x63, /* icount */
    '7',  's',  'e',  'v',  'e',  'n',
};

enum { EXTRA_LENGTH_OFF = 36, FIXED = 40 };

/* `seven` with its first `extra` bytes of extra data alone. */
static size_t with_extra(uint8_t extra, uint8_t bytes_ret[sizeof seven])
{
    size_t text = sizeof seven - (FIXED + 24);

    memcpy(bytes_ret, seven, FIXED + extra);
    memcpy(bytes_ret + FIXED + extra, seven + FIXED + 24, text);
    bytes_ret[EXTRA_LENGTH_OFF + 3] = extra;
    return FIXED + extra + text;
}

static void every_field_is_decoded(void **state)
{
    struct q2_snapshot_entry e;

    (void)state;
    assert_int_equal(q2_snapshot_decode(seven, sizeof seven, 0, &e, NULL), 0);
    assert_int_equal(e.l1_off, 0x50000);
    assert_int_equal(e.l1_entries, 3);
    assert_int_equal(e.date_seconds, 0x65000001);
    assert_int_equal(e.date_nanoseconds, 999999999);
    assert_int_equal(e.vm_clock_nanoseconds, UINT64_C(10000000000));
    assert_int_equal(e.vm_state_bytes, UINT64_C(0x100000022));
    assert_true(e.has_disk_size);
    assert_int_equal(e.disk_bytes, 1 << 30);
    assert_int_equal(e.icount, 0x63);
    assert_int_equal(e.extra_bytes, 24);
    assert_int_equal(e.id_bytes, 1);
    assert_memory_equal(seven + e.id_off, "7", 1);
    assert_int_equal(e.name_bytes, 5);
    assert_memory_equal(seven + e.name_off, "seven", 5);
    assert_int_equal(e.entry_bytes, sizeof seven);
}

static void entry_cut_short_says_how_much_it_needs(void **state)
{
    struct q2_snapshot_entry e;

    (void)state;
    for (size_t n = 0; n < sizeof seven; n++) {
        assert_int_equal(q2_snapshot_decode(seven, n, 0, &e, NULL), Q2_SNAPSHOT_NEED_MORE);
        assert_int_equal(e.entry_bytes, n < FIXED ? FIXED : sizeof seven);
    }
}

static void extra_field_counts_only_if_it_is_whole(void **state)
{
    uint8_t bytes[sizeof seven];
    struct q2_snapshot_entry e;

    (void)state;
    for (uint8_t extra = 0; extra <= 24; extra++) {
        size_t n = with_extra(extra, bytes);

        assert_int_equal(q2_snapshot_decode(bytes, n, 0, &e, NULL), 0);
        assert_int_equal(e.vm_state_bytes, extra >= 8 ? UINT64_C(0x100000022) : 0x11);
        assert_int_equal(e.has_disk_size, extra >= 16);
        assert_int_equal(e.disk_bytes, extra >= 16 ? 1 << 30 : 0);
        assert_true(e.icount == (extra >= 24 ? 0x63 : UINT64_MAX));
        assert_memory_equal(bytes + e.name_off, "seven", 5);
        assert_int_equal(e.entry_bytes, n);
    }
}

static void unknown_extra_data_is_skipped(void **state)
{
    uint8_t bytes[FIXED + Q2_MAX_SNAPSHOT_EXTRA_BYTES + 6] = { 0 };
    struct q2_snapshot_entry e;

    (void)state;
    memcpy(bytes, seven, FIXED + 24);
    memcpy(bytes + FIXED + Q2_MAX_SNAPSHOT_EXTRA_BYTES, "7seven", 6);
    bytes[EXTRA_LENGTH_OFF + 2] = 4;
    bytes[EXTRA_LENGTH_OFF + 3] = 0;
    assert_int_equal(q2_snapshot_decode(bytes, sizeof bytes, 0, &e, NULL), 0);
    assert_int_equal(e.extra_bytes, 1024);
    assert_int_equal(e.icount, 0x63);
    assert_memory_equal(bytes + e.id_off, "7", 1);
    assert_memory_equal(bytes + e.name_off, "seven", 5);
}

static void too_much_extra_data_is_refused(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint8_t bytes[sizeof seven];
    struct q2_snapshot_entry e;

    (void)state;
    memcpy(bytes, seven, sizeof bytes);
    bytes[EXTRA_LENGTH_OFF + 2] = 4;
    bytes[EXTRA_LENGTH_OFF + 3] = 1; /* 1025 */
    assert_int_equal(q2_snapshot_decode(bytes, sizeof bytes, 0x30000, &e, &err), QCOW2_E_LIMIT);
    assert_int_equal(err.host_offset, 0x30000);
    memset(bytes + EXTRA_LENGTH_OFF, 0xff, 4); /* would wrap, if it were added first */
    assert_int_equal(q2_snapshot_decode(bytes, sizeof bytes, 0, &e, NULL), QCOW2_E_LIMIT);
}

static void longest_entry_fits_its_limit(void **state)
{
    uint8_t bytes[FIXED];
    struct q2_snapshot_entry e;

    (void)state;
    memcpy(bytes, seven, sizeof bytes);
    memset(bytes + 12, 0xff, 4); /* id and name */
    bytes[EXTRA_LENGTH_OFF + 2] = 4;
    bytes[EXTRA_LENGTH_OFF + 3] = 0;
    assert_int_equal(q2_snapshot_decode(bytes, sizeof bytes, 0, &e, NULL), Q2_SNAPSHOT_NEED_MORE);
    assert_int_equal(e.entry_bytes, Q2_MAX_SNAPSHOT_ENTRY_BYTES);
    assert_int_equal(e.entry_bytes, 40 + 1024 + 65535 + 65535);
}

static void next_entry_begins_at_a_multiple_of_eight(void **state)
{
    (void)state;
    assert_int_equal(q2_snapshot_next_off(0x50000, 40), 0x50028);
    assert_int_equal(q2_snapshot_next_off(0x50000, 41), 0x50030);
    assert_int_equal(q2_snapshot_next_off(0x50000, 48), 0x50030);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_decoded),
        cmocka_unit_test(entry_cut_short_says_how_much_it_needs),
        cmocka_unit_test(extra_field_counts_only_if_it_is_whole),
        cmocka_unit_test(unknown_extra_data_is_skipped),
        cmocka_unit_test(too_much_extra_data_is_refused),
        cmocka_unit_test(longest_entry_fits_its_limit),
        cmocka_unit_test(next_entry_begins_at_a_multiple_of_eight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
