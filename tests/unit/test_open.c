/* SPDX-License-Identifier: MIT */
/* test_open.c - what qcow2.h promises of options, arguments and errors, one test for each promise. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "sample.h"

static struct sample sample; /* D Z . C, in 4 KiB clusters, the last one partial */

static int make_sample(void **state)
{
    (void)state;
    sample_init(&sample, 12, QCOW2_COMPRESSION_DEFLATE, "DDZ.CCDZC.", 512);
    return 0;
}

static int drop_sample(void **state)
{
    (void)state;
    sample_deinit(&sample);
    return 0;
}

static int open_with(struct sample_source *source, const struct qcow2_options *options,
                     struct qcow2_image **image, struct qcow2_error *err)
{
    sample_source_init(source, sample.file, sample.file_bytes);
    return qcow2_open_source(&source->source, options, image, err);
}

static void close_accepts_null(void **state)
{
    (void)state;
    qcow2_close(NULL);
}

static void version_is_the_headers(void **state)
{
    char wanted[32];

    (void)state;
    snprintf(wanted, sizeof wanted, "%d.%d.%d", QCOW2_VERSION_MAJOR, QCOW2_VERSION_MINOR,
             QCOW2_VERSION_PATCH);
    assert_string_equal(qcow2_version(), wanted);
}

static void size_of_no_image_is_0(void **state)
{
    (void)state;
    assert_true(qcow2_size(NULL) == 0);
}

static void success_leaves_the_error_untouched(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;
    struct qcow2_error err, before;
    struct qcow2_extent extent;
    struct qcow2_info info = QCOW2_INFO_INIT;
    uint64_t cursor = 0;
    char byte;

    (void)state;
    memset(&err, 0x5A, sizeof err);
    err.size = sizeof err;
    before = err;
    assert_int_equal(open_with(&source, NULL, &image, &err), 0);
    assert_int_equal(qcow2_pread(image, &byte, 1, 0, &err), 1);
    assert_int_equal(qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, &err), 1);
    assert_int_equal(qcow2_get_info(image, 0, &info, &err), 0);
    assert_memory_equal(&err, &before, sizeof err);
    qcow2_close(image);
}

static void options_of_zero_size_fields_are_the_default(void **state)
{
    struct sample_source source;
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_image *image = sample_open(&source, &sample, &options);

    (void)state;
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    qcow2_close(image);
}

static void options_too_small_are_an_argument_error(void **state)
{
    struct sample_source source;
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_image *image = (void *)&source;

    (void)state;
    options.size = sizeof options - 1;
    assert_int_equal(open_with(&source, &options, &image, NULL), QCOW2_E_ARGUMENT);
    assert_null(image);
    options.size = 0;
    assert_int_equal(open_with(&source, &options, &image, NULL), QCOW2_E_ARGUMENT);
}

static void options_newer_than_the_library_are_obeyed_only_if_unused(void **state)
{
    struct sample_source source;
    struct {
        struct qcow2_options known;
        unsigned char newer[24];
    } options = { .known = QCOW2_OPTIONS_INIT };
    struct qcow2_image *image;

    (void)state;
    options.known.size = sizeof options;
    assert_int_equal(open_with(&source, &options.known, &image, NULL), 0);
    qcow2_close(image);
    for (size_t i = 0; i < sizeof options.newer; i++) {
        options.newer[i] = 1;
        assert_int_equal(open_with(&source, &options.known, &image, NULL), QCOW2_E_ARGUMENT);
        assert_null(image);
        options.newer[i] = 0;
    }
}

static void unknown_flags_are_an_argument_error(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    for (unsigned bit = 6; bit < 32; bit++) {
        struct qcow2_options options = QCOW2_OPTIONS_INIT;

        options.flags = UINT32_C(1) << bit;
        assert_int_equal(open_with(&source, &options, &image, NULL), QCOW2_E_ARGUMENT);
    }
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    options.snapshot_index = 1;
    assert_int_equal(open_with(&source, &options, &image, NULL), QCOW2_E_ARGUMENT);
}

