/* SPDX-License-Identifier: MIT */
/* test_contract.c - what the header promises of the check and of explanations, and hostile images. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

/* An image that is zeros but for a few pieces: as large as one likes, and no larger in memory than it
 * must be. */
enum { MAX_PIECES = 8 };

struct sparse {
    uint64_t size;
    uint64_t fail_at; /* reads that touch this byte fail; UINT64_MAX: none */
    bool fails_once;  /* only the first of them does */
    unsigned n_pieces;
    struct {
        uint64_t off;
        size_t n;
        const uint8_t *bytes;
    } pieces[MAX_PIECES];
};

static int sparse_read(void *ctx, void *buf, size_t n, uint64_t off)
{
    struct sparse *s = ctx;

    if (off > s->size || n > s->size - off) {
        return EIO;
    }
    if (s->fail_at >= off && s->fail_at - off < n) {
        s->fail_at = s->fails_once ? UINT64_MAX : s->fail_at;
        return EIO;
    }
    memset(buf, 0, n);
    for (unsigned i = 0; i < s->n_pieces; i++) {
        uint64_t from = s->pieces[i].off > off ? s->pieces[i].off : off;
        uint64_t to = s->pieces[i].off + s->pieces[i].n;

        to = to < off + n ? to : off + n;
        if (from < to) {
            memcpy((uint8_t *)buf + (from - off), s->pieces[i].bytes + (from - s->pieces[i].off),
                   (size_t)(to - from));
        }
    }
    return 0;
}

static int sparse_size(void *ctx, uint64_t *bytes_ret)
{
    *bytes_ret = ((const struct sparse *)ctx)->size;
    return 0;
}

static void add(struct sparse *s, uint64_t off, const uint8_t *bytes, size_t n)
{
    assert_true(s->n_pieces < MAX_PIECES);
    s->pieces[s->n_pieces].off = off;
    s->pieces[s->n_pieces].bytes = bytes;
    s->pieces[s->n_pieces++].n = n;
}

static void put(uint8_t *bytes, uint64_t value, unsigned n)
{
    while (n-- > 0) {
        bytes[n] = (uint8_t)value;
        value >>= 8;
    }
}

struct shape {
    unsigned cluster_bits;
    uint64_t disk_bytes;
    uint32_t l1_entries;
};

/* Cluster 1 is the refcount table, 2 a block, 3 begins the L1 table. */
static void make_header(uint8_t header[112], const struct shape *shape)
{
    uint64_t cluster = UINT64_C(1) << shape->cluster_bits;

    memset(header, 0, 112);
    put(header, 0x514649fb, 4);
    put(header + 4, 3, 4);
    put(header + 20, shape->cluster_bits, 4);
    put(header + 24, shape->disk_bytes, 8);
    put(header + 36, shape->l1_entries, 4);
    put(header + 40, 3 * cluster, 8);
    put(header + 48, cluster, 8);
    put(header + 56, 1, 4);
    put(header + 96, 4, 4);
    put(header + 100, 112, 4);
}

static struct qcow2_image *open_sparse(struct sparse *s, uint32_t flags)
{
    const struct qcow2_source source = {
        .size = sizeof source, .ctx = s, .read_at = sparse_read, .get_size = sparse_size
    };
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image = NULL;

    options.flags = flags;
    if (qcow2_open_source(&source, &options, &image, &err) != 0) {
        fail_msg("%s", err.message);
    }
    return image;
}

/* A small image whose header, refcounts and L1 table of one empty entry are in order. */
struct small {
    struct sparse sparse;
    uint8_t header[112], table[8], block[8];
};

static struct qcow2_image *open_small(struct small *s, uint32_t flags)
{
    const struct shape shape = { .cluster_bits = 16, .disk_bytes = 1 << 20, .l1_entries = 1 };

