/* SPDX-License-Identifier: MIT */
/* test_beneath.c - opening beneath a directory: both ways of doing it, one list of cases. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source/beneath.h"

/* top/ is what may be reached, secret lies beside it. */
struct place {
    char root[64];
    int top;
};

static void put(const struct place *place, const char *name, const char *text)
{
    char path[256];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", place->root, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void put_link(const struct place *place, const char *name, const char *target)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", place->root, name);
    assert_int_equal(symlink(target, path), 0);
}

static int set_up(void **state)
{
    static struct place place;
    char path[128];

    strcpy(place.root, "/tmp/qcow2-beneath-XXXXXX");
    assert_non_null(mkdtemp(place.root));
    (void)snprintf(path, sizeof path, "%s/top", place.root);
    assert_int_equal(mkdir(path, 0700), 0);
    place.top = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(place.top >= 0);
    (void)snprintf(path, sizeof path, "%s/top/inner", place.root);
    assert_int_equal(mkdir(path, 0700), 0);
    put(&place, "secret", "secret");
    put(&place, "top/file", "top");
    put(&place, "top/inner/file", "inner");
    put_link(&place, "top/in", "inner/file");
    put_link(&place, "top/inner/back", "../file");
    put_link(&place, "top/dir", "inner");
    put_link(&place, "top/out", "../secret");
    put_link(&place, "top/inner/far", "../../secret");
    put_link(&place, "top/absolute", "/etc/passwd");
    put_link(&place, "top/self", "self");
    put_link(&place, "top/outdir", "..");
    *state = &place;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct place *place = *state;

    (void)close(place->top);
    return nftw(place->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

typedef int opener(int top, const char *path);

static void opens(opener *open_it, const struct place *place, const char *path, const char *text)
{
    char got[16] = "";
    int fd = open_it(place->top, path);

    assert_true(fd >= 0);
    assert_int_equal(read(fd, got, sizeof got - 1), strlen(text));
    assert_string_equal(got, text);
    assert_int_equal(close(fd), 0);
}

static void check_inside(opener *open_it, const struct place *place)
{
    opens(open_it, place, "file", "top");
    opens(open_it, place, "./file", "top");
    opens(open_it, place, "inner//file", "inner");
    opens(open_it, place, "inner/../file", "top");
    opens(open_it, place, "in", "inner");
    opens(open_it, place, "dir/file", "inner");
    opens(open_it, place, "dir/../file", "top");
    opens(open_it, place, "inner/back", "top");
}

static void check_outside(opener *open_it, const struct place *place)
{
    static const char *const paths[] = { "..",          "../secret",       "inner/../../secret",
                                         "out",         "inner/far",       "absolute",
                                         "/etc/passwd", "outdir/secret",   "dir/../../secret",
                                         "inner/../..", "outdir/top/file", "./../top/file" };

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int fd = open_it(place->top, paths[i]);

        if (fd != -EXDEV) {
            fail_msg("%s: %d", paths[i], fd);
        }
    }
}

static void check_failures(opener *open_it, const struct place *place)
{
    char long_name[5000];

    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(open_it(place->top, "missing"), -ENOENT);
    assert_int_equal(open_it(place->top, "missing/file"), -ENOENT);
    assert_int_equal(open_it(place->top, "file/file"), -ENOTDIR);
    assert_int_equal(open_it(place->top, "self"), -ELOOP);
    assert_int_equal(open_it(place->top, long_name), -ENAMETOOLONG);
    long_name[NAME_MAX + 1] = '\0'; /* a path that is short enough, of a name that is not */
    assert_int_equal(open_it(place->top, long_name), -ENAMETOOLONG);
}

static void names_that_stay_inside_are_opened(void **state)
{
    check_inside(q2_open_beneath, *state);
    check_inside(q2_walk_beneath, *state);
}

static void names_that_lead_outside_are_refused(void **state)
{
    check_outside(q2_open_beneath, *state);
    check_outside(q2_walk_beneath, *state);
}

static void what_cannot_be_opened_says_why(void **state)
{
    check_failures(q2_open_beneath, *state);
    check_failures(q2_walk_beneath, *state);
}

static void the_walk_leaves_no_descriptor_open(void **state)
{
    const struct place *place = *state;
    int before = dup(0), after;

    assert_int_equal(close(before), 0);
    check_inside(q2_walk_beneath, place);
    check_outside(q2_walk_beneath, place);
    check_failures(q2_walk_beneath, place);
    after = dup(0);
    assert_int_equal(close(after), 0);
    assert_int_equal(before, after);
}

/* For a program that has closed its standard input. */
static void a_descriptor_may_be_0(void **state)
{
    const struct place *place = *state;
    int before = dup(0), fd;

    (void)close(0);
    errno = ENOENT;
    fd = q2_open_beneath(place->top, "file");
    if (fd == 0) {
        (void)close(0);
    }
    if (before >= 0) {
        (void)dup2(before, 0);
        (void)close(before);
    }
    assert_int_equal(fd, 0);
}

static void a_fifo_does_not_block(void **state)
{
    const struct place *place = *state;
    char path[128];
    int fd;

    (void)snprintf(path, sizeof path, "%s/top/fifo", place->root);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = q2_walk_beneath(place->top, "fifo");
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_stay_inside_are_opened),
        cmocka_unit_test(names_that_lead_outside_are_refused),
        cmocka_unit_test(what_cannot_be_opened_says_why),
        cmocka_unit_test(the_walk_leaves_no_descriptor_open),
        cmocka_unit_test(a_descriptor_may_be_0),
        cmocka_unit_test(a_fifo_does_not_block),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
