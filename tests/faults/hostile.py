# SPDX-License-Identifier: MIT
"""hostile.py - images made to cost their reader as much as the format allows. Each function writes the
files of one into an empty directory; the image is disk.qcow2."""

import os
import struct

import build
import luks_writer
import streams

IMAGE = "disk.qcow2"
HUGE = 2 << 20  # the largest clusters there are
COPIED = build.COPIED


def save(directory, image, name=IMAGE):
    image.write(os.path.join(directory, name))


def one_table_for_all(directory):
    """4096 L1 entries, all of one L2 table, of which all entries are one compressed cluster."""
    cluster = bytes(range(256)) * (HUGE // 256)
    image = build.Image(cluster_bits=21, l2={0: build.Compressed(streams.deflate(cluster))})
    at = image.lay_out().at
    entry = build.compressed_descriptor(21, at["data", 0], len(streams.deflate(cluster)) // 512 + 1)
    save(directory, build.Image(
        cluster_bits=21, l2={0: build.Compressed(streams.deflate(cluster))}, size=4096 * (HUGE << 18),
        l1_entries=4096, l1={i: at["l2", 0] | COPIED for i in range(4096)},
        writes=[(at["l2", 0], struct.pack(">Q", entry) * (HUGE // 8))]))


def long_streams(directory):
    """Compressed clusters that claim to be as long as they can, one over the other."""
    noise = bytes((i * i >> 3) & 255 for i in range(HUGE))
    save(directory, build.Image(cluster_bits=21, size=3 * HUGE, l2={
        i: build.Compressed(streams.deflate_stored(noise), sectors=(1 << 13) - 1)
        for i in range(3)}))


def large_l1_that_is_not_there(directory):
    save(directory, build.Image(size=1 << 40, header={"l1_size": 1 << 22}))


def large_l1_of_nothing(directory):
    """32 MiB of L1 entries, none of which names a table, in a file that is a hole."""
    save(directory, build.Image(cluster_bits=9, size=(1 << 22) << 15, l1_entries=1 << 22))


def snapshot_table(count, tail=b""):
    entry = struct.pack(">QIHHIIQII", 0, 0, 1, 1, 0, 0, 0, 0, 16) + bytes(16) + b"ab"
    return (entry + bytes(-len(entry) % 8)) * count + tail


def most_snapshots(directory):
    save(directory, build.Image(header={"nb_snapshots": 65536, "snapshots_offset": 1 << 20},
                                writes=[(1 << 20, snapshot_table(65536))], length=8 << 20))


def large_snapshots(directory):
    """Entries whose names are as long as they can be, in a file that is zeros."""
    entry = struct.pack(">QIHHIIQII", 0, 0, 65535, 65535, 0, 0, 0, 0, 1024)
    save(directory, build.Image(header={"nb_snapshots": 65536, "snapshots_offset": 1 << 20},
                                writes=[(1 << 20, (entry + bytes(132096)) * 60)]))


def bitmaps(entries, directory_bytes, offset):
    return build.Extension(build.EXT_BITMAPS, struct.pack(">IIQQ", entries, 0, directory_bytes, offset))


def most_bitmaps(directory):
    entry = struct.pack(">QIIBBHI", 1 << 20, 1, 0, 1, 31, 1, 0) + b"a" + bytes(7)
    save(directory, build.Image(
        size=1 << 20, header={"autoclear_features": 1}, length=8 << 20,
        extensions=[bitmaps(65535, 65535 * 32, 4 << 20)], writes=[(4 << 20, entry * 65535)]))


def large_bitmap(directory):
    """512 MiB of bits, none of them stored and none set."""
    entry = struct.pack(">QIIBBHI", 6 * HUGE, 256, 0, 1, 9, 1, 0) + b"a" + bytes(7)
    save(directory, build.Image(
        cluster_bits=21, size=256 * (HUGE << 12), header={"autoclear_features": 1}, length=8 * HUGE,
        extensions=[bitmaps(1, 32, 7 * HUGE)], writes=[(7 * HUGE, entry)]))


def extension_flood(directory):
    """A first cluster of 2 MiB, full of extensions that have to be looked into."""
    names = build.feature_names((0, 1, b"a name")).bytes()
    save(directory, build.Image(cluster_bits=21, l2={0: build.Normal(b"x")}, end_marker=False,
                                extensions=[names] * ((HUGE - 112) // len(names))))


def scattered(clusters, name, directory, **more):
    """A disk in 512 byte clusters, every other one of them stored."""
    save(directory, build.Image(cluster_bits=9, size=clusters * 512, l2={
        i: build.Normal(b"x") for i in range(0, clusters, 2)}, **more), name)


def deep_chain(directory):
    """255 files without data over one in small pieces."""
    for depth in range(255):
        name = IMAGE if depth == 0 else f"{depth}.qcow2"
        save(directory, build.Image(
            cluster_bits=12, size=64 << 10, l2={0: 0}, backing_file=f"{depth + 1}.qcow2".encode(),
            extensions=[build.Extension(build.EXT_BACKING_FORMAT, b"qcow2")]), name)
    scattered(128, "255.qcow2", directory)


def chain(directory, files, make):
    """make(depth, more) gives the image of one file; `more` are the arguments that name the next one."""
    for depth in range(files):
        more = {} if depth == files - 1 else {
            "backing_file": f"{depth + 1}.qcow2".encode(),
            "extensions": [build.Extension(build.EXT_BACKING_FORMAT, b"qcow2")]}
        save(directory, make(depth, more), IMAGE if depth == 0 else f"{depth}.qcow2")


def chain_of_large_l1_tables(directory):
    """40 files, each with the largest L1 table that a file of its own keeps in memory."""
    chain(directory, 40, lambda depth, more: build.Image(
        cluster_bits=9, size=131072 << 15, l1_entries=131072, l2={0: 0}, **more))


def chain_of_extensions(directory, files=12):
    """Files with nearly 2 MiB of header extensions each."""
    names = build.feature_names((0, 1, b"a name")).bytes()

    def make(depth, more):
        more["extensions"] = [*more.get("extensions", ()), *[names] * ((HUGE - 4096) // len(names))]
        return build.Image(cluster_bits=21, l2={0: 0}, **more)
    chain(directory, files, make)


def encrypted_chain(directory, files, iterations, passphrase):
    """Each file has a LUKS header of its own, with one key slot that the passphrase opens."""
    luks_writer.ITERATIONS = iterations
    for depth in range(files):
        path = os.path.join(directory, IMAGE if depth == 0 else f"{depth}.qcow2")
        build.Image(version=2, l2={0: build.Normal(b"x" * 4096)}, cluster_bits=12).write(path)
        luks_writer.encrypt_image(path, passphrase, 64, "xts-plain64", "sha256")
        with open(path, "r+b") as image:
            pointer = image.read(112)[72:96]
            name = f"{depth + 1}.qcow2".encode() if depth + 1 < files else b""
            backing = struct.pack(">II8sII", 0xE2792ACA, 5, b"qcow2", 0, 0)
            image.seek(8)
            image.write(struct.pack(">QI", 512 if name else 0, len(name)))
            image.seek(72)
            image.write(pointer + backing)
            image.seek(512)
            image.write(name)


def empty_tables_over_pieces(directory):
    """Tables of 8192 and of 262144 entries that say nothing, and below them a disk in pieces: each piece is
    a call, and none may walk the tables above again to their end."""
    backing = [build.Extension(build.EXT_BACKING_FORMAT, b"qcow2")]
    save(directory, build.Image(cluster_bits=21, size=1 << 36, l2={0: 0}, extensions=backing,
                                backing_file=b"middle.qcow2"))
    save(directory, build.Image(cluster_bits=16, size=1 << 36, l1_entries=128, l2={0: 0},
                                extensions=backing, backing_file=b"base.qcow2"), "middle.qcow2")
    scattered(16384, "base.qcow2", directory)


def empty_l1_over_pieces(directory):
    """The same without tables."""
    save(directory, build.Image(cluster_bits=9, size=1 << 34, l1_entries=1 << 19, backing_file=b"base.qcow2",
                                extensions=[build.Extension(build.EXT_BACKING_FORMAT, b"qcow2")]))
    scattered(4096, "base.qcow2", directory)


def subclusters_by_turns(directory):
    save(directory, build.Image(cluster_bits=14, extended_l2=True, size=64 << 14, l2={
        i: build.Subclusters(b"x" * 16384, allocated=range(0, 32, 2), zero=range(1, 32, 4))
        for i in range(64)}))


ALL = [one_table_for_all, long_streams, large_l1_that_is_not_there, large_l1_of_nothing,
       most_snapshots, large_snapshots, chain_of_large_l1_tables, chain_of_extensions, most_bitmaps, large_bitmap, extension_flood, deep_chain,
       empty_tables_over_pieces, empty_l1_over_pieces, subclusters_by_turns]
