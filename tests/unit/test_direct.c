/* SPDX-License-Identifier: MIT */
/* test_direct.c - image/direct: the short way says what the general way says, and is taken. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "sample.h"

enum { CLUSTER_BITS = 12, CLUSTER = 1 << CLUSTER_BITS, L1_OFF = 3 * CLUSTER, L2_OFF = 4 * CLUSTER };

/* What one read gave. */
struct answer {
    ssize_t got;
    unsigned char bytes[64];
    struct qcow2_error err;
};

static struct answer ask(struct qcow2_image *image, uint64_t guest_off)
{
    struct answer answer = { .err = QCOW2_ERROR_INIT };

    answer.got = qcow2_pread(image, answer.bytes, sizeof answer.bytes, guest_off, &answer.err);
    return answer;
}

/* The second cluster is read: by an image that caches no table, so that all goes the general way, and by
 * one that has the table cached since it read at warm_off. */
static void check_both_ways(const struct sample *sample, uint64_t warm_off, const char *what)
{
    struct qcow2_options without = QCOW2_OPTIONS_INIT;
    struct sample_source sources[2];
    struct qcow2_image *general, *direct;

    without.table_cache_bytes = 1;
    general = sample_open(&sources[0], sample, &without);
    direct = sample_open(&sources[1], sample, NULL);
    assert_int_equal(direct->tables.slots_max > 0, true);
    assert_int_equal(general->tables.slots_max, 0);
    (void)ask(direct, warm_off);
    for (uint64_t at = CLUSTER; at <= 2 * CLUSTER - 64; at += CLUSTER / 4 - 16) {
        struct answer expected = ask(general, at), found = ask(direct, at);

        if (found.got != expected.got ||
            (found.got >= 0 && memcmp(found.bytes, expected.bytes, sizeof found.bytes) != 0)) {
            fail_msg("%s, at %llu: %zd in the general way, %zd in the short way", what,
                     (unsigned long long)at, expected.got, found.got);
        }
        assert_string_equal(found.err.message, expected.err.message);
        assert_int_equal(found.err.guest_offset, expected.err.guest_offset);
        assert_int_equal(found.err.host_offset, expected.err.host_offset);
        assert_int_equal(found.err.depth, expected.err.depth);
    }
    qcow2_close(general);
    qcow2_close(direct);
    assert_false(atomic_load(&sources[1].strayed));
}

static uint64_t load(const unsigned char *from)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

static void test_unusual_entries_are_answered_as_in_the_general_way(void **state)
{
    static const struct {
        const char *what;
        uint64_t clear, set;
    } cases[] = {
        { "as it was written", 0, 0 },
        { "no copied flag", Q2_ENTRY_COPIED, 0 },
        { "reserved bits", 0, UINT64_C(0x3f000000000001fe) },
        { "zero flag", 0, Q2_ENTRY_ZERO },
        { "zero flag alone", Q2_OFFSET_MASK, Q2_ENTRY_ZERO },
        { "no entry", UINT64_MAX, 0 },
        { "offset 0 with a copied flag", Q2_OFFSET_MASK, 0 },
        { "not aligned", 0, 512 },
        { "compressed flag", 0, Q2_ENTRY_COMPRESSED },
        { "in the header", Q2_OFFSET_MASK, CLUSTER },
        { "far past the end", 0, UINT64_C(1) << 40 },
        { "as far as an entry can say", 0, UINT64_C(0x00fffffffffff000) },
    };
    struct sample sample;
    unsigned char *entry;
    uint64_t written;

    (void)state;
    sample_init(&sample, CLUSTER_BITS, QCOW2_COMPRESSION_DEFLATE, "DDDD", 0);
    entry = sample.file + L2_OFF + 8;
    written = load(entry);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sample_store(entry, (written & ~cases[i].clear) | cases[i].set, 8);
        check_both_ways(&sample, 0, cases[i].what);
    }
    sample_deinit(&sample);
}

static void test_unusual_tables_are_answered_as_in_the_general_way(void **state)
{
    static const struct {
        const char *what;
        uint64_t entry;
    } cases[] = {
        { "no table", 0 },
        { "flags and no table", Q2_ENTRY_COPIED },
        { "reserved bits", L2_OFF | UINT64_C(0x7f000000000001ff) },
        { "not aligned", L2_OFF + 512 },
        { "past the end", UINT64_C(1) << 40 },
        { "as far as an entry can say", UINT64_C(0x00fffffffffff000) },
    };
    const uint64_t second = (uint64_t)CLUSTER / 8 * CLUSTER;
    struct sample sample;
    char layout[CLUSTER / 8 + 3];

    (void)state;
    /* The second L1 entry keeps the table in order, so what it maps brings the table into the cache. */
    memset(layout, 'D', sizeof layout - 1);
    layout[sizeof layout - 1] = '\0';
    sample_init(&sample, CLUSTER_BITS, QCOW2_COMPRESSION_DEFLATE, layout, 0);
    sample_store(sample.file + L1_OFF + 8, L2_OFF, 8);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sample_store(sample.file + L1_OFF, cases[i].entry, 8);
        check_both_ways(&sample, second, cases[i].what);
    }
    sample_deinit(&sample);
}

/* The file ends anywhere within the cluster that is read, or before it. */
static void test_files_that_are_cut_short_are_answered_as_in_the_general_way(void **state)
{
    struct sample sample;

    (void)state;
    sample_init(&sample, CLUSTER_BITS, QCOW2_COMPRESSION_DEFLATE, "DD", 0);
    for (int step = 0; step < 20; step++) {
        check_both_ways(&sample, 0, "cut");
        sample.file_bytes -= 300;
    }
    sample_deinit(&sample);
}

static void test_a_small_read_of_a_cached_entry_takes_the_short_way(void **state)
{
    struct q2_lane *lane;
    struct sample_source source;
    struct qcow2_image *image;
    struct sample sample;
    unsigned char buf[CLUSTER];

    (void)state;
    sample_init(&sample, CLUSTER_BITS, QCOW2_COMPRESSION_DEFLATE, "DDZC.D", 0);
    image = sample_open(&source, &sample, NULL);
    assert_true(image->direct);
    sample_check_read(image, &sample, 0, 1);
    lane = q2_lane_check_out(&image->lanes);
    assert_non_null(lane);
    assert_int_equal(q2_direct_read(image, lane, buf, sizeof buf, 0, NULL), 1);
    assert_memory_equal(buf, sample.disk, sizeof buf);
    assert_int_equal(q2_direct_read(image, lane, buf, 100, 2 * CLUSTER - 100, NULL), 1);
    assert_memory_equal(buf, sample.disk + 2 * CLUSTER - 100, 100);
    /* Two clusters; a zero cluster; a compressed one; none. */
    assert_int_equal(q2_direct_read(image, lane, buf, 101, 2 * CLUSTER - 100, NULL), 0);
    for (uint64_t cluster = 2; cluster < 5; cluster++) {
        assert_int_equal(q2_direct_read(image, lane, buf, 1, cluster * CLUSTER, NULL), 0);
    }
    q2_lane_check_in(&image->lanes, lane);
    qcow2_close(image);
    sample_deinit(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unusual_entries_are_answered_as_in_the_general_way),
        cmocka_unit_test(test_unusual_tables_are_answered_as_in_the_general_way),
        cmocka_unit_test(test_files_that_are_cut_short_are_answered_as_in_the_general_way),
        cmocka_unit_test(test_a_small_read_of_a_cached_entry_takes_the_short_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
