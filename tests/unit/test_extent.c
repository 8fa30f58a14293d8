/* SPDX-License-Identifier: MIT */
/* test_extent.c - when two extents are known to have the same bytes, and what a descriptor is good for. */
#include "unit.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sample.h"
#include "source/window.h"

enum { BITS = 16, CLUSTER = 1 << BITS };

/* Two files of one content, and two handles on the first of them. */
struct pair {
    struct sample sample;
    int fds[2];
    struct qcow2_image *a, *again, *other;
};

static struct pair pair;

static int file_of(const struct sample *sample)
{
    int fd = memfd_create("sample", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, sample->file, sample->file_bytes), sample->file_bytes);
    return fd;
}

static struct qcow2_image *open_fd(int fd)
{
    struct qcow2_source source;
    struct qcow2_image *image = NULL;

    assert_int_equal(qcow2_source_from_fd(fd, "sample", 0, &source, NULL), 0);
    assert_int_equal(qcow2_open_source(&source, NULL, &image, NULL), 0);
    return image;
}

static int set_up(void **state)
{
    (void)state;
    sample_init(&pair.sample, BITS, QCOW2_COMPRESSION_DEFLATE, "DC.ZDC", 0);
    for (int i = 0; i < 2; i++) {
        pair.fds[i] = file_of(&pair.sample);
    }
    pair.a = open_fd(pair.fds[0]);
    pair.again = open_fd(pair.fds[0]);
    pair.other = open_fd(pair.fds[1]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    qcow2_close(pair.a);
    qcow2_close(pair.again);
    qcow2_close(pair.other);
    (void)close(pair.fds[0]);
    (void)close(pair.fds[1]);
    sample_deinit(&pair.sample);
    return 0;
}

static struct qcow2_extent extent_at(struct qcow2_image *image, unsigned cluster)
{
    struct qcow2_extent extent;
    uint64_t cursor = (uint64_t)cluster * CLUSTER;

    assert_int_equal(qcow2_next_extent(image, &cursor, cursor + CLUSTER, &extent, NULL), 1);
    return extent;
}

static void extents_of_one_place_of_one_file_are_the_same(void **state)
{
    struct qcow2_extent data = extent_at(pair.a, 0), compressed = extent_at(pair.a, 1);

    (void)state;
    assert_int_equal(data.kind, QCOW2_EXTENT_DATA);
    assert_int_equal(compressed.kind, QCOW2_EXTENT_COMPRESSED);
    assert_int_equal(qcow2_extent_same(pair.a, &data, pair.again, &data), 1);
    assert_int_equal(qcow2_extent_same(pair.a, &compressed, pair.again, &compressed), 1);
    assert_int_equal(qcow2_extent_same(pair.a, &data, pair.a, &data), 1);
}

static void other_files_places_and_kinds_are_not(void **state)
{
    struct qcow2_extent data = extent_at(pair.a, 0), far = extent_at(pair.a, 4);
    struct qcow2_extent compressed = extent_at(pair.a, 1), moved = compressed;
    struct qcow2_extent hole = extent_at(pair.a, 2), zero = extent_at(pair.a, 3);

    (void)state;
    assert_int_equal(qcow2_extent_same(pair.a, &data, pair.other, &data), 0);
    assert_int_equal(qcow2_extent_same(pair.a, &compressed, pair.other, &compressed), 0);
    assert_int_equal(qcow2_extent_same(pair.a, &data, pair.again, &far), 0);
    assert_int_equal(qcow2_extent_same(pair.a, &data, pair.again, &compressed), 0);
    moved.offset += 512;
    assert_int_equal(qcow2_extent_same(pair.a, &compressed, pair.again, &moved), 0);
    moved = compressed;
    moved.stream_offset++;
    assert_int_equal(qcow2_extent_same(pair.a, &compressed, pair.again, &moved), 0);
    /* What is stored nowhere has no place in common. */
    assert_int_equal(hole.kind, QCOW2_EXTENT_HOLE);
    assert_int_equal(qcow2_extent_same(pair.a, &hole, pair.again, &hole), 0);
    assert_int_equal(qcow2_extent_same(pair.a, &zero, pair.again, &zero), 0);
}

static void what_is_not_there_is_not_the_same(void **state)
{
    struct qcow2_extent data = extent_at(pair.a, 0), deep = data;

    (void)state;
    deep.depth = 1;
    assert_int_equal(qcow2_extent_same(NULL, &data, pair.a, &data), 0);
    assert_int_equal(qcow2_extent_same(pair.a, NULL, pair.a, &data), 0);
    assert_int_equal(qcow2_extent_same(pair.a, &data, NULL, &data), 0);
    assert_int_equal(qcow2_extent_same(pair.a, &data, pair.a, NULL), 0);
    assert_int_equal(qcow2_extent_same(pair.a, &deep, pair.a, &data), 0);
    assert_int_equal(qcow2_extent_same(pair.a, &data, pair.a, &deep), 0);
}

/* Files of two file systems may have one number. */
static void a_file_is_told_by_its_number_and_its_file_system(void **state)
{
    const struct q2_identity identity = q2_identity_of(pair.fds[0]);
    struct q2_identity elsewhere = identity;
    struct stat st;

    (void)state;
    assert_int_equal(fstat(pair.fds[0], &st), 0);
    assert_true(identity.known && !identity.is_device);
    assert_true(identity.device == st.st_dev && identity.inode == st.st_ino);
    assert_true(q2_identity_same(&identity, &elsewhere));
    elsewhere.device++;
    assert_false(q2_identity_same(&identity, &elsewhere));
    elsewhere = identity;
    elsewhere.inode++;
    assert_false(q2_identity_same(&identity, &elsewhere));
    elsewhere = identity;
    elsewhere.is_device = true;
    assert_false(q2_identity_same(&identity, &elsewhere));
}

static void files_of_an_image_are_known_by_any_descriptor(void **state)
{
    int again = dup(pair.fds[0]);

    (void)state;
    assert_int_equal(qcow2_has_file(pair.a, pair.fds[0]), 1);
    assert_int_equal(qcow2_has_file(pair.a, again), 1);
    assert_int_equal(qcow2_has_file(pair.a, pair.fds[1]), 0);
    assert_int_equal(qcow2_has_file(pair.a, -1), 0);
    assert_int_equal(qcow2_has_file(NULL, again), 0);
    assert_int_equal(close(again), 0);
}

/* It would be emptied first, and its holes read as the disk then. */
static void a_copy_never_goes_to_a_file_of_the_image(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    unsigned char header[4];

    (void)state;
    assert_int_equal(qcow2_copy_to_fd(pair.a, pair.fds[0], NULL, &err), QCOW2_E_ARGUMENT);
    assert_string_equal(err.message, "the target is a file of the image itself");
    assert_int_equal(lseek(pair.fds[0], 0, SEEK_END), pair.sample.file_bytes);
    assert_int_equal(pread(pair.fds[0], header, sizeof header, 0), sizeof header);
    assert_memory_equal(header, pair.sample.file, sizeof header);
}

static void files_read_in_different_ways_are_not_the_same(void **state)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_extent data = extent_at(pair.a, 0);
    struct qcow2_image *raw = NULL;
    struct qcow2_source source;

    (void)state;
    options.format = QCOW2_FORMAT_RAW;
    assert_int_equal(qcow2_source_from_fd(pair.fds[0], "raw", 0, &source, NULL), 0);
    assert_int_equal(qcow2_open_source(&source, &options, &raw, NULL), 0);
    assert_int_equal(qcow2_extent_same(pair.a, &data, raw, &data), 0);
    qcow2_close(raw);
}

