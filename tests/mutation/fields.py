# SPDX-License-Identifier: MIT
"""fields.py - where the fields of a good image lie.

fields_of(bytes) -> {group: [Field]}. Groups are the structures of the format; a field is a place, a
width and a name. Knows the layout of all three versions, and follows pointers as a sound image has
them; nothing here has to survive a broken one."""

import collections
import struct

Field = collections.namedtuple("Field", "group name at width")

OFFSET = 0x00FFFFFFFFFFFE00
COMPRESSED = 1 << 62
BITMAPS, LUKS = 0x23852875, 0x0537BE77

V2 = [("magic", 0, 4), ("version", 4, 4), ("backing_offset", 8, 8), ("backing_size", 16, 4),
      ("cluster_bits", 20, 4), ("size", 24, 8), ("crypt_method", 32, 4), ("l1_size", 36, 4),
      ("l1_offset", 40, 8), ("refcount_offset", 48, 8), ("refcount_clusters", 56, 4),
      ("snapshot_count", 60, 4), ("snapshots_offset", 64, 8)]
V3 = V2 + [("incompatible", 72, 8), ("compatible", 80, 8), ("autoclear", 88, 8),
           ("refcount_order", 96, 4), ("header_length", 100, 4), ("compression_type", 104, 1)]
V1 = [("magic", 0, 4), ("version", 4, 4), ("backing_offset", 8, 8), ("backing_size", 16, 4),
      ("mtime", 20, 4), ("size", 24, 8), ("cluster_bits_v1", 32, 1), ("l2_bits_v1", 33, 1),
      ("padding", 34, 2), ("crypt_method", 36, 4), ("l1_offset", 40, 8)]

SNAPSHOT = [("l1_offset", 0, 8), ("l1_entries", 8, 4), ("id_size", 12, 2), ("name_size", 14, 2),
            ("date", 16, 4), ("date_nsec", 20, 4), ("clock", 24, 8), ("vm_state_size", 32, 4),
            ("extra_size", 36, 4)]
BITMAPS_EXTENSION = [("bitmap_count", 0, 4), ("reserved", 4, 4), ("directory_size", 8, 8),
                     ("directory_offset", 16, 8)]
BITMAP = [("table_offset", 0, 8), ("table_entries", 8, 4), ("flags", 12, 4), ("type", 16, 1),
          ("granularity", 17, 1), ("name_size", 18, 2), ("extra_size", 20, 4)]
LUKS_HEAD = [("magic", 0, 4), ("magic_end", 4, 2), ("version", 6, 2), ("cipher", 8, 32),
             ("mode", 40, 32), ("hash", 72, 32), ("payload_sector", 104, 4), ("key_bytes", 108, 4),
             ("digest", 112, 8), ("salt", 132, 8), ("digest_iterations", 164, 4), ("uuid", 168, 8)]
LUKS_SLOT = [("state", 0, 4), ("iterations", 4, 4), ("salt", 8, 8), ("key_sector", 40, 4),
             ("stripes", 44, 4)]
LUKS_SLOTS_AT, LUKS_SLOT_BYTES = 208, 48


