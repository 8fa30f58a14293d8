/* SPDX-License-Identifier: MIT */
/* test_source.c - the ready-made sources, and what becomes of a source in an open call. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sample.h"

static struct sample sample;
static char directory[64];
static char path[96];

static int make_files(void **state)
{
    const char *base = getenv("TMPDIR");
    FILE *file;

    (void)state;
    sample_init(&sample, 12, QCOW2_COMPRESSION_ZSTD, "DZ.C", 0);
    if (base == NULL || strlen(base) > 40) {
        base = "/tmp";
    }
    snprintf(directory, sizeof directory, "%s/qcow2-unit-XXXXXX", base);
    if (mkdtemp(directory) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/image", directory);
    file = fopen(path, "wb");
    if (file == NULL || fwrite(sample.file, 1, sample.file_bytes, file) != sample.file_bytes) {
        return -1;
    }
    return fclose(file);
}

static int drop_files(void **state)
{
    (void)state;
    sample_deinit(&sample);
    unlink(path);
    return rmdir(directory);
}

static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void image_opens_by_path_and_closes_its_file(void **state)
{
    int before = open_descriptors();
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;
    struct qcow2_info info = QCOW2_INFO_INIT;

    (void)state;
    assert_int_equal(qcow2_open(path, NULL, &image, &err), 0);
    assert_int_equal(open_descriptors(), before + 1);
    assert_int_equal(qcow2_get_info(image, 0, &info, &err), 0);
    assert_string_equal(info.source_name, path);
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    qcow2_close(image);
    assert_int_equal(open_descriptors(), before);
}

static void descriptor_of_an_extent_gives_its_bytes(void **state)
{
    struct qcow2_image *image;
    struct qcow2_extent extent;
    unsigned char buf[4096];
    uint64_t cursor = 10;
    int fd;

    (void)state;
    assert_int_equal(qcow2_open(path, NULL, &image, NULL), 0);
    assert_int_equal(qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL), 1);
    fd = qcow2_extent_fd(image, &extent);
    assert_true(fd >= 0);
    assert_true(extent.length == 4086);
    assert_int_equal(pread(fd, buf, 4086, (off_t)extent.host_offset), 4086);
    assert_memory_equal(buf, sample.disk + 10, 4086);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(qcow2_extent_may_seek(image, &extent), 1);
    while (qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, NULL) == 1) {
        assert_int_equal(qcow2_extent_fd(image, &extent), -1);
        assert_int_equal(qcow2_extent_may_seek(image, &extent), 0);
    }
    qcow2_close(image);
}

static void missing_file_is_an_io_error_with_its_errno(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;

    (void)state;
    assert_int_equal(qcow2_source_from_path("/no/such/file", &source, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_int_equal(qcow2_source_from_path(NULL, &source, &err), QCOW2_E_ARGUMENT);
}

static void what_is_not_a_file_is_refused_without_waiting(void **state)
{
    int before = open_descriptors();
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;
    char fifo[96];

    (void)state;
    assert_int_equal(qcow2_source_from_path(directory, &source, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, EISDIR);
    assert_int_equal(qcow2_source_from_path("/dev/null", &source, &err), QCOW2_E_ARGUMENT);
    snprintf(fifo, sizeof fifo, "%s/fifo", directory);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(qcow2_source_from_path(fifo, &source, &err), QCOW2_E_ARGUMENT);
    unlink(fifo);
    assert_int_equal(open_descriptors(), before);
}

static void descriptor_is_closed_only_if_it_was_given_away(void **state)
{
    struct qcow2_source source;
    int fd = open(path, O_RDONLY);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(qcow2_source_from_fd(fd, "name", 0, &source, NULL), 0);
    assert_string_equal(source.name, "name");
    source.close(source.ctx);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    assert_int_equal(qcow2_source_from_fd(fd, NULL, 1, &source, NULL), 0);
    source.close(source.ctx);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(qcow2_source_from_fd(-1, NULL, 1, &source, NULL), QCOW2_E_ARGUMENT);
    assert_true(qcow2_source_from_fd(fd, NULL, 1, &source, NULL) < 0);
}

static void memory_is_read_where_it_is_and_nowhere_else(void **state)
{
    struct qcow2_source source;
    struct qcow2_image *image;
    uint64_t bytes = 0;
    char buf[8];

    (void)state;
    assert_int_equal(
        qcow2_source_from_memory(sample.file, sample.file_bytes, "memory", &source, NULL), 0);
    assert_int_equal(source.get_size(source.ctx, &bytes), 0);
    assert_true(bytes == sample.file_bytes);
    assert_int_equal(source.read_at(source.ctx, buf, 8, bytes - 8), 0);
    assert_int_not_equal(source.read_at(source.ctx, buf, 8, bytes - 7), 0);
    assert_int_not_equal(source.read_at(source.ctx, buf, 8, bytes + 1), 0);
    assert_int_not_equal(source.read_at(source.ctx, buf, 8, UINT64_MAX - 3), 0);
    assert_int_equal(qcow2_open_source(&source, NULL, &image, NULL), 0);
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    qcow2_close(image);
    assert_int_equal(qcow2_source_from_memory(NULL, 1, NULL, &source, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_source_from_memory(NULL, 0, NULL, &source, NULL), 0);
    assert_int_equal(qcow2_open_source(&source, NULL, &image, NULL), QCOW2_E_NOT_QCOW2);
}

static void source_is_closed_once_when_open_succeeds(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &sample, NULL);

    (void)state;
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    assert_int_equal(source.closes, 0);
    qcow2_close(image);
    assert_int_equal(source.closes, 1);
    assert_false(source.strayed);
}

static void source_is_closed_once_when_open_fails(void **state)
{
    struct qcow2_options bad = QCOW2_OPTIONS_INIT;
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    bad.flags = 1u << 31;
    sample_source_init(&source, sample.file, sample.file_bytes);
    assert_int_equal(qcow2_open_source(&source.source, &bad, &image, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(source.closes, 1);

    sample_source_init(&source, sample.file, sample.file_bytes);
    assert_int_equal(qcow2_open_source(&source.source, NULL, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(source.closes, 1);

    sample_source_init(&source, "no image", 8);
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), QCOW2_E_NOT_QCOW2);
    assert_int_equal(source.closes, 1);

    sample_source_init(&source, sample.file, sample.file_bytes);
    source.size_errno = EACCES;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), QCOW2_E_IO);
    assert_int_equal(source.closes, 1);
    assert_int_equal(source.reads, 0);
}

/* The length used to be found with lseek, which left the caller's descriptor at the end of the file. */
static void descriptor_keeps_its_offset(void **state)
{
    int fd = open(path, O_RDONLY);
    struct qcow2_source source;
    struct qcow2_image *image;

    (void)state;
    assert_true(fd >= 0);
    assert_true(lseek(fd, 100, SEEK_SET) == 100);
    assert_int_equal(qcow2_source_from_fd(fd, "file", 0, &source, NULL), 0);
    assert_int_equal(qcow2_open_source(&source, NULL, &image, NULL), 0);
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    assert_true(lseek(fd, 0, SEEK_CUR) == 100);
    qcow2_close(image);
    assert_true(lseek(fd, 0, SEEK_CUR) == 100);
    close(fd);
}