    memset(s, 0, sizeof *s);
    s->sparse.size = 4 << 16;
    s->sparse.fail_at = UINT64_MAX;
    make_header(s->header, &shape);
    put(s->table, 2 << 16, 8);
    put(s->block, UINT64_C(0x0001000100010001), 8);
    add(&s->sparse, 0, s->header, sizeof s->header);
    add(&s->sparse, 1 << 16, s->table, sizeof s->table);
    add(&s->sparse, 2 << 16, s->block, sizeof s->block);
    return open_sparse(&s->sparse, flags);
}

static void sound_image_has_no_findings(void **state)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct small s;
    struct qcow2_image *image = open_small(&s, QCOW2_OPEN_METADATA_ONLY);

    (void)state;
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, NULL), 0);
    assert_int_equal(result.size, sizeof result);
    assert_int_equal(result.corruptions, 0);
    assert_int_equal(result.leaks, 0);
    assert_int_equal(result.check_errors, 0);
    assert_int_equal(result.image_end_offset, 4 << 16);
    assert_int_equal(result.total_clusters, 16);
    qcow2_close(image);
}

static void null_is_refused(void **state)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct qcow2_explanation e;
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);
    uint64_t cursor = 0;

    (void)state;
    assert_int_equal(qcow2_check(NULL, NULL, NULL, NULL, &result, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_explanation(NULL, 0, &cursor, &e, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_explanation(image, 0, NULL, &e, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_explanation(image, 0, &cursor, NULL, NULL), QCOW2_E_ARGUMENT);
    qcow2_close(image);
}

static void smaller_result_struct_is_filled_as_far_as_it_goes(void **state)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);

    (void)state;
    result.size = offsetof(struct qcow2_check_result, image_end_offset);
    result.corruptions = 7;
    result.image_end_offset = 99;
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, NULL), 0);
    assert_int_equal(result.corruptions, 0);
    assert_int_equal(result.image_end_offset, 99);
    qcow2_close(image);
}

static void metadata_only_image_has_no_explanations(void **state)
{
    struct qcow2_explanation e;
    struct small s;
    struct qcow2_image *image = open_small(&s, QCOW2_OPEN_METADATA_ONLY);
    uint64_t cursor = 0;

    (void)state;
    assert_int_equal(qcow2_next_explanation(image, 0, &cursor, &e, NULL), QCOW2_E_ARGUMENT);
    qcow2_close(image);
}

static void explanation_ends_after_the_step_that_decides(void **state)
{
    struct qcow2_explanation e;
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);
    uint64_t cursor = 0;

    (void)state;
    assert_int_equal(qcow2_next_explanation(image, 0, &cursor, &e, NULL), 1);
    assert_true(e.decides);
    assert_int_equal(e.kind, QCOW2_EXTENT_HOLE);
    assert_int_equal(e.l1_offset, 3 << 16);
    assert_true(e.l2_offset == UINT64_MAX);
    assert_int_equal(qcow2_next_explanation(image, 0, &cursor, &e, NULL), 0);
    assert_int_equal(qcow2_next_explanation(image, 0, &cursor, &e, NULL), 0);
    qcow2_close(image);
}

static int count_up_to(void *ctx, int kind, uint64_t host_offset, const char *message)
{
    int *left = ctx;

    (void)host_offset;
    assert_true(kind == QCOW2_FINDING_CORRUPTION || kind == QCOW2_FINDING_LEAK);
    assert_true(strlen(message) > 0);
    return --*left == 0;
}

static void callback_can_stop_the_check(void **state)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);
    int left = 2;

    (void)state;
    put(s.block, UINT64_C(0x0001000200000001), 8); /* a leak and a corruption */
    assert_int_equal(qcow2_check(image, NULL, count_up_to, &left, &result, &err),
                     QCOW2_E_CANCELLED);
    assert_int_equal(err.code, QCOW2_E_CANCELLED);
    assert_int_equal(left, 0);
    assert_int_equal(result.leaks, 0); /* nothing is filled */
    left = 3;
    assert_int_equal(qcow2_check(image, NULL, count_up_to, &left, &result, &err), 0);
    assert_int_equal(result.leaks, 1);
    assert_int_equal(result.corruptions, 1);
    qcow2_close(image);
}

