# SPDX-License-Identifier: MIT
"""Compressed streams written by hand: raw deflate (RFC 1951) and Zstandard frames (RFC 8878).

Every block type is chosen by the caller, so that a stream can be over-long, unfinished, cut short,
or split in frames exactly as a test says. Nothing here knows about qcow2.
"""

import struct
import zlib


# ---------------------------------------------------------------------------
# Deflate

def deflate(data, level=9, window=15):
    """An ordinary complete raw stream."""
    coder = zlib.compressobj(level, zlib.DEFLATED, -window)
    return coder.compress(data) + coder.flush()


def deflate_unfinished(data, level=9):
    """All of the data on a byte boundary, but no final block (ends in an empty stored block)."""
    coder = zlib.compressobj(level, zlib.DEFLATED, -15)
    return coder.compress(data) + coder.flush(zlib.Z_SYNC_FLUSH)


def deflate_stored(data, final=True, chunk=65535):
    """Stored blocks only; `final` says whether the last one is marked as the last."""
    out = b''
    for start in range(0, max(len(data), 1), chunk):
        part = data[start:start + chunk]
        last = final and start + chunk >= len(data)
        out += struct.pack('<BHH', 1 if last else 0, len(part), len(part) ^ 0xFFFF) + part
    return out


class FixedBlock:
    """One deflate block with the fixed Huffman codes, symbol by symbol."""

    def __init__(self, final=True):
        self.value = 0
        self.count = 0
        self._put(1 if final else 0, 1)
        self._put(1, 2)

    def _put(self, value, bits):
        self.value |= value << self.count
        self.count += bits

    def _put_code(self, code, bits):  # Huffman codes go most significant bit first
        self._put(int(format(code, f'0{bits}b')[::-1], 2), bits)

    def _symbol(self, symbol):
        if symbol < 144:
            self._put_code(0x30 + symbol, 8)
        elif symbol < 256:
            self._put_code(0x190 + symbol - 144, 9)
        elif symbol < 280:
            self._put_code(symbol - 256, 7)
        else:
            self._put_code(0xC0 + symbol - 280, 8)

    def literals(self, data):
        for byte in data:
            self._symbol(byte)
        return self

    def match(self, length, distance):
        """A copy of `length` (3..10, or 258) bytes from `distance` (1..32768) back."""
        if length == 258:
            self._symbol(285)
        else:
            assert 3 <= length <= 10
            self._symbol(257 + length - 3)
        if distance <= 4:
            self._put_code(distance - 1, 5)
            return self
        extra = (distance - 1).bit_length() - 2
        code = 2 * (extra + 1) + (((distance - 1) >> extra) & 1)
        self._put_code(code, 5)
        self._put((distance - 1) & ((1 << extra) - 1), extra)
        return self

    def end(self):
        self._symbol(256)
        return self.bytes()

    def bytes(self):
        return self.value.to_bytes((self.count + 7) // 8, 'little')


# ---------------------------------------------------------------------------
# Zstandard

MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                      0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def _rotate(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & MASK


def xxh64(data):
    """The checksum of a Zstandard frame, before it is cut to 32 bits (seed 0)."""
    position = 0
    if len(data) >= 32:
        lanes = [(P1 + P2) & MASK, P2, 0, (-P1) & MASK]
        while position + 32 <= len(data):
            for i, word in enumerate(struct.unpack_from('<4Q', data, position)):
                lanes[i] = _rotate((lanes[i] + word * P2) & MASK, 31) * P1 & MASK
            position += 32
        total = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            total ^= _rotate(lane * P2 & MASK, 31) * P1 & MASK
            total = (total * P1 + P4) & MASK
    else:
        total = P5
    total = (total + len(data)) & MASK
    while position + 8 <= len(data):
        word, = struct.unpack_from('<Q', data, position)
        total ^= _rotate(word * P2 & MASK, 31) * P1 & MASK
        total = (_rotate(total, 27) * P1 + P4) & MASK
        position += 8
    if position + 4 <= len(data):
        word, = struct.unpack_from('<I', data, position)
        total = (_rotate(total ^ (word * P1 & MASK), 23) * P2 + P3) & MASK
        position += 4
    for byte in data[position:]:
        total = _rotate(total ^ (byte * P5 & MASK), 11) * P1 & MASK
    total = (total ^ (total >> 33)) * P2 & MASK
    total = (total ^ (total >> 29)) * P3 & MASK
    return total ^ (total >> 32)


class Raw:
    """A block stored as it is."""

    def __init__(self, data):
        self.data = data
        self.kind, self.size, self.stored = 0, len(data), data


class Rle:
    """A block of one byte repeated."""

    def __init__(self, byte, count):
        self.data = bytes([byte]) * count
        self.kind, self.size, self.stored = 1, count, bytes([byte])


class Reserved:
    """The block type no decoder may accept."""
    data, kind, size, stored = b'', 3, 0, b''


def raw_blocks(data, block=131072):
    """`data` in stored blocks no longer than the format's 128 KiB."""
    return [Raw(data[i:i + block]) for i in range(0, len(data), block)] or [Raw(b'')]


def zstd_frame(blocks, *, content_size=None, single_segment=False, checksum=False,
               window_log=None, finished=True):
    """One frame. `blocks` is a list of blocks or plain bytes (then stored as they are).

    content_size: True writes the true size, a number that number, None leaves the field out.
    checksum: True for the right one, a number for that one. window_log: 10..41, default just
    enough. finished=False: no block is marked as the last one.
    """
    if isinstance(blocks, (bytes, bytearray)):
        blocks = raw_blocks(bytes(blocks))
    data = b''.join(block.data for block in blocks)
    if content_size is True or (single_segment and content_size is None):
        content_size = len(data)
    flag = 0 if content_size is None else 3
    descriptor = (flag << 6) | (0x20 if single_segment else 0) | (0x04 if checksum is not False
                                                                  else 0)
    out = b'\x28\xB5\x2F\xFD' + bytes([descriptor])
    if not single_segment:
        if window_log is None:
            window_log = max(10, (max(len(data), 1) - 1).bit_length())
        out += bytes([(window_log - 10) << 3])
    if content_size is not None:
        out += struct.pack('<Q', content_size)
    for i, block in enumerate(blocks):
        last = finished and i == len(blocks) - 1
        out += struct.pack('<I', (block.size << 3) | (block.kind << 1) | last)[:3] + block.stored
    if checksum is not False:
        out += struct.pack('<I', (xxh64(data) & 0xFFFFFFFF) if checksum is True else checksum)
    return out


def skippable_frame(data, number=0):
    """A frame that decoders step over."""
    return struct.pack('<II', 0x184D2A50 + number, len(data)) + data