static void malformed_source_is_not_called_at_all(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.source.size--;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), QCOW2_E_ARGUMENT);
    source.source.size++;
    source.source.read_at = NULL;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(source.closes + source.reads, 0);
}

static void raw_disk_needs_a_length_that_fits(void **state)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    options.format = QCOW2_FORMAT_RAW;
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.source.get_size = NULL;
    assert_int_equal(qcow2_open_source(&source.source, &options, &image, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(source.closes, 1);
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.size_told = INT64_MAX - 510;
    assert_int_equal(qcow2_open_source(&source.source, &options, &image, NULL), QCOW2_E_CORRUPT);
    assert_int_equal(source.closes, 1);
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.size_told = INT64_MAX - 511;
    assert_int_equal(qcow2_open_source(&source.source, &options, &image, NULL), 0);
    assert_true(qcow2_size(image) == (uint64_t)INT64_MAX - 511);
    qcow2_close(image);
}

static void grant_beneath_wants_a_valid_list(void **state)
{
    struct qcow2_reference reference = { .size = sizeof reference, .name = "x", .referrer = "" };
    struct qcow2_grant_directories none = { .size = sizeof none };
    struct qcow2_source source;
    int format = QCOW2_FORMAT_PROBE;

    (void)state;
    assert_int_equal(qcow2_grant_beneath(NULL, &reference, &source, &format, NULL),
                     QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_grant_beneath(&none, &reference, &source, &format, NULL),
                     QCOW2_E_REFERENCE);
    none.count = 1; /* without descriptors */
    assert_int_equal(qcow2_grant_beneath(&none, &reference, &source, &format, NULL),
                     QCOW2_E_ARGUMENT);
    none.count = 0;
    none.size--;
    assert_int_equal(qcow2_grant_beneath(&none, &reference, &source, &format, NULL),
                     QCOW2_E_ARGUMENT);
}

static void grant_beneath_wants_a_reference_and_a_place_for_the_source(void **state)
{
    const int here[] = { AT_FDCWD };
    struct qcow2_reference reference = { .size = sizeof reference, .name = "x", .referrer = "" };
    struct qcow2_grant_directories list = { sizeof list, 1, here, NULL };
    struct qcow2_source source;
    int format = QCOW2_FORMAT_PROBE;

    (void)state;
    assert_int_equal(qcow2_grant_beneath(&list, NULL, &source, &format, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_grant_beneath(&list, &reference, NULL, &format, NULL), QCOW2_E_ARGUMENT);
    reference.referrer = NULL;
    assert_int_equal(qcow2_grant_beneath(&list, &reference, &source, &format, NULL),
                     QCOW2_E_ARGUMENT);
    reference.referrer = "";
    reference.name = NULL;
    assert_int_equal(qcow2_grant_beneath(&list, &reference, &source, &format, NULL),
                     QCOW2_E_ARGUMENT);
}

static void ready_made_sources_want_somewhere_to_go(void **state)
{
    struct qcow2_source source;

    (void)state;
    assert_int_equal(qcow2_source_from_path(NULL, &source, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_source_from_path("/dev/null", NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_source_from_fd(0, "x", 0, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_source_from_fd(-1, "x", 0, &source, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_source_from_memory("x", 1, NULL, NULL, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_source_from_memory(NULL, 1, NULL, &source, NULL), QCOW2_E_ARGUMENT);
}

static void source_struct_and_name_are_copied(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;
    struct qcow2_info info = QCOW2_INFO_INIT;
    char name[] = "name";

    (void)state;
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.source.name = name;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), 0);
    memset(name, 'X', sizeof name - 1);
    memset(&source.source, 0, sizeof source.source);
    assert_int_equal(qcow2_get_info(image, 0, &info, NULL), 0);
    assert_string_equal(info.source_name, "name");
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    qcow2_close(image);
    assert_int_equal(source.closes, 1);
}

static void source_without_a_size_is_read_as_far_as_its_clusters_are_whole(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;
    struct qcow2_info info = QCOW2_INFO_INIT;

    (void)state;
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.source.get_size = NULL;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), 0);
    assert_int_equal(qcow2_get_info(image, 0, &info, NULL), 0);
    assert_true(info.file_size == UINT64_MAX);
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    qcow2_close(image);
}

/* One read of the table, one of the data. */
static void source_without_a_size_is_read_in_runs_too(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;
    struct sample run;
    unsigned before;

    (void)state;
    sample_init(&run, 12, QCOW2_COMPRESSION_DEFLATE, "DDDDDD", 0);
    sample_source_init(&source, run.file, run.file_bytes);
    source.source.get_size = NULL;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), 0);
    before = source.reads;
    sample_check_read(image, &run, 0, (size_t)run.size);
    assert_int_equal(source.reads - before, 2);
    qcow2_close(image);
    sample_deinit(&run);
}

/* Its last entry is the end of the file: who asked for more than the words would fail. */
static void source_without_a_size_is_asked_for_no_more_than_the_words_of_a_table(void **state)
{
    enum { CLUSTER = 512, LAST = CLUSTER / 8 - 1 };
    struct qcow2_stats before = QCOW2_STATS_INIT, after = before;
    struct sample_source source;
    struct qcow2_image *image;
    struct sample zeros;
    char layout[LAST + 2];
    unsigned reads;

    (void)state;
    memset(layout, 'Z', LAST + 1);
    layout[LAST + 1] = '\0';
    sample_init(&zeros, 9, QCOW2_COMPRESSION_DEFLATE, layout, 0);
    sample_source_init(&source, zeros.file, zeros.file_bytes);
    source.source.get_size = NULL;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), 0);
    reads = source.reads;
    qcow2_get_stats(image, &before);
    sample_check_read(image, &zeros, (uint64_t)LAST * CLUSTER, CLUSTER);
    qcow2_get_stats(image, &after);
    assert_int_equal(source.reads - reads, 1);
    assert_true(after.source_reads - before.source_reads == 1);
    assert_true(after.source_bytes - before.source_bytes == 8);
    qcow2_close(image);
    sample_deinit(&zeros);
}

