/* SPDX-License-Identifier: MIT */
/* test_path.c - walking paths by descriptors, and opening what they lead to beneath a directory. */
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

#include "source/open_file.h"
#include "source/path.h"

/* What readlinkat fails with, call by call; 0: it does not. (--wrap) */
static struct {
    int links[4];
    unsigned linked;
} script;

ssize_t __real_readlinkat(int directory, const char *path, char *buf, size_t n);
ssize_t __wrap_readlinkat(int directory, const char *path, char *buf, size_t n);

ssize_t __wrap_readlinkat(int directory, const char *path, char *buf, size_t n)
{
    int code = script.linked < 4 ? script.links[script.linked] : 0;

    script.linked++;
    errno = code != 0 ? code : errno;
    return code != 0 ? -1 : __real_readlinkat(directory, path, buf, n);
}

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

    (void)snprintf(place.root, sizeof place.root, "/tmp/qcow2-path-XXXXXX");
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
    put_link(&place, "top/slashed", "inner/file/");
    put_link(&place, "top/reenter", "../top/file");
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
    /* musl goes no deeper than it may hold directories open. */
    return nftw(place->root, remove_one, 400, FTW_DEPTH | FTW_PHYS);
}

/* What the ready-made grant does with a path. */
static int open_beneath(int top, const char *path)
{
    struct q2_path_end end;
    int r = q2_path_walk(top, path, &end);

    if (end.directory < 0 || q2_path_is_beneath(end.directory, &top, 1) <= 0) {
        r = -EXDEV;
    } else if (r == 0) {
        r = q2_open_file(end.directory, end.name, Q2_OPEN_NOFOLLOW | Q2_OPEN_NO_DEVICES);
    }
    if (end.directory >= 0) {
        assert_int_equal(close(end.directory), 0);
    }
    return r;
}

static void opens(const struct place *place, const char *path, const char *text)
{
    char got[16] = "";
    int fd = open_beneath(place->top, path);

    if (fd < 0) {
        fail_msg("%s: %d", path, fd);
    }
    assert_int_equal(read(fd, got, sizeof got - 1), strlen(text));
    assert_string_equal(got, text);
    assert_int_equal(close(fd), 0);
}

static void check_inside(const struct place *place)
{
    char absolute[128];

    opens(place, "file", "top");
    opens(place, "./file", "top");
    opens(place, "inner//file", "inner");
    opens(place, "inner/../file", "top");
    opens(place, "in", "inner");
    opens(place, "dir/file", "inner");
    opens(place, "dir/../file", "top");
    opens(place, "inner/back", "top");
    /* Out and in again. */
    opens(place, "outdir/top/file", "top");
    opens(place, "./../top/file", "top");
    opens(place, "reenter", "top");
    (void)snprintf(absolute, sizeof absolute, "%s/top/inner/file", place->root);
    if (!root_is_another()) {
        opens(place, absolute, "inner");
    }
}

static void check_outside(const struct place *place)
{
    static const char *const paths[] = {
        "..",          "../secret",  "inner/../../secret", "out",           "inner/far",
        "absolute",    "/",          "/etc/passwd",        "outdir/secret", "dir/../../secret",
        "inner/../..", "../missing", "../missing/file"
    };

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int fd = open_beneath(place->top, paths[i]);

        if (fd != -EXDEV) {
            fail_msg("%s: %d", paths[i], fd);
        }
    }
}

static void check_failures(const struct place *place)
{
    static const char *const slashed[] = { "file/",   "inner/file//", "in/",  "slashed",
                                           "file/..", "file/.",       "in/.", "file/../file" };
    char long_name[5000];

    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(open_beneath(place->top, "missing"), -ENOENT);
    assert_int_equal(open_beneath(place->top, "missing/file"), -ENOENT);
    assert_int_equal(open_beneath(place->top, "file/file"), -ENOTDIR);
    assert_int_equal(open_beneath(place->top, "self"), -ELOOP);
    for (size_t i = 0; i < sizeof slashed / sizeof slashed[0]; i++) {
        int fd = open_beneath(place->top, slashed[i]);

        if (fd != -ENOTDIR) {
            fail_msg("%s: %d", slashed[i], fd);
        }
    }
    assert_int_equal(open_beneath(place->top, long_name), -ENAMETOOLONG);
    long_name[NAME_MAX + 1] = '\0'; /* a path that is short enough, of a name that is not */
    assert_int_equal(open_beneath(place->top, long_name), -ENAMETOOLONG);
}

