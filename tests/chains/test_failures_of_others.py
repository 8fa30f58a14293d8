# SPDX-License-Identifier: MIT
"""test_failures_of_others.py - how other readers of the format go wrong, one test for each way.

Every test is named after what has to hold; its docstring says who was seen doing what instead."""

import hashlib
import os
import random
import resource
import struct
import subprocess
import threading
import zlib

import pytest

import library
import qemu_tools as qemu
import readers
from generate import Made, insist
from layouts import COMPRESSED, OFFSET
from refused import Refused

KIB, MIB = 1 << 10, 1 << 20
PATIENCE_SECONDS = 20  # for what should take milliseconds, on a machine that may be busy
ADDRESS_SPACE = 512 * MIB


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory that is also the current one; the image to read is disk.qcow2 in it."""
    monkeypatch.chdir(tmp_path)
    return Made(None, str(tmp_path))


def create(size, *options, name="disk.qcow2", parent=None, form="qcow2"):
    backing = ["-b", parent, "-F", parent.split(".")[-1], "-u"] if parent else []
    qemu.img("create", "-q", "-f", form, *(["-o", ",".join(options)] if options else []), *backing,
             name, str(size))


def noise(name, size):
    with open(name, "wb") as stream:
        stream.write(random.Random(name).randbytes(size))


def patch(offset, data, name="disk.qcow2"):
    with open(name, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def number_at(offset, size=8, name="disk.qcow2"):
    with open(name, "rb") as stream:
        stream.seek(offset)
        return int.from_bytes(stream.read(size), "big")


def l2_table():
    return number_at(number_at(40)) & OFFSET


def agree(reader, here):
    assert reader.digest(here) == qemu.digest("disk.qcow2")


def limited_tool(*arguments):
    """The tool with little memory and time; sanitizers need address space by the terabyte."""
    with open(readers.TOOL, "rb") as program:
        content = program.read()
    sanitized = b"__asan_init" in content or b"__tsan_init" in content

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    return subprocess.run([readers.TOOL, *arguments], capture_output=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS,
                          preexec_fn=None if sanitized else limit)


def assert_refused(done, *words):
    """Status 1, nothing handed out, and one line that has these words."""
    said = done.stderr.decode(errors="replace")
    assert (done.returncode, done.stdout) == (1, b""), said
    assert len(said.splitlines()) == 1 and said.startswith("qcow2: "), said
    for word in words:
        assert word in said, said


# ---------------------------------------------------------------------------------------------
# Parents


@pytest.mark.parametrize("options", [(), ("extended_l2=on",)], ids=["standard", "extended"])
def test_zero_clusters_over_a_parent_hide_it(here, reader, options):
    """libqcow returns the parent's bytes where the child says zero."""
    noise("parent.raw", MIB)
    create(MIB, *options, parent="parent.raw")
    qemu.io("disk.qcow2", ["write -z 64k 128k", "write -z -u 512k 64k", "write 300k 4k",
                           "write -z 320k 30k"])
    agree(reader, here)


@pytest.mark.parametrize("parent", ["parent.raw", "parent.qcow2"])
@pytest.mark.parametrize("parent_size", [512, 40_448, 300 * KIB + 512])
def test_parent_shorter_than_the_child_ends_in_zeros(here, reader, parent, parent_size):
    """libqcow loops without end, dissect cuts the output short."""
    noise("parent.raw", parent_size)
    if parent == "parent.qcow2":
        qemu.img("convert", "-O", "qcow2", "parent.raw", parent)
    create(MIB, parent=parent)
    qemu.io("disk.qcow2", ["write 700k 10k"])
    agree(reader, here)


@pytest.mark.tool_only
def test_short_parent_leaves_nothing_of_the_callers_buffer(here):
    """qcow2-rs leaves those bytes of the buffer as they were: whatever the caller had there."""
    noise("parent.raw", 40_448)
    create(MIB, parent="parent.raw")
    image = library.Image("disk.qcow2")
    target = library.ctypes.create_string_buffer(b"\xaa" * 100_000, 100_000)
    assert image.read_into(target, 100_000, 10_000) == 100_000
    with open("parent.raw", "rb") as stream:
        assert target.raw == stream.read()[10_000:].ljust(100_000, b"\0")
    image.close()


# ---------------------------------------------------------------------------------------------
# Features that are not looked at