static void source_without_close_or_name_is_fine(void **state)
{
    struct sample_source source;
    struct qcow2_image *image;
    struct qcow2_info info = QCOW2_INFO_INIT;

    (void)state;
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.source.close = NULL;
    source.source.name = NULL;
    assert_int_equal(qcow2_open_source(&source.source, NULL, &image, NULL), 0);
    assert_int_equal(qcow2_get_info(image, 0, &info, NULL), 0);
    assert_string_equal(info.source_name, "");
    qcow2_close(image);
}

static void open_by_path_looks_at_its_arguments_first(void **state)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct sample_source source;
    struct qcow2_image *image;
    int before = open_descriptors();

    (void)state;
    assert_int_equal(qcow2_open(path, NULL, NULL, NULL), QCOW2_E_ARGUMENT);
    options.flags = 1u << 31;
    assert_int_equal(qcow2_open(path, &options, &image, NULL), QCOW2_E_ARGUMENT);
    assert_null(image);
    assert_int_equal(open_descriptors(), before);
    sample_source_init(&source, sample.file, sample.file_bytes);
    source.source.close = NULL;
    assert_int_equal(qcow2_open_source(&source.source, &options, &image, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(source.reads, 0);
}

/* A grant that says no to everything, and counts. */
static int refuse(void *ctx, const struct qcow2_reference *reference,
                  struct qcow2_source *source_ret,
                  int *format_ret, /* NOLINT(readability-non-const-parameter): fixed type */
                  struct qcow2_error *err)
{
    (void)reference;
    (void)source_ret;
    (void)format_ret;
    (void)err;
    (*(int *)ctx)++;
    return QCOW2_E_REFERENCE;
}

/* By either way to open, a program with a newer header is served as long as it asks for nothing new. */
static void options_of_a_newer_program_are_taken_if_they_ask_for_nothing_new(void **state)
{
    struct {
        struct qcow2_options known;
        unsigned char newer[40];
    } options = { .known = QCOW2_OPTIONS_INIT };
    struct sample_source source;
    struct qcow2_image *image;

    (void)state;
    options.known.size = sizeof options;
    sample_source_init(&source, sample.file, sample.file_bytes);
    assert_int_equal(qcow2_open_source(&source.source, &options.known, &image, NULL), 0);
    qcow2_close(image);
    assert_int_equal(qcow2_open(path, &options.known, &image, NULL), 0);
    qcow2_close(image);
    options.newer[39] = 1;
    assert_int_equal(qcow2_open(path, &options.known, &image, NULL), QCOW2_E_ARGUMENT);
}

static void a_grant_of_the_callers_own_is_the_only_one(void **state)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct sample with_parent;
    struct qcow2_image *image;
    char child[112];
    int asked = 0;
    FILE *file;

    (void)state;
    sample_init(&with_parent, 12, QCOW2_COMPRESSION_DEFLATE, "....", 0);
    sample_store(with_parent.file + 8, 1024, 8);
    sample_store(with_parent.file + 16, 5, 4);
    memcpy(with_parent.file + 112, "\xE2\x79\x2A\xCA\0\0\0\5qcow2", 13);
    memcpy(with_parent.file + 1024, "image", 5);
    snprintf(child, sizeof child, "%s/child", directory);
    file = fopen(child, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(with_parent.file, 1, with_parent.file_bytes, file),
                     with_parent.file_bytes);
    assert_int_equal(fclose(file), 0);

    assert_int_equal(qcow2_open(child, NULL, &image, NULL), 0);
    sample_check_read(image, &sample, 0, (size_t)sample.size);
    qcow2_close(image);
    options.grant = refuse;
    options.grant_ctx = &asked;
    assert_int_equal(qcow2_open(child, &options, &image, NULL), QCOW2_E_REFERENCE);
    assert_int_equal(asked, 1);
    unlink(child);
    sample_deinit(&with_parent);
}