static void names_that_end_inside_are_opened(void **state)
{
    check_inside(*state);
}

static void names_that_end_outside_are_refused(void **state)
{
    check_outside(*state);
}

static void what_cannot_be_opened_says_why(void **state)
{
    check_failures(*state);
}

static void the_walk_leaves_no_descriptor_open(void **state)
{
    const struct place *place = *state;
    int before = dup(0), after;

    assert_int_equal(close(before), 0);
    check_inside(place);
    check_outside(place);
    check_failures(place);
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
    fd = open_beneath(place->top, "file");
    (void)close(fd);
    if (before >= 0) {
        (void)dup2(before, 0);
        (void)close(before);
    }
    assert_true(fd >= 0);
}

/* Opening one would release a writer that waits for a reader. */
static void a_fifo_is_not_opened(void **state)
{
    const struct place *place = *state;
    char path[128];

    (void)snprintf(path, sizeof path, "%s/top/fifo", place->root);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(open_beneath(place->top, "fifo"), Q2_WRONG_KIND);
    assert_int_equal(q2_open_file(place->top, "fifo", 0), Q2_WRONG_KIND);
    assert_int_equal(q2_open_file(AT_FDCWD, "/dev/null", 0), Q2_WRONG_KIND);
    assert_int_equal(q2_open_file(place->top, "inner", 0), -EISDIR);
    assert_int_equal(q2_open_file(place->top, "in", Q2_OPEN_NOFOLLOW), -ELOOP);
}

static void a_link_that_vanishes_under_the_walk_is_not_followed(void **state)
{
    const struct place *place = *state;

    memset(&script, 0, sizeof script);
    script.links[0] = ENOENT;
    assert_int_equal(open_beneath(place->top, "in"), -ELOOP);
    memset(&script, 0, sizeof script);
    script.links[0] = EACCES;
    assert_int_equal(open_beneath(place->top, "dir/file"), -EACCES);
    memset(&script, 0, sizeof script);
    opens(place, "in", "inner");
}

static void the_directory_itself_is_no_file(void **state)
{
    static const char *const paths[] = { "", ".", "./", "inner/..", "dir/.." };
    const struct place *place = *state;

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(open_beneath(place->top, paths[i]), -EISDIR);
    }
}

/* A directory that was renamed, with another in its place: what is held is what counts. */
static void a_directory_that_is_held_keeps_its_place(void **state)
{
    const struct place *place = *state;
    char first[128], moved[128], file[160];
    int held;

    if (root_is_another()) {
        skip();
    }
    (void)snprintf(first, sizeof first, "%s/first", place->root);
    (void)snprintf(moved, sizeof moved, "%s/moved", place->root);
    assert_int_equal(mkdir(first, 0700), 0);
    put(place, "first/file", "old");
    held = open(first, Q2_DIRECTORY_FLAGS);
    assert_true(held >= 0);
    assert_int_equal(rename(first, moved), 0);
    assert_int_equal(mkdir(first, 0700), 0);
    put(place, "first/file", "new");
    {
        const struct place other = { .top = held };

        opens(&other, "file", "old");
    }
    (void)snprintf(file, sizeof file, "%s/file", first);
    assert_int_equal(open_beneath(held, file), -EXDEV);
    (void)snprintf(file, sizeof file, "%s/file", moved);
    {
        int fd = open_beneath(held, file);

        assert_true(fd >= 0);
        assert_int_equal(close(fd), 0);
    }
    assert_int_equal(close(held), 0);
}

