/* SPDX-License-Identifier: MIT */
/* test_chain.c - files that an image asks for: who is asked, what is granted, what is refused.
 * Images and parents are in memory, so nothing here depends on a path. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

enum { CLUSTER_BITS = 12, CLUSTER = 1 << CLUSTER_BITS, CLUSTERS = 4 };

/* What the grant hands out, one for each depth that asks. */
struct shelf {
    struct sample_source sources[8];
    int formats[8]; /* or -1: leave what the image says */
    int count;      /* how many there are */
    int asked;
    struct qcow2_reference last; /* strings copied below */
    char name[64], format[16], referrer[64];
    int deny; /* a code to answer with instead */
};

static int grant(void *ctx, const struct qcow2_reference *reference,
                 struct qcow2_source *source_ret, int *format_ret, struct qcow2_error *err)
{
    struct shelf *shelf = ctx;
    int i = shelf->asked++;

    (void)err;
    shelf->last = *reference;
    (void)snprintf(shelf->name, sizeof shelf->name, "%s", reference->name);
    (void)snprintf(shelf->format, sizeof shelf->format, "%s",
                   reference->format != NULL ? reference->format : "none");
    (void)snprintf(shelf->referrer, sizeof shelf->referrer, "%s", reference->referrer);
    if (shelf->deny != 0) {
        return shelf->deny;
    }
    assert_true(i < shelf->count);
    *source_ret = shelf->sources[i].source;
    if (shelf->formats[i] >= 0) {
        *format_ret = shelf->formats[i];
    }
    return 0;
}

/* Writes a backing file name, and its format if one is given, into the image's first cluster. */
static void set_backing(struct sample *sample, const char *name, const char *format)
{
    unsigned char *at = sample->file + 112;
    const uint64_t name_off = 1024;

    if (format != NULL) {
        sample_store(at, 0xe2792aca, 4);
        sample_store(at + 4, strlen(format), 4);
        (void)snprintf((char *)at + 8, 64, "%s", format);
    }
    (void)snprintf((char *)sample->file + name_off, 1024, "%s", name);
    sample_store(sample->file + 8, name_off, 8);
    sample_store(sample->file + 16, strlen(name), 4);
}

struct chain {
    struct sample samples[8];
    struct sample_source top;
    struct shelf shelf;
    struct qcow2_options options;
    struct qcow2_image *image;
    struct qcow2_error err;
    int count;
};

static void add(struct chain *chain, const char *layout, const char *backing, const char *format)
{
    struct sample *sample = &chain->samples[chain->count];
    struct sample_source *source =
        chain->count == 0 ? &chain->top : &chain->shelf.sources[chain->shelf.count];

    sample_init(sample, CLUSTER_BITS, QCOW2_COMPRESSION_DEFLATE, layout, 0);
    if (backing != NULL) {
        set_backing(sample, backing, format);
    }
    sample_source_init(source, sample->file, sample->file_bytes);
    if (chain->count > 0) {
        chain->shelf.formats[chain->shelf.count++] = -1;
    }
    chain->count++;
}

static int set_up(void **state)
{
    struct chain *chain = calloc(1, sizeof *chain);

    assert_non_null(chain);
    chain->options = (struct qcow2_options)QCOW2_OPTIONS_INIT;
    chain->options.grant = grant;
    chain->options.grant_ctx = &chain->shelf;
    chain->err = (struct qcow2_error)QCOW2_ERROR_INIT;
    *state = chain;
    return 0;
}

/* Also the proof that each source is closed once, whatever happened. */
static int tear_down(void **state)
{
    struct chain *chain = *state;

    qcow2_close(chain->image);
    assert_int_equal(atomic_load(&chain->top.closes), 1);
    for (int i = 0; i < chain->shelf.count; i++) {
        unsigned wanted = i < chain->shelf.asked && chain->shelf.deny == 0 ? 1 : 0;

        assert_int_equal(atomic_load(&chain->shelf.sources[i].closes), wanted);
    }
    for (int i = 0; i < chain->count; i++) {
        sample_deinit(&chain->samples[i]);
    }
    free(chain);
    return 0;
}

