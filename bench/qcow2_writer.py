# SPDX-License-Identifier: MIT
"""Writes qcow2 version 3 images whose layout is fully under control.

qemu-img decides by itself where clusters go, and its decisions change from
version to version. The images written here are the same everywhere: for the
fragmented disk, for chains whose layers interleave, and for the workloads
whose instructions are counted. Refcounts are complete, so `qemu-img check`
has nothing to say about them.

Knows the format as far as it is used here; knows nothing of measuring.
"""

import os
import struct
import zlib

MAGIC = 0x514649FB
COPIED = 1 << 63
COMPRESSED = 1 << 62
EXTENSION_BACKING_FORMAT = 0xE2792ACA
HEADER_LENGTH = 104


def deflate(data):
    """One cluster as a raw deflate stream with the 4 KiB window the format uses."""
    encoder = zlib.compressobj(9, zlib.DEFLATED, -12)
    return encoder.compress(data) + encoder.flush()


class Writer:
    """Writes one image: add clusters in the order they shall have in the file, then finish."""

    def __init__(self, path, virtual_size, guest_clusters, cluster_bits=16, backing=None):
        """guest_clusters: the numbers of all clusters that will be added, in any order, so
        that the tables can be laid out before the data. backing: (name, format) or None."""
        self.cluster = 1 << cluster_bits
        self.cluster_bits = cluster_bits
        self.virtual_size = virtual_size
        self.backing = backing
        self.l2_entries = self.cluster // 8
        l1_entries = -(-virtual_size // (self.cluster * self.l2_entries))
        tables = sorted({number // self.l2_entries for number in guest_clusters})
        self.l1_clusters = max(1, -(-l1_entries * 8 // self.cluster))
        self.l1 = [0] * l1_entries
        # File: header, refcount table, L1, L2 tables, data, refcount blocks.
        first = 2 + self.l1_clusters
        self.l2 = {}
        for position, index in enumerate(tables):
            self.l1[index] = (first + position) * self.cluster | COPIED
            self.l2[index] = [0] * self.l2_entries
        self.end = (first + len(tables)) * self.cluster
        self.refcounts = {number: 1 for number in range(self.end // self.cluster)}
        self.file = open(path, 'wb')

    def _set_entry(self, number, entry):
        self.l2[number // self.l2_entries][number % self.l2_entries] = entry

    def _align(self):
        self.end = -(-self.end // self.cluster) * self.cluster

    def add_plain(self, number, data):
        """Stores a cluster as it is; data shorter than a cluster is filled up with zeros."""
        self._align()
        self.file.seek(self.end)
        self.file.write(data.ljust(self.cluster, b'\0'))
        self.refcounts[self.end // self.cluster] = 1
        self._set_entry(number, self.end | COPIED)
        self.end += self.cluster

    def add_deflate(self, number, data):
        """Stores a cluster compressed, right behind the one before it; as it is if that saves nothing."""
        packed = deflate(data.ljust(self.cluster, b'\0'))
        if len(packed) >= self.cluster:
            self.add_plain(number, data)
            return
        self.file.seek(self.end)
        self.file.write(packed)
        last = self.end + len(packed) - 1
        for host in range(self.end // self.cluster, last // self.cluster + 1):
            self.refcounts[host] = self.refcounts.get(host, 0) + 1
        sectors = last // 512 - self.end // 512
        self._set_entry(number, COMPRESSED | sectors << (62 - (self.cluster_bits - 8)) | self.end)
        self.end += len(packed)

    def _write_refcounts(self):
        """The blocks come last and count themselves: add blocks until none is missing."""
        self._align()
        per_block = self.cluster // 2
        used = self.end // self.cluster
        blocks = 0
        while blocks * per_block < used + blocks:
            blocks += 1
        if blocks > self.cluster // 8:
            raise ValueError('the image is too large for one cluster of refcount table')
        for block in range(blocks):
            self.refcounts[used + block] = 1
        self._put_table(self.cluster, [(used + block) * self.cluster for block in range(blocks)])
        for block in range(blocks):
            counts = [self.refcounts.get(block * per_block + i, 0) for i in range(per_block)]
            self.file.seek((used + block) * self.cluster)
            self.file.write(struct.pack(f'>{per_block}H', *counts))

    def _put_table(self, offset, entries):
        self.file.seek(offset)
        self.file.write(struct.pack(f'>{len(entries)}Q', *entries).ljust(self.cluster, b'\0'))

    def _header(self):
        extensions = b''
        name_offset = name = 0
        if self.backing is not None:
            name = self.backing[0].encode()
            text = self.backing[1].encode()
            extensions += struct.pack('>II', EXTENSION_BACKING_FORMAT, len(text))
            extensions += text + b'\0' * (-len(text) % 8)
        extensions += struct.pack('>II', 0, 0)
        if self.backing is not None:
            name_offset = HEADER_LENGTH + len(extensions)
            extensions += name
        header = struct.pack('>IIQIIQIIQQIIQ', MAGIC, 3, name_offset, len(name or b''),
                             self.cluster_bits, self.virtual_size, 0, len(self.l1),
                             2 * self.cluster, self.cluster, 1, 0, 0)
        header += struct.pack('>QQQII', 0, 0, 0, 4, HEADER_LENGTH)
        return (header + extensions).ljust(self.cluster, b'\0')

    def finish(self):
        """Writes the tables and closes the file."""
        self._write_refcounts()
        self.file.seek(0)
        self.file.write(self._header())
        self._put_table(2 * self.cluster, self.l1)
        for index, entries in self.l2.items():
            self._put_table(self.l1[index] & ~COPIED, entries)
        self.file.close()


def data_clusters(raw_path, cluster):
    """Numbers of the clusters of a raw file that hold anything but zeros, ascending."""
    numbers = []
    zeros = bytes(cluster)
    with open(raw_path, 'rb', buffering=0) as raw:
        size = os.fstat(raw.fileno()).st_size
        position = 0
        while position < size:
            try:
                start = os.lseek(raw.fileno(), position, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                break
            end = os.lseek(raw.fileno(), start, os.SEEK_HOLE)
            number = max(start // cluster, position // cluster)
            while number * cluster < end:
                data = os.pread(raw.fileno(), cluster, number * cluster)
                if data != zeros[:len(data)]:
                    numbers.append(number)
                number += 1
            position = number * cluster
    return numbers