class Finder:
    def __init__(self, data):
        self.data, self.found, self.seen = data, collections.defaultdict(list), set()
        if self.number(4, 4) == 1:
            self.version_1()
        else:
            self.version_2_and_3()

    def number(self, at, width):
        return int.from_bytes(self.data[at:at + width], "big")

    def add(self, group, name, at, width):
        if at + width <= len(self.data) and (at, width) not in self.seen:
            self.seen.add((at, width))
            self.found[group].append(Field(group, name, at, width))

    def layout(self, group, layout, base):
        for name, at, width in layout:
            self.add(group, name, base + at, width)

    def words(self, group, at, length):
        for place in range(at, at + length, 8):
            self.add(group, group, place, 8)

    def bytes(self, group, at, length, most=400):
        """The bytes of a place, or a spread of them."""
        for place in range(at, at + length, max(1, length // most)):
            self.add(group, group, place, 1)

    # -- versions 2 and 3

    def version_2_and_3(self):
        v3 = self.number(4, 4) == 3
        self.layout("header", V3 if v3 else V2, 0)
        self.bits = self.number(20, 4)
        self.cluster = 1 << self.bits
        self.extended = v3 and bool(self.number(72, 8) & 16)
        name_at, name_size = self.number(8, 8), self.number(16, 4)
        if name_at:
            self.bytes("backing name", name_at, name_size)
        self.extensions(self.number(100, 4) if v3 else 72, name_at or self.cluster)
        self.l1("L1", self.number(40, 8), self.number(36, 4))
        self.refcounts(self.number(48, 8), self.number(56, 4),
                       1 << self.number(96, 4) if v3 else 16)
        self.snapshots(self.number(64, 8), self.number(60, 4))

    def extensions(self, at, end):
        while at + 8 <= end:
            kind, length = self.number(at, 4), self.number(at + 4, 4)
            self.add("extension", "type", at, 4)
            self.add("extension", "length", at + 4, 4)
            if kind == 0:
                return
            data = at + 8
            if kind == BITMAPS:
                self.layout("extension", BITMAPS_EXTENSION, data)
                self.bitmaps(self.number(data + 16, 8), self.number(data, 4))
            elif kind == LUKS:
                self.layout("extension", [("luks_offset", 0, 8), ("luks_length", 8, 8)], data)
                self.luks(self.number(data, 8))
            else:
                self.bytes("extension", data, length, most=12)
            at = data + -(-length // 8) * 8

    def l1(self, group, at, entries):
        self.words(group, at, entries * 8)
        for place in range(at, at + entries * 8, 8):
            table = self.number(place, 8) & OFFSET
            if table:
                self.l2(table)

    def l2(self, table):
        if ("l2", table) in self.seen:
            return
        self.seen.add(("l2", table))
        step = 16 if self.extended else 8
        for place in range(table, table + self.cluster, step):
            # Of the empty ones in a large table a few stand for all.
            entry = self.data[place:place + step]
            if not any(entry) and place - table >= 40 * step:
                continue
            self.add("L2", "L2", place, 8)
            if self.extended:
                self.add("L2", "subclusters", place + 8, 8)
            word = self.number(place, 8)
            if word & COMPRESSED:
                shift = 70 - self.bits
                at = word & ((1 << shift) - 1)
                sectors = (word & (COMPRESSED - 1)) >> shift
                self.bytes("compressed data", at, (sectors + 1) * 512 - at % 512, most=60)

    def refcounts(self, table, clusters, width):
        for place in range(table, table + clusters * self.cluster, 8):
            block = self.number(place, 8)
            if block or place < table + 64:
                self.add("refcount table", "refcount table", place, 8)
            if block:
                used = -(-len(self.data) // self.cluster) * width // 8
                self.bytes("refcount block", block, min(self.cluster, used + 8))

    def snapshots(self, at, count):
        for _ in range(count):
            self.layout("snapshot table", SNAPSHOT, at)
            ids, names = self.number(at + 12, 2), self.number(at + 14, 2)
            extra = self.number(at + 36, 4)
            self.words("snapshot table", at + 40, extra)
            self.bytes("snapshot table", at + 40 + extra, ids + names, most=8)
            self.l1("snapshot L1", self.number(at, 8), self.number(at + 8, 4))
            at += -(-(40 + extra + ids + names) // 8) * 8

    def bitmaps(self, at, count):
        for _ in range(count):
            self.layout("bitmap directory", BITMAP, at)
            names = self.number(at + 18, 2)
            self.bytes("bitmap directory", at + 24, names, most=4)
            self.words("bitmap table", self.number(at, 8), self.number(at + 8, 4) * 8)
            at += -(-(24 + names) // 8) * 8

    def luks(self, at):
        self.layout("LUKS header", LUKS_HEAD, at)
        for slot in range(8):
            place = at + LUKS_SLOTS_AT + slot * LUKS_SLOT_BYTES
            self.layout("LUKS header", LUKS_SLOT, place)
            if self.number(place, 4) == 0x00AC71F3:
                self.bytes("LUKS key material", at + 512 * self.number(place + 40, 4),
                           4000 * self.number(at + 108, 4), most=50)

    # -- version 1

    def version_1(self):
        self.layout("header", V1, 0)
        name_at, name_size = self.number(8, 8), self.number(16, 4)
        if name_at:
            self.bytes("backing name", name_at, name_size)
        cluster_bits, l2_bits, size = self.data[32], self.data[33], self.number(24, 8)
        at = self.number(40, 8)
        entries = -(-size // (1 << cluster_bits + l2_bits))
        self.words("L1", at, entries * 8)
        for place in range(at, at + entries * 8, 8):
            table = self.number(place, 8)
            for entry_at in range(table, table + (8 << l2_bits) if table else 0, 8):
                entry = self.number(entry_at, 8)
                if entry or entry_at < table + 320:
                    self.add("L2", "L2", entry_at, 8)
                if entry >> 63:
                    start = entry & ((1 << 63 - cluster_bits) - 1)
                    length = entry >> 63 - cluster_bits & ((1 << cluster_bits) - 1)
                    self.bytes("compressed data", start, length, most=60)


def fields_of(data):
    return dict(Finder(data).found)


def pack(value, width):
    return (value & (1 << 8 * width) - 1).to_bytes(width, "big")


def header_number(data, at, code):
    """A number of a header that may have been cut short: what is missing is 0, as QEMU reads it."""
    size = struct.calcsize(code)
    return struct.unpack(code, bytes(data[at:at + size]).ljust(size, b"\0"))[0]


def extensions(head):
    """(place, type) of each header extension, as far as they follow on each other."""
    at = header_number(head, 100, ">I") if header_number(head, 4, ">I") == 3 else 72
    while at + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            break
        yield at, kind
        at += 8 + -(-length // 8) * 8