@pytest.mark.parametrize("content", ["write", "write -c"])
def test_extended_l2_is_read_by_its_own_rules(here, reader, content):
    """dissect raises or hangs; read-qcow2 and crosvm never look at the feature bit, and hand out
    what two words of one entry look like to those who take them for two entries."""
    create(MIB, "extended_l2=on")
    qemu.io("disk.qcow2", [f"{content} -P 1 0 64k", f"{content} -P 2 192k 64k", "write -P 3 70k 4k",
                           "write -z 256k 10k", "write -P 5 530k 100k"])
    agree(reader, here)


@pytest.mark.parametrize("bit", [5, 40, 63])
def test_unknown_incompatible_features_are_refused(here, reader, bit):
    """read-qcow2 and crosvm do not look at the feature bits at all."""
    create(MIB)
    patch(72, struct.pack(">Q", 1 << bit))
    with pytest.raises(Refused):
        reader.digest(here)


def create_encrypted(method):
    with open("key", "wb") as stream:
        stream.write(b"twelve bytes")
    options = f"encrypt.format={method},encrypt.key-secret=key"
    options += ",encrypt.iter-time=10" if method == "luks" else ""
    insist(lambda: qemu.img("create", "-q", "--object", "secret,id=key,file=key", "-f", "qcow2",
                            "-o", options, "disk.qcow2", "1M"))
    image = qemu.Encrypted("disk.qcow2", "key")
    qemu.io(image, ["write -P 1 0 64k", "write -P 2 100k 4k"])
    return image


@pytest.mark.tool_only
@pytest.mark.parametrize("method", ["aes", "luks"])
def test_encrypted_image_hands_out_nothing_without_its_key(here, method):
    """imago, qcow2-rs, cloud-hypervisor and crosvm hand out the ciphertext as if it were data."""
    create_encrypted(method)
    for command in ("cat", "digest"):
        assert_refused(limited_tool(command, "disk.qcow2"), "key")
    assert_refused(limited_tool("convert", "disk.qcow2", "-"), "key")
    if method == "luks":  # legacy AES has nothing to tell a wrong key by
        noise("wrong", 12)
        assert_refused(limited_tool("cat", "--key-file", "wrong", "disk.qcow2"), "key")


@pytest.mark.parametrize("method", ["aes", "luks"])
def test_encryption_is_undone_with_the_key(here, reader, method):
    """The other half of the same: with its key an encrypted disk is that disk."""
    image = create_encrypted(method)
    here.key_file = "key"
    assert reader.digest(here) == qemu.digest(image)


def test_version_1_is_not_taken_for_raw(here, reader):
    """go-qcow2reader finds no qcow2, concludes raw, and hands out the container's own bytes."""
    create(MIB, form="qcow")
    qemu.io("disk.qcow2", ["write -P 1 0 64k", "write -c -P 2 100k 4k"])
    agree(reader, here)
    with open("disk.qcow2", "rb") as stream:
        assert reader.digest(here) != hashlib.sha256(stream.read()).hexdigest()


def test_version_1_parent_is_not_taken_for_raw(here, reader):
    """The same one layer down, with the format stated."""
    create(MIB, name="parent.qcow", form="qcow")
    qemu.io("parent.qcow", ["write -P 1 0 64k"])
    create(MIB, parent="parent.qcow")
    agree(reader, here)


def test_version_2_header_is_not_read_as_version_3(here, reader):
    """dissect and qcow2-rs take what follows a version 2 header for feature bits, a header length
    and a compression type. Here it is an extension that would be all of these, each wrong."""
    noise("parent.raw", MIB)
    create(MIB, "compat=0.10", parent="parent.raw")
    qemu.io("disk.qcow2", ["write -P 1 64k 64k"])
    with open("disk.qcow2", "rb") as stream:
        stream.seek(72)
        extensions = stream.read(number_at(8) - 72)
    shifted = struct.pack(">II", 0xFFFFFFFF, 48) + b"\xff" * 48 + extensions
    name = b"parent.raw"
    patch(8, struct.pack(">Q", 72 + len(shifted)))
    patch(72, shifted + name)
    agree(reader, here)


@pytest.mark.parametrize("at", [80, 88], ids=["compatible", "autoclear"])
def test_unknown_compatible_features_are_no_obstacle(here, reader, at):
    """libqcow refuses every image with a compatible bit it does not know."""
    create(MIB)
    qemu.io("disk.qcow2", ["write -P 1 64k 64k"])
    patch(at, struct.pack(">Q", 1 << 63 | 1 << 20))
    agree(reader, here)


