/* SPDX-License-Identifier: MIT */
/* test_allocation.c - memory runs out at every place where the library asks for some.
 *
 * The linker sends the library's calls of the allocation functions here (--wrap). Each test repeats one
 * piece of work with the n-th call failing, and again with all from the n-th on, until the work needs
 * fewer. A failure must be "out of memory", leave nothing allocated, and be forgotten when there is
 * memory again. Memory that the decoders' own libraries take is not reached. */
#include "unit.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sample.h"

static long live;         /* blocks taken and not given back */
static unsigned calls;    /* made since the last arm() */
static unsigned fail_at;  /* the call that fails, counted from 1; 0: none */
static bool fail_forever; /* so do all after it */

static void arm(unsigned n, bool forever)
{
    calls = 0;
    fail_at = n;
    fail_forever = forever;
}

static bool may_have(void)
{
    calls++;
    return fail_at == 0 || (fail_forever ? calls < fail_at : calls != fail_at);
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **block_ret, size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void __real_free(void *block);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **block_ret, size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
void __wrap_free(void *block);

static void *counted(void *block)
{
    live += block != NULL;
    return block;
}

void *__wrap_malloc(size_t bytes)
{
    return may_have() ? counted(__real_malloc(bytes)) : NULL;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return may_have() ? counted(__real_calloc(count, bytes)) : NULL;
}

void *__wrap_realloc(void *old, size_t bytes)
{
    void *block = may_have() ? __real_realloc(old, bytes) : NULL;

    live += old == NULL && block != NULL;
    return block;
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return may_have() ? counted(__real_aligned_alloc(alignment, bytes)) : NULL;
}

int __wrap_posix_memalign(void **block_ret, size_t alignment, size_t bytes)
{
    int r = may_have() ? __real_posix_memalign(block_ret, alignment, bytes) : 12;

    live += r == 0;
    return r;
}

char *__wrap_strdup(const char *text)
{
    return may_have() ? counted(__real_strdup(text)) : NULL;
}

char *__wrap_strndup(const char *text, size_t n)
{
    return may_have() ? counted(__real_strndup(text, n)) : NULL;
}

void __wrap_free(void *block)
{
    live -= block != NULL;
    __real_free(block);
}

/* ------------------------------------------------------------------------ */

static struct sample samples[2];

static int make_samples(void **state)
{
    static const char layout[] = "DDZ.CCDZ.CCDDDCCCDDDZZZ";

    (void)state;
    arm(0, false);
    for (int i = 0; i < 2; i++) {
        sample_init(&samples[i], i ? 9 : 12, i ? QCOW2_COMPRESSION_ZSTD : QCOW2_COMPRESSION_DEFLATE,
                    layout, 0);
        /* Extensions, whose strings are copied: a data file name, a format, a feature name. */
        memcpy(samples[i].file + 112,
               "DATA\0\0\0\4name\0\0\0\0\xE2\x79\x2A\xCA\0\0\0\3raw\0\0\0\0\0", 32);
        memcpy(samples[i].file + 144, "\x68\x03\xF8\x57\0\0\0\x30\0\5five", 14);
    }
    return 0;
}

static int drop_samples(void **state)
{
    (void)state;
    arm(0, false);
    sample_deinit(&samples[0]);
    sample_deinit(&samples[1]);
    return 0;
}

static void assert_no_memory(int code, const struct qcow2_error *err)
{
    assert_int_equal(code, QCOW2_E_NOMEM);
    assert_int_equal(err->code, QCOW2_E_NOMEM);
    assert_true(strlen(err->message) > 0);
}

/* Opens, with the n-th allocation failing. True when it no longer does. */
static bool open_with_failure(const struct sample *sample, unsigned n, bool forever)
{
    struct sample_source source;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;
    long before = live;
    bool enough;
    int r;

    sample_source_init(&source, sample->file, sample->file_bytes);
    arm(n, forever);
    r = qcow2_open_source(&source.source, NULL, &image, &err);
    enough = calls < n;
    arm(0, false);
    if (r < 0) {
        assert_no_memory(r, &err);
        assert_null(image);
    } else {
        sample_check_read(image, sample, 0, (size_t)sample->size);
        qcow2_close(image);
    }
    assert_int_equal(source.closes, 1);
    assert_true(live == before);
    assert_true(!enough || r == 0);
    return enough;
}

static void open_without_memory_fails_cleanly(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        for (int forever = 0; forever < 2; forever++) {
            unsigned n = 1;

            while (!open_with_failure(&samples[i], n, forever)) {
                n++;
            }
            assert_true(n > 5); /* the image, its layer, its name, its caches, ... */
        }
    }
}