/* What the ready-made grant says of a name in an image, with one directory allowed. */
static int ask_for(const char *allowed, const char *referrer, const char *name)
{
    struct qcow2_grant_directories list;
    struct qcow2_reference reference = { .size = sizeof reference,
                                         .name = name,
                                         .referrer = referrer };
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;
    int before = open_descriptors(), format = QCOW2_FORMAT_RAW, r;

    if (qcow2_grant_directories_open(&allowed, 1, &list, &err) < 0) {
        assert_int_equal(err.code, QCOW2_E_IO);
        return err.code;
    }
    r = qcow2_grant_beneath(&list, &reference, &source, &format, &err);
    if (r == 0) {
        source.close(source.ctx);
    } else {
        assert_int_equal(err.code, r);
        assert_true(strlen(err.message) > 0);
    }
    qcow2_grant_directories_close(&list);
    assert_int_equal(open_descriptors(), before);
    return r;
}

static void everything_is_beneath_the_root(void **state)
{
    int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    int known = fstatat(root, path + 1, &st, 0);

    (void)state;
    assert_true(root >= 0);
    assert_int_equal(close(root), 0);
    if (known != 0) {
        skip(); /* An emulator, which shows another directory as the root. */
    }
    assert_int_equal(ask_for("/", "x", path), 0);
}

