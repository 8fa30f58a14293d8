# SPDX-License-Identifier: MIT
"""test_reference_on_odd_images.py - the reference reader on images that nobody writes.

Where QEMU reads them it has to read the same, where QEMU refuses it has to refuse; but for the end
of a file, past which QEMU invents zeros and the reader says "truncated"."""

import os
import random
import shutil
import struct
import zlib

import pytest

import qemu_tools as qemu
import reader
import zstd_ctypes
from refused import Refused
from small_images import (
    COMPRESSED, COPIED, KIB, MIB, agree, code_of, create, fill, l2_table, number_at, patch)


# ---------------------------------------------------------------------------------------------
# Table entries of every kind, right and wrong: whatever QEMU makes of them, we do too


def answer(function):
    try:
        return function()
    except (Refused, qemu.QemuError):
        return "refused"


def words_of_an_entry(rng, cluster, clusters_in_file):
    """A first L2 word: plausible, odd or broken, but never past the end of the file."""
    host = rng.randrange(clusters_in_file) * cluster
    return rng.choice((0, 1, host, host | 1, host | COPIED, host | COPIED | 1, host | 0x200,
                       host | rng.getrandbits(64) & 0x3F000000000001FE, COPIED, COPIED | 1))


@pytest.mark.parametrize("options", [
    ("compat=0.10",), ("compat=1.1",), ("extended_l2=on",), ("data_file=a.data",),
    ("data_file=a.data", "extended_l2=on")], ids="-".join)
def test_odd_entries_are_read_as_qemu_reads_them(here, options):
    rng = random.Random(str(options))
    cluster, size, outcomes = 16384, 64 * KIB, set()
    with open("parent.raw", "wb") as stream:
        stream.write(rng.randbytes(50_000))
    create("new.qcow2", size, f"cluster_size={cluster}", *options, parent="parent.raw")
    fill("new.qcow2", size, cluster, seed=1)
    qemu.io("new.qcow2", [f"write -s pool 0 {size}"])
    clusters_in_file = os.path.getsize("new.qcow2") // cluster
    table = l2_table("new.qcow2")
    for _ in range(40):
        shutil.copy("new.qcow2", "a.qcow2")
        index = rng.randrange(4)
        word = words_of_an_entry(rng, cluster, clusters_in_file)
        if "data_file=a.data" in options and rng.random() < 0.7:
            word = index * cluster | rng.choice((0, COPIED, COPIED | 1))
        bits = (rng.choice((0, 0xFFFFFFFF, rng.getrandbits(32))),
                rng.choice((0, 0, 0xFFFFFFFF, rng.getrandbits(32))))
        if rng.random() < 0.6:
            bits = bits[0] & ~bits[1], bits[1]
        entry = struct.pack(">QII", word, *bits)
        width = 16 if "extended_l2=on" in options else 8
        patch("a.qcow2", table + index * width, entry[:width])
        ours = answer(lambda: reader.open_image("a.qcow2").disk.digest())
        assert ours == answer(lambda: qemu.digest("a.qcow2")), f"entry {index}: {entry.hex()}"
        outcomes.add(ours)
    assert "refused" in outcomes and len(outcomes) > 5


# ---------------------------------------------------------------------------------------------
# Compressed data; format.md 3.6


def deflate(data, level=6, finish=True, window=-15):
    stream = zlib.compressobj(level, zlib.DEFLATED, window)
    return stream.compress(data) + stream.flush(zlib.Z_FINISH if finish else zlib.Z_SYNC_FLUSH)


def zstd_frame(data, checksum=False):
    """One frame of raw blocks: what an encoder makes of data it cannot compress."""
    blocks = [data[at:at + 60_000] for at in range(0, len(data), 60_000)] or [b""]
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x80 | 4 * checksum, 0x58]) + struct.pack("<I", len(data))
    for number, block in enumerate(blocks):
        frame += struct.pack("<I", len(block) << 3 | (number == len(blocks) - 1))[:3] + block
    return frame + (b"\0\0\0\0" if checksum else b"")


NOISE = random.Random("noise").randbytes(1 << 16)
TEXT = (NOISE[:32_000] + b"\0" * 1000 + NOISE[:31_000])[:60_000].ljust(1 << 16, b".")
SKIPPABLE = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
ZERO_BLOCK_TAIL = b"\0" * 16  # decodes as a stored block with a bad length

