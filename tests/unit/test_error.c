/* SPDX-License-Identifier: MIT */
/* test_error.c - base/error: how the caller's error struct is filled, and text made harmless. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"

static void set_fills_every_member_and_returns_the_code(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    (void)state;
    err.depth = 7;
    err.guest_offset = 5;
    err.reserved = 3;
    assert_int_equal(q2_error_set_at(&err, QCOW2_E_CORRUPT, 0x50000, "entry %d", 3),
                     QCOW2_E_CORRUPT);
    assert_int_equal(err.code, QCOW2_E_CORRUPT);
    assert_int_equal(err.sys_errno, 0);
    assert_int_equal(err.depth, 0);
    assert_int_equal(err.reserved, 0);
    assert_true(err.host_offset == 0x50000);
    assert_true(err.guest_offset == UINT64_MAX);
    assert_string_equal(err.message, "entry 3");

    q2_error_depth(&err, 2);
    q2_error_guest(&err, 99);
    assert_int_equal(err.depth, 2);
    assert_true(err.guest_offset == 99);
    assert_string_equal(err.message, "entry 3");
}

static void set_without_a_place_says_so(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    (void)state;
    err.host_offset = 1;
    assert_int_equal(q2_error_set(&err, QCOW2_E_LIMIT, "x"), QCOW2_E_LIMIT);
    assert_true(err.host_offset == UINT64_MAX);
}

static void struct_used_again_describes_the_last_failure(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    (void)state;
    q2_error_set_errno(&err, QCOW2_E_IO, EIO, 77, "a long message about the first failure");
    q2_error_guest(&err, 1);
    q2_error_set(&err, QCOW2_E_CORRUPT, "second");
    assert_int_equal(err.code, QCOW2_E_CORRUPT);
    assert_int_equal(err.sys_errno, 0);
    assert_true(err.guest_offset == UINT64_MAX && err.host_offset == UINT64_MAX);
    assert_string_equal(err.message, "second");
}

static void errno_is_kept_and_explained(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    (void)state;
    assert_int_equal(q2_error_set_errno(&err, QCOW2_E_IO, ENOENT, 12, "cannot open"), QCOW2_E_IO);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_true(err.host_offset == 12);
    assert_true(strncmp(err.message, "cannot open: ", 13) == 0);
    assert_true(strlen(err.message) > 13);
}

static void null_is_fine_everywhere(void **state)
{
    (void)state;
    assert_int_equal(q2_error_set(NULL, QCOW2_E_LIMIT, "%d", 1), QCOW2_E_LIMIT);
    assert_int_equal(q2_error_set_at(NULL, QCOW2_E_LIMIT, 1, "x"), QCOW2_E_LIMIT);
    assert_int_equal(q2_error_set_errno(NULL, QCOW2_E_IO, 5, 1, "x"), QCOW2_E_IO);
    assert_int_equal(q2_error_nomem(NULL), QCOW2_E_NOMEM);
    q2_error_depth(NULL, 1);
    q2_error_guest(NULL, 1);
}

static void struct_of_a_wrong_size_is_left_alone(void **state)
{
    struct qcow2_error err;

    (void)state;
    memset(&err, 0x5A, sizeof err);
    err.size = sizeof err - 1;
    assert_int_equal(q2_error_set(&err, QCOW2_E_LIMIT, "message"), QCOW2_E_LIMIT);
    q2_error_depth(&err, 1);
    q2_error_guest(&err, 1);
    for (size_t i = sizeof err.size; i < sizeof err; i++) {
        assert_int_equal(((unsigned char *)&err)[i], 0x5A);
    }
}

static void message_too_long_is_cut_and_terminated(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    char text[600];

    (void)state;
    memset(text, 'm', sizeof text);
    text[sizeof text - 1] = '\0';
    q2_error_set(&err, QCOW2_E_LIMIT, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    q2_error_set_errno(&err, QCOW2_E_IO, EIO, 0, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    q2_error_set_errno(&err, QCOW2_E_IO, EIO, 0, "%.254s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void out_of_memory_needs_no_memory_to_be_said(void **state)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;

    (void)state;
    assert_int_equal(q2_error_nomem(&err), QCOW2_E_NOMEM);
    assert_true(strlen(err.message) > 0);
}

static void escape_leaves_printable_text_and_stops_at_a_nul(void **state)
{
    char to[64];

    (void)state;
    q2_escape(to, sizeof to, "plain text ~!", 13);
    assert_string_equal(to, "plain text ~!");
    q2_escape(to, sizeof to, "two\0words", 9);
    assert_string_equal(to, "two");
    q2_escape(to, sizeof to, "cut here", 3);
    assert_string_equal(to, "cut");
    q2_escape(to, sizeof to, "", 0);
    assert_string_equal(to, "");
}

static void escape_makes_control_bytes_and_backslashes_visible(void **state)
{
    char to[64];

    (void)state;
    q2_escape(to, sizeof to, "\x1b[2J\n\x7f\xff\\", 8);
    assert_string_equal(to, "\\x1b[2J\\x0a\\x7f\\xff\\x5c");
}

static void escape_fits_any_room_and_never_cuts_an_escape(void **state)
{
    char to[32];

    (void)state;
    for (size_t room = 1; room <= sizeof to; room++) {
        memset(to, '#', sizeof to);
        q2_escape(to, room, "a\x01z\x02\x03", 5);
        assert_true(strlen(to) < room);
        for (size_t i = room; i < sizeof to; i++) {
            assert_int_equal(to[i], '#');
        }
        for (const char *at = to; (at = strchr(at, '\\')) != NULL; at++) {
            assert_true(strlen(at) >= 4);
        }
    }
}

static void every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    assert_string_equal(qcow2_code_name(0), "success");
    assert_string_equal(qcow2_code_name(1), "success");
    for (int a = QCOW2_E_CANCELLED; a < 0; a++) {
        assert_true(strlen(qcow2_code_name(a)) > 0);
        assert_string_not_equal(qcow2_code_name(a), "success");
        assert_string_not_equal(qcow2_code_name(a), "unknown");
        for (int b = a + 1; b < 0; b++) {
            assert_string_not_equal(qcow2_code_name(a), qcow2_code_name(b));
        }
    }
    assert_string_equal(qcow2_code_name(QCOW2_E_CORRUPT), "corrupt");
    assert_string_equal(qcow2_code_name(QCOW2_E_CANCELLED - 1), "unknown");
    assert_string_equal(qcow2_code_name(INT32_MIN), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_every_member_and_returns_the_code),
        cmocka_unit_test(set_without_a_place_says_so),
        cmocka_unit_test(struct_used_again_describes_the_last_failure),
        cmocka_unit_test(errno_is_kept_and_explained),
        cmocka_unit_test(null_is_fine_everywhere),
        cmocka_unit_test(struct_of_a_wrong_size_is_left_alone),
        cmocka_unit_test(message_too_long_is_cut_and_terminated),
        cmocka_unit_test(out_of_memory_needs_no_memory_to_be_said),
        cmocka_unit_test(escape_leaves_printable_text_and_stops_at_a_nul),
        cmocka_unit_test(escape_makes_control_bytes_and_backslashes_visible),
        cmocka_unit_test(escape_fits_any_room_and_never_cuts_an_escape),
        cmocka_unit_test(every_code_has_a_name_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
