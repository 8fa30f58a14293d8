# SPDX-License-Identifier: MIT
"""beside.py - what an image holds beside its disks: dirty bitmaps and refcounts. Reading a disk
needs neither of them. Works on a reader.Qcow2."""

import os
import re
import struct

from layouts import (BITMAP, BITMAPS, BITMAPS_POINTER, BITMAPS_VALID, OFFSET, divide_up, fields,
                     sizeof)
from refused import require

FLAGS = "in-use", "auto"
ALL_ONES, RESERVED = 1, 0xFF000000000001FE  # of a bitmap table entry


def bitmaps(image):
    """The dirty bitmaps, each with its dirty ranges, or None for them where in_use calls it stale.
    Empty where the image does not promise that its bitmaps are consistent; format.md 6."""
    extension = image.extensions.get(BITMAPS_POINTER)
    if extension is None or not image.header.autoclear & BITMAPS_VALID:
        return []
    require(len(extension) == sizeof(BITMAPS), "corrupt", "bitmaps extension")
    head = fields(BITMAPS, extension)
    require(head.reserved == 0 and 1 <= head.count <= 65535 and head.size <= 65535 * 1024
            and head.offset % image.cluster_size == 0, "corrupt", "bitmaps extension")
    directory, found, at = image.load(head.offset, head.size, "bitmap directory"), [], 0
    for _ in range(head.count):
        require(at + sizeof(BITMAP) <= head.size, "corrupt", "bitmap directory is too short")
        entry = fields(BITMAP, directory[at:])
        require(entry.table > 0 and entry.table % image.cluster_size == 0 and entry.type == 1
                and 1 <= entry.entries <= (512 << 20) // image.cluster_size
                and entry.flags >> len(FLAGS) == 0 and 9 <= entry.granularity_bits <= 31
                and entry.name_size <= 1023 and entry.extra_size == 0, "corrupt", "bitmap entry")
        name_at = at + sizeof(BITMAP)
        at = name_at + divide_up(entry.name_size, 8) * 8
        require(at <= head.size, "corrupt", "bitmap directory is too short")
        name = os.fsdecode(directory[name_at:name_at + entry.name_size])
        flags = [word for bit, word in enumerate(FLAGS) if entry.flags >> bit & 1]
        stale = "in-use" in flags
        require(stale or name not in [other["name"] for other in found], "corrupt",
                "two bitmaps of one name")
        found.append({"name": name, "granularity": 1 << entry.granularity_bits, "flags": flags,
                      "ranges": None if stale else dirty_ranges(image, entry)})
    require(at == head.size, "corrupt", "bitmap directory is too long")
    return found


def dirty_ranges(image, bitmap):
    """[guest offset, length] of each run of set bits, cut at the end of the disk."""
    granularity = 1 << bitmap.granularity_bits
    bit_count = divide_up(image.header.size, granularity)
    byte_count = divide_up(bit_count, 8)
    require(bitmap.entries == divide_up(byte_count, image.cluster_size), "corrupt",
            "bitmap table size")
    payload = b""
    table = image.load(bitmap.table, bitmap.entries * 8, "bitmap table")
    for entry in struct.unpack(f">{bitmap.entries}Q", table):
        host, ones = entry & OFFSET, entry & ALL_ONES
        require(not entry & RESERVED and host % image.cluster_size == 0 and not (host and ones),
                "corrupt", f"bitmap table entry {entry:#x}")
        payload += image.load(host, image.cluster_size, "bitmap data") if host else (
            (b"\xff" if ones else b"\0") * image.cluster_size)
    bits = "".join(f"{byte:08b}"[::-1] for byte in payload[:byte_count])[:bit_count]
    runs = [(run.start() * granularity, run.end() * granularity)
            for run in re.finditer("1+", bits)]
    return [[start, min(end, image.disk.size) - start] for start, end in runs]


def refcount(image, cluster):
    """How many uses the image states for a host cluster; format.md 7.1."""
    width = 1 << image.header.refcount_order
    index, inside = divmod(cluster, image.cluster_size * 8 // width)
    if index * 8 >= image.header.refcount_table_clusters * image.cluster_size:
        return 0
    where = image.header.refcount_table + index * 8
    block = int.from_bytes(image.load(where, 8, "refcount table"), "big") & ~0x1FF
    if not block:
        return 0
    require(block % image.cluster_size == 0, "corrupt", f"refcount block at {block:#x}")
    entries = image.load(block, image.cluster_size, "refcount block")
    byte, bit = divmod(inside * width, 8)
    if width >= 8:
        return int.from_bytes(entries[byte:byte + width // 8], "big")
    return entries[byte] >> bit & (1 << width) - 1  # lowest bits first
