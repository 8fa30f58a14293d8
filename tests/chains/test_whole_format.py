# SPDX-License-Identifier: MIT
"""test_whole_format.py - every image of specs.py: its disk, its snapshots and bitmaps, and what
map, info and check say about it, against QEMU's answers."""

import json
import os

import pytest

import qemu_tools as qemu
from generate import REFUSED
from refused import Refused
from specs import NEED_ANOTHER_CIPHER


def test_disk(made, reader):
    if made.digest == REFUSED:
        with pytest.raises(Refused):
            reader.digest(made)
        return
    try:
        digest = reader.digest(made)
    except Refused as refused:
        # A crypto library may lack these ciphers; then that is what has to be said.
        if made.spec.encryption not in NEED_ANOTHER_CIPHER:
            raise
        assert made.spec.encryption.split("-")[1] in str(refused)
        return
    assert digest == made.digest


def test_snapshots(made, reader):
    assert {number: reader.digest(made, number) for number in made.snapshots} == made.snapshots


def test_vm_state(made, reader):
    for number, state in made.vm_states.items():
        assert reader.vm_state(made, number) == state


def test_bitmaps(made, reader):
    assert {name: reader.bitmap(made, name) for name in made.bitmaps} == made.bitmaps


def without_guesses(extents):
    """On images that look preallocated, QEMU asks the file system for holes in stored clusters and
    marks those as zero too. That depends on the file system and on chance; format.md 9.1."""
    joined = []
    for extent in extents:
        extent = dict(extent, zero=extent["zero"] and not extent["data"])
        if joined and continues(joined[-1], extent):
            joined[-1]["length"] += extent["length"]
        else:
            joined.append(extent)
    return joined


def continues(last, extent):
    """Whether two extents are one: of the same kind, and in one piece where they have a place."""
    if any(last[key] != extent[key] for key in ("depth", "zero", "data", "present")):
        return False
    if "offset" in last and "offset" in extent:
        return last["offset"] + last["length"] == extent["offset"]
    return "offset" not in last and "offset" not in extent


def test_map(made, tool):
    found = tool.json("map", made)
    for extent in found:
        extent.pop("compressed", None)  # newer than the qemu-img we compare with
    assert without_guesses(found) == without_guesses(made.map)


def test_info(made, tool):
    for options in ((), ("--backing-chain",)):
        found = tool.json("info", made, *options)
        for image in found if isinstance(found, list) else [found]:
            image.pop("qcow2", None)  # what the tool has to say beside qemu-img's facts
        # Asked only now: the file system may still have been moving blocks when the image was made.
        assert found == json.loads(qemu.img(
            "info", "--output=json", *options, os.path.basename(made.path), cwd=made.directory))


def test_check(made, tool):
    status, expected = made.check
    found_status, output = tool.run("check", made, "--output=json", expect=(0, 1, 2, 3, 63))
    found = json.loads(output) if output.strip() else None
    for answer in (found, expected):
        if answer:
            answer.pop("filename")  # QEMU prints how an encrypted image was opened
            answer.pop("qcow2", None)
    assert (found_status, found) == (status, expected)
