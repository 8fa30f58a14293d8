/* SPDX-License-Identifier: MIT */
/* test_beneath.c - opening beneath a directory: both ways of doing it, one list of cases. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source/beneath.h"

/* What openat2 and readlinkat fail with, call by call; 0: they do not. (--wrap) */
static struct {
    int opens[4], links[4];
    unsigned opened, linked;
    bool renaming; /* somebody is, all the time: openat2 says so whenever it is asked */
} told;

static bool fails(const int script[4], unsigned *calls)
{
    int code = *calls < 4 ? script[*calls] : 0;

    (*calls)++;
    errno = code != 0 ? code : errno;
    return code != 0;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
ssize_t __real_readlinkat(int directory, const char *path, char *buf, size_t n);
ssize_t __wrap_readlinkat(int directory, const char *path, char *buf, size_t n);

/* The library makes one such call, openat2. */
long __wrap_syscall(long number, ...)
{
    va_list args;
    long r = -1;

    va_start(args, number);
    if (told.renaming) {
        told.opened++;
        errno = EAGAIN;
    } else if (!fails(told.opens, &told.opened)) {
        int top = va_arg(args, int);
        const char *path = va_arg(args, const char *);
        void *how = va_arg(args, void *);

        r = __real_syscall(number, top, path, how, va_arg(args, size_t));
    }
    va_end(args);
    return r;
}

ssize_t __wrap_readlinkat(int directory, const char *path, char *buf, size_t n)
{
    return fails(told.links, &told.linked) ? -1 : __real_readlinkat(directory, path, buf, n);
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
    put_link(&place, "top/slashed", "inner/file/");
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
    /* Seen: the walk opened these, which openat2 does not. */
    static const char *const slashed[] = { "file/",   "inner/file//", "in/",  "slashed",
                                           "file/..", "file/.",       "in/.", "file/../file" };
    char long_name[5000];

    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(open_it(place->top, "missing"), -ENOENT);
    assert_int_equal(open_it(place->top, "missing/file"), -ENOENT);
    assert_int_equal(open_it(place->top, "file/file"), -ENOTDIR);
    assert_int_equal(open_it(place->top, "self"), -ELOOP);
    for (size_t i = 0; i < sizeof slashed / sizeof slashed[0]; i++) {
        int fd = open_it(place->top, slashed[i]);

        if (fd != -ENOTDIR) {
            fail_msg("%s: %d", slashed[i], fd);
        }
    }
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

/* A descriptor for "file", whatever openat2 said at first; how often it was asked. */
static unsigned asked_until_open(const struct place *place, int first, int second)
{
    memset(&told, 0, sizeof told);
    told.opens[0] = first;
    told.opens[1] = second;
    opens(q2_open_beneath, place, "file", "top");
    return told.opened;
}

static void a_call_that_lost_a_race_is_made_again(void **state)
{
    if (asked_until_open(*state, 0, 0) == 0) {
        skip(); /* built for a system without the call */
    }
    assert_int_equal(asked_until_open(*state, EINTR, 0), 2);
    assert_int_equal(asked_until_open(*state, EAGAIN, EINTR), 3);
}

/* Whoever may write to the directory could keep the reader here. */
static void a_race_that_is_lost_again_and_again_is_given_up_and_walked_round(void **state)
{
    if (asked_until_open(*state, 0, 0) == 0) {
        skip(); /* built for a system without the call */
    }
    memset(&told, 0, sizeof told);
    told.renaming = true;
    opens(q2_open_beneath, *state, "dir/file", "inner");
    assert_int_equal(told.opened, 64);
    assert_int_equal(q2_open_beneath(((const struct place *)*state)->top, "out"), -EXDEV);
    memset(&told, 0, sizeof told);
}

static void a_kernel_that_does_not_know_the_call_costs_nothing_but_time(void **state)
{
    static const int unknown[] = { ENOSYS, EPERM };

    for (size_t i = 0; i < 2; i++) {
        (void)asked_until_open(*state, unknown[i], 0);
        for (unsigned k = 0; k < 4; k++) {
            told.opens[k] = unknown[i];
        }
        told.opened = 0;
        assert_int_equal(q2_open_beneath(((const struct place *)*state)->top, "out"), -EXDEV);
    }
    memset(&told, 0, sizeof told);
}

static void a_link_that_vanishes_under_the_walk_is_not_followed(void **state)
{
    const struct place *place = *state;

    memset(&told, 0, sizeof told);
    told.links[0] = ENOENT;
    assert_int_equal(q2_walk_beneath(place->top, "in"), -ENOENT);
    opens(q2_walk_beneath, place, "in", "inner");
}

static void a_directory_that_may_not_be_listed_is_walked_through(void **state)
{
    const struct place *place = *state;
    const uid_t user = geteuid();
    int by_kernel, by_walk, listed;

    assert_int_equal(fchmod(place->top, 0711), 0);
    assert_int_equal(fchmodat(place->top, "inner", 0111, 0), 0);
    assert_int_equal(chmod(place->root, 0711), 0);
    if (user == 0) {
        assert_int_equal(seteuid(65534), 0);
    }
    listed = openat(place->top, "inner", O_RDONLY | O_DIRECTORY);
    by_kernel = q2_open_beneath(place->top, "inner/file");
    by_walk = q2_walk_beneath(place->top, "inner/file");
    if (user == 0) {
        assert_int_equal(seteuid(0), 0);
    }
    assert_int_equal(fchmodat(place->top, "inner", 0700, 0), 0);
    assert_true(listed < 0);
    assert_true(by_kernel >= 0 && by_walk >= 0);
    assert_int_equal(close(by_kernel), 0);
    assert_int_equal(close(by_walk), 0);
}

static void the_directory_itself_is_no_file_to_the_walk(void **state)
{
    static const char *const paths[] = { "", ".", "./", "inner/..", "dir/.." };
    const struct place *place = *state;

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(q2_walk_beneath(place->top, paths[i]), -EISDIR);
    }
}

/* The path that is left to walk is held in memory of a fixed size, and so are the directories above. */
static void the_walk_has_an_end_in_length_and_in_depth(void **state)
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
    assert_int_equal(q2_walk_beneath(place->top, path), -ENAMETOOLONG);
    opens(q2_walk_beneath, place, "long/file", "top");

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
    assert_int_equal(q2_walk_beneath(place->top, deep), -ENAMETOOLONG);
    assert_int_equal(q2_walk_beneath(place->top, deep + (size_t)2 * (DEPTH - 200)), -ENOENT);
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
        cmocka_unit_test(a_call_that_lost_a_race_is_made_again),
        cmocka_unit_test(a_race_that_is_lost_again_and_again_is_given_up_and_walked_round),
        cmocka_unit_test(a_kernel_that_does_not_know_the_call_costs_nothing_but_time),
        cmocka_unit_test(a_link_that_vanishes_under_the_walk_is_not_followed),
        cmocka_unit_test(a_directory_that_may_not_be_listed_is_walked_through),
        cmocka_unit_test(the_directory_itself_is_no_file_to_the_walk),
        cmocka_unit_test(the_walk_has_an_end_in_length_and_in_depth),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
