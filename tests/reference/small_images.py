# SPDX-License-Identifier: MIT
"""small_images.py - images for the tests of the reader: made, filled, patched, compared."""

import random

import pytest

import qemu_tools as qemu
import reader
from refused import Refused

KIB, MIB = 1 << 10, 1 << 20
COPIED, COMPRESSED = 1 << 63, 1 << 62


def create(name, size, *options, parent=None, form="qcow2"):
    backing = ["-b", parent, "-F", "raw" if parent.endswith(".raw") else "qcow2"] if parent else []
    option_words = ["-o", ",".join(options)] if options else []
    qemu.img("create", "-q", "-f", form, *option_words, *backing, name, str(size))
    return name


def random_writes(size, cluster, seed, kinds=("plain", "zero")):
    """qemu-io commands that leave a disk of every kind of cluster, always the same for a seed."""
    rng = random.Random(seed)
    with open("pool", "wb") as stream:  # half noise, half text, no period of a power of two
        stream.write(rng.randbytes(70_001) + b"qcow2 " * 11_003)
    commands = []
    if "compressed" in kinds:  # first: QEMU does not compress over what is in place already
        starts = range(0, size, cluster)
        for offset in rng.sample(starts, min(5, len(starts))):
            commands.append(f"write -c -s pool {offset} {min(cluster, size - offset)}")
    for _ in range(10):
        offset = rng.randrange(0, size, 512)
        length = min(rng.randrange(512, 5 * cluster + 512, 512), size - offset)
        verb = {"plain": "write -s pool", "zero": rng.choice(("write -z", "write -zu", "discard"))}
        kind = rng.choice(kinds)
        if kind != "compressed":
            commands.append(f"{verb[kind]} {offset} {length}")
    return commands


def fill(name, size, cluster, seed, kinds=("plain", "zero")):
    qemu.io(name, random_writes(size, cluster, seed, kinds))


def agree(name, *options):
    assert reader.open_image(name).disk.digest() == qemu.digest(name, *options)


def code_of(function, *arguments):
    """The code word with which a call is refused."""
    with pytest.raises(Refused) as refused:
        function(*arguments)
    return refused.value.code


def patch(name, offset, data):
    with open(name, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def number_at(name, offset, size=8):
    with open(name, "rb") as stream:
        stream.seek(offset)
        return int.from_bytes(stream.read(size), "big")


def l2_table(name):
    """Where the L2 table of the first L1 entry lies."""
    return number_at(name, number_at(name, 40)) & reader.OFFSET
