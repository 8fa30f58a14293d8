# SPDX-License-Identifier: MIT
"""layouts.py - the structures of the format, field by field, and how to take them apart.

A layout is words "name:type"; the types are those of the struct module, always big endian:
B, H, I and Q are unsigned numbers of 1, 2, 4 and 8 bytes, 4s is four bytes."""

import struct
import types

from refused import require

MAGIC = b"QFI\xfb"
HEADER_V1 = ("magic:4s version:I name_offset:Q name_size:I mtime:I size:Q cluster_bits:B l2_bits:B "
             "padding:H crypt_method:I l1_offset:Q")
HEADER_V2 = ("magic:4s version:I name_offset:Q name_size:I cluster_bits:I size:Q crypt_method:I "
             "l1_entries:I l1_offset:Q refcount_table:Q refcount_table_clusters:I "
             "snapshot_count:I snapshots_offset:Q")
HEADER_V3 = HEADER_V2 + " incompatible:Q compatible:Q autoclear:Q refcount_order:I header_length:I"
SNAPSHOT = ("l1_offset:Q l1_entries:I id_size:H name_size:H date_sec:I date_nsec:I vm_clock_nsec:Q "
            "vm_state_size:I extra_size:I")
BITMAPS = "count:I reserved:I size:Q offset:Q"  # the header extension
BITMAP = "table:Q entries:I flags:I type:B granularity_bits:B name_size:H extra_size:I"

# Types of header extensions.
BACKING_FORMAT = 0xE2792ACA
FEATURE_NAMES = 0x6803F857
BITMAPS_POINTER = 0x23852875
LUKS_POINTER = 0x0537BE77
DATA_FILE_NAME = 0x44415441

# Feature bits that change how an image is read; the first two incompatible ones do not.
DATA_FILE, COMPRESSION_TYPE, EXTENDED_L2, KNOWN_INCOMPATIBLE = 1 << 2, 1 << 3, 1 << 4, 0b11111
BITMAPS_VALID, DATA_FILE_RAW = 1 << 0, 1 << 1  # autoclear

# Parts of an L1, L2 or bitmap table entry. In version 1 the highest bit means compressed.
OFFSET, BIT63, COMPRESSED, ZERO = 0x00FFFFFFFFFFFE00, 1 << 63, 1 << 62, 1


def sizeof(layout):
    return struct.calcsize(">" + "".join(word.split(":")[1] for word in layout.split()))


def fields(layout, data):
    """The fields at the start of `data`, as attributes of one object."""
    require(len(data) >= sizeof(layout), "truncated", "the file ends inside the header")
    names, codes = zip(*(word.split(":") for word in layout.split()))
    values = struct.unpack(">" + "".join(codes), data[:sizeof(layout)])
    return types.SimpleNamespace(**dict(zip(names, values)))


def divide_up(a, b):
    return -(-a // b)


def walk_extensions(head, at, end):
    """(type, data) of every header extension; a later one of the same type wins; (2.1)."""
    while at < end:
        require(at + 8 <= end, "corrupt", "stray bytes behind the header extensions")
        kind, count = struct.unpack(">II", head[at:at + 8])
        require(count <= end - at - 8, "corrupt", f"header extension at {at:#x} does not fit")
        if kind == 0:
            return
        yield kind, head[at + 8:at + 8 + count]
        at += 8 + divide_up(count, 8) * 8


def feature_names(bits, table):
    rows = [table[at:at + 48] for at in range(0, len(table) - 1, 48)]
    names = {row[1]: ascii(row[2:].rstrip(b"\0").decode("latin-1")) for row in rows if row[0] == 0}
    return ", ".join(names.get(bit, f"bit {bit}") for bit in range(5, 64) if bits >> bit & 1)