static int open_chain(struct chain *chain)
{
    return qcow2_open_source(&chain->top.source, &chain->options, &chain->image, &chain->err);
}

/* Cluster i of the disk reads as cluster i of that sample's disk. */
static void comes_from(struct chain *chain, unsigned cluster, int sample)
{
    unsigned char bytes[CLUSTER];

    assert_int_equal(
        qcow2_pread(chain->image, bytes, CLUSTER, (uint64_t)cluster * CLUSTER, &chain->err),
        CLUSTER);
    assert_memory_equal(bytes, chain->samples[sample].disk + (size_t)cluster * CLUSTER, CLUSTER);
}

static void unallocated_shows_and_zero_hides_the_parent(void **state)
{
    struct chain *chain = *state;
    unsigned char bytes[CLUSTER], zeros[CLUSTER] = { 0 };

    add(chain, "D.Z.", "parent", "qcow2");
    add(chain, "DDDC", NULL, NULL);
    assert_int_equal(open_chain(chain), 0);
    comes_from(chain, 0, 0);
    comes_from(chain, 1, 1);
    assert_int_equal(qcow2_pread(chain->image, bytes, CLUSTER, 2 * CLUSTER, NULL), CLUSTER);
    assert_memory_equal(bytes, zeros, CLUSTER);
    comes_from(chain, 3, 1);
    assert_int_equal(chain->shelf.asked, 1);
    assert_int_equal(chain->shelf.last.kind, QCOW2_REFERENCE_BACKING_FILE);
    assert_string_equal(chain->shelf.name, "parent");
    assert_string_equal(chain->shelf.format, "qcow2");
}

/* In one read, though the parent's clusters lie in one run. */
static void what_a_layer_has_ends_the_parents_run(void **state)
{
    struct chain *chain = *state;
    unsigned char bytes[4 * CLUSTER];

    add(chain, "..D.", "parent", "qcow2");
    add(chain, "DDDD", NULL, NULL);
    assert_int_equal(open_chain(chain), 0);
    assert_int_equal(qcow2_pread(chain->image, bytes, sizeof bytes, 0, NULL), sizeof bytes);
    for (size_t i = 0; i < 4; i++) {
        assert_memory_equal(bytes + i * CLUSTER, chain->samples[i == 2 ? 0 : 1].disk + i * CLUSTER,
                            CLUSTER);
    }
}

static void a_short_parent_ends_in_zeros_and_hides_a_longer_one_below(void **state)
{
    struct chain *chain = *state;
    unsigned char bytes[2 * CLUSTER], zeros[2 * CLUSTER] = { 0 };

    add(chain, "....", "middle", "qcow2");
    add(chain, "..", "bottom", "qcow2");
    add(chain, "DDDD", NULL, NULL);
    assert_int_equal(open_chain(chain), 0);
    comes_from(chain, 0, 2);
    comes_from(chain, 1, 2);
    memset(bytes, 0xee, sizeof bytes);
    assert_int_equal(qcow2_pread(chain->image, bytes, sizeof bytes, 2 * CLUSTER, NULL),
                     sizeof bytes);
    assert_memory_equal(bytes, zeros, sizeof bytes);
}

/* The qcow2 header of a parent called by this format is the disk's content. */
static void check_parent_is_bytes(struct chain *chain, const char *format)
{
    unsigned char bytes[16];

    add(chain, "....", "parent", format);
    add(chain, "DDDD", NULL, NULL);
    assert_int_equal(open_chain(chain), 0);
    assert_int_equal(qcow2_pread(chain->image, bytes, sizeof bytes, 0, NULL), sizeof bytes);
    assert_memory_equal(bytes, chain->samples[1].file, sizeof bytes);
}

static void a_raw_parent_is_never_probed(void **state)
{
    check_parent_is_bytes(*state, "raw");
}

