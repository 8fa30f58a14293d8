# SPDX-License-Identifier: MIT
"""test_reference.py - the reference reader against qemu-img, feature by feature.

Every disk that QEMU can read has to have QEMU's digest here too. What neither of them should read,
and what only one of them should, is in test_reference_on_odd_images.py."""

import hashlib
import os
import random
import struct
import subprocess
import sys

import pytest

import crypto_ctypes
import qemu_tools as qemu
import reader
from small_images import (
    KIB, MIB, agree, code_of, create, fill, l2_table, number_at, patch, random_writes)


# ---------------------------------------------------------------------------------------------
# Disks


@pytest.mark.parametrize("options", [
    ("compat=0.10",), ("compat=1.1",), ("compat=1.1", "compression_type=zstd"),
    ("compat=1.1", "extended_l2=on"),
    ("compat=1.1", "extended_l2=on", "compression_type=zstd")], ids="-".join)
@pytest.mark.parametrize("cluster_bits", [9, 12, 14, 16, 21])
def test_disk_has_qemus_digest(here, options, cluster_bits):
    if "extended_l2=on" in options and cluster_bits < 14:
        assert cluster_bits in (9, 12)
        options = tuple(word for word in options if not word.startswith("extended"))
    cluster = 1 << cluster_bits
    size = max(5 * cluster + 512 * 3, 300 * KIB)
    name = create("a.qcow2", size, f"cluster_size={cluster}", *options)
    fill(name, size, cluster, seed=str(options), kinds=("plain", "zero", "compressed"))
    agree(name)


@pytest.mark.parametrize("size", [0, 512, 65024, 65536, 66048, 10 * MIB + 512])
def test_odd_sizes(here, size):
    create("a.qcow2", size)
    if size:
        fill("a.qcow2", size, 65536, seed=size)
    agree("a.qcow2")


@pytest.mark.parametrize("size, visible", [(1, 0), (511, 0), (1000, 512), (66_536, 66_048)])
def test_size_is_rounded_down_to_sectors(here, size, visible):
    create("a.qcow2", 2 * MIB)
    fill("a.qcow2", 2 * MIB, 65536, seed=1)
    patch("a.qcow2", 24, struct.pack(">Q", size))
    assert reader.open_image("a.qcow2").disk.size == visible
    agree("a.qcow2")


