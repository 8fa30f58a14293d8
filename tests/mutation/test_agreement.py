# SPDX-License-Identifier: MIT
"""What `qcow2 vet` lets in QEMU accepts: sound images with a few edits each.

400 edits take some ten seconds; QCOW2_AGREEMENT_VARIANTS=20000 makes it as many, and QCOW2_SEED another
choice. agreement.py beside this file does the same without pytest and repeats a single one."""

import os
import tempfile

import pytest

import agreement
from bases import BASES
from edits import edit
from lab import Lab
from mutate import Mutation

VARIANTS = int(os.environ.get("QCOW2_AGREEMENT_VARIANTS", "400"))
SEED = int(os.environ.get("QCOW2_SEED", str(agreement.DEFAULT_SEED)))


@pytest.mark.parametrize("name", agreement.NAMES)
def test_edited_image_that_vet_lets_in_is_accepted_by_qemu(name):
    count = agreement.share(VARIANTS, agreement.NAMES, name)
    verdicts, disagreements = agreement.campaign(name, range(count), SEED)
    assert not disagreements, "\n".join(disagreements)
    assert sum(verdicts.values()) == count


@pytest.fixture(scope="module")
def bench():
    with tempfile.TemporaryDirectory(dir=agreement.MEMORY) as directory:
        made = Lab(BASES["bitmaps-of-equal-length-64k"], directory)
        yield made
        made.close()


def test_edit_follows_from_its_seed(bench):
    assert edit(bench.image, "one") == edit(bench.image, "one")
    assert len({str(edit(bench.image, f"{n}").edits) for n in range(50)}) > 40


def test_many_edits_leave_an_image_that_is_let_in(bench):
    """Else nothing would be compared."""
    verdicts = [agreement.try_one(bench, SEED, number)[0] for number in range(40)]
    assert verdicts.count("yes") >= 5 and verdicts.count("no") >= 5


# The comparison must be able to fail: what QEMU has against images that vet did not judge.

def trouble(bench, edits, found=()):
    with bench.changed(Mutation(edits)):
        return agreement.disagreement(bench.path, set(found), bench.facts(bench.path)[2])


def test_sound_image_is_no_disagreement(bench):
    assert trouble(bench, []) is None


def test_image_that_qemu_refuses_is_a_disagreement(bench):
    assert "qemu-img info" in trouble(bench, [(0, b"XFI")])


def test_image_with_corruptions_is_a_disagreement(bench):
    """The refcount of the header is 0."""
    block = next(field.at for field in bench.image.groups["refcount block"])
    assert "status 2" in trouble(bench, [(block, b"\0\0")])


def test_leak_that_vet_has_not_noted_is_a_disagreement(bench):
    """The refcount of a cluster that no table names is 1."""
    block = next(field.at for field in bench.image.groups["refcount block"])
    free = next(at for at in range(block, block + 200, 2) if not any(bench.image.data[at:at + 2]))
    cluster = (free - block) // 2
    with bench.changed(Mutation([(free, b"\0\1")], max(len(bench.image.data), (cluster + 1) << 16))):
        size = bench.facts(bench.path)[2]
        assert "status 3" in agreement.disagreement(bench.path, set(), size)
        assert agreement.disagreement(bench.path, {"leaks"}, size) is None