/* Reads the disk in pieces with the n-th allocation failing; every piece is right or out of memory,
 * and right once there is memory. True when nothing failed any more. */
static bool read_with_failure(const struct sample *sample, size_t piece, unsigned n, bool forever)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, sample, NULL);
    unsigned char *buf = malloc(piece);
    long before = live;
    bool enough;

    assert_non_null(buf);
    arm(n, forever);
    for (uint64_t at = 0; at < sample->size; at += piece) {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        ssize_t got = qcow2_pread(image, buf, piece, at, &err);
        uint64_t expected = sample->size - at < piece ? sample->size - at : piece;

        if (got < 0) {
            assert_no_memory((int)got, &err);
        } else {
            assert_true((uint64_t)got == expected);
            assert_memory_equal(buf, sample->disk + at, (size_t)expected);
        }
    }
    enough = calls < n;
    arm(0, false);
    sample_check_read(image, sample, 0, (size_t)sample->size);
    sample_check_read(image, sample, 0, 100);
    free(buf);
    qcow2_close(image);
    assert_true(live < before);
    return enough;
}

static void read_without_memory_fails_cleanly_and_works_later(void **state)
{
    static const size_t pieces[] = { 100, 4096, 1 << 20 };

    (void)state;
    for (int i = 0; i < 2; i++) {
        for (size_t p = 0; p < 3; p++) {
            for (int forever = 0; forever < 2; forever++) {
                long before = live;
                unsigned n = 1;

                while (!read_with_failure(&samples[i], pieces[p], n, forever)) {
                    n++;
                }
                assert_true(n > 2); /* at least a lane and a buffer */
                assert_true(live == before);
            }
        }
    }
}

static void walk_without_memory_fails_cleanly_and_goes_on_later(void **state)
{
    (void)state;
    for (int forever = 0; forever < 2; forever++) {
        bool enough = false;

        for (unsigned n = 1; !enough; n++) {
            struct sample_source source;
            struct qcow2_image *image = sample_open(&source, &samples[0], NULL);
            struct qcow2_error err = QCOW2_ERROR_INIT;
            struct qcow2_extent extent;
            uint64_t cursor = 0;
            int r;

            arm(n, forever);
            while ((r = qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, &err)) == 1) {
            }
            enough = calls < n;
            arm(0, false);
            if (r < 0) {
                assert_no_memory(r, &err);
                while ((r = qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, &err)) == 1) {
                }
            }
            assert_int_equal(r, 0);
            assert_true(cursor == samples[0].size);
            qcow2_close(image);
        }
    }
}

static void ready_made_sources_without_memory_fail_cleanly(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;
    long before = live;

    (void)state;
    arm(1, false);
    assert_no_memory(qcow2_source_from_path("/proc/self/exe", &source, &err), &err);
    arm(1, false);
    assert_no_memory(qcow2_source_from_memory("x", 1, "name", &source, &err), &err);
    arm(0, false);
    assert_true(live == before);
}

/* One of the calls that find files by their directories; fewer than four allocations each. */
static int find_file(int which, struct qcow2_error *err)
{
    const char *const paths[] = { "/proc/self" };
    const struct qcow2_reference reference = { .size = sizeof reference,
                                               .name = "exe",
                                               .referrer = "/proc/self/x" };
    struct qcow2_grant_directories list = { .size = sizeof list };
    struct qcow2_source source;
    const char *name;
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), format = QCOW2_FORMAT_RAW, r;

    if (which == 0) {
        r = qcow2_grant_directories_open(paths, 1, &list, err);
        qcow2_grant_directories_close(&list);
    } else if (which == 1) {
        r = qcow2_grant_beneath(&(struct qcow2_grant_directories){ sizeof list, 1, &fd, NULL },
                                &reference, &source, &format, err);
        if (r == 0) {
            source.close(source.ctx);
        }
    } else {
        int directory;

        r = qcow2_open_directory_of("/proc/self/exe", &directory, &name, err);
        (void)close(directory);
    }
    (void)close(fd);
    return r;
}