/* Names are resolved from the directory that is allowed, by whatever way they lead there. */
static void a_file_beneath_is_granted_by_any_way_that_leads_to_it(void **state)
{
    char sub[112], inner[128], link[112], beside[112], name[160];

    (void)state;
    if (root_is_another()) {
        skip();
    }
    snprintf(sub, sizeof sub, "%s/sub", directory);
    snprintf(inner, sizeof inner, "%s/inner", sub);
    snprintf(link, sizeof link, "%s/link", directory);
    snprintf(beside, sizeof beside, "%s-link", directory);
    assert_int_equal(mkdir(sub, 0700), 0);
    close(open(inner, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_int_equal(symlink("sub", link), 0);
    assert_int_equal(symlink(directory, beside), 0);

    assert_int_equal(ask_for(directory, path, "sub/inner"), 0);
    /* Out and in again. */
    snprintf(name, sizeof name, "..%s/sub/inner", strrchr(directory, '/'));
    assert_int_equal(ask_for(directory, path, name), 0);
    assert_int_equal(ask_for(sub, path, name), 0);
    assert_int_equal(ask_for(sub, inner, "../sub/inner"), 0);
    snprintf(name, sizeof name, "%s/../sub/inner", sub);
    assert_int_equal(ask_for(sub, "x", name), 0);
    assert_int_equal(ask_for(sub, inner, "../image"), QCOW2_E_REFERENCE);
    assert_int_equal(ask_for(sub, inner, "../nowhere/inner"), QCOW2_E_REFERENCE);
    assert_int_equal(ask_for(sub, inner, "../sub/.."), QCOW2_E_REFERENCE);
    assert_int_equal(ask_for(directory, "/x", path + 1), 0);
    assert_int_equal(ask_for(directory, "/x", "image"), QCOW2_E_REFERENCE);
    snprintf(name, sizeof name, "%s/inner", link);
    assert_int_equal(ask_for(directory, "x", name), 0);
    assert_int_equal(ask_for(sub, "x", name), 0);
    assert_int_equal(ask_for(sub, "x", path), QCOW2_E_REFERENCE);
    snprintf(name, sizeof name, "%s/sub/inner", beside);
    assert_int_equal(ask_for(directory, "x", name), 0);
    assert_int_equal(ask_for(beside, "x", name), 0);
    /* Directories, what is not there, what only begins with the directory's name, what is no directory. */
    snprintf(name, sizeof name, "%s/", beside);
    assert_int_equal(ask_for(directory, "x", name), QCOW2_E_REFERENCE);
    assert_int_equal(ask_for(directory, "x", sub), QCOW2_E_REFERENCE);
    assert_int_equal(ask_for(directory, "x", "/no/such/file"), QCOW2_E_REFERENCE);
    snprintf(name, sizeof name, "%sx/file", directory);
    assert_int_equal(ask_for(directory, "x", name), QCOW2_E_REFERENCE);
    assert_int_equal(ask_for(path, "x", path), QCOW2_E_IO);
    assert_int_equal(ask_for("/no/such/directory", "x", path), QCOW2_E_IO);
    /* A link to a file in another directory that is allowed, too; slashes that are not needed. */
    snprintf(name, sizeof name, "%s//x", sub);
    assert_int_equal(ask_for(sub, name, "inner"), 0);
    snprintf(name, sizeof name, "%s///", sub);
    assert_int_equal(ask_for(name, inner, "inner"), 0);

    unlink(beside);
    unlink(link);
    unlink(inner);
    rmdir(sub);
}

/* Names lead where descriptors have been opened, not where names lead now. */
static void what_is_held_is_granted_whatever_its_name_means_since(void **state)
{
    char first[112], second[112], link[112], image[128], file[128];
    const char *const paths[] = { link };
    const char *const *names;
    struct qcow2_grant_directories list;
    struct qcow2_reference reference = { .size = sizeof reference, .name = "f", .referrer = image };
    struct qcow2_source source;
    char byte = 0;
    int format = QCOW2_FORMAT_RAW, fd;

    (void)state;
    if (root_is_another()) {
        skip();
    }
    snprintf(first, sizeof first, "%s/first", directory);
    snprintf(second, sizeof second, "%s/second", directory);
    snprintf(link, sizeof link, "%s/link", directory);
    snprintf(image, sizeof image, "%s/image", link);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mkdir(i == 0 ? first : second, 0700), 0);
        snprintf(file, sizeof file, "%s/f", i == 0 ? first : second);
        fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, i == 0 ? "1" : "2", 1), 1);
        close(fd);
    }
    assert_int_equal(symlink(first, link), 0);
    assert_int_equal(qcow2_grant_directories_open(paths, 1, &list, NULL), 0);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(second, link), 0);
    assert_int_equal(qcow2_grant_beneath(&list, &reference, &source, &format, NULL), 0);
    assert_int_equal(source.read_at(source.ctx, &byte, 1, 0), 0);
    assert_int_equal(byte, '1');
    source.close(source.ctx);
    /* By another way the name leads outside by now. */
    reference.name = file;
    assert_int_equal(qcow2_grant_beneath(&list, &reference, &source, &format, NULL),
                     QCOW2_E_REFERENCE);
    /* Without the name, the working directory is the start, and the result the same. */
    names = list.names;
    list.names = NULL;
    reference.name = "f";
    assert_int_equal(qcow2_grant_beneath(&list, &reference, &source, &format, NULL),
                     QCOW2_E_REFERENCE);
    list.names = names;
    qcow2_grant_directories_close(&list);
    unlink(file);
    snprintf(file, sizeof file, "%s/f", first);
    unlink(file);
    unlink(link);
    rmdir(first);
    rmdir(second);
}

