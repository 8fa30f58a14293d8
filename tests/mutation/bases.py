# SPDX-License-Identifier: MIT
"""bases.py - the good images that mutations start from: small, and of every kind there is.

BASES: name -> Base. build() makes the files of one in a directory: `disk.qcow2`, what it stands on,
and `key`, which is there whether it is needed or not (a mutation may make it so). Everything is made
by qemu-img and qemu-io, but for LUKS, which is encrypted by tests/chains/luks_writer.py: it is quick,
and the same bytes every time. Times of day are taken out, so that a base is the same bytes always."""

import dataclasses
import os
import random
import struct
import subprocess

import luks_writer

DISK, KEY = "disk.qcow2", b"correct horse"
KIB, MIB = 1 << 10, 1 << 20
POOL_BYTES = 160_000
BASES = {}


@dataclasses.dataclass
class Base:
    """make(box): makes the files. mutated: the file that is changed; snapshot: the id of the one that
    is read in place of the disk."""

    name: str
    make: object
    mutated: str = DISK
    snapshot: str = None

    def build(self, directory):
        make_pool(directory)
        with open(os.path.join(directory, "key"), "wb") as stream:
            stream.write(KEY)
        self.make(Box(directory, self.name))
        os.unlink(os.path.join(directory, "pool"))
        forget_times(os.path.join(directory, self.mutated))


def make_pool(directory):
    """Bytes to write: noise and runs by turns, so that all of it can be compressed somewhat."""
    rng, data = random.Random("pool"), bytearray()
    while len(data) < POOL_BYTES:
        data += rng.randbytes(rng.randrange(10, 200)) + bytes([rng.randrange(256)]) * 150
    with open(os.path.join(directory, "pool"), "wb") as stream:
        stream.write(data)


