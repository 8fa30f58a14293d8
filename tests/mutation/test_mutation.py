# SPDX-License-Identifier: MIT
"""Never wrong bytes: on images that a mutator has changed, every byte is QEMU's, or there is an error.

2,000 variants take about a minute on two processors; QCOW2_VARIANTS=20000 makes it as many, and
QCOW2_SEED another choice. run.py beside this file does the same without pytest, repeats a single
variant, and counts."""

import os
import random
import tempfile

import pytest

import fields
import judge
import run
from bases import BASES
from lab import Lab
from mutate import Image, Mutation, mutation

VARIANTS = int(os.environ.get("QCOW2_VARIANTS", "2000"))
SEED = int(os.environ.get("QCOW2_SEED", str(run.DEFAULT_SEED)))


@pytest.mark.parametrize("name", BASES)
def test_mutated_image_has_qemus_bytes_or_an_error(name):
    """Where the two differ, the reason is one that docs/errata.md gives (judge.py)."""
    counts, differences = run.campaign(name, range(run.share(VARIANTS, name)), SEED)
    assert not differences, "\n".join(differences)
    assert sum(counts.values()) == run.share(VARIANTS, name)


def test_there_are_images_of_every_kind():
    """A kind that goes missing should be missed."""
    assert len(BASES) >= 50
    for word in ("v1", "v2", "v3", "deflate", "zstd", "extended", "backing", "data-file", "snapshots",
                 "bitmaps", "luks", "aes"):
        assert any(word in name for name in BASES), word


@pytest.fixture(scope="module")
def bench():
    with tempfile.TemporaryDirectory(dir=run.MEMORY) as directory:
        made = Lab(BASES["bitmaps-and-snapshots-512"], directory)
        yield made
        made.close()


def test_mutation_follows_from_its_seed(bench):
    assert mutation(bench.image, "one") == mutation(Image(bench.image.data), "one")
    assert len({str(mutation(bench.image, f"{n}").edits) for n in range(50)}) > 40


def test_every_structure_is_hit(bench):
    words = "\n".join(word for n in range(600) for word in mutation(bench.image, f"{n}").words)
    for group in (*bench.image.groups, "length"):
        assert group in words, group


def test_file_is_put_back_after_each_variant(bench):
    with open(bench.path, "rb") as stream:
        before = stream.read()
    for number in range(200):
        with bench.changed(mutation(bench.image, f"{number}")):
            pass
    with open(bench.path, "rb") as stream:
        assert stream.read() == before


@pytest.fixture(scope="module")
def luks():
    with tempfile.TemporaryDirectory(dir=run.MEMORY) as directory:
        made = Lab(BASES["luks-xts-plain64"], directory)
        yield made
        made.close()


# The judge must be able to say no: answers that differ in each way there is.

class Bench:
    """A lab whose two sides say what a test wants."""

    def __init__(self, bench, ours, theirs):
        self.bench, self.answers, self.qemu = bench, ours, lambda: theirs

    def ours(self, *_):
        return self.answers

    def __getattr__(self, name):
        return getattr(self.bench, name)


def answer(bench, **changes):
    made = bench.ours()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def wrong_byte(data):
    at = random.Random(1).randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


@pytest.mark.parametrize("change", [
    lambda made: {"bytes": wrong_byte(made.bytes)}, lambda made: {"bytes": made.bytes[:-512]},
    lambda made: {"size": made.size + 512}, lambda made: {"bad": {3: "corrupt"}},
    lambda made: {"bad": {3: "truncated"}}, lambda made: {"opened": False, "code": "corrupt"},
    lambda made: {"opened": False, "code": "truncated"}, lambda made: {"contradictions": ["one"]},
], ids=["byte", "length", "size", "unreadable", "cut", "refused", "refused-cut", "contradiction"])
def test_answer_that_differs_is_noticed(bench, change):
    good = bench.ours()
    with pytest.raises(judge.Difference):
        judge.verdict(Bench(bench, answer(bench, **change(good)), good))


@pytest.mark.parametrize("change", [{"opened": False, "words": "no"}, {"bad": {3: "EIO"}}],
                         ids=["refused", "unreadable"])
def test_bytes_that_qemu_does_not_have_are_noticed(bench, change):
    with pytest.raises(judge.Difference):
        judge.verdict(Bench(bench, bench.ours(), answer(bench, **change)))


def test_broken_table_costs_qemu_the_image_and_us_nothing(bench):
    """The number of snapshots is one too many, and there is no such entry."""
    count = int.from_bytes(bench.image.data[60:64], "big")
    with bench.changed(Mutation([(60, (count + 65536).to_bytes(4, "big"))])):
        assert judge.verdict(bench) == (judge.THEY_REFUSE, judge.SNAPSHOTS)


def test_zeros_past_the_end_are_told_from_data(bench):
    with bench.changed(Mutation(length=len(bench.image.data) // 2)):
        outcome, reason = judge.verdict(bench)
    assert outcome in (judge.WE_FAIL, judge.WE_REFUSE, judge.THEY_REFUSE)
    assert judge.PAST_END in reason or judge.CUT_STREAM in reason


KEY_BYTES, STRIPES = 64, 4000  # of the LUKS base, so that a slot takes this many sectors
SLOT_SECTORS = -(-KEY_BYTES * STRIPES // 4096) * 8


def slot_sector(luks, slot, sector):
    """An edit: where the key material of a slot begins."""
    return luks.luks_header() + 208 + 48 * slot + 40, sector.to_bytes(4, "big")


@pytest.mark.parametrize("sector", [(1 << 32) - 1, (1 << 32) - SLOT_SECTORS])
def test_key_slot_whose_end_wraps_is_a_reason(luks, sector):
    with luks.changed(Mutation([slot_sector(luks, 5, sector)])):
        assert judge.verdict(luks) == (judge.WE_REFUSE, judge.SLOT_WRAPS)


def test_key_slot_whose_end_wraps_hides_no_other_reason(luks):
    """Beside it, the first cluster lies past the end of the file."""
    table = luks.number(luks.number(40, 8), 8) & fields.OFFSET
    far = (table, (1 << 63 | 1 << 30).to_bytes(8, "big"))
    with luks.changed(Mutation([slot_sector(luks, 5, (1 << 32) - 1), far])):
        assert judge.verdict(luks) == (judge.WE_REFUSE, f"{judge.SLOT_WRAPS} + {judge.PAST_END}")


def test_key_slot_past_the_payload_is_refused_by_both(luks):
    with luks.changed(Mutation([slot_sector(luks, 5, (1 << 32) - SLOT_SECTORS - 1)])):
        assert judge.verdict(luks)[0] == judge.BOTH_REFUSE


@pytest.mark.parametrize("sector, change", [
    ((1 << 32) - SLOT_SECTORS - 1, {}), (1 << 20, {}),
    ((1 << 32) - 1, {"bad": {3: "EIO"}}), ((1 << 32) - 1, {"bytes": b""})],
    ids=["does-not-wrap", "far", "unreadable", "bytes"])
def test_key_slot_is_no_reason_for_anything_else(luks, sector, change):
    """QEMU would read an image whose slot only lies past the payload; or other bytes than ours."""
    theirs = answer(luks, **change)
    with luks.changed(Mutation([slot_sector(luks, 5, sector)])):
        with pytest.raises(judge.Difference):
            judge.verdict(Bench(luks, luks.ours(), theirs))