static int own_directory(const char *of)
{
    const char *name = NULL;
    int fd = -1, r = qcow2_open_directory_of(of, &fd, &name, NULL);

    assert_true((fd >= 0) == (r >= 0));
    if (fd >= 0) {
        close(fd);
    }
    return r;
}

/* What lies beneath these is not the image's to have. */
static void shared_directories_are_no_images_own(void **state)
{
    char text[64];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_int_equal(own_directory(path), 1);
    assert_int_equal(own_directory(directory), 0); /* no file */
    assert_int_equal(own_directory("/no/such/directory/x"), QCOW2_E_IO);
    assert_int_equal(own_directory("/dev/stdin"), 0);
    assert_int_equal(own_directory("/dev/null"), 0);
    snprintf(text, sizeof text, "/dev/fd/%d", fd);
    assert_int_equal(own_directory(text), 0);
    snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
    assert_int_equal(own_directory(text), 0);
    close(fd);
    assert_int_equal(own_directory(NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_open_directory_of(path, NULL, NULL, NULL), QCOW2_E_ARGUMENT);
}

static void a_list_of_directories_is_opened_as_a_whole_or_not_at_all(void **state)
{
    const char *const paths[] = { directory, "/no/such/directory" };
    struct qcow2_grant_directories list;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    int before = open_descriptors();

    (void)state;
    assert_int_equal(qcow2_grant_directories_open(paths, 2, &list, &err), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_non_null(strstr(err.message, "/no/such/directory"));
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(qcow2_grant_directories_open(paths, 0, &list, NULL), 0);
    assert_int_equal(list.count, 0);
    qcow2_grant_directories_close(&list);
    assert_int_equal(qcow2_grant_directories_open(NULL, 1, &list, NULL), QCOW2_E_ARGUMENT);
    assert_int_equal(qcow2_grant_directories_open(paths, 1, NULL, NULL), QCOW2_E_ARGUMENT);
    qcow2_grant_directories_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_opens_by_path_and_closes_its_file),
        cmocka_unit_test(descriptor_of_an_extent_gives_its_bytes),
        cmocka_unit_test(missing_file_is_an_io_error_with_its_errno),
        cmocka_unit_test(what_is_not_a_file_is_refused_without_waiting),
        cmocka_unit_test(descriptor_is_closed_only_if_it_was_given_away),
        cmocka_unit_test(memory_is_read_where_it_is_and_nowhere_else),
        cmocka_unit_test(source_is_closed_once_when_open_succeeds),
        cmocka_unit_test(source_is_closed_once_when_open_fails),
        cmocka_unit_test(descriptor_keeps_its_offset),
        cmocka_unit_test(malformed_source_is_not_called_at_all),
        cmocka_unit_test(raw_disk_needs_a_length_that_fits),
        cmocka_unit_test(grant_beneath_wants_a_valid_list),
        cmocka_unit_test(grant_beneath_wants_a_reference_and_a_place_for_the_source),
        cmocka_unit_test(ready_made_sources_want_somewhere_to_go),
        cmocka_unit_test(source_struct_and_name_are_copied),
        cmocka_unit_test(source_without_a_size_is_read_as_far_as_its_clusters_are_whole),
        cmocka_unit_test(source_without_a_size_is_read_in_runs_too),
        cmocka_unit_test(source_without_a_size_is_asked_for_no_more_than_the_words_of_a_table),
        cmocka_unit_test(source_without_close_or_name_is_fine),
        cmocka_unit_test(open_by_path_looks_at_its_arguments_first),
        cmocka_unit_test(options_of_a_newer_program_are_taken_if_they_ask_for_nothing_new),
        cmocka_unit_test(a_grant_of_the_callers_own_is_the_only_one),
        cmocka_unit_test(everything_is_beneath_the_root),
        cmocka_unit_test(a_file_beneath_is_granted_by_any_way_that_leads_to_it),
        cmocka_unit_test(what_is_held_is_granted_whatever_its_name_means_since),
        cmocka_unit_test(shared_directories_are_no_images_own),
        cmocka_unit_test(a_list_of_directories_is_opened_as_a_whole_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, make_files, drop_files);
}