STREAMS = {  # name: (zstd, the bytes, readable)
    "ends-exactly-then-garbage": (False, deflate(TEXT) + b"\xff" * 900, True),
    "twice-as-long": (False, deflate(TEXT + NOISE), True),
    "unterminated-and-cut-there": (False, deflate(TEXT, finish=False), None),
    "unterminated-then-zeros": (False, deflate(TEXT, finish=False) + ZERO_BLOCK_TAIL, False),
    "one-byte-short": (False, deflate(TEXT[:-1]), False),
    "far-matches": (False, deflate(NOISE[:32_768] + NOISE[:32_768]), True),
    "zlib-wrapper": (False, zlib.compress(TEXT), False),
    "gzip-wrapper": (False, deflate(TEXT, window=31), False),
    "stored-blocks": (False, deflate(NOISE, level=0), True),
    "zstd-in-deflate": (False, zstd_frame(NOISE), False),
    "zstd": (True, zstd_frame(NOISE), True),
    "zstd-two-frames": (True, zstd_frame(NOISE[:5000]) + zstd_frame(NOISE[5000:]), True),
    "zstd-skippable-first": (True, SKIPPABLE + zstd_frame(NOISE), True),
    "zstd-skippable-between": (
        True, zstd_frame(NOISE[:9]) + SKIPPABLE + zstd_frame(b"") + zstd_frame(NOISE[9:]), True),
    "zstd-then-garbage": (True, zstd_frame(NOISE) + b"garbage" * 9, True),
    "zstd-one-byte-too-long": (True, zstd_frame(NOISE + b"x"), False),
    "zstd-second-frame-too-long": (True, zstd_frame(NOISE[:-4]) + zstd_frame(b"12345"), False),
    "zstd-one-byte-short": (True, zstd_frame(NOISE[:-1]), False),
    "zstd-wrong-checksum": (True, zstd_frame(NOISE, checksum=True), False),
    "zstd-cut-short": (True, zstd_frame(NOISE)[:-600], False),
    "deflate-in-zstd": (True, deflate(TEXT), False),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("shift", [0, 1, 511])
def test_compressed_streams_by_the_contract(here, name, shift):
    is_zstd, stream, readable = STREAMS[name]
    create("a.qcow2", 100 * KIB, "compression_type=zstd" if is_zstd else "cluster_size=65536")
    qemu.io("a.qcow2", ["write 0 64k"])
    start = -(-os.path.getsize("a.qcow2") // 512) * 512 + 512 + shift
    patch("a.qcow2", start, stream.ljust(-(-(start + len(stream)) // 512) * 512 - start, b"\0"))
    sectors = (start + len(stream) - 1) // 512 - start // 512
    patch("a.qcow2", l2_table("a.qcow2"), struct.pack(">Q", COMPRESSED | sectors << 54 | start))
    ours = answer(lambda: reader.open_image("a.qcow2").disk.digest())
    assert ours == answer(lambda: qemu.digest("a.qcow2"))
    assert readable is None or (ours != "refused") == readable


def test_compressed_data_gets_no_zeros_past_the_end(here):
    """QEMU fills up with zeros, which at times decode: wrong bytes and no error."""
    create("a.qcow2", 64 * KIB)
    qemu.io("a.qcow2", ["write 0 64k"])
    start = os.path.getsize("a.qcow2")
    stream = deflate(TEXT)
    whole = COMPRESSED | ((len(stream) - 1) // 512) << 54 | start
    patch("a.qcow2", l2_table("a.qcow2"), struct.pack(">Q", whole))
    patch("a.qcow2", start, stream)  # complete, though its last sector is not
    assert reader.open_image("a.qcow2").disk.read(0, 65536) == TEXT
    os.truncate("a.qcow2", start + len(stream) - 40)
    assert code_of(reader.open_image("a.qcow2").disk.read, 0, 512) == "truncated"


def test_zstd_windows_up_to_27_bits():
    def frame(window_log):
        return (b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3])
                + struct.pack("<I", 512 << 3 | 1)[:3] + NOISE[:512])
    assert zstd_ctypes.decompress(frame(27), 512) == NOISE[:512]
    assert code_of(zstd_ctypes.decompress, frame(28), 512) == "corrupt"


# ---------------------------------------------------------------------------------------------
# The end of the file, and headers


def test_last_cluster_may_be_short_but_not_missing(here):
    create("a.qcow2", 64 * KIB)
    qemu.io("a.qcow2", ["write -P 1 0 64k"])
    length = os.path.getsize("a.qcow2")
    os.truncate("a.qcow2", length - 65535)
    assert reader.open_image("a.qcow2").disk.read(0, 65536) == b"\x01" + b"\0" * 65535
    agree("a.qcow2")
    os.truncate("a.qcow2", length - 65536)
    assert code_of(reader.open_image("a.qcow2").disk.read, 0, 1) == "truncated"


@pytest.mark.parametrize("offset, data, code", [
    (0, b"QFI\xfa", "not-qcow2"), (4, b"\0\0\0\4", "unsupported"), (4, b"\0\0\0\0", "unsupported"),
    (20, struct.pack(">I", 8), "corrupt"), (20, struct.pack(">I", 2**32 - 1), "corrupt"),
    (24, struct.pack(">Q", 2**63), "corrupt"), (24, struct.pack(">Q", 2**40), "corrupt"),
    (32, struct.pack(">I", 3), "unsupported"), (32, struct.pack(">I", 2), "corrupt"),
    (36, struct.pack(">I", 2**32 - 1), "corrupt"), (36, struct.pack(">I", 4194304), "truncated"),
    (40, struct.pack(">Q", 512), "corrupt"), (40, struct.pack(">Q", 2**62), "truncated"),
    (48, struct.pack(">Q", 1), "corrupt"), (56, struct.pack(">I", 0), "corrupt"),
    (56, struct.pack(">I", 0x20001), "corrupt"), (8, struct.pack(">Q", 2**64 - 1), "corrupt"),
    (8, struct.pack(">QI", 1000, 1024), "corrupt"), (8, struct.pack(">QI", 65000, 600), "corrupt"),
    (8, struct.pack(">QI", 50, 4), "corrupt"), (72, struct.pack(">Q", 1 << 5), "unsupported"),
    (72, struct.pack(">Q", 1 << 3), "corrupt"), (88, struct.pack(">Q", 2), "corrupt"),
    (96, struct.pack(">I", 7), "corrupt"), (100, struct.pack(">I", 103), "corrupt"),
    (100, struct.pack(">I", 65537), "corrupt"), (104, b"\1", "corrupt"),
    (104, b"\2", "unsupported"),
    (112, struct.pack(">II", 7, 2**31), "corrupt"),
])
def test_bad_headers_are_refused(here, offset, data, code):
    create("a.qcow2", MIB)
    patch("a.qcow2", offset, data)
    assert code_of(reader.open_image, "a.qcow2") == code


def test_unknown_features_are_named(here):
    create("a.qcow2", MIB)
    table = 112
    assert number_at("a.qcow2", table, 4) == 0x6803F857
    patch("a.qcow2", table + 8, b"\0\x07no\x1bsuch".ljust(48, b"\0"))
    patch("a.qcow2", 72, struct.pack(">Q", 1 << 7 | 1 << 63))
    with pytest.raises(Refused, match=r"'no\\x1bsuch', bit 63$"):
        reader.open_image("a.qcow2")


@pytest.mark.parametrize("bits", [1 << 0, 1 << 1])
def test_dirty_and_corrupt_images_are_read(here, bits):
    create("a.qcow2", MIB)
    fill("a.qcow2", MIB, 65536, seed=1)
    before = qemu.digest("a.qcow2")
    patch("a.qcow2", 72, struct.pack(">QQQ", bits, 2**64 - 1, 2**64 - 4))
    assert reader.open_image("a.qcow2").disk.digest() == before


@pytest.mark.parametrize("length", [0, 4, 8, 71, 72, 103])
def test_short_files_are_refused(here, length):
    create("a.qcow2", MIB)
    os.truncate("a.qcow2", length)
    assert code_of(reader.open_image, "a.qcow2") in ("truncated", "not-qcow2", "unsupported")