@pytest.mark.parametrize("parent_size", [MIB, 700 * KIB, 40_000, 3 * MIB])
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_parents_of_any_length(here, kind, parent_size):
    parent = "parent." + kind
    if kind == "raw":
        with open(parent, "wb") as stream:
            stream.write(random.Random(parent_size).randbytes(parent_size))
    else:
        create(parent, parent_size, "cluster_size=4k")
        size = -(-parent_size // 512) * 512  # as qemu-img rounds it
        fill(parent, size, 4096, seed=parent_size, kinds=("plain", "zero", "compressed"))
    create("middle.qcow2", 512 * KIB, "cluster_size=512", parent=parent)
    fill("middle.qcow2", 512 * KIB, 512, seed=2)
    create("top.qcow2", MIB + 512, "cluster_size=16k", "extended_l2=on", parent="middle.qcow2")
    fill("top.qcow2", MIB + 512, 16384, seed=3)
    agree("top.qcow2")


def test_parent_without_stated_format_may_not_name_another(here):
    create("base.qcow2", MIB)
    fill("base.qcow2", MIB, 65536, seed=1)
    for name, parent in (("middle.qcow2", "base.qcow2"), ("top.qcow2", "middle.qcow2")):
        create(name, MIB, parent=parent)
        assert number_at(name, 112, 4) == 0xE2792ACA
        patch(name, 112, b"\1")  # now an extension that nobody knows
    agree("middle.qcow2")
    assert code_of(reader.open_image, "top.qcow2") == "reference"


def test_loop_and_missing_parent_and_prefixed_names_are_refused(here):
    for name, parent in ("ab", "ba", ("c", "gone"), ("d", "nbd://x/y"), ("e", "/dev/zero")):
        qemu.img("create", "-q", "-u", "-f", "qcow2", "-b", parent, "-F", "qcow2", name, "1M")
    for name in "abcde":
        assert code_of(reader.open_image, name) == "reference"


def test_chain_of_seventy(here):
    create("0.qcow2", MIB, "cluster_size=512")
    fill("0.qcow2", MIB, 4096, seed=70)
    for layer in range(1, 70):
        qemu.img("create", "-q", "-u", "-f", "qcow2", "-b", f"{layer - 1}.qcow2", "-F", "qcow2",
                 f"{layer}.qcow2", "1M")
    agree("69.qcow2")


@pytest.mark.parametrize("options", [(), ("extended_l2=on",), ("data_file_raw=on",)], ids=str)
def test_external_data_file(here, options):
    create("a.qcow2", 2 * MIB, "data_file=a.data", *options)
    fill("a.qcow2", 2 * MIB, 65536, seed=5)
    qemu.io("a.qcow2", ["write -P 7 0 512"])  # host offset 0, told from "absent" by bit 63 alone
    agree("a.qcow2")
    patch("a.qcow2", l2_table("a.qcow2") + (16 if "extended_l2=on" in options else 8),
          struct.pack(">Q", 0x50000))
    assert code_of(reader.open_image("a.qcow2").disk.read, 65536, 512) == "corrupt"


def test_image_is_not_its_own_data_file(here):
    create("a.qcow2", MIB, "data_file=a.data")
    os.unlink("a.data")
    os.link("a.qcow2", "a.data")
    assert code_of(reader.open_image, "a.qcow2") == "reference"


@pytest.mark.parametrize("parent", [None, "parent.raw", "parent.qcow2"])
@pytest.mark.parametrize("kinds", [("plain",), ("plain", "compressed")], ids=str)
def test_version_1(here, kinds, parent):
    size = 5 * MIB // 2 // 512 * 512
    if parent == "parent.raw":
        with open(parent, "wb") as stream:
            stream.write(random.Random(9).randbytes(600_001))
    elif parent:
        fill(create(parent, MIB), MIB, 65536, seed=9)
    backing = ["-b", parent, "-F", parent.split(".")[1]] if parent else []
    qemu.img("create", "-q", "-f", "qcow", *backing, "a.qcow", str(size))
    cluster = 512 if parent else 4096
    fill("a.qcow", size, cluster, 11, kinds)
    agree("a.qcow")


# ---------------------------------------------------------------------------------------------
# Snapshots, bitmaps, refcounts


def test_snapshots_have_the_size_and_content_they_were_taken_with(here):
    create("a.qcow2", 2 * MIB, "cluster_size=4k")
    truth = {}
    for step, size in enumerate((2 * MIB, 3 * MIB, MIB), start=1):
        qemu.img("resize", "-q", "--shrink", "-f", "qcow2", "a.qcow2", str(size))
        fill("a.qcow2", size, 4096, seed=step, kinds=("plain", "zero", "compressed"))
        truth[f"s{step}"] = size, qemu.digest("a.qcow2")
        qemu.img("snapshot", "-q", "-c", f"s{step}", "a.qcow2")
    fill("a.qcow2", MIB, 4096, seed=99)
    agree("a.qcow2")
    image = reader.open_image("a.qcow2")
    found = {s.name: (image.open_snapshot(s.name).size, image.open_snapshot(s.id).digest())
             for s in image.snapshots}
    assert found == truth
    assert code_of(image.open_snapshot, "s9") == "not-found"


def test_snapshot_ids_go_before_names(here):
    create("a.qcow2", MIB)
    for name in ("2", "1"):
        fill("a.qcow2", MIB, 65536, seed=name)
        qemu.img("snapshot", "-q", "-c", name, "a.qcow2")
    image = reader.open_image("a.qcow2")
    for wanted in ("1", "2"):
        assert image.open_snapshot(wanted).digest() == qemu.digest("a.qcow2", "-l", wanted)


@pytest.mark.parametrize("cluster, size", [(4096, 3 * MIB + 512), (65536, MIB)])
def test_vm_state_lies_behind_the_disk(here, cluster, size):
    create("a.qcow2", size, f"cluster_size={cluster}")
    fill("a.qcow2", size, cluster, seed=4)
    qemu.io("a.qcow2", ["write -b -P 9 0 100k", "write -b -P 8 100k 50k"])
    qemu.img("snapshot", "-q", "-c", "with-state", "a.qcow2")
    table = number_at("a.qcow2", 64)
    patch("a.qcow2", table + 40, struct.pack(">Q", 150 * KIB - 7))  # qemu-img writes 0 here
    image = reader.open_image("a.qcow2")
    state = image.open_snapshot("with-state", vm_state=True)
    assert state.read(0, MIB) == b"\x09" * 100 * KIB + b"\x08" * (50 * KIB - 7)
    assert image.open_snapshot("with-state").digest() == qemu.digest("a.qcow2")


@pytest.mark.parametrize("cluster", [512, 65536])
def test_bitmaps_show_what_was_written(here, cluster):
    size = 10 * MIB + 512
    create("a.qcow2", size, f"cluster_size={cluster}")
    for name, granularity in (("fine", "512"), ("coarse", "1M"), ("off", "64k")):
        qemu.img("bitmap", "--add", "-g", granularity, "a.qcow2", name)
    qemu.img("bitmap", "--disable", "a.qcow2", "off")
    qemu.io("a.qcow2", [f"write {128 * KIB} {128 * KIB}", f"write {10 * MIB} 512"])
    found = {b["name"]: b for b in reader.open_image("a.qcow2").bitmaps}
    assert found["fine"]["ranges"] == [[128 * KIB, 128 * KIB], [10 * MIB, 512]]
    assert found["coarse"]["ranges"] == [[0, MIB], [10 * MIB, 512]]
    assert found["off"]["ranges"] == []
    assert [found[name]["flags"] for name in ("fine", "off")] == [["auto"], []]
    assert found["coarse"]["granularity"] == MIB


def test_bitmap_entry_of_all_ones_ends_with_the_disk(here):
    create("a.qcow2", 100 * KIB)
    qemu.img("bitmap", "--add", "-g", "64k", "a.qcow2", "b")
    image = reader.open_image("a.qcow2")
    directory = struct.unpack(">Q", image.extensions[0x23852875][16:])[0]
    patch("a.qcow2", number_at("a.qcow2", directory), struct.pack(">Q", 1))
    assert reader.open_image("a.qcow2").bitmaps[0]["ranges"] == [[0, 100 * KIB]]


def test_broken_bitmap_or_snapshot_table_leaves_the_disk(here):
    create("a.qcow2", MIB)
    fill("a.qcow2", MIB, 65536, seed=1)
    before = qemu.digest("a.qcow2")
    qemu.img("bitmap", "--add", "a.qcow2", "b")
    qemu.img("snapshot", "-q", "-c", "s", "a.qcow2")
    image = reader.open_image("a.qcow2")
    directory = struct.unpack(">Q", image.extensions[0x23852875][16:])[0]
    patch("a.qcow2", directory, b"\xff" * 24)
    patch("a.qcow2", number_at("a.qcow2", 64) + 36, b"\xff" * 4)
    image = reader.open_image("a.qcow2")
    assert image.disk.digest() == before
    assert code_of(lambda: image.bitmaps) == "corrupt"
    assert code_of(lambda: image.snapshots) == "corrupt"


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16, 32, 64])
def test_refcounts_of_every_width(here, width):
    """Each cluster's stored refcount is the number of references, which are counted from the L2
    tables: QEMU's images are consistent, or its own check would say so."""
    create("a.qcow2", MIB, "cluster_size=4k", f"refcount_bits={width}")
    fill("a.qcow2", MIB, 4096, seed=width)
    if width > 1:
        qemu.img("snapshot", "-q", "-c", "s", "a.qcow2")
        fill("a.qcow2", 256 * KIB, 4096, seed=width + 1)
    qemu.img("check", "-q", "a.qcow2")
    image = reader.open_image("a.qcow2")
    disks = [image.disk] + [image.open_snapshot(s.id) for s in image.snapshots]
    uses = {}
    for disk in disks:
        for guest in range(0, MIB, 4096):
            kind, host, _ = image.locate(disk.l1, guest)
            if kind == "data":
                uses[host // 4096] = uses.get(host // 4096, 0) + 1
    assert uses and max(uses.values()) == min(2, len(disks))
    assert {cluster: image.refcount(cluster) for cluster in uses} == uses
    assert image.refcount(0) == 1
    assert image.refcount(os.path.getsize("a.qcow2") // 4096 + 1) == 0
    assert image.refcount(1 << 60) == 0


# ---------------------------------------------------------------------------------------------
# Encryption


def create_luks(name, size, key_file, *options):
    """qemu-img measures the processor first, and at times says that it cannot."""
    for attempt in range(6):
        try:
            qemu.img("create", "-q", "--object", f"secret,id=key,file={key_file}", "-f", "qcow2",
                     "-o", ",".join(("encrypt.format=luks", "encrypt.key-secret=key",
                                     "encrypt.iter-time=10") + options), name, str(size))
            return qemu.Encrypted(name, key_file)
        except qemu.QemuError as error:
            if "accurate CPU" not in str(error) or attempt == 5:
                raise


@pytest.mark.parametrize("options", [
    (),
    ("compat=0.10", "cipher-alg=aes-128", "cipher-mode=cbc", "ivgen-alg=plain", "hash-alg=sha1"),
    ("cipher-mode=cbc", "ivgen-alg=essiv", "ivgen-hash-alg=sha256", "hash-alg=sha512"),
], ids="-".join)
def test_luks(here, options):
    with open("key", "wb") as stream:
        stream.write(b"open sesame")
    words = [w if w.startswith("compat") else "encrypt." + w for w in options]
    image = create_luks("a.qcow2", 2 * MIB, "key", "cluster_size=4k", *words)
    qemu.io(image, random_writes(2 * MIB, 4096, seed=str(options)))
    assert reader.open_image("a.qcow2", b"open sesame").disk.digest() == qemu.digest(image)
    assert code_of(reader.open_image, "a.qcow2", b"open sesame ") == "key"
    assert code_of(reader.open_image, "a.qcow2") == "key"


@pytest.mark.parametrize("form", ["qcow2", "qcow"])
def test_legacy_aes(here, form):
    with open("key", "wb") as stream:
        stream.write(b"a key of more than sixteen bytes")
    qemu.img("create", "-q", "--object", "secret,id=key,file=key", "-f", form, "-o",
             "encrypt.format=aes,encrypt.key-secret=key", "a.img", "2M")
    options = f"driver={form},file.filename=a.img,encrypt.key-secret=key"
    image = qemu.Encrypted("a.img", "key", options)
    kinds = ("plain", "zero") if form == "qcow2" else ("plain",)
    qemu.io(image, random_writes(2 * MIB, 4096, form, kinds))
    key = b"a key of more than sixteen bytes"
    assert reader.open_image("a.img", key).disk.digest() == qemu.digest(image)


def test_known_answers_of_the_ciphers():
    cipher = crypto_ctypes.LegacyAes(b"short")
    encrypt = crypto_ctypes.Aes("cbc", b"short".ljust(16, b"\0"), encrypt=True)
    for sector, start in ((0, "80a6024d182811377b330f59e3930479"),
                          (2048, "4f71c670eab135887f6c73e376589e89")):
        stored = encrypt.run(b"\xa5" * 512, crypto_ctypes.plain64(sector))
        assert stored[:16].hex() == start
        assert cipher.decrypt(stored, sector * 512, 0) == b"\xa5" * 512
    xts = crypto_ctypes.Aes("xts", bytes(range(64)), encrypt=True)
    assert xts.run(b"\xa5" * 512, crypto_ctypes.plain64(0x1380))[:16].hex() == (
        "6c88fa5ef092fb6acbc550d65bbbc200")
    essiv = crypto_ctypes.iv_maker("essiv", "sha256", bytes(range(16)))
    assert essiv(1).hex() == "c10509c8cf7d6eee55d7205db7845a6f"


def test_known_answers_of_the_stripes(monkeypatch):
    monkeypatch.setattr(crypto_ctypes, "STRIPES", 3)
    for name, merged in (
            ("sha1", "60bbdd81b29404e5f7631469b8412ae5153655c23e5503a23418423454f2d6ae"),
            ("sha256", "2ec9dd1c376c60c2a1048733968915ec517b026e72b9bb588b696969840225ec")):
        assert crypto_ctypes.merge_stripes(bytes(range(96)), 32, name).hex() == merged


# ---------------------------------------------------------------------------------------------
# The command line


def test_command_line(here):
    create("a.qcow2", MIB)
    fill("a.qcow2", MIB, 65536, seed=1)
    qemu.img("snapshot", "-q", "-c", "one", "a.qcow2")
    qemu.img("bitmap", "--add", "a.qcow2", "b")
    before = qemu.digest("a.qcow2")

    def run(*arguments):
        return subprocess.run([sys.executable, reader.__file__, *arguments], capture_output=True,
                              check=False)
    assert run("digest", "a.qcow2").stdout.decode() == f"{before}  a.qcow2\n"
    assert hashlib.sha256(run("cat", "a.qcow2", "--snapshot", "one").stdout).hexdigest() == before
    assert b'"name": "one"' in run("snapshots", "a.qcow2").stdout
    assert b'"name": "b"' in run("bitmaps", "a.qcow2").stdout
    os.truncate("a.qcow2", 100)
    refused = run("digest", "a.qcow2")
    assert refused.returncode == 1 and refused.stderr.startswith(b"reader.py: a.qcow2: truncated: ")
