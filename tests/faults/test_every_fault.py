# SPDX-License-Identifier: MIT
"""Every allocation and every read fails once, on images of each kind: every_fault.c says what must
hold then. Needs no QEMU but to make the images and to say what their disks are."""

import corpus


def test_every_allocation_fails_once(run, subject):
    assert int(run("every_fault", "allocations", *subject.arguments()).split()[0]) > 40


def test_every_read_fails_once(run, subject):
    assert int(run("every_fault", "reads", *subject.arguments()).split()[0]) > 10


def test_every_read_fails_once_without_caches(run, subject):
    run("every_fault", "reads", "--table-cache", 1, "--cluster-cache", 1, *subject.arguments())


def test_files_that_shrink_never_give_wrong_bytes(run, subject):
    assert int(run("every_fault", "shrinking", *subject.arguments()).split()[0]) > 5


def test_files_that_are_cut_short_never_give_wrong_bytes(run, subject):
    assert int(run("every_fault", "short", *subject.arguments()).split()[0]) > 5


def test_bytes_that_change_do_no_harm(run, subject):
    assert int(run("every_fault", "flipping", *subject.arguments()).split()[0]) > 50


def test_there_is_an_image_of_each_kind(subjects):
    assert list(subjects) == corpus.NAMES
