/* SPDX-License-Identifier: MIT */
/* test_check_tables.c - the check on images of so many L2 tables that what it keeps of them must grow. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "sample.h"

enum { BITS = 9, PER_TABLE = (1 << BITS) / 8, TABLES = 2600 };

/* What the check says of a disk of so many L2 tables full of zero clusters. Nothing has a refcount in
 * a sample, so each L2 table is two corruptions: its refcount is wrong, and so is the flag of its entry
 * that says it is 1. */
static struct qcow2_check_result checked(unsigned tables)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    size_t clusters = (size_t)tables * PER_TABLE;
    char *layout = malloc(clusters + 1);
    struct sample_source source;
    struct qcow2_image *image;
    struct sample sample;

    assert_non_null(layout);
    memset(layout, 'Z', clusters);
    layout[clusters] = '\0';
    sample_init(&sample, BITS, QCOW2_COMPRESSION_DEFLATE, layout, 0);
    image = sample_open(&source, &sample, NULL);
    assert_int_equal(qcow2_check(image, NULL, NULL, NULL, &result, NULL), 0);
    assert_int_equal(result.total_clusters, clusters);
    qcow2_close(image);
    sample_deinit(&sample);
    free(layout);
    return result;
}

static void every_table_is_counted_once_however_many_there_are(void **state)
{
    struct qcow2_check_result one = checked(1), all = checked(TABLES);
    uint64_t l1_clusters = (TABLES + PER_TABLE - 1) / PER_TABLE;

    (void)state;
    assert_int_equal(all.leaks, 0);
    assert_int_equal(all.check_errors, 0);
    assert_int_equal(all.corruptions - one.corruptions, 2 * (TABLES - 1) + (l1_clusters - 1));
}

/* Neither the clusters of the file nor the tables pass the limit: together they do. */
static void memory_for_clusters_and_tables_has_one_limit(void **state)
{
    const size_t clusters = (size_t)TABLES * PER_TABLE;
    struct qcow2_check_options options = QCOW2_CHECK_OPTIONS_INIT;
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
    struct sample_source source;
    struct qcow2_image *image;
    struct sample sample;
    char *layout = malloc(clusters + 1);
    uint64_t for_clusters, for_tables;

    (void)state;
    assert_non_null(layout);
    memset(layout, 'Z', clusters);
    layout[clusters] = '\0';
    sample_init(&sample, BITS, QCOW2_COMPRESSION_DEFLATE, layout, 0);
    for_clusters = (sample.file_bytes >> BITS) * 4;
    for_tables = (uint64_t)TABLES * 96;
    image = sample_open(&source, &sample, NULL);
    options.max_memory_bytes = for_clusters + for_tables;
    assert_int_equal(qcow2_check(image, &options, NULL, NULL, &result, NULL), 0);
    options.max_memory_bytes = UINT64_C(2) * TABLES * 24;
    assert_int_equal(qcow2_check(image, &options, NULL, NULL, &result, NULL), QCOW2_E_LIMIT);
    qcow2_close(image);
    sample_deinit(&sample);
    free(layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_is_counted_once_however_many_there_are),
        cmocka_unit_test(memory_for_clusters_and_tables_has_one_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