static int stop_at_once(void *ctx, int kind, uint64_t host_offset, const char *message)
{
    (void)ctx;
    (void)kind;
    (void)host_offset;
    (void)message;
    return 1;
}

/* Found by the whole-image fuzz target: the finding that goes with a failure made the error say "stopped"
 * if the callback wanted to stop there, while the call returned why it had ended. */
static void stopping_at_the_finding_of_a_failure_leaves_its_error(void **state)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint8_t entry[40] = { 0 };
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);

    (void)state;
    qcow2_close(image);
    put(s.header + 60, 1, 4); /* a snapshot, at the L1 table's cluster */
    put(s.header + 64, 3 << 16, 8);
    put(entry + 36, 5000, 4); /* too much extra data */
    add(&s.sparse, 3 << 16, entry, sizeof entry);
    image = open_sparse(&s.sparse, QCOW2_OPEN_METADATA_ONLY);
    assert_int_equal(qcow2_check(image, NULL, stop_at_once, NULL, &result, &err), QCOW2_E_LIMIT);
    assert_int_equal(err.code, QCOW2_E_LIMIT);
    qcow2_close(image);
}

static void memory_is_bounded_by_the_caller(void **state)
{
    struct qcow2_check_options options = QCOW2_CHECK_OPTIONS_INIT;
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);

    (void)state;
    /* Four bytes for each of four clusters, and one more that a reference may reach into. */
    options.max_memory_bytes = 19;
    assert_int_equal(qcow2_check(image, &options, NULL, NULL, &result, &err), QCOW2_E_LIMIT);
    assert_int_equal(err.code, QCOW2_E_LIMIT);
    options.max_memory_bytes = 20;
    assert_int_equal(qcow2_check(image, &options, NULL, NULL, &result, &err), 0);
    qcow2_close(image);
}

static void huge_file_is_over_the_default_limit(void **state)
{
    const struct shape shape = { .cluster_bits = 9, .disk_bytes = 0, .l1_entries = 0 };
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct sparse s = { .size = INT64_MAX & ~UINT64_C(511), .fail_at = UINT64_MAX };
    uint8_t header[112];
    struct qcow2_image *image;

    (void)state;
    make_header(header, &shape);
    add(&s, 0, header, sizeof header);
    image = open_sparse(&s, QCOW2_OPEN_METADATA_ONLY);
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, NULL), QCOW2_E_LIMIT);
    qcow2_close(image);
}

static void unknown_file_length_cannot_be_checked(void **state)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);

    (void)state;
    qcow2_close(image);
    /* Without a get_size; reads still reach all there is. */
    {
        const struct qcow2_source source = { .size = sizeof source,
                                             .ctx = &s.sparse,
                                             .read_at = sparse_read };

        assert_int_equal(qcow2_open_source(&source, NULL, &image, NULL), 0);
    }
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, NULL), QCOW2_E_UNSUPPORTED);
    qcow2_close(image);
}

static void read_failure_of_an_l1_table_ends_the_check(void **state)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);

    (void)state;
    s.sparse.fail_at = 3 << 16;
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EIO);
    qcow2_close(image);
}

static void read_failure_of_a_refcount_block_is_a_finding(void **state)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);

    (void)state;
    s.sparse.fail_at = 2 << 16;
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, &err), 0);
    assert_int_equal(result.check_errors, 4);
    assert_int_equal(err.code, 0); /* untouched by a call that succeeds */
    qcow2_close(image);
}

/* The refcount of an L2 table past the end of the file is in a block that nothing else needs. It would be
 * asked for again later, and then it could be read. */
