# SPDX-License-Identifier: MIT
"""corpus.py - one small image of each kind, each in a directory of its own, with its disk beside it.

Most are made by tests/chains/generate.py with QEMU's tools; what those do not write is put together
with tests/images/build.py."""

import dataclasses
import os
import random

import build
import generate
import luks_writer
import qemu_tools as qemu
import streams
from specs import Spec

KIB = 1 << 10
SIZE = 200 * KIB + 512

SPECS = [
    Spec("v1", 4096, version=1, content="deflate", size=SIZE),
    Spec("v2", 4096, version=2, content="deflate", parent="short", size=SIZE),
    Spec("v3", 4096, parent="raw", size=SIZE, refcount_bits=1),
    Spec("deflate", 512, content="deflate", size=60 * KIB),
    Spec("zstd", 65536, content="zstd", size=300 * KIB),
    Spec("extended", 16384, content="deflate", extended=True, size=SIZE),
    Spec("data-file", 4096, data_file="beside", parent="qcow2", size=SIZE),
    Spec("chain", 4096, content="zstd", parent="three", size=SIZE),
    Spec("aes", 4096, encryption="aes", parent="three", size=SIZE),
    Spec("snapshots", 4096, content="deflate", size=SIZE, snapshots=((SIZE, 3000), (SIZE, 0))),
    Spec("bitmaps", 4096, bitmaps=(512, 4096), size=SIZE),
    Spec("damaged-flags", 4096, version=2, parent="qcow2", size=SIZE, snapshots=((SIZE, 0),),
         damage="l2-not-copied"),
    Spec("damaged-tables", 4096, content="deflate", size=SIZE, damage="l2-unaligned"),
]

# Ways to look at an image that make another one of it: name, image, options of the programs.
VIEWS = [("snapshot", "snapshots", ("--snapshot", "2")),
         ("vm-state", "snapshots", ("--snapshot", "1", "--vm-state"))]


@dataclasses.dataclass
class Subject:
    """What a program of this directory is told about an image."""

    name: str
    directory: str
    image: str
    raw: str = None
    key: str = None
    options: tuple = ()
    cluster: int = 4096
    readable: bool = True

    def arguments(self):
        words = ["--directory", self.directory, "--image", self.image, *self.options]
        words += ["--raw", self.raw] if self.raw else []
        return words + (["--key", self.key] if self.key else [])


def raw_beside(root, name, convert):
    """The file that `convert` makes of a disk, outside of the image's own directory."""
    raw = os.path.join(root, f"{name}.raw")
    convert(raw)
    return raw


def from_spec(spec, root):
    made = generate.build(spec, root)
    key = None
    if made.key_file:
        key_path = os.path.join(made.directory, made.key_file)
        with open(key_path, encoding="ascii") as stream:
            key = stream.read()
    if spec.damage:
        return Subject(spec.name, made.directory, generate.DISK,
                       readable=made.digest != generate.REFUSED)
    raw = raw_beside(root, spec.name, lambda raw: qemu.img(
        "convert", "-O", "raw", *qemu.as_target(made.qemu()), raw, cwd=made.directory))
    return Subject(spec.name, made.directory, generate.DISK, raw, key, cluster=spec.cluster)


def luks(root):
    """Of few iterations, which QEMU does not write: hundreds of failures are to take seconds."""
    directory = os.path.join(root, "luks")
    os.makedirs(directory)
    image, key = os.path.join(directory, "disk.qcow2"), "correct horse"
    qemu.img("create", "-q", "-f", "qcow2", "-o", "compat=0.10,cluster_size=4k", image, str(SIZE))
    qemu.io(image, ["write -P 1 0 9k", "write -P 2 100k 20k", "write -P 3 190k 8k"])
    raw = raw_beside(root, "luks", lambda raw: qemu.img("convert", "-O", "raw", image, raw))
    luks_writer.ITERATIONS = 10
    luks_writer.encrypt_image(image, key.encode(), 64, "xts-plain64", "sha256")
    return Subject("luks", directory, "disk.qcow2", raw, key)


def crafted(root, name, image):
    """An image of build.py's."""
    directory = os.path.join(root, name)
    os.makedirs(directory)
    path = os.path.join(directory, "disk.qcow2")
    image.write(path)
    return Subject(name, directory, "disk.qcow2", raw_beside(
        root, name, lambda raw: qemu.img("convert", "-O", "raw", path, raw)))


def odd_streams(root):
    """Streams that the fast decoders pass on: deflate without an end, zstd without a size."""
    pages = [bytes([n]) * 1000 + random.Random(n).randbytes(3096) for n in range(8)]
    never_ending = {n: build.Compressed(streams.deflate_stored(page, final=False), ends_on_sector=True)
                    for n, page in enumerate(pages)}
    unsized = {n: build.Compressed(streams.zstd_frame(page))
               for n, page in enumerate(pages)}
    yield crafted(root, "deflate-slow", build.Image(l2=never_ending))
    yield crafted(root, "zstd-streaming", build.Image(l2=unsized, zstd=True))


def large_l1(root):
    """An L1 table of more than 1 MiB, which is not kept in memory."""
    entries = {n: build.Normal(bytes([n]) * 512) for n in range(1, 200, 7)}
    return crafted(root, "large-l1", build.Image(cluster_bits=9, l2=entries, size=200 * 512,
                                                 l1_entries=140000))


def make(root):
    """All of them, by name."""
    generate.make_pool(os.path.join(root, "pool"))
    subjects = [from_spec(spec, root) for spec in SPECS]
    subjects += [luks(root), *odd_streams(root), large_l1(root)]
    subjects = {subject.name: subject for subject in subjects}
    for name, image, options in VIEWS:
        subjects[name] = dataclasses.replace(subjects[image], name=name, raw=None, options=options)
    return subjects


# In the order of make().
NAMES = ([spec.name for spec in SPECS] + ["luks", "deflate-slow", "zstd-streaming", "large-l1"] +
         [name for name, _, _ in VIEWS])