/* The path that is left to walk is held in memory of a fixed size. */
static void the_walk_has_an_end_in_length(void **state)
{
    enum { TARGET = 3000, MORE = 2000, DEPTH = 300 };
    const struct place *place = *state;
    char target[TARGET + 1], path[16 + MORE], deep[2 * DEPTH + 8];
    int at = dup(place->top);

    for (int i = 0; i < TARGET; i++) {
        target[i] = i % 2 == 0 ? '.' : '/';
    }
    target[TARGET] = '\0';
    assert_int_equal(symlinkat(target, place->top, "long"), 0);
    (void)snprintf(path, sizeof path, "long/%.*sfile", MORE, target);
    assert_int_equal(open_beneath(place->top, path), -ENAMETOOLONG);
    opens(place, "long/file", "top");

    for (int i = 0; i < DEPTH; i++) {
        int next;

        assert_int_equal(mkdirat(at, "d", 0700), 0);
        next = openat(at, "d", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        assert_int_equal(close(at), 0);
        at = next;
        deep[2 * i] = 'd';
        deep[2 * i + 1] = '/';
    }
    deep[2 * DEPTH] = 'x';
    deep[2 * DEPTH + 1] = '\0';
    assert_int_equal(close(at), 0);
    /* As deep as it is, it is found to lie beneath. */
    assert_int_equal(open_beneath(place->top, deep), -ENOENT);
}

/* Seen: with links of links, a name of some bytes had 60,000 components, and each file of a chain one such name. */
static void the_walk_has_an_end_in_components(void **state)
{
    enum { PAIRS = 1000 };
    const struct place *place = *state;
    char target[2 * PAIRS + 8], path[32];

    for (int i = 0; i < 2 * PAIRS; i++) {
        target[i] = i % 2 == 0 ? '.' : '/';
    }
    (void)snprintf(target + (size_t)2 * PAIRS, 8, "%s", "inner");
    assert_int_equal(symlinkat(target, place->top, "far1"), 0);
    (void)snprintf(target + (size_t)2 * PAIRS, 8, "%s", "far1");
    assert_int_equal(symlinkat(target, place->top, "far2"), 0);
    (void)snprintf(target + (size_t)2 * PAIRS, 8, "%s", "far2");
    assert_int_equal(symlinkat(target, place->top, "far3"), 0);
    (void)snprintf(path, sizeof path, "far2/file");
    opens(place, path, "inner");
    (void)snprintf(path, sizeof path, "far3/file");
    assert_int_equal(open_beneath(place->top, path), -ELOOP);
}

static void the_bytes_of_a_directory_end_before_its_slashes(void **state)
{
    (void)state;
    assert_int_equal(q2_path_directory_bytes("x"), 0);
    assert_int_equal(q2_path_directory_bytes(""), 0);
    assert_int_equal(q2_path_directory_bytes("/x"), 1);
    assert_int_equal(q2_path_directory_bytes("//x"), 1);
    assert_int_equal(q2_path_directory_bytes("a/x"), 1);
    assert_int_equal(q2_path_directory_bytes("a//x"), 1);
    assert_int_equal(q2_path_directory_bytes("/a/b/x"), 4);
    assert_int_equal(q2_path_directory_bytes("a/"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_end_inside_are_opened),
        cmocka_unit_test(names_that_end_outside_are_refused),
        cmocka_unit_test(what_cannot_be_opened_says_why),
        cmocka_unit_test(the_walk_leaves_no_descriptor_open),
        cmocka_unit_test(a_descriptor_may_be_0),
        cmocka_unit_test(a_fifo_is_not_opened),
        cmocka_unit_test(a_link_that_vanishes_under_the_walk_is_not_followed),
        cmocka_unit_test(the_directory_itself_is_no_file),
        cmocka_unit_test(a_directory_that_is_held_keeps_its_place),
        cmocka_unit_test(the_walk_has_an_end_in_length),
        cmocka_unit_test(the_walk_has_an_end_in_components),
        cmocka_unit_test(the_bytes_of_a_directory_end_before_its_slashes),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