static void read_failure_of_a_refcount_that_a_flag_needs_ends_the_check(void **state)
{
    const uint64_t cluster = (512U << 15) + (1 << 14);
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint8_t l1_entry[8], block_entry[8];
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);

    (void)state;
    qcow2_close(image);
    put(l1_entry, cluster << 16, 8);
    put(block_entry, 4 << 16, 8);
    add(&s.sparse, 3 << 16, l1_entry, sizeof l1_entry);
    add(&s.sparse, (1 << 16) + 512 * 8, block_entry, sizeof block_entry);
    s.sparse.size = 5 << 16;
    image = open_sparse(&s.sparse, 0);
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, NULL), 0);
    s.sparse.fail_at = (4 << 16) + (1 << 15);
    s.sparse.fails_once = true;
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EIO);
    qcow2_close(image);
}

/* The largest L1 table there is, every entry of it naming one L2 table, every entry of which names one
 * cluster: 2^40 references, each of which counts. */
static void count_hostile_references(unsigned refcount_order, uint64_t corruptions)
{
    enum { CLUSTER_BITS = 21, L1_ENTRIES = 4194304, L2_ENTRIES = 262144 };
    const struct shape shape = { CLUSTER_BITS, UINT64_C(1) << 61, L1_ENTRIES };
    const uint64_t cluster = UINT64_C(1) << CLUSTER_BITS;
    const uint64_t l2_off = 19 * cluster, data_off = 20 * cluster;
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct sparse s = { .size = 21 * cluster, .fail_at = UINT64_MAX };
    uint8_t *l1 = malloc((size_t)L1_ENTRIES * 8), *l2 = malloc((size_t)L2_ENTRIES * 8);
    uint8_t header[112], table[8];
    struct qcow2_image *image;

    assert_non_null(l1);
    assert_non_null(l2);
    for (size_t i = 0; i < L1_ENTRIES; i++) {
        put(l1 + i * 8, l2_off, 8);
    }
    for (size_t i = 0; i < L2_ENTRIES; i++) {
        put(l2 + i * 8, data_off, 8);
    }
    make_header(header, &shape);
    put(header + 96, refcount_order, 4);
    put(table, 0, 8);
    add(&s, 0, header, sizeof header);
    add(&s, cluster, table, sizeof table);
    add(&s, 3 * cluster, l1, (size_t)L1_ENTRIES * 8);
    add(&s, l2_off, l2, (size_t)L2_ENTRIES * 8);
    image = open_sparse(&s, QCOW2_OPEN_METADATA_ONLY);
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, NULL), 0);
    assert_true(result.allocated_clusters == UINT64_C(1) << 40);
    assert_true(result.corruptions == corruptions);
    qcow2_close(image);
    free(l1);
    free(l2);
}

static void references_of_a_hostile_table_are_counted_without_visiting_each(void **state)
{
    /* The header, the refcount table, 16 clusters of L1 table, the L2 table and the cluster, which have no
     * refcount. */
    const uint64_t without = 1 + 1 + 16 + 1 + 1;

    (void)state;
    /* Every reference past the 65535th to the data cluster and to the L2 table; none is past 64 bits. */
    count_hostile_references(4,
                             (UINT64_C(1) << 40) - 65535 + ((UINT64_C(1) << 22) - 65535) + without);
    count_hostile_references(6, without);
}

static int count_corruptions(void *ctx, int kind, uint64_t host_offset, const char *message)
{
    (void)host_offset;
    (void)message;
    *(int *)ctx += kind == QCOW2_FINDING_CORRUPTION;
    return *(int *)ctx == 2; /* which no test here gets to */
}