static void files_are_not_found_without_memory_and_nothing_is_held(void **state)
{
    long before = live;

    (void)state;
    if (root_is_another()) {
        skip();
    }
    for (int which = 0; which < 3; which++) {
        struct qcow2_error err = QCOW2_ERROR_INIT;
        unsigned needed;

        arm(0, false);
        assert_true(find_file(which, &err) >= 0);
        needed = calls;
        assert_true(needed > 0 && needed < 4);
        for (unsigned n = 1; n <= needed; n++) {
            int lowest = dup(0);

            assert_int_equal(close(lowest), 0);
            arm(n, false);
            assert_no_memory(find_file(which, &err), &err);
            arm(0, false);
            assert_int_equal(dup(0), lowest);
            assert_int_equal(close(lowest), 0);
            assert_true(live == before);
        }
    }
}

static void nothing_is_left_after_ordinary_use(void **state)
{
    long before = live;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sample_source source;
        struct qcow2_options options = QCOW2_OPTIONS_INIT;
        struct qcow2_image *image;

        image = sample_open(&source, &samples[i], NULL);
        sample_check_read(image, &samples[i], 0, (size_t)samples[i].size);
        qcow2_close(image);
        options.flags = QCOW2_OPEN_METADATA_ONLY;
        qcow2_close(sample_open(&source, &samples[i], &options));
        assert_true(live == before);
    }
}

static void survey_without_memory_fails_cleanly_and_works_later(void **state)
{
    unsigned n = 1;
    int r;

    (void)state;
    do {
        struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct sample_source source;
        struct qcow2_image *image = sample_open(&source, &samples[0], NULL);
        long before = live;

        arm(n++, false);
        r = qcow2_survey(image, 0, &result, &err);
        arm(0, false);
        assert_true(live == before);
        if (r < 0) {
            assert_no_memory(r, &err);
            assert_int_equal(qcow2_survey(image, 0, &result, NULL), 0);
        }
        qcow2_close(image);
    } while (r < 0);
    assert_true(n > 3); /* the survey, its clusters, its streams */
}

/* One thread, so that the calls are counted in order, whoever makes them. True when nothing failed any
 * more. */
static bool compare_with_failure(unsigned n, bool forever)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct sample_source source;
    long before = live;
    struct qcow2_image *image = sample_open(&source, &samples[0], NULL);
    bool enough;
    int r;

    options.threads = 1;
    arm(n, forever);
    r = qcow2_compare(image, image, &options, &result, &err);
    enough = calls < n;
    arm(0, false);
    if (r < 0) {
        assert_no_memory(r, &err);
        assert_int_equal(qcow2_compare(image, image, &options, &result, &err), 0);
    }
    qcow2_close(image);
    assert_true(live == before);
    assert_true(!enough || r == 0);
    return enough;
}

static void comparing_without_memory_fails_cleanly_and_works_later(void **state)
{
    (void)state;
    for (int forever = 0; forever < 2; forever++) {
        unsigned n = 1;

        while (!compare_with_failure(n, forever)) {
            n++;
        }
        assert_true(n > 2); /* at least a lane and the buffers */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_without_memory_fails_cleanly),
        cmocka_unit_test(read_without_memory_fails_cleanly_and_works_later),
        cmocka_unit_test(walk_without_memory_fails_cleanly_and_goes_on_later),
        cmocka_unit_test(ready_made_sources_without_memory_fail_cleanly),
        cmocka_unit_test(files_are_not_found_without_memory_and_nothing_is_held),
        cmocka_unit_test(nothing_is_left_after_ordinary_use),
        cmocka_unit_test(survey_without_memory_fails_cleanly_and_works_later),
        cmocka_unit_test(comparing_without_memory_fails_cleanly_and_works_later),
    };

    return cmocka_run_group_tests(tests, make_samples, drop_samples);
}