static void no_refcount_table_is_refused_unless_for_metadata(void **state)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct sample_source source;
    struct qcow2_image *image;
    struct sample bare;

    (void)state;
    sample_init(&bare, 12, QCOW2_COMPRESSION_DEFLATE, "D", 0);
    sample_store(bare.file + 56, 0, 4);
    sample_source_init(&source, bare.file, bare.file_bytes);
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), QCOW2_E_CORRUPT);
    options.flags = QCOW2_OPEN_METADATA_ONLY;
    assert_int_equal(qcow2_open_source(&source.source, &options, &image, NULL), 0);
    qcow2_close(image);
    sample_deinit(&bare);
}

static void null_arguments_are_argument_errors(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL), *other = NULL;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_extent extent;
    struct qcow2_extension extension;
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct qcow2_stats stats = QCOW2_STATS_INIT;
    uint64_t cursor = 0;
    char byte;

    (void)state;
    assert_int_equal(qcow2_open(NULL, NULL, &other, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_open_source(NULL, NULL, &other, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_pread(NULL, &byte, 1, 0, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_pread(image, NULL, 1, 0, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extent(NULL, &cursor, 1, &extent, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extent(image, NULL, 1, &extent, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extent(image, &cursor, 1, NULL, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_get_info(NULL, 0, &info, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_get_info(image, 0, NULL, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extension(NULL, 0, &cursor, &extension, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extension(image, 0, NULL, &extension, &err), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extension(image, 0, &cursor, NULL, &err), QCOW2_E_ARGUMENT);
    assert_null(qcow2_get_feature_name(NULL, 0, 0, 0));
    assert_int_equal(qcow2_extent_fd(NULL, &extent), -1);
    assert_int_equal(qcow2_extent_fd(image, NULL), -1);
    qcow2_get_stats(NULL, &stats);
    qcow2_get_stats(image, NULL);
    assert_true(cursor == 0);
    assert_true(strlen(err.message) > 0);
    qcow2_close(image);
}

static void failed_open_sets_the_image_to_null(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = (void *)&source;

    (void)state;
    sample_source_init(&source, "no image at all", 15);
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), QCOW2_E_NOT_QCOW2);
    assert_null(image);
}

static void every_call_takes_a_null_error(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;
    uint64_t cursor = 0;
    struct qcow2_extent extent;
    char byte;

    (void)state;
    assert_int_equal(open_with(&source, NULL, &image, NULL), 0);
    assert_int_equal(qcow2_pread(image, &byte, 1, 0, NULL), 1);
    assert_int_equal(qcow2_pread(image, NULL, 1, 0, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_next_extent(image, &cursor, 1, &extent, NULL), 1);
    qcow2_close(image);
}

static void options_that_do_not_fit_together_are_an_argument_error(void **state)
{
    const struct qcow2_options wrong[] = {
        { .size = sizeof(struct qcow2_options), .format = QCOW2_FORMAT_QCOW1 },
        { .size = sizeof(struct qcow2_options), .format = QCOW2_FORMAT_PROBE + 1 },
        { .size = sizeof(struct qcow2_options), .flags = QCOW2_OPEN_VM_STATE },
        { .size = sizeof(struct qcow2_options), .flags = QCOW2_OPEN_METADATA_CHAIN },
        { .size = sizeof(struct qcow2_options),
          .flags = QCOW2_OPEN_METADATA_ONLY,
          .snapshot = "1" },
        { .size = sizeof(struct qcow2_options), .snapshot_index = 1 },
        { .size = sizeof(struct qcow2_options),
          .flags = QCOW2_OPEN_SNAPSHOT_INDEX,
          .snapshot = "1" },
        { .size = sizeof(struct qcow2_options),
          .flags = QCOW2_OPEN_SNAPSHOT_INDEX | QCOW2_OPEN_METADATA_ONLY },
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct sample_source source;
        struct qcow2_image *image;

        sample_source_init(&source, sample.file, sample.file_bytes);
        assert_int_equal(qcow2_open_source(&source.source, &wrong[i], &image, NULL),
                         QCOW2_E_ARGUMENT);
        assert_null(image);
        assert_int_equal(source.closes, 1);
        assert_int_equal(source.reads, 0);
    }
}

static void a_raw_data_file_that_is_promised_must_be_there(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    sample_store(sample.file + 88, QCOW2_AUTOCLEAR_DATA_FILE_RAW, 8);
    sample_source_init(&source, sample.file, sample.file_bytes);
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), QCOW2_E_CORRUPT);
    sample_store(sample.file + 88, 0, 8);
}

/* How an encrypted image asks for its key, and how it is answered. */
struct locksmith {
    int code;
    size_t key_bytes;
    int asked;
};

static int give_key(void *ctx, int depth, const char *name, char *buf, size_t room,
                    size_t *bytes_ret)
{
    struct locksmith *locksmith = ctx;

    assert_int_equal(depth, 0);
    assert_string_equal(name, "sample");
    assert_non_null(buf);
    assert_true(room > 0);
    locksmith->asked++;
    *bytes_ret = locksmith->key_bytes != 0 ? locksmith->key_bytes : room + 1;
    return locksmith->code;
}

static void a_key_that_cannot_be_had_is_a_key_error_unless_the_callback_says_why(void **state)
{
    static const struct {
        size_t key_bytes; /* 0: more than there is room for */
        int code, wanted;
    } cases[] = { { 3, 1, QCOW2_E_KEY },
                  { 3, QCOW2_E_NOMEM, QCOW2_E_NOMEM },
                  { 3, QCOW2_E_CANCELLED, QCOW2_E_CANCELLED },
                  { 0, 0, QCOW2_E_KEY } };

    (void)state;
    sample_store(sample.file + 32, QCOW2_ENCRYPTION_AES, 4);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct locksmith locksmith = { cases[i].code, cases[i].key_bytes, 0 };
        struct qcow2_options options = QCOW2_OPTIONS_INIT;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct sample_source source;
        struct qcow2_image *image;

        options.get_key = give_key;
        options.get_key_ctx = &locksmith;
        assert_int_equal(open_with(&source, &options, &image, &err), cases[i].wanted);
        assert_int_equal(err.code, cases[i].wanted);
        assert_int_equal(locksmith.asked, 1);
        assert_int_equal(source.closes, 1);
    }
    sample_store(sample.file + 32, QCOW2_ENCRYPTION_NONE, 4);
}

/* Where QEMU cannot read, whatever the file, and so not with zeros for what is missing. */
static void table_at_the_end_of_all_offsets_is_truncated_even_with_zeros_past_the_end(void **state)
{
    static const struct {
        uint64_t l1_off;
        int wanted;
    } cases[] = { { (UINT64_C(1) << 63) - (UINT64_C(1) << 30), QCOW2_E_TRUNCATED },
                  { (UINT64_C(1) << 63) - 4096, QCOW2_E_TRUNCATED },
                  { (UINT64_C(1) << 63) - (UINT64_C(1) << 30) - 4096, 0 } };
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct sample far;

    (void)state;
    options.flags = QCOW2_OPEN_ZEROS_PAST_END;
    sample_init(&far, 12, QCOW2_COMPRESSION_DEFLATE, "D", 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sample_source source;
        struct qcow2_image *image;

        sample_store(far.file + 40, cases[i].l1_off, 8);
        sample_source_init(&source, far.file, far.file_bytes);
        assert_int_equal(qcow2_open_source(&source.source, &options, &image, NULL),
                         cases[i].wanted);
        qcow2_close(image);
    }
    sample_deinit(&far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_at_the_end_of_all_offsets_is_truncated_even_with_zeros_past_the_end),
        cmocka_unit_test(close_accepts_null),
        cmocka_unit_test(version_is_the_headers),
        cmocka_unit_test(size_of_no_image_is_0),
        cmocka_unit_test(success_leaves_the_error_untouched),
        cmocka_unit_test(options_of_zero_size_fields_are_the_default),
        cmocka_unit_test(options_too_small_are_an_argument_error),
        cmocka_unit_test(options_newer_than_the_library_are_obeyed_only_if_unused),
        cmocka_unit_test(unknown_flags_are_an_argument_error),
        cmocka_unit_test(no_refcount_table_is_refused_unless_for_metadata),
        cmocka_unit_test(null_arguments_are_argument_errors),
        cmocka_unit_test(failed_open_sets_the_image_to_null),
        cmocka_unit_test(options_that_do_not_fit_together_are_an_argument_error),
        cmocka_unit_test(a_raw_data_file_that_is_promised_must_be_there),
        cmocka_unit_test(every_call_takes_a_null_error),
        cmocka_unit_test(a_key_that_cannot_be_had_is_a_key_error_unless_the_callback_says_why),
    };

    return cmocka_run_group_tests(tests, make_sample, drop_sample);
}