def forget_times(path):
    """Sets the dates of snapshots to one."""
    with open(path, "r+b") as stream:
        head = stream.read(72)
        if head[7] == 1:
            return
        count, at = struct.unpack_from(">IQ", head, 60)
        for _ in range(count):
            stream.seek(at)
            _, _, id_size, name_size, _, _, _, _, extra = struct.unpack(">QIHHIIQII",
                                                                        stream.read(40))
            stream.seek(at + 16)
            stream.write(struct.pack(">II", 1_600_000_000, 0))
            at += -(-(40 + extra + id_size + name_size) // 8) * 8


class Box:
    """A directory in which images are made, with everything decided by a name."""

    def __init__(self, directory, name):
        self.directory, self.rng = directory, random.Random(name)

    def run(self, *words):
        subprocess.run([str(word) for word in words], cwd=self.directory, check=True,
                       stdin=subprocess.DEVNULL, capture_output=True)

    def create(self, size, name=DISK, parent=None, form="qcow2", **options):
        words = ",".join(f"{key}={value}" for key, value in options.items())
        backing = ["-b", parent, "-F", "raw" if parent.endswith("raw") else "qcow2"] if parent else []
        self.run("qemu-img", "create", "-q", "-f", form, *(["-o", words] if words else []), *backing,
                 name, size)

    def io(self, commands, name=DISK):
        words = [word for command in commands for word in ("-c", command)]
        self.run("qemu-io", "-d", "unmap", *words, name)

    def fill(self, size, cluster, name=DISK, compressed=False, zeros=True, count=9):
        """Clusters of all kinds, and holes. Compressed ones first: nothing may be there already."""
        commands, taken = [], set()
        if compressed:
            clusters = range(size // cluster)
            for number in self.rng.sample(clusters, min(7, -(-len(clusters) // 2))):
                taken.add(number)
                commands.append(f"write -c -s pool {number * cluster} {cluster}")
        for _ in range(count):
            offset = self.rng.randrange(0, size, 512)
            length = min(self.rng.randrange(512, 3 * cluster + 512, 512), size - offset, 120_000)
            length -= length % 512
            touched = range(offset // cluster, (offset + length - 1) // cluster + 1)
            if length and not taken.intersection(touched):
                kinds = ["write -s pool"] * 3 + (["write -z", "write -z -u"] if zeros else [])
                commands.append(f"{self.rng.choice(kinds)} {offset} {length}")
        self.io(commands, name)

    def raw_parent(self, size):
        with open(os.path.join(self.directory, "parent.raw"), "wb") as stream:
            stream.write(random.Random("raw").randbytes(size // 3))
            stream.truncate(size)


def base(name, mutated=DISK, snapshot=None):
    def keep(make):
        BASES[name] = Base(name, make, mutated, snapshot)
        return make
    return keep


def _plain(name, size, cluster, compressed=False, **options):
    @base(name)
    def _(box):
        box.create(size, cluster_size=cluster, **options)
        box.fill(size, cluster, compressed=compressed, zeros=options.get("compat") != "0.10")


_V2 = {"compat": "0.10"}
_plain("v2-512", 100 * KIB, 512, **_V2)
_plain("v2-4k", 600 * KIB, 4 * KIB, **_V2)
_plain("v2-64k", MIB, 64 * KIB, **_V2)
_plain("v2-deflate-4k", 300 * KIB, 4 * KIB, compressed=True, **_V2)
_plain("v3-512-refcount-1", 100 * KIB, 512, refcount_bits=1)
_plain("v3-512-refcount-64", 100 * KIB, 512, refcount_bits=64)
_plain("v3-1k-refcount-2", 200 * KIB, KIB, refcount_bits=2)
_plain("v3-2k-refcount-32", 300 * KIB, 2 * KIB, refcount_bits=32)
_plain("v3-4k-refcount-4", 600 * KIB + 1536, 4 * KIB, refcount_bits=4)
_plain("v3-8k-refcount-8", 600 * KIB, 8 * KIB, refcount_bits=8)
_plain("v3-64k", MIB, 64 * KIB)
_plain("v3-256k", 2 * MIB, 256 * KIB)
_plain("v3-2m", 6 * MIB, 2 * MIB)
_plain("lazy-refcounts-16k", 500 * KIB, 16 * KIB, lazy_refcounts="on")
_plain("preallocated-4k", 400 * KIB, 4 * KIB, preallocation="metadata")
_plain("deflate-512", 60 * KIB, 512, compressed=True)
_plain("deflate-4k", 300 * KIB, 4 * KIB, compressed=True)
_plain("deflate-64k", MIB, 64 * KIB, compressed=True)
_plain("deflate-2m", 6 * MIB, 2 * MIB, compressed=True)
_plain("zstd-1k", 100 * KIB, KIB, compressed=True, compression_type="zstd")
_plain("zstd-4k", 300 * KIB, 4 * KIB, compressed=True, compression_type="zstd")
_plain("zstd-64k", MIB, 64 * KIB, compressed=True, compression_type="zstd")
_plain("zstd-2m", 6 * MIB, 2 * MIB, compressed=True, compression_type="zstd")
_plain("extended-16k", 500 * KIB, 16 * KIB, extended_l2="on")
_plain("extended-deflate-64k", MIB, 64 * KIB, compressed=True, extended_l2="on")
_plain("extended-zstd-16k", 300 * KIB, 16 * KIB, compressed=True, extended_l2="on",
       compression_type="zstd")
_plain("extended-2m", 6 * MIB, 2 * MIB, extended_l2="on")


@base("several-l1-entries-512")
def _(box):
    box.create(2 * MIB, cluster_size=512)
    box.fill(2 * MIB, 512, count=30)


# Chains

@base("backing-qcow2-4k")
def _(box):
    box.create(400 * KIB, "parent.qcow2", cluster_size=512)
    box.fill(400 * KIB, 512, "parent.qcow2", compressed=True, count=20)
    box.create(400 * KIB, parent="parent.qcow2", cluster_size="4k")
    box.fill(400 * KIB, 4 * KIB)


@base("backing-raw-64k")
def _(box):
    box.raw_parent(700_000)
    box.create(MIB, parent="parent.raw")
    box.fill(MIB, 64 * KIB, compressed=True)


@base("backing-short-extended-16k")
def _(box):
    box.create(200 * KIB, "parent.qcow2", compat="0.10", cluster_size="4k")
    box.fill(200 * KIB, 4 * KIB, "parent.qcow2")
    box.create(500 * KIB, parent="parent.qcow2", cluster_size="16k", extended_l2="on")
    box.fill(500 * KIB, 16 * KIB)


@base("backing-without-format-v2")
def _(box):
    box.create(200 * KIB, "parent.qcow2", cluster_size="4k")
    box.fill(200 * KIB, 4 * KIB, "parent.qcow2")
    box.create(200 * KIB, compat="0.10", cluster_size="4k")
    box.fill(200 * KIB, 4 * KIB)
    box.run("qemu-img", "rebase", "-q", "-u", "-b", "parent.qcow2", "-F", "qcow2", DISK)
    with open(os.path.join(box.directory, DISK), "r+b") as stream:
        stream.seek(72)  # the backing format becomes an extension that nobody knows
        stream.write(struct.pack(">I", 0x46464646))


@base("parent-of-backing-4k", mutated="parent.qcow2")
def _(box):
    BASES["backing-qcow2-4k"].make(box)


@base("middle-of-chain-16k", mutated="middle.qcow2")
def _(box):
    box.raw_parent(300_000)
    box.create(300 * KIB, "middle.qcow2", parent="parent.raw", cluster_size="16k")
    box.fill(300 * KIB, 16 * KIB, "middle.qcow2", compressed=True)
    box.create(400 * KIB, parent="middle.qcow2", cluster_size="4k")
    box.fill(400 * KIB, 4 * KIB, count=5)


# External data

def _data_file(name, cluster, **options):
    @base(name)
    def _(box):
        box.create(600 * KIB, cluster_size=cluster, data_file="disk.data", **options)
        box.fill(600 * KIB, cluster)
        box.io(["write -s pool 0 3k"])


_data_file("data-file-4k", 4 * KIB)
_data_file("data-file-raw-64k", 64 * KIB, data_file_raw="on")
_data_file("data-file-extended-16k", 16 * KIB, extended_l2="on")


# Snapshots and bitmaps

def _snapshots(name, size, cluster, compressed=False, snapshot=None, **options):
    @base(name, snapshot=snapshot)
    def _(box):
        box.create(size, cluster_size=cluster, **options)
        for number in range(3):
            box.fill(size, cluster, compressed=compressed and number == 0, count=4)
            box.run("qemu-img", "snapshot", "-c", f"number {number}", DISK)
        box.fill(size, cluster, count=4)


_snapshots("snapshots-512", 100 * KIB, 512)
_snapshots("snapshots-4k", 300 * KIB, 4 * KIB, compressed=True)
_snapshots("snapshots-64k", MIB, 64 * KIB)


@base("snapshots-v2-4k")
def _(box):
    box.create(300 * KIB, cluster_size="4k", compat="0.10")
    for number in range(2):
        box.fill(300 * KIB, 4 * KIB, zeros=False, count=4)
        box.run("qemu-img", "snapshot", "-c", "x" * number + "y", DISK)


# Snapshots that are read themselves

_snapshots("snapshot-read-512", 100 * KIB, 512, snapshot="1")
_snapshots("snapshot-read-deflate-4k", 300 * KIB, 4 * KIB, compressed=True, snapshot="2")
_snapshots("snapshot-read-extended-16k", 500 * KIB, 16 * KIB, snapshot="3", extended_l2="on")


@base("snapshot-read-of-another-size-4k", snapshot="1")
def _(box):
    """Taken of a smaller disk; the way of its growth crosses an L1 entry."""
    box.create(900 * KIB, cluster_size="4k")
    box.fill(900 * KIB, 4 * KIB)
    box.run("qemu-img", "snapshot", "-c", "small", DISK)
    box.run("qemu-img", "resize", "-q", DISK, 3 * MIB)
    box.fill(3 * MIB, 4 * KIB)


def _bitmaps(box, size, cluster):
    box.create(size, cluster_size=cluster)
    box.run("qemu-img", "bitmap", "--add", "-g", "512", DISK, "fine")
    box.run("qemu-img", "bitmap", "--add", "--disable", "-g", "64k", DISK, "a coarse one")
    box.fill(size, cluster)


@base("bitmaps-4k")
def _(box):
    _bitmaps(box, MIB, 4 * KIB)


@base("bitmaps-64k")
def _(box):
    _bitmaps(box, MIB, 64 * KIB)


@base("bitmaps-and-snapshots-512")
def _(box):
    _bitmaps(box, 200 * KIB, 512)
    box.run("qemu-img", "snapshot", "-c", "one", DISK)
    box.fill(200 * KIB, 512)


# Encryption

def _luks(name, key_bytes, mode, hash_name, slot=0):
    @base(name)
    def _(box):
        box.create(200 * KIB, cluster_size="4k", compat="0.10")
        box.fill(200 * KIB, 4 * KIB, zeros=False)
        luks_writer.encrypt_image(os.path.join(box.directory, DISK), KEY, key_bytes, mode, hash_name,
                                  slot)


_luks("luks-xts-plain64", 64, "xts-plain64", "sha256")
_luks("luks-cbc-essiv", 32, "cbc-essiv:sha256", "sha1", slot=3)
_luks("luks-cbc-plain", 16, "cbc-plain", "sha512")


def _aes(name, form="qcow2", **options):
    @base(name)
    def _(box):
        secret = ("--object", "secret,id=key,file=key")
        words = ["encrypt.format=aes", "encrypt.key-secret=key"]
        words += [f"{key}={value}" for key, value in options.items()]
        box.run("qemu-img", "create", "-q", "-f", form, *secret, "-o", ",".join(words), DISK, "200k")
        box.run("qemu-io", *secret, "-c", "write -s pool 3k 20k", "-c", "write -s pool 100k 5k",
                "--image-opts", f"driver={form},file.filename={DISK},encrypt.key-secret=key")


_aes("aes-v2-4k", compat="0.10", cluster_size="4k")
_aes("aes-v3-64k")
_aes("v1-aes", form="qcow")


# Version 1

@base("v1")
def _(box):
    box.create(300 * KIB, form="qcow")
    box.fill(300 * KIB, 4 * KIB, zeros=False)


@base("v1-deflate")
def _(box):
    box.create(300 * KIB, form="qcow")
    box.fill(300 * KIB, 4 * KIB, compressed=True, zeros=False)


@base("v1-backing-raw")
def _(box):
    box.raw_parent(100_000)
    box.run("qemu-img", "create", "-q", "-f", "qcow", "-u", "-b", "parent.raw", "-F", "raw", DISK,
            "200k")
    box.fill(200 * KIB, 512, zeros=False)
