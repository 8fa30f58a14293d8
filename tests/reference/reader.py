#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""reader.py - the qcow2 format as a program: slow, plain, written from its description alone.

A third opinion beside the library and QEMU. It reads versions 1 to 3 whole. It trusts the names of
files inside an image, so feed it test images only. A file counts as filled with zeros to a whole
cluster; what reaches further is "truncated", and compressed data gets only the bytes that exist.
Numbers in brackets are sections of the description."""
import argparse
import functools
import hashlib
import json
import os
import struct
import sys
import zlib

import beside
import crypto_ctypes
import zstd_ctypes
from files import File
from layouts import (
    BACKING_FORMAT, BIT63, COMPRESSED, COMPRESSION_TYPE, DATA_FILE, DATA_FILE_NAME, DATA_FILE_RAW,
    EXTENDED_L2, FEATURE_NAMES, HEADER_V1, HEADER_V2, HEADER_V3, KNOWN_INCOMPATIBLE, LUKS_POINTER,
    MAGIC, OFFSET, SNAPSHOT, ZERO, divide_up, feature_names, fields, sizeof, walk_extensions)
from refused import Refused, require

MAX_DEPTH = 200


class Disk:
    """A guest address space: the disk, the disk as of a snapshot, or a snapshot's VM state."""

    def __init__(self, image, l1, size, start=0):
        self.image, self.l1, self.size, self.start = image, l1, size, start

    def read(self, offset, count):
        """The bytes [offset, offset + count), as far as the disk reaches."""
        at, end, pieces = self.start + offset, self.start + min(offset + count, self.size), []
        while at < end:
            inside = at % self.image.piece_size
            pieces.append(self.image.read_piece(self.l1, at - inside)[inside:][:end - at])
            at += len(pieces[-1])
        return b"".join(pieces)

    def chunks(self):
        return (self.read(at, 1 << 20) for at in range(0, self.size, 1 << 20))

    def digest(self):
        total = hashlib.sha256()
        for chunk in self.chunks():
            total.update(chunk)
        return total.hexdigest()


class Image:
    """What all versions share: from a guest piece through the tables to its bytes. A piece is a
    cluster, or a subcluster where there are any. Subclasses say what an entry means: locate()."""
    cipher, parent, zstd, snapshots, bitmaps = None, None, False, (), ()

    def set_up(self, file, cluster_bits, l2_bits, entry_size=8, pieces=1):
        self.file = self.data = file
        self.cluster_bits, self.l2_bits, self.entry_size = cluster_bits, l2_bits, entry_size
        self.cluster_size, self.piece_size = 1 << cluster_bits, (1 << cluster_bits) // pieces
        self.l1_covers = self.cluster_size << l2_bits  # guest bytes below one L1 entry

    @functools.lru_cache(maxsize=64)
    def load(self, offset, count, what):
        return self.file.read_all(offset, count, self.cluster_size, what)

    def load_l1(self, offset, entries):
        return struct.unpack(f">{entries}Q", self.load(offset, entries * 8, "L1 table"))

    def entry(self, l1, guest):
        """The L2 entry of a guest address; zeros, so absent, where there is no table; (3.1)."""
        index, within = divmod(guest >> self.cluster_bits, 1 << self.l2_bits)
        table = l1[index] & self.l1_mask if index < len(l1) else 0
        if not table:
            return bytes(self.entry_size)
        require(table % self.table_alignment == 0, "corrupt", f"L2 table at {table:#x} not aligned")
        entries = self.load(table, self.entry_size << self.l2_bits, "L2 table")
        return entries[within * self.entry_size:][:self.entry_size]

    def read_piece(self, l1, guest):
        kind, host, count = self.locate(l1, guest)
        if kind == "data":
            data = self.data.read_all(host, self.piece_size, self.cluster_size, "cluster")
            return self.cipher.decrypt(data, guest, host) if self.cipher else data
        if kind == "compressed":  # never encrypted, not even in an encrypted image
            return self.decompress(host, count)[guest % self.cluster_size:][:self.piece_size]
        shows_parent = kind == "absent" and self.parent  # a zero cluster hides it
        below = self.parent.read(guest, self.piece_size) if shows_parent else b""
        return below.ljust(self.piece_size, b"\0")

    @functools.lru_cache(maxsize=1)
    def decompress(self, host, count):
        """Exactly one cluster, from those of the `count` bytes at `host` that exist; (3.6)."""
        data = self.file.read(host, count)
        try:
            if self.zstd:
                return zstd_ctypes.decompress(data, self.cluster_size)
            cluster = zlib.decompressobj(wbits=-15).decompress(data, self.cluster_size)
            require(len(cluster) == self.cluster_size, "corrupt", "deflate data ends too early")
            return cluster
        except (zlib.error, Refused) as error:
            code = "truncated" if len(data) < count else "corrupt"
            raise Refused(code, f"compressed cluster at {host:#x}: {error}") from None

    def open_beside(self, name, stated_format, key, above, guessed):
        """Something to read from: a file this image names, relative to its own directory; (4.2)."""
        name = name.split(b"\0")[0]
        require(not guessed, "reference", "an image of unstated format may not name another file")
        require(b":" not in name.split(b"/")[0], "reference", f"not a plain file name: {name}")
        layer = open_layer(os.path.join(os.path.dirname(self.file.path), name), stated_format, key,
                           above + (self.file.identity,))
        return layer.disk if isinstance(layer, Image) else layer

    def open_snapshot(self, wanted, vm_state=False):
        """The disk as it was, in its own size, or the VM state behind it; (5.2 - 5.4)."""
        matches = [s for s in self.snapshots if s.id == wanted]
        matches += [s for s in self.snapshots if s.name == wanted]
        require(matches, "not-found", f"no snapshot {wanted!r}")
        s = matches[0]  # ids go before names
        start = divide_up(s.disk_size, self.l1_covers) * self.l1_covers if vm_state else 0
        size = s.vm_state_size if vm_state else s.disk_size // 512 * 512
        return self.open_disk(s.l1_offset, s.l1_entries, size, start)