/* Where a LUKS header is said to be is not looked at before a key is needed. */
static void encryption_header_of_any_place_and_length_is_survived(void **state)
{
    static const struct {
        uint64_t off, n_bytes;
        int corruptions;
    } cases[] = { { 3 << 16, 0, 0 },
                  { 3 << 16, UINT64_C(1) << 63, 0 }, /* below 0, in QEMU */
                  { UINT64_C(0xffffffffffff0000), 0x20000, 1 },
                  { UINT64_C(1) << 40, 4096, 1 } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
        struct small s;
        struct qcow2_image *image = open_small(&s, 0);
        uint8_t extension[24];
        int corruptions = 0;

        qcow2_close(image);
        put(s.header + 32, QCOW2_ENCRYPTION_LUKS, 4);
        put(extension, 0x0537be77, 4);
        put(extension + 4, 16, 4);
        put(extension + 8, cases[i].off, 8);
        put(extension + 16, cases[i].n_bytes, 8);
        add(&s.sparse, sizeof s.header, extension, sizeof extension);
        image = open_sparse(&s.sparse, QCOW2_OPEN_METADATA_ONLY);
        assert_int_equal(qcow2_check(image, NULL, count_corruptions, &corruptions, &result, NULL),
                         0);
        assert_int_equal(corruptions, cases[i].corruptions);
        qcow2_close(image);
    }
}

/* An image of many snapshots, of which each names an L1 table of so many entries: the first at cluster 1024,
 * each other one `step` clusters after the one before. */
struct crowd {
    struct sparse sparse;
    uint8_t header[112];
    uint8_t *snapshots;
};

static struct qcow2_image *open_crowd(struct crowd *crowd, unsigned cluster_bits, uint32_t count,
                                      uint64_t step, uint32_t l1_entries)
{
    enum { ENTRY_BYTES = 56 };
    const struct shape shape = { cluster_bits, 0, 0 };
    const uint64_t cluster = UINT64_C(1) << cluster_bits;
    const uint64_t l1_off = UINT64_C(8192) * cluster;

    memset(crowd, 0, sizeof *crowd);
    crowd->snapshots = calloc(count, ENTRY_BYTES);
    assert_non_null(crowd->snapshots);
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = crowd->snapshots + i * ENTRY_BYTES;

        put(entry, l1_off + i * step * cluster, 8);
        put(entry + 8, l1_entries, 4);
        put(entry + 36, 16, 4);
    }
    make_header(crowd->header, &shape);
    put(crowd->header + 60, count, 4);
    put(crowd->header + 64, 16 * cluster, 8);
    crowd->sparse.size = l1_off + count * step * cluster + l1_entries * UINT64_C(8);
    crowd->sparse.fail_at = UINT64_MAX;
    add(&crowd->sparse, 0, crowd->header, sizeof crowd->header);
    add(&crowd->sparse, 16 * cluster, crowd->snapshots, (size_t)count * ENTRY_BYTES);
    return open_sparse(&crowd->sparse, QCOW2_OPEN_METADATA_ONLY);
}

/* 65536 snapshots that all name the largest L1 table. It was read for each of them, until the limit: now
 * it is read once, and so are tables that begin a cluster after one another. */
static void shared_and_overlapping_l1_tables_of_snapshots_are_read_once(void **state)
{
    (void)state;
    for (uint64_t step = 0; step < 2; step++) {
        struct qcow2_check_options options = QCOW2_CHECK_OPTIONS_INIT;
        struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
        struct crowd crowd;
        struct qcow2_image *image = open_crowd(&crowd, 9, 65536, step, 4194304);

        options.max_entries = crowd.sparse.size / 8;
        assert_int_equal(qcow2_check(image, &options, NULL, NULL, &result, NULL), 0);
        qcow2_close(image);
        free(crowd.snapshots);
    }
}

/* A bound on the entries that are read; beyond it the error names the bound, and more may be allowed. */
static void work_is_bounded(void **state)
{
    struct qcow2_check_options options = QCOW2_CHECK_OPTIONS_INIT;
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct crowd crowd;
    struct qcow2_image *image = open_crowd(&crowd, 16, 1, 0, 4194304);

    (void)state;
    options.max_entries = 4194304;
    assert_int_equal(qcow2_check(image, &options, NULL, NULL, &result, &err), QCOW2_E_LIMIT);
    assert_int_equal(err.code, QCOW2_E_LIMIT);
    assert_non_null(strstr(err.message, "4194304 entries"));
    options.max_entries = UINT64_MAX;
    assert_int_equal(qcow2_check(image, &options, NULL, NULL, &result, &err), 0);
    qcow2_close(image);
    free(crowd.snapshots);
}

