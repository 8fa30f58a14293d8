# SPDX-License-Identifier: MIT
"""damage.py - ways to break a finished image, one fact at a time, and nothing else.

Each damage is a function on a Patient and the names of the bases (see specs.damaged) that have what
it breaks: subclusters, snapshots, compressed clusters, a refcount above 1, clusters larger than a
sector."""

import os
import struct

from layouts import BIT63, COMPRESSED, HEADER_V2, HEADER_V3, OFFSET, fields

ALL = ("v2", "v3", "ext", "narrow")
LARGE_CLUSTERS = ("v2", "v3", "ext")
V3 = ("v3", "ext", "narrow")


class Patient:
    """An image file open for changes, with that L2 table at hand that has most data."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR)
        head = os.pread(self.fd, 104, 0)
        self.header = fields(HEADER_V2 if head[7] == 2 else HEADER_V3, head)
        self.cluster = 1 << self.header.cluster_bits
        extended = head[7] == 3 and self.header.incompatible >> 4 & 1
        self.entry_size = 16 if extended else 8
        self.refcount_bits = 1 << self.header.refcount_order if head[7] == 3 else 16
        l1 = range(self.header.l1_offset, self.header.l1_offset + self.header.l1_entries * 8, 8)
        self.l1_at = max((at for at in l1 if self.get(at)), key=lambda at: len(self.entries(at)[0]))
        self.l2 = self.get(self.l1_at) & OFFSET
        self.data, self.compressed, self.empty = self.entries(self.l1_at)

    def entries(self, l1_at):
        """Where the L2 table of an L1 entry has data, compressed clusters, nothing at all."""
        table = self.get(l1_at) & OFFSET
        found = range(table, table + self.cluster, self.entry_size)
        return ([at for at in found
                 if self.get(at) & OFFSET and not self.get(at) & (COMPRESSED | 1)],
                [at for at in found if self.get(at) & COMPRESSED],
                [at for at in found if not self.get(at)])

    def close(self):
        os.close(self.fd)

    def get(self, at, code="Q"):
        return struct.unpack(">" + code, os.pread(self.fd, struct.calcsize(code), at))[0]

    def set(self, at, value, code="Q"):
        os.pwrite(self.fd, struct.pack(">" + code, value), at)

    def change(self, at, xor):
        self.set(at, self.get(at) ^ xor)

    def end(self):
        """The first cluster boundary at or past the end of the file."""
        return -(-os.fstat(self.fd).st_size // self.cluster) * self.cluster

    def set_refcount(self, host, value):
        index, inside = divmod(host // self.cluster, self.cluster * 8 // self.refcount_bits)
        block = self.get(self.header.refcount_table + index * 8)
        assert block, "no refcount block there"
        at, width = block + inside * self.refcount_bits // 8, self.refcount_bits
        if width < 8:
            shift = inside * width % 8
            mask = (1 << width) - 1 << shift
            self.set(at, self.get(at, "B") & ~mask | value << shift, "B")
        else:
            self.set(at, value, {8: "B", 16: "H", 32: "I", 64: "Q"}[width])

    def subclusters(self, at, alloc, zero):
        self.set(at + 8, zero << 32 | alloc)


def host_of(p, at):
    return p.get(at) & OFFSET


def append_cluster(p, refcount):
    host = p.end()
    os.pwrite(p.fd, b"left behind".ljust(p.cluster, b"."), host)
    p.set_refcount(host, refcount)


DAMAGES = {
    # Refcounts
    "cluster-nobody-uses": (lambda p: p.set(p.data[0], 0), ALL),
    "leak-at-the-end": (lambda p: append_cluster(p, 1), ALL),
    "refcount-zero": (lambda p: p.set_refcount(host_of(p, p.data[1]), 0), ALL),
    "refcount-too-high": (lambda p: p.set_refcount(host_of(p, p.data[1]), 7), LARGE_CLUSTERS),
    "header-refcount-zero": (lambda p: p.set_refcount(0, 0), ALL),
    "l2-table-refcount-zero": (lambda p: p.set_refcount(p.l2, 0), ALL),
    "cluster-used-twice": (lambda p: p.set(p.data[0], p.get(p.data[1])), ALL),
    "refcount-block-reserved-bit": (lambda p: p.change(p.header.refcount_table, 1 << 3), ALL),
    "refcount-block-unaligned": (lambda p: p.change(p.header.refcount_table, 512), LARGE_CLUSTERS),
    "refcount-block-past-end": (
        lambda p: p.set(p.header.refcount_table, p.end() + 99 * p.cluster), ALL),
    "refcount-block-missing": (lambda p: p.set(p.header.refcount_table, 0), ALL),
    "refcount-block-twice": (
        lambda p: p.set(p.header.refcount_table + 8, p.get(p.header.refcount_table)), ALL),
    # L1 and L2 entries
    "l1-reserved-bit": (lambda p: p.change(p.l1_at, 1 << 60), ALL),
    "l1-not-copied": (lambda p: p.change(p.l1_at, BIT63), ALL),
    "l1-unaligned": (lambda p: p.change(p.l1_at, 512), LARGE_CLUSTERS),
    "l1-past-end": (lambda p: p.set(p.l1_at, BIT63 | p.end() + 5 * p.cluster), ALL),
    "l1-only-copied-bit": (lambda p: p.set(p.l1_at, BIT63), ALL),
    "l1-points-to-itself": (lambda p: p.set(p.l1_at, BIT63 | p.header.l1_offset), ALL),
    "l2-reserved-bits": (lambda p: p.change(p.data[0], 1 << 60 | 1 << 2), ALL),
    "l2-reserved-bit-alone": (lambda p: p.set(p.empty[0], 1 << 58), ALL),
    "l2-copied-bit-alone": (lambda p: p.set(p.empty[0], BIT63), ALL),
    "l2-not-copied": (lambda p: p.change(p.data[0], BIT63), ALL),
    "l2-unaligned": (lambda p: p.change(p.data[0], 512), LARGE_CLUSTERS),
    "l2-unaligned-zero": (lambda p: p.change(p.data[0], 513), ("v3",)),
    "l2-just-past-end": (lambda p: p.set(p.data[0], BIT63 | p.end()), ALL),
    "l2-far-past-end": (lambda p: p.set(p.data[0], BIT63 | 1 << 50), ALL),
    "l2-points-to-header": (lambda p: p.set(p.data[0], BIT63 | p.l2), ALL),
    "l2-zero-flag": (lambda p: p.change(p.data[0], 1), ("v2", "v3", "narrow")),
    "l2-zero-flag-alone": (lambda p: p.set(p.empty[0], 1), ALL),
    # Compressed clusters
    "compressed-copied": (lambda p: p.change(p.compressed[0], BIT63), ("v3", "ext")),
    "compressed-at-header": (lambda p: p.set(p.compressed[0], COMPRESSED), ("v3", "ext")),
    "compressed-past-end": (
        lambda p: p.set(p.compressed[0], COMPRESSED | p.end() + p.cluster), ("v3", "ext")),
    "compressed-too-long": (lambda p: p.change(p.compressed[0], 0x1F << 56), ("v3", "ext")),
    # Subclusters
    "subcluster-both-bits": (lambda p: p.subclusters(p.data[0], 0xFFFFFFFF, 1), ("ext",)),
    "subcluster-without-place": (lambda p: p.subclusters(p.empty[0], 1, 0), ("ext",)),
    "subcluster-zero-without-place": (lambda p: p.subclusters(p.empty[0], 0, 0xF0), ("ext",)),
    "subclusters-absent": (lambda p: p.subclusters(p.data[0], 0xFF, 0xFF00), ("ext",)),
    "subclusters-of-compressed": (lambda p: p.subclusters(p.compressed[0], 1, 2), ("ext",)),
    # Snapshots
    "snapshot-l1-unaligned": (lambda p: p.change(p.header.snapshots_offset, 512), ("v2", "v3")),
    "snapshot-l1-too-large": (
        lambda p: p.set(p.header.snapshots_offset + 8, 4194305, "I"), ("v2", "v3")),
    "snapshot-l1-past-end": (
        lambda p: p.set(p.header.snapshots_offset, p.end() + p.cluster), ("v2", "v3")),
    # Flags of the header
    "flag-dirty": (lambda p: p.change(72, 1), V3),
    "flag-corrupt": (lambda p: p.change(72, 2), V3),
    "flags-unknown-but-harmless": (
        lambda p: (p.change(80, 1 << 40), p.change(88, 1 << 41)), V3),
}


def apply(name, path):
    patient = Patient(path)
    DAMAGES[name][0](patient)
    patient.close()