def test_snapshots_are_no_obstacle(here, reader):
    """nbdkit's qcow2dec refuses every image that has a snapshot."""
    create(MIB)
    qemu.io("disk.qcow2", ["write -P 1 64k 64k"])
    qemu.img("snapshot", "-q", "-c", "before", "disk.qcow2")
    qemu.io("disk.qcow2", ["write -P 2 100k 64k"])
    agree(reader, here)


# ---------------------------------------------------------------------------------------------
# Hostile images


def name_as_parent(name, form):
    create(MIB)
    qemu.img("rebase", "-u", "-b", name, "-F", form, "-f", "qcow2", "disk.qcow2")


@pytest.mark.tool_only
@pytest.mark.parametrize("name", ["/etc/passwd", "../../../../../../../../etc/passwd", "link",
                                  "file:/etc/passwd", 'json:{"driver":"raw"}', "nbd://localhost/x",
                                  "/dev/zero", "fifo", "."])
def test_host_files_are_not_read_as_parents(here, name):
    """go-qcow2reader and dissect open and hand out any file that an image names."""
    os.symlink("/etc/passwd", "link")
    os.mkfifo("fifo")
    name_as_parent(name, "raw")
    for command in ("cat", "digest", "map"):
        assert_refused(limited_tool(command, "disk.qcow2"))


@pytest.mark.tool_only
@pytest.mark.parametrize("name", ["/etc/passwd", "../../../../../../../../etc/passwd", "link"])
def test_host_files_are_not_read_as_data_files(here, name):
    """The same for the external data file."""
    os.symlink("/etc/passwd", "link")
    create(MIB, "data_file=" + "x" * len(name))
    with open("disk.qcow2", "rb") as stream:
        at = stream.read(65536).index(b"x" * len(name))
    patch(at, name.encode())
    for command in ("cat", "digest", "map"):
        assert_refused(limited_tool(command, "disk.qcow2"))


@pytest.mark.tool_only
def test_image_that_is_its_own_parent_is_refused_at_once(here):
    """go-qcow2reader, dissect and QEMU open it again and again, until descriptors run out."""
    name_as_parent("disk.qcow2", "qcow2")
    assert_refused(limited_tool("digest", "disk.qcow2"))


@pytest.mark.tool_only
def test_two_images_that_are_each_others_parent_are_refused_at_once(here):
    """A loop with one more step, and a second name for the same file."""
    name_as_parent("other", "qcow2")
    create(MIB, name="second.qcow2", parent="disk.qcow2")
    os.link("second.qcow2", "other")
    assert_refused(limited_tool("digest", "disk.qcow2"))
    assert_refused(limited_tool("digest", "second.qcow2"))


@pytest.mark.tool_only
@pytest.mark.parametrize("at, value, size", [
    pytest.param(36, 0xFFFFFFFF, 4, id="l1-entries-4G"),
    pytest.param(36, 4194304, 4, id="l1-entries-at-the-limit"),
    pytest.param(20, 40, 4, id="cluster-bits-40"), pytest.param(20, 63, 4, id="cluster-bits-63"),
    pytest.param(20, 64, 4, id="cluster-bits-64"), pytest.param(20, 0, 4, id="cluster-bits-0"),
    pytest.param(24, 2**63 - 1, 8, id="size-2^63-1"),
    pytest.param(24, 2**64 - 1, 8, id="size-2^64-1"),
])
def test_crafted_headers_cost_neither_memory_nor_time(here, at, value, size):
    """go-qcow2reader runs out of memory on huge L1 tables and clusters of 2^40, panics at 2^63."""
    create(MIB)
    patch(at, value.to_bytes(size, "big"))
    for command in ("cat", "digest", "map"):
        assert_refused(limited_tool(command, "disk.qcow2"))


# ---------------------------------------------------------------------------------------------
# Slow or unsafe inside


