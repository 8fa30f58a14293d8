# SPDX-License-Identifier: MIT
"""Damage to the tables of an image, chosen by a seed.

Finds every table through the header (which stays as it is) and changes a few of their words, mostly
into something that is nearly right: another entry of the same table, an offset next door, one flag
more or less, a place at the end of the file.
"""

import random
import struct

OFFSET_MASK = 0x00FFFFFFFFFFFE00


class Tables:
    """Where the tables of an image are: list of (kind, offset, bytes). Entries that do not lead
    into the file are not followed."""

    def __init__(self, data):
        self.data = data
        field = self._unpack
        self.version = field('>I', 4)
        self.cluster_bits = field('>I', 20)
        self.cluster = 1 << self.cluster_bits
        self.extended = self.version >= 3 and bool(field('>Q', 72) & 16)
        self.order = field('>I', 96) if self.version >= 3 else 4
        self.found = []
        self._l1('l1', field('>Q', 40), field('>I', 36))
        self._refcounts(field('>Q', 48), field('>I', 56))
        self._snapshots(field('>Q', 64), field('>I', 60))
        if self.version >= 3 and field('>Q', 88) & 1:
            self._bitmaps()

    def _unpack(self, form, offset):
        return struct.unpack_from(form, self.data, offset)[0]

    def _words(self, offset, count):
        count = max(0, min(count, (len(self.data) - offset) // 8))
        return struct.unpack_from(f'>{count}Q', self.data, offset)

    def _add(self, kind, offset, length):
        length = min(length, len(self.data) - offset)
        if length >= 8 and (kind, offset, length) not in self.found:
            self.found.append((kind, offset, length))

    def _l1(self, kind, offset, entries):
        self._add(kind, offset, entries * 8)
        for entry in self._words(offset, entries):
            if 0 < entry & OFFSET_MASK < len(self.data):
                self._add('l2', entry & OFFSET_MASK, self.cluster)

    def _refcounts(self, offset, clusters):
        self._add('refcount table', offset, clusters * self.cluster)
        for entry in self._words(offset, clusters * self.cluster // 8):
            if 0 < entry < len(self.data):
                self._add('refcount block', entry & ~511, self.cluster)

    def _snapshots(self, offset, count):
        start = offset
        for _ in range(count):
            l1_offset, l1_entries, id_size, name_size = struct.unpack_from('>QIHH', self.data,
                                                                          offset)
            extra = self._unpack('>I', offset + 36)
            self._l1('snapshot l1', l1_offset, l1_entries)
            offset += 40 + extra + id_size + name_size + 7 & ~7
        self._add('snapshot table', start, offset - start)

    def _bitmaps(self):
        position = self._unpack('>I', 100)
        while self._unpack('>I', position) not in (0, 0x23852875):
            position += 8 + (self._unpack('>I', position + 4) + 7 & ~7)
        count, _, length, offset = struct.unpack_from('>IIQQ', self.data, position + 8)
        self._add('bitmap directory', offset, length)
        for _ in range(count):
            table, entries = struct.unpack_from('>QI', self.data, offset)
            self._add('bitmap table', table, entries * 8)
            offset += 24 + self._unpack('>H', offset + 18) + 7 & ~7


# How often each kind is hit; others seldom.
WEIGHTS = {'l1': 3, 'l2': 6, 'refcount table': 3, 'refcount block': 4, 'snapshot l1': 2}


def _word(chance, old, others, tables):
    """Something to stand where `old` stood."""
    size, cluster = len(tables.data), tables.cluster
    end = size // cluster * cluster
    offset = chance.choice([0, cluster, end - cluster, end, end + cluster, chance.choice(others),
                            chance.randrange(0, size, cluster), chance.randrange(0, size, 512),
                            chance.choice(tables.found)[1], (1 << 56) - cluster]) & OFFSET_MASK
    flags = chance.choice([0, 1, 1 << 63, 1 << 62, 3 << 62, 1 << 63 | 1, 2, 1 << 56, 1 << 8])
    sectors = chance.randrange(0, 4) << (70 - tables.cluster_bits)
    return chance.choice([
        0, 1, 1 << 63, 1 << 62, chance.getrandbits(64), chance.choice(others),
        old ^ 1 << 63, old ^ 1 << 62, old ^ 1, old ^ 1 << chance.randrange(64),
        old ^ 1 << chance.randrange(64), old + cluster & (1 << 64) - 1,
        offset | flags, offset | 1 << 63, offset | 1 << 63, offset,
        1 << 62 | sectors | chance.randrange(0, size + cluster),
    ])


def _hit(chance, tables, data):
    weights = [WEIGHTS.get(kind, 1) for kind, _, _ in tables.found]
    kind, start, length = chance.choices(tables.found, weights)[0]
    words = tables._words(start, length // 8)
    used = [i for i, word in enumerate(words) if word != 0]
    index = chance.choice(used) if used and chance.random() < 0.8 else chance.randrange(len(words))
    if kind in ('refcount block', 'snapshot table', 'bitmap directory') and chance.random() < 0.9:
        at = start + index * 8 + chance.randrange(8)
        data[at] = chance.choice([0, 1, 2, 3, 255, data[at] ^ 1 << chance.randrange(8),
                                  chance.randrange(256)])
        return
    others = [words[i] for i in used] or [0]
    struct.pack_into('>Q', data, start + index * 8, _word(chance, words[index], others, tables))


def damaged(data, seed):
    """A copy of an image with 1 to 6 words of its tables changed, or bytes, or its end cut off."""
    chance = random.Random(seed)
    tables, data = Tables(data), bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 3, 6])):
        _hit(chance, tables, data)
    if chance.random() < 0.15:
        least = 2 * tables.cluster
        del data[max(least, len(data) - chance.randrange(1, 4 * tables.cluster)):]
    return bytes(data)