static void only_stored_data_that_is_there_has_a_descriptor(void **state)
{
    struct qcow2_extent data = extent_at(pair.a, 0), other = data;
    unsigned char byte;
    int fd = qcow2_extent_fd(pair.a, &data);

    (void)state;
    assert_int_equal(fd, pair.fds[0]);
    /* The descriptor is the caller's, and so is its offset. */
    assert_int_equal(qcow2_extent_may_seek(pair.a, &data), 0);
    assert_int_equal(qcow2_extent_may_seek(NULL, &data), 0);
    assert_int_equal(qcow2_extent_may_seek(pair.a, NULL), 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)data.host_offset), 1);
    assert_int_equal(byte, pair.sample.disk[0]);
    assert_int_equal(qcow2_extent_fd(NULL, &data), -1);
    assert_int_equal(qcow2_extent_fd(pair.a, NULL), -1);
    other.depth = 1;
    assert_int_equal(qcow2_extent_fd(pair.a, &other), -1);
    other = data;
    other.host_offset = pair.sample.file_bytes - 512;
    other.length = 1024;
    assert_int_equal(qcow2_extent_fd(pair.a, &other), -1);
    other = extent_at(pair.a, 1);
    assert_int_equal(qcow2_extent_fd(pair.a, &other), -1);
}

/* A bound for walks that follows what is stored: the blocks of a file, which is shorter than it is long if it
 * has holes, and the length where there is no descriptor. */
static void the_most_extents_follow_what_is_stored(void **state)
{
    struct sample_source source;
    struct qcow2_image *image = sample_open(&source, &pair.sample, NULL);
    uint64_t spare = UINT64_C(1) << 20;

    (void)state;
    assert_int_equal(qcow2_max_extents(NULL), 0);
    assert_int_equal(qcow2_max_extents(image), spare + 4 * pair.sample.file_bytes);
    assert_true(qcow2_max_extents(pair.a) >= spare);
    assert_true(qcow2_max_extents(pair.a) <= spare + 4 * pair.sample.file_bytes);
    qcow2_close(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extents_of_one_place_of_one_file_are_the_same),
        cmocka_unit_test(other_files_places_and_kinds_are_not),
        cmocka_unit_test(what_is_not_there_is_not_the_same),
        cmocka_unit_test(a_file_is_told_by_its_number_and_its_file_system),
        cmocka_unit_test(files_of_an_image_are_known_by_any_descriptor),
        cmocka_unit_test(a_copy_never_goes_to_a_file_of_the_image),
        cmocka_unit_test(files_read_in_different_ways_are_not_the_same),
        cmocka_unit_test(only_stored_data_that_is_there_has_a_descriptor),
        cmocka_unit_test(the_most_extents_follow_what_is_stored),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