struct heard {
    uint64_t with_message, without;
};

static int hear(void *ctx, int kind, uint64_t host_offset, const char *message)
{
    struct heard *heard = ctx;

    (void)kind;
    (void)host_offset;
    heard->with_message += message != NULL;
    heard->without += message == NULL;
    return 0;
}

/* The text of each of a thousand million findings was made, of which a thousand were shown. */
static void findings_past_max_messages_are_counted_without_a_message(void **state)
{
    struct qcow2_check_options options = QCOW2_CHECK_OPTIONS_INIT;
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT, all = QCOW2_CHECK_RESULT_INIT;
    struct heard heard = { 0, 0 };
    struct crowd crowd;
    struct qcow2_image *image = open_crowd(&crowd, 16, 100, 2, 1);

    (void)state;
    options.max_messages = 3;
    assert_int_equal(qcow2_check(image, &options, hear, &heard, &result, NULL), 0);
    assert_int_equal(heard.with_message, 3);
    assert_true(heard.without > 90);
    heard = (struct heard){ 0, 0 };
    assert_int_equal(qcow2_check(image, NULL, hear, &heard, &all, NULL), 0);
    assert_int_equal(heard.without, 0);
    assert_memory_equal(&result, &all, sizeof result);
    qcow2_close(image);
    free(crowd.snapshots);
}

static void check_options_that_are_malformed_are_an_argument_error(void **state)
{
    struct {
        struct qcow2_check_options known;
        uint8_t more[8];
    } options = { QCOW2_CHECK_OPTIONS_INIT, { 0 } };
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct small s;
    struct qcow2_image *image = open_small(&s, 0);

    (void)state;
    options.known.size = sizeof options.known - 1;
    assert_int_equal(qcow2_check(image, &options.known, NULL, NULL, &result, NULL),
                     QCOW2_E_ARGUMENT);
    options.known.size = sizeof options;
    assert_int_equal(qcow2_check(image, &options.known, NULL, NULL, &result, NULL), 0);
    options.more[7] = 1;
    assert_int_equal(qcow2_check(image, &options.known, NULL, NULL, &result, NULL),
                     QCOW2_E_ARGUMENT);
    qcow2_close(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_image_has_no_findings),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(smaller_result_struct_is_filled_as_far_as_it_goes),
        cmocka_unit_test(metadata_only_image_has_no_explanations),
        cmocka_unit_test(explanation_ends_after_the_step_that_decides),
        cmocka_unit_test(callback_can_stop_the_check),
        cmocka_unit_test(stopping_at_the_finding_of_a_failure_leaves_its_error),
        cmocka_unit_test(memory_is_bounded_by_the_caller),
        cmocka_unit_test(huge_file_is_over_the_default_limit),
        cmocka_unit_test(unknown_file_length_cannot_be_checked),
        cmocka_unit_test(read_failure_of_an_l1_table_ends_the_check),
        cmocka_unit_test(read_failure_of_a_refcount_block_is_a_finding),
        cmocka_unit_test(read_failure_of_a_refcount_that_a_flag_needs_ends_the_check),
        cmocka_unit_test(references_of_a_hostile_table_are_counted_without_visiting_each),
        cmocka_unit_test(encryption_header_of_any_place_and_length_is_survived),
        cmocka_unit_test(shared_and_overlapping_l1_tables_of_snapshots_are_read_once),
        cmocka_unit_test(work_is_bounded),
        cmocka_unit_test(findings_past_max_messages_are_counted_without_a_message),
        cmocka_unit_test(check_options_that_are_malformed_are_an_argument_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