static void a_parent_found_by_probing_gets_no_further_file(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "middle", NULL);
    add(chain, "....", "/etc/passwd", "raw");
    assert_int_equal(open_chain(chain), QCOW2_E_REFERENCE);
    assert_int_equal(chain->shelf.asked, 1);
    assert_int_equal(chain->err.depth, 1);
}

static void a_parent_without_a_format_is_what_it_begins_with(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "parent", NULL);
    add(chain, "DDDD", NULL, NULL);
    assert_int_equal(open_chain(chain), 0);
    assert_string_equal(chain->shelf.format, "none");
    comes_from(chain, 3, 1);
}

static void the_grant_may_state_the_format(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "middle", NULL);
    add(chain, "....", "bottom", "qcow2");
    add(chain, "DDDD", NULL, NULL);
    chain->shelf.formats[0] = QCOW2_FORMAT_QCOW2;
    assert_int_equal(open_chain(chain), 0);
    comes_from(chain, 2, 2);
}

static void a_denied_parent_is_an_error_that_names_it(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "the-parent", "qcow2");
    chain->shelf.deny = QCOW2_E_REFERENCE;
    assert_int_equal(open_chain(chain), QCOW2_E_REFERENCE);
    assert_non_null(strstr(chain->err.message, "the-parent"));
    assert_null(chain->image);
}

static void without_a_grant_nothing_is_opened(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "parent", "qcow2");
    chain->options.grant = NULL;
    assert_int_equal(open_chain(chain), QCOW2_E_REFERENCE);
}

static void no_backing_reads_the_top_layer_alone(void **state)
{
    struct chain *chain = *state;
    unsigned char bytes[CLUSTER], zeros[CLUSTER] = { 0 };

    add(chain, "D...", "parent", "qcow2");
    chain->options.flags = QCOW2_OPEN_NO_BACKING;
    assert_int_equal(open_chain(chain), 0);
    assert_int_equal(chain->shelf.asked, 0);
    comes_from(chain, 0, 0);
    assert_int_equal(qcow2_pread(chain->image, bytes, CLUSTER, CLUSTER, NULL), CLUSTER);
    assert_memory_equal(bytes, zeros, CLUSTER);
}

static void a_chain_has_a_depth_limit(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "one", "qcow2");
    add(chain, "....", "two", "qcow2");
    add(chain, "....", "three", "qcow2");
    chain->options.max_chain_depth = 2;
    assert_int_equal(open_chain(chain), QCOW2_E_LIMIT);
    assert_int_equal(chain->shelf.asked, 1);
    /* The last one was never asked for. */
    assert_int_equal(atomic_load(&chain->shelf.sources[1].closes), 0);
}

static void an_unknown_format_is_unsupported(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "parent", "vmdk");
    assert_int_equal(open_chain(chain), QCOW2_E_UNSUPPORTED);
    assert_non_null(strstr(chain->err.message, "vmdk"));
}

static void a_broken_parent_is_reported_at_its_depth(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "parent", "qcow2");
    add(chain, "DDDD", NULL, NULL);
    chain->samples[1].file[3] = 'x';
    assert_int_equal(open_chain(chain), QCOW2_E_NOT_QCOW2);
    assert_int_equal(chain->err.depth, 1);
}

static void the_bytes_of_a_file_are_a_format_by_two_names(void **state)
{
    check_parent_is_bytes(*state, "file");
}

static void a_parent_called_version_1_must_be_that(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "parent", "qcow");
    add(chain, "DDDD", NULL, NULL);
    assert_int_equal(open_chain(chain), QCOW2_E_NOT_QCOW2);
    assert_int_equal(chain->err.depth, 1);
}

static void a_parent_called_qcow2_may_not_be_version_1(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "parent", "qcow2");
    add(chain, "DDDD", NULL, NULL);
    sample_store(chain->samples[1].file + 4, 1, 4);
    assert_int_equal(open_chain(chain), QCOW2_E_UNSUPPORTED);
    assert_int_equal(chain->err.depth, 1);
}

