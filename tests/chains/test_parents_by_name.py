# SPDX-License-Identifier: MIT
"""test_parents_by_name.py - how the name of a parent becomes a file, and when it does not.

The bytes of chains are the matter of test_whole_format.py; what hostile names must not do is in
test_failures_of_others.py."""

import os
import random
import subprocess

import pytest

import qemu_tools as qemu
import readers
from generate import Made
from refused import Refused

BACKING_FORMAT_AT = 112  # of the first header extension, if there is a parent


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Made(None, str(tmp_path))


def overlay(name, parent, form="qcow2"):
    qemu.img("create", "-q", "-u", "-f", "qcow2", "-b", parent, "-F", form, name, "1M")
    return name


def base(name, form="qcow2"):
    """A disk with content, made without looking at what is in its directory."""
    qemu.img("create", "-q", "-f", form, name, "1M")
    number = random.Random(name).randrange(1, 200)
    qemu.io(name, [f"write -P {number} 0 100k", f"write -P {number + 1} 500k 100k"],
            flags=("-f", form))
    return name


def forget_the_format(name):
    """The backing format extension becomes one that nobody knows."""
    with open(name, "r+b") as stream:
        stream.seek(BACKING_FORMAT_AT)
        assert stream.read(4) == bytes.fromhex("e2792aca")
        stream.seek(BACKING_FORMAT_AT)
        stream.write(bytes.fromhex("12345678"))


def tool(*arguments):
    return subprocess.run([readers.TOOL, *arguments], capture_output=True, check=False, timeout=20,
                          stdin=subprocess.DEVNULL)


def agree(reader, here):
    assert reader.digest(here) == qemu.digest("disk.qcow2")


def test_sixty_four_layers_are_not_too_many(here, reader):
    base("0.qcow2")
    for layer in range(1, 63):
        overlay(f"{layer}.qcow2", f"{layer - 1}.qcow2")
        if layer % 16 == 0:
            qemu.io(f"{layer}.qcow2", [f"write -P {layer} {layer * 10}k 4k"])
    overlay("disk.qcow2", "62.qcow2")
    agree(reader, here)


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_relative_name_starts_at_the_image_that_says_it(here, reader, form):
    """Not at the working directory, and not at the image on top."""
    os.mkdir("below")
    os.mkdir("below/deep")
    base("below/deep/base", form)
    base("deep", form)  # what a wrong start would find
    with open("base", "wb") as stream:
        stream.write(b"wrong" * 100)
    overlay("below/middle.qcow2", "deep/base", form)
    overlay("disk.qcow2", "below/middle.qcow2")
    agree(reader, here)


def test_name_with_a_colon_behind_a_slash_is_a_file(here, reader):
    base("./a:b")
    overlay("disk.qcow2", "./a:b")
    agree(reader, here)


def test_raw_parent_is_never_looked_into(here, reader):
    """A guest could have written a qcow2 header into its raw disk."""
    base("inner.qcow2")
    overlay("disk.qcow2", "inner.qcow2", "raw")
    agree(reader, here)
    overlay("disk.qcow2", "inner.qcow2", "qcow2")  # the other disk that it could have been
    agree(reader, here)


def test_parent_of_unstated_format_is_what_its_first_bytes_say(here, reader):
    base("parent")
    overlay("disk.qcow2", "parent")
    forget_the_format("disk.qcow2")
    agree(reader, here)
    base("parent", "raw")
    agree(reader, here)


def test_parent_of_unstated_format_gets_no_parent_of_its_own(here, reader):
    base("secret.raw", "raw")
    overlay("parent", "secret.raw", "raw")
    overlay("disk.qcow2", "parent")
    agree(reader, here)
    forget_the_format("disk.qcow2")
    with pytest.raises(Refused):
        reader.digest(here)


@pytest.mark.tool_only
def test_missing_parent_is_named_with_the_way_out(here):
    overlay("disk.qcow2", "gone.qcow2")
    done = tool("digest", "disk.qcow2")
    assert done.returncode == 1 and done.stdout == b""
    assert b"gone.qcow2" in done.stderr


@pytest.mark.tool_only
def test_no_backing_reads_the_top_layer_alone(here):
    base("parent.qcow2")
    overlay("disk.qcow2", "parent.qcow2")
    qemu.io("disk.qcow2", ["write -P 9 50k 100k"])
    qemu.img("rebase", "-u", "-b", "", "-f", "qcow2", "disk.qcow2")
    alone = qemu.digest("disk.qcow2")
    qemu.img("rebase", "-u", "-b", "parent.qcow2", "-F", "qcow2", "-f", "qcow2", "disk.qcow2")
    done = tool("digest", "--no-backing", "disk.qcow2")
    assert done.stdout.split()[:1] == [alone.encode()]


@pytest.mark.tool_only
@pytest.mark.parametrize("absolute", [False, True])
def test_directory_must_be_allowed_unless_it_is_the_images_own(here, absolute):
    os.mkdir("images")
    os.mkdir("bases")
    base("bases/base.qcow2")
    name = os.path.abspath("bases/base.qcow2") if absolute else "../bases/base.qcow2"
    overlay("images/disk.qcow2", name)
    refused = tool("digest", "images/disk.qcow2")
    assert refused.returncode == 1 and b"--allow" in refused.stderr
    assert tool("digest", "--allow", "images", "images/disk.qcow2").returncode == 1
    done = tool("digest", "--allow", "bases", "images/disk.qcow2")
    assert done.stdout.split()[:1] == [qemu.digest("images/disk.qcow2").encode()]