@pytest.mark.tool_only
def test_compressed_cluster_is_decoded_once_for_many_small_reads(here):
    """Readers with a fresh decoder for each read and no cache take thirty times as long as
    qemu-img: 512 decompressions for 512 reads of 4 KiB. Counted here, not timed."""
    size, cluster = 16 * MIB, 2 * MIB
    create(size, "cluster_size=2M")
    noise("pool", 300_000)
    with open("pool", "ab") as stream:
        stream.write(bytes(300_000))
    qemu.io("disk.qcow2", [f"write -c -s pool {at} {cluster}" for at in range(0, size, cluster)])
    image = library.Image("disk.qcow2")
    total = hashlib.sha256()
    for at in range(0, size, 4096):
        total.update(image.read(at, 4096))
    stats = image.stats()
    image.close()
    assert total.hexdigest() == qemu.digest("disk.qcow2")
    assert stats.cluster_compressed == size // 4096
    assert stats.comp_cache_misses == size // cluster
    assert stats.comp_cache_hits == size // 4096 - size // cluster


class WaitingSource:
    """A file whose reads of one range wait until they are let go."""

    def __init__(self, path, wait_at):
        with open(path, "rb") as stream:
            self.content = stream.read()
        self.size, self.wait_at = len(self.content), wait_at
        self.waits, self.may_go = threading.Event(), threading.Event()

    def read(self, offset, count):
        if offset <= self.wait_at < offset + count:
            self.waits.set()
            self.may_go.wait(PATIENCE_SECONDS)
        return self.content[offset:offset + count]


@pytest.mark.tool_only
@pytest.mark.parametrize("verb", ["write", "write -c"], ids=["plain", "compressed"])
def test_a_read_that_waits_does_not_hold_up_another(here, verb):
    """libqcow and crosvm take one lock for writing in every read, so that threads queue. Here the
    source keeps one read waiting; another, and one of the same table, must come back meanwhile."""
    create(MIB, "cluster_size=4k")
    qemu.io("disk.qcow2", [f"{verb} -P {i + 1} {i * 256}k 64k" for i in range(4)])
    first = number_at(l2_table())
    place = first & (1 << 58) - 1 if first & COMPRESSED else first & OFFSET
    source = WaitingSource("disk.qcow2", place)
    image, found = library.Image(source), []
    assert image.read(512 * KIB, 100) == b"\x03" * 100  # now the table is at hand
    slow = threading.Thread(target=lambda: found.append(image.read(0, 100)))
    slow.start()
    assert source.waits.wait(PATIENCE_SECONDS)
    quick = threading.Thread(target=lambda: found.append(image.read(768 * KIB, 100)))
    quick.start()
    quick.join(PATIENCE_SECONDS / 2)
    assert found == [b"\x04" * 100]
    source.may_go.set()
    slow.join()
    quick.join()
    assert found == [b"\x04" * 100, b"\x01" * 100]
    image.close()


@pytest.mark.parametrize("is_zstd", [True, False], ids=["zstd", "deflate"])
def test_compressed_input_may_be_longer_than_a_cluster(here, reader, is_zstd):
    """nbdkit's qcow2dec takes the cluster size for the length of the input, so that its decoder
    reads past its buffer. QEMU never writes such a cluster, but the format has room for it."""
    cluster = 65536
    create(100 * KIB, *(["compression_type=zstd"] if is_zstd else []))
    qemu.io("disk.qcow2", ["write 0 64k"])
    content = random.Random("long").randbytes(cluster)
    if is_zstd:  # skippable frames, then one frame of two raw blocks
        stream = (b"\x50\x2a\x4d\x18" + struct.pack("<I", 30_000) + bytes(30_000)
                  + b"\x28\xb5\x2f\xfd\x80\x58" + struct.pack("<I", cluster)
                  + struct.pack("<I", 32768 << 3)[:3] + content[:32768]
                  + struct.pack("<I", 32768 << 3 | 1)[:3] + content[32768:])
    else:  # stored blocks of one byte to begin with: five bytes of overhead for each
        stream = b"".join(b"\0\1\0\xfe\xff" + content[at:at + 1] for at in range(6000))
        compressor = zlib.compressobj(0, zlib.DEFLATED, -15)
        stream += compressor.compress(content[6000:]) + compressor.flush()
    start = os.path.getsize("disk.qcow2") + 700
    patch(start, stream.ljust(-(-(start + len(stream)) // 512) * 512 - start, b"\0"))
    sectors = (start + len(stream) - 1) // 512 - start // 512
    assert sectors * 512 > cluster + 20_000
    patch(l2_table(), struct.pack(">Q", COMPRESSED | sectors << 54 | start))
    agree(reader, here)