static void a_grant_that_fails_with_no_code_of_ours_is_a_refusal(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "the-parent", "qcow2");
    chain->shelf.deny = 7;
    assert_int_equal(open_chain(chain), QCOW2_E_REFERENCE);
    assert_int_equal(chain->err.code, QCOW2_E_REFERENCE);
}

/* Has the image keep its data in a file that it names. */
static void set_data_file(struct sample *sample)
{
    sample_store(sample->file + 72, 4, 8);
    memcpy(sample->file + 112, "DATA\0\0\0\4name", 12);
}

static void a_parent_found_by_probing_gets_no_data_file(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", "parent", NULL);
    add(chain, "....", NULL, NULL);
    set_data_file(&chain->samples[1]);
    assert_int_equal(open_chain(chain), QCOW2_E_REFERENCE);
    assert_int_equal(chain->err.depth, 1);
    assert_int_equal(chain->shelf.asked, 1);
}

/* What a grant hands out may be no source at all; then none of it is called, not even to close it. */
static void a_granted_source_that_is_malformed_is_not_called(void **state)
{
    for (int kind = 0; kind < 4; kind++) {
        struct chain *chain;

        assert_int_equal(set_up((void **)&chain), 0);
        add(chain, "....", kind / 2 == 0 ? "parent" : NULL, "qcow2");
        add(chain, "....", NULL, NULL);
        if (kind / 2 == 1) {
            set_data_file(&chain->samples[0]);
        }
        if (kind % 2 == 0) {
            chain->shelf.sources[0].source.read_at = NULL;
        } else {
            chain->shelf.sources[0].source.size--;
        }
        assert_int_equal(open_chain(chain), QCOW2_E_ARGUMENT);
        assert_int_equal(chain->shelf.asked, 1);
        assert_int_equal(atomic_load(&chain->shelf.sources[0].closes), 0);
        atomic_store(&chain->shelf.sources[0].closes, 1); /* else, as tear_down wants it */
        assert_int_equal(tear_down((void **)&chain), 0);
    }
    (void)state;
}

#define CHAIN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* What a data file holds is the disk as it is now. */
static void an_image_with_a_data_file_has_no_snapshots(void **state)
{
    struct chain *chain = *state;

    add(chain, "....", NULL, NULL);
    add(chain, "DDDD", NULL, NULL);
    set_data_file(&chain->samples[0]);
    chain->options.snapshot = "1";
    assert_int_equal(open_chain(chain), QCOW2_E_NOT_FOUND);
    assert_non_null(strstr(chain->err.message, "external file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHAIN_TEST(unallocated_shows_and_zero_hides_the_parent),
        CHAIN_TEST(what_a_layer_has_ends_the_parents_run),
        CHAIN_TEST(a_short_parent_ends_in_zeros_and_hides_a_longer_one_below),
        CHAIN_TEST(a_raw_parent_is_never_probed),
        CHAIN_TEST(a_parent_found_by_probing_gets_no_further_file),
        CHAIN_TEST(a_parent_without_a_format_is_what_it_begins_with),
        CHAIN_TEST(the_grant_may_state_the_format),
        CHAIN_TEST(a_denied_parent_is_an_error_that_names_it),
        CHAIN_TEST(without_a_grant_nothing_is_opened),
        CHAIN_TEST(no_backing_reads_the_top_layer_alone),
        CHAIN_TEST(a_chain_has_a_depth_limit),
        CHAIN_TEST(an_unknown_format_is_unsupported),
        CHAIN_TEST(a_broken_parent_is_reported_at_its_depth),
        CHAIN_TEST(the_bytes_of_a_file_are_a_format_by_two_names),
        CHAIN_TEST(a_parent_called_version_1_must_be_that),
        CHAIN_TEST(a_parent_called_qcow2_may_not_be_version_1),
        CHAIN_TEST(a_grant_that_fails_with_no_code_of_ours_is_a_refusal),
        CHAIN_TEST(a_parent_found_by_probing_gets_no_data_file),
        cmocka_unit_test(a_granted_source_that_is_malformed_is_not_called),
        CHAIN_TEST(an_image_with_a_data_file_has_no_snapshots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