class Qcow1(Image):
    """Version 1; (10)."""
    l1_mask, table_alignment = 2**64 - 1, 1

    def __init__(self, file, key, above, guessed):
        h = fields(HEADER_V1, file.read(0, 48))
        require(9 <= h.cluster_bits <= 16 and 6 <= h.l2_bits <= 13, "corrupt", "cluster or L2 size")
        self.set_up(file, h.cluster_bits, h.l2_bits)
        require(1 < h.size < 2**63 - self.l1_covers and h.size // self.l1_covers < 2**28 - 1
                and h.name_size <= 1023, "corrupt", "size of the disk or of the parent's name")
        require(h.crypt_method < 2, "unsupported", f"encryption method {h.crypt_method}")
        self.cipher = crypto_ctypes.unlock(h.crypt_method, key, None, None, None)
        if h.name_offset and h.name_size:
            name = self.load(h.name_offset, h.name_size, "backing name")
            self.parent = self.open_beside(name, None, key, above, guessed)
        l1 = self.load_l1(h.l1_offset, divide_up(h.size, self.l1_covers))
        self.disk = Disk(self, l1, h.size // 512 * 512)

    def locate(self, l1, guest):
        entry, bits = int.from_bytes(self.entry(l1, guest), "big"), 63 - self.cluster_bits
        if entry & BIT63:  # in version 1 this one means compressed
            return "compressed", entry & (1 << bits) - 1, entry >> bits & self.cluster_size - 1
        require(entry % 512 == 0, "corrupt", f"cluster at {entry:#x} is not aligned")
        return "data" if entry else "absent", entry, 0


class Qcow2(Image):
    """Versions 2 and 3; (1)."""
    l1_mask = OFFSET

    def __init__(self, file, key, above, guessed):
        self.header = h = fields(HEADER_V2, file.read(0, 72))
        require(h.version in (2, 3), "unsupported", f"version {h.version}")
        if h.version == 3:
            self.header = h = fields(HEADER_V3, file.read(0, 104))
        else:
            h.incompatible, h.autoclear, h.refcount_order, h.header_length = 0, 0, 4, 72
        require(9 <= h.cluster_bits <= 21, "corrupt", f"cluster_bits {h.cluster_bits}")
        self.extended = bool(h.incompatible & EXTENDED_L2)
        entry_size, pieces = (16, 32) if self.extended else (8, 1)
        self.set_up(file, h.cluster_bits, h.cluster_bits - 3 - self.extended, entry_size, pieces)
        self.table_alignment = cluster = self.cluster_size
        head = self.load(0, cluster, "header")

        area_end, name_size = h.name_offset or cluster, h.name_size if h.name_offset else 0
        require(h.version == 2 or h.header_length >= 104, "corrupt", "header_length")
        require(h.header_length <= area_end <= cluster, "corrupt", "header_length or backing name")
        require(name_size <= min(1023, cluster - area_end), "corrupt", "backing name is too long")
        self.extensions = extensions = dict(walk_extensions(head, h.header_length, area_end))
        require(not h.incompatible & ~KNOWN_INCOMPATIBLE, "unsupported", "unknown features: "
                + feature_names(h.incompatible, extensions.get(FEATURE_NAMES, b"")))
        compression = head[104] if h.header_length > 104 else 0
        require(compression < 2, "unsupported", f"compression type {compression}")
        self.zstd = bool(compression)
        require(bool(h.incompatible & COMPRESSION_TYPE) == self.zstd, "corrupt", "compression bit")
        require(not self.extended or h.cluster_bits >= 14, "corrupt", "subclusters below 512 bytes")
        require(h.refcount_order <= 6, "corrupt", f"refcount_order {h.refcount_order}")
        require(h.refcount_table % cluster == 0
                and 0 < h.refcount_table_clusters * cluster <= 8 << 20, "corrupt", "refcount table")
        require(h.size < 2**63, "corrupt", f"disk size {h.size}")
        require(divide_up(h.size, self.l1_covers) <= h.l1_entries, "corrupt", "L1 table too small")

        self.has_data_file = bool(h.incompatible & DATA_FILE)
        self.disk = self.open_disk(h.l1_offset, h.l1_entries, h.size // 512 * 512)
        self.cipher = crypto_ctypes.unlock(h.crypt_method, key, self.load,
                                           extensions.get(LUKS_POINTER), cluster)
        require(self.has_data_file or not h.autoclear & DATA_FILE_RAW, "corrupt", "raw data bit")
        if self.has_data_file:
            require(DATA_FILE_NAME in extensions, "reference", "the data file has no name")
            self.data = self.open_beside(extensions[DATA_FILE_NAME], b"raw", None, above, guessed)
        if name_size:
            stated = extensions.get(BACKING_FORMAT, b"").split(b"\0")[0]
            name = head[area_end:area_end + name_size]
            self.parent = self.open_beside(name, stated or None, key, above, guessed)

    def open_disk(self, l1_offset, l1_entries, size, start=0):
        require(l1_offset % self.cluster_size == 0 and l1_entries <= 4194304, "corrupt",
                f"L1 table of {l1_entries} entries at {l1_offset:#x}")
        return Disk(self, self.load_l1(l1_offset, l1_entries), size, start)

    def locate(self, l1, guest):
        """(kind, host offset, length if compressed) of the piece at a guest address; (3.3-3.5)."""
        entry, inside = self.entry(l1, guest), guest % self.cluster_size
        word, zero_bits, alloc_bits = struct.unpack(">QII", entry.ljust(16, b"\0"))
        if word & COMPRESSED:
            require(not self.has_data_file, "corrupt", "compressed cluster beside a data file")
            bits = 70 - self.cluster_bits
            host, sectors = word & (1 << bits) - 1, (word & COMPRESSED - 1) >> bits
            return "compressed", host, (sectors + 1) * 512 - host % 512
        host, flagged = word & OFFSET, self.has_data_file and bool(word & BIT63)
        if self.extended:
            has_place, subcluster = bool(host or flagged), 1 << inside // self.piece_size
            require(not alloc_bits & (zero_bits if has_place else 0xFFFFFFFF), "corrupt",
                    f"contradicting subclusters at guest address {guest:#x}")
            is_zero, is_data = zero_bits & subcluster, alloc_bits & subcluster
        else:
            is_zero = word & ZERO
            require(not is_zero or self.header.version > 2, "corrupt", "zero flag in version 2")
            has_place = is_data = bool(host or flagged and not is_zero)
        require(host % self.cluster_size == 0, "corrupt", f"cluster at {host:#x} is not aligned")
        require(not (self.has_data_file and has_place) or host == guest - inside, "corrupt",
                f"guest address {guest:#x} is kept at {host:#x} of the data file, not at its own")
        return "zero" if is_zero else "data" if is_data else "absent", host + inside, 0

    @functools.cached_property
    def snapshots(self):
        """The internal snapshots in file order; (5.1)."""
        h, found, at = self.header, [], self.header.snapshots_offset
        require(not (self.has_data_file and h.snapshot_count), "corrupt", "snapshots and data file")
        require(h.snapshot_count <= 65536 and at % self.cluster_size == 0, "corrupt", "snapshots")
        for _ in range(h.snapshot_count):
            s = fields(SNAPSHOT, self.load(at, sizeof(SNAPSHOT), "snapshot"))
            require(s.extra_size <= 1024, "corrupt", "extra data of a snapshot")
            rest_size = s.extra_size + s.id_size + s.name_size
            rest = self.load(at + sizeof(SNAPSHOT), rest_size, "snapshot")
            extra, names = rest[:s.extra_size // 8 * 8], rest[s.extra_size:]
            stated = [number for number, in struct.iter_unpack(">Q", extra)]
            missing = [s.vm_state_size, h.size, 2**64 - 1][len(stated):]
            s.vm_state_size, s.disk_size, s.icount = (stated + missing)[:3]
            s.id, s.name = os.fsdecode(names[:s.id_size]), os.fsdecode(names[s.id_size:])
            found.append(s)
            at += divide_up(sizeof(SNAPSHOT) + rest_size, 8) * 8
            require(at - h.snapshots_offset <= 64 << 20, "corrupt", "snapshot table is too long")
        return found

    bitmaps = functools.cached_property(beside.bitmaps)
    refcount = beside.refcount


def open_layer(path, stated_format, key, above):
    """An Image, or a File if raw. Where no format is stated the first bytes decide; (4.3)."""
    file = File(path)
    require(file.identity not in above, "reference", "the chain of files is a loop")
    require(len(above) < MAX_DEPTH, "limit", f"a chain of more than {MAX_DEPTH} files")
    magic, version = file.read(0, 4), int.from_bytes(file.read(4, 4), "big")
    if stated_format in (b"raw", b"file") or stated_format is None and magic != MAGIC:
        return file
    require(stated_format in (None, b"qcow", b"qcow2"), "unsupported", f"format {stated_format}")
    require(magic == MAGIC, "not-qcow2", "not a qcow2 file")
    return (Qcow1 if version == 1 else Qcow2)(file, key, above, guessed=stated_format is None)


def open_image(path, key=None):
    """The image in a file: its `disk` and what open_snapshot() gives have `size` and `read()`."""
    return open_layer(path, b"qcow2", key, ())


def main():
    parser = argparse.ArgumentParser(description="A slow, plain reader of qcow2 images.")
    parser.add_argument("command", choices=("digest", "cat", "snapshots", "bitmaps"))
    parser.add_argument("image")
    parser.add_argument("--snapshot", help="id or name: the disk as it was then")
    parser.add_argument("--vm-state", action="store_true", help="of that snapshot, not its disk")
    parser.add_argument("--key", type=argparse.FileType("rb"), help="file with the passphrase")
    args = parser.parse_args()
    try:
        image = open_image(args.image, args.key and args.key.read().removesuffix(b"\n"))
        if args.command in ("snapshots", "bitmaps"):
            print(json.dumps(list(getattr(image, args.command)), default=vars, indent=4))
            return
        disk = image.open_snapshot(args.snapshot, args.vm_state) if args.snapshot else image.disk
        if args.command == "digest":
            print(f"{disk.digest()}  {args.image}")
        else:
            sys.stdout.buffer.writelines(disk.chunks())
    except Refused as refused:
        sys.exit(f"reader.py: {args.image}: {refused}")


if __name__ == "__main__":
    main()
