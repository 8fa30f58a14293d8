# SPDX-License-Identifier: MIT
"""Hand-made qcow2 images, described by named fields.

    Image(cluster_bits=12, size=10 * 4096,
          l2={0: Normal(b'first'), 3: Zero(), 5: Compressed(deflate(cluster))},
          header={'l1_size': 0}).write(path)

Everything that is not said is made so that the image is sound: the layout, the header, the tables
and the refcounts. Everything that is said is written as it stands, however wrong. Knows the format,
no tool and no library.

Layout: header, refcount table, refcount blocks, L1, L2 tables, snapshot table, then the clusters in
the order in which `l2` names them (so that the last one named is the last one in the file).
"""

import struct

COPIED = 1 << 63
COMPRESSED = 1 << 62
OFFSET_MASK = 0x00FFFFFFFFFFFE00

INCOMPATIBLE = {'dirty': 1, 'corrupt': 2, 'data_file': 4, 'compression_type': 8, 'extended_l2': 16}

EXT_BACKING_FORMAT = 0xE2792ACA
EXT_FEATURE_NAMES = 0x6803F857
EXT_BITMAPS = 0x23852875
EXT_LUKS = 0x0537BE77
EXT_DATA_FILE = 0x44415441

# name, offset, struct format; the fields of version 3 come last
FIELDS = [
    ('magic', 0, '>4s'), ('version', 4, '>I'), ('backing_file_offset', 8, '>Q'),
    ('backing_file_size', 16, '>I'), ('cluster_bits', 20, '>I'), ('size', 24, '>Q'),
    ('crypt_method', 32, '>I'), ('l1_size', 36, '>I'), ('l1_table_offset', 40, '>Q'),
    ('refcount_table_offset', 48, '>Q'), ('refcount_table_clusters', 56, '>I'),
    ('nb_snapshots', 60, '>I'), ('snapshots_offset', 64, '>Q'),
    ('incompatible_features', 72, '>Q'), ('compatible_features', 80, '>Q'),
    ('autoclear_features', 88, '>Q'), ('refcount_order', 96, '>I'), ('header_length', 100, '>I'),
    ('compression_type', 104, '>B'),
]
V2_FIELDS = 13


class Normal:
    """A standard cluster. data: padded with zeros to a cluster; offset: where (default: next)."""

    def __init__(self, data=b'', offset=None, flags=COPIED):
        self.data, self.offset, self.flags = data, offset, flags


class Subclusters(Normal):
    """A cluster of an image with extended L2 entries: which of its 32 subclusters are allocated and
    which are zero, as collections of numbers; place=False: there is no host cluster."""

    def __init__(self, data=b'', allocated=(), zero=(), place=True):
        super().__init__(data)
        self.bitmap = sum(1 << k for k in allocated) | sum(1 << (32 + k) for k in zero)
        self.place = place


class Zero:
    """A zero cluster without a place."""


class ZeroAlloc(Normal):
    """A zero cluster that keeps a place; `data` is what lies there and must not be seen."""


class Compressed:
    """A compressed cluster.

    offset: exact host byte; at_mod: place it so that offset mod 512 is this; ends_on_sector: place
    it so that its last byte ends a sector; sectors: the descriptor's count of additional sectors;
    more_sectors: added to the right count.
    """

    def __init__(self, payload, offset=None, at_mod=None, ends_on_sector=False, sectors=None,
                 more_sectors=0):
        self.payload, self.offset = payload, offset
        self.at_mod = -len(payload) % 512 if ends_on_sector else at_mod
        self.sectors, self.more_sectors = sectors, more_sectors


class Extension:
    """A header extension. length: what its length field says."""

    def __init__(self, kind, data=b'', length=None):
        self.kind, self.data = kind, data
        self.length = len(data) if length is None else length

    def bytes(self):
        return (struct.pack('>II', self.kind, self.length) + self.data +
                bytes(-len(self.data) % 8))


class Snapshot:
    """A snapshot table entry. l1: list of raw entries, None shares the active table's values."""

    def __init__(self, id=b'1', name=b'one', l1=None, l1_offset=None, l1_entries=None, extra=None,
                 extra_size=None, vm_state_size=0, disk_size=None, date=0, id_size=None,
                 name_size=None):
        self.id, self.name, self.l1 = id, name, l1
        self.l1_offset, self.l1_entries = l1_offset, l1_entries
        self.extra, self.extra_size = extra, extra_size
        self.vm_state_size, self.disk_size, self.date = vm_state_size, disk_size, date
        self.id_size, self.name_size = id_size, name_size


def feature_names(*entries):
    """The feature name table from (set, bit, name) triples."""
    data = b''.join(bytes([which, bit]) + name.ljust(46, b'\0')[:46]
                    for which, bit, name in entries)
    return Extension(EXT_FEATURE_NAMES, data)


def compressed_descriptor(cluster_bits, offset, sectors):
    """The L2 entry for compressed data at `offset` with `sectors` additional sectors."""
    return COMPRESSED | (sectors << (70 - cluster_bits)) | offset


class Image:
    """See the top of the file.

    size: default covers the last cluster named in l2; l2: guest cluster -> entry (a class of this
    module, the raw number, or with extended_l2 a pair of raw numbers); l1: index -> raw number, replacing the right one; header: field ->
    value, replacing the right one; extensions: Extension or bytes; end_marker: append one;
    backing_file: name; refcounts: host cluster -> stored value; writes: (host offset, bytes) put
    down last; round_up: pad the file to a whole cluster; length: cut or extend the file to this.
    """

    def __init__(self, *, version=3, cluster_bits=12, size=None, l2=None, l1=None, header=None,
                 extensions=(), end_marker=True, backing_file=None, snapshots=(), zstd=False,
                 refcount_order=4, refcounts=None, writes=(), round_up=True, length=None,
                 l1_entries=None, extended_l2=False):
        self.version, self.cluster_bits, self.cs = version, cluster_bits, 1 << cluster_bits
        self.l2, self.l1, self.header = dict(l2 or {}), dict(l1 or {}), dict(header or {})
        self.size = (max(self.l2, default=0) + 1) * self.cs if size is None else size
        self.extensions, self.end_marker = list(extensions), end_marker
        self.backing_file, self.snapshots, self.zstd = backing_file, list(snapshots), zstd
        self.refcount_order = refcount_order if version >= 3 else 4
        self.refcounts, self.writes = dict(refcounts or {}), list(writes)
        self.round_up, self.length, self.l1_entries = round_up, length, l1_entries
        self.extended_l2 = extended_l2
        self.per_table = self.cs // (16 if extended_l2 else 8)  # entries of an L2 table
        self.at = {}     # what was laid out where: 'l1', ('l2', i), ('data', guest cluster), ...
        self.values = {}  # header field -> value, as written

    # -- layout ---------------------------------------------------------------

    def _lay_out(self, refcount_blocks):
        self.pieces, self.next_free, self.references, self.at = [], 0, {}, {}
        self._take('header', 1)
        table_bytes = refcount_blocks * 8
        table_clusters = -(-table_bytes // self.cs)
        self._take('refcount_table', table_clusters)
        self._take('refcount_blocks', refcount_blocks)
        per_table, words = self.per_table, self.cs // 8
        needed = -(-self.size // (self.cs * per_table))
        named = max((c // per_table for c in self.l2), default=-1) + 1
        # A disk of absurd size is described by its header; its tables stay small.
        entries = max(needed if needed <= 1 << 16 else 1, named, max(self.l1, default=-1) + 1)
        entries = entries if self.l1_entries is None else self.l1_entries
        self._take('l1', -(-entries * 8 // self.cs))
        l1 = [0] * entries
        tables = {}
        for index in sorted({c // per_table for c in self.l2}):
            tables[index] = [0] * words
            self._take(('l2', index), 1)
            if index < entries:
                l1[index] = self.at['l2', index] | COPIED
        snapshot_table = self._snapshot_clusters(l1)
        for cluster, entry in self.l2.items():
            table, first = tables[cluster // per_table], cluster % per_table * words // per_table
            value = self._place(cluster, entry)
            if isinstance(value, int):
                value = (value, 0)
            table[first:first + words // per_table] = value[:words // per_table]
        for index, value in self.l1.items():
            l1[index] = value
        self._put(self.at['l1'], struct.pack(f'>{entries}Q', *l1))
        for index, table in tables.items():
            self._put(self.at['l2', index], struct.pack(f'>{words}Q', *table))
        self._put_snapshots(snapshot_table, l1)
        self._put_refcounts(refcount_blocks)
        self._put_header(entries, table_clusters)

    def _take(self, name, clusters):
        """Sets aside whole clusters after all that is there, each referenced once."""
        start = -(-self.next_free // self.cs)
        self.at[name] = start * self.cs
        self.next_free = (start + clusters) * self.cs
        self._refer(start * self.cs, clusters * self.cs)
        return start * self.cs

    def _refer(self, offset, length):
        if offset + length <= self.next_free + (1 << 24):  # not for places past the file
            for cluster in range(offset // self.cs, (offset + length - 1) // self.cs + 1):
                self.references[cluster] = self.references.get(cluster, 0) + 1

    def _put(self, offset, data):
        self.pieces.append((offset, data))
        self.next_free = max(self.next_free, offset + len(data))

    def _place(self, cluster, entry):
        """Puts down what an L2 entry refers to; returns the entry, extended ones as a pair."""
        if isinstance(entry, (int, tuple)):
            return entry
        if isinstance(entry, Subclusters) and not entry.place:
            return 0, entry.bitmap
        if isinstance(entry, Zero):
            return 1
        if isinstance(entry, Compressed):
            return self._place_compressed(cluster, entry)
        if entry.offset is None:
            offset = self._take(('data', cluster), 1)
            self._put(offset, bytes(entry.data).ljust(self.cs if self.round_up else 0, b'\0'))
        else:
            offset = self.at['data', cluster] = entry.offset
            if entry.data:
                self.pieces.append((offset, bytes(entry.data)))
            self._refer(offset, self.cs)
        if not self.round_up:
            self.next_free = offset + len(entry.data)
        if self.extended_l2:
            return offset | entry.flags, getattr(entry, 'bitmap', 0xFFFFFFFF)
        return offset | entry.flags | (1 if isinstance(entry, ZeroAlloc) else 0)

    def _place_compressed(self, cluster, entry):
        offset = entry.offset
        if offset is None:
            offset = self.next_free
            if entry.at_mod is not None:
                offset += (entry.at_mod - offset) % 512
            self._put(offset, entry.payload)
        elif entry.payload:
            self.pieces.append((offset, entry.payload))
        self.at['data', cluster] = offset
        sectors = entry.sectors
        if sectors is None:
            sectors = (offset % 512 + max(len(entry.payload), 1) - 1) // 512 + entry.more_sectors
        if offset < 1 << 40:
            self._refer(offset, (sectors + 1) * 512 - offset % 512)
        return compressed_descriptor(self.cluster_bits, offset, sectors)

    # -- snapshots ------------------------------------------------------------

    def _snapshot_entry(self, snapshot, l1_offset, l1_entries):
        extra = snapshot.extra
        if extra is None:
            disk_size = self.size if snapshot.disk_size is None else snapshot.disk_size
            extra = struct.pack('>QQ', snapshot.vm_state_size, disk_size)
        name_size = len(snapshot.name) if snapshot.name_size is None else snapshot.name_size
        id_size = len(snapshot.id) if snapshot.id_size is None else snapshot.id_size
        extra_size = len(extra) if snapshot.extra_size is None else snapshot.extra_size
        entry = struct.pack('>QIHHIIQII', l1_offset, l1_entries, id_size, name_size, snapshot.date,
                            0, 0, snapshot.vm_state_size & 0xFFFFFFFF, extra_size)
        entry += extra + snapshot.id + snapshot.name
        return entry + bytes(-len(entry) % 8)

    def _snapshot_clusters(self, l1):
        if not self.snapshots:
            return 0
        for i, snapshot in enumerate(self.snapshots):
            entries = len(l1 if snapshot.l1 is None else snapshot.l1)
            self._take(('snapshot_l1', i), -(-entries * 8 // self.cs))
        table_bytes = sum(len(self._snapshot_entry(s, 0, 0)) for s in self.snapshots)
        return self._take('snapshots', -(-table_bytes // self.cs))

    def _put_snapshots(self, table_offset, l1):
        table = b''
        for i, snapshot in enumerate(self.snapshots):
            values = l1 if snapshot.l1 is None else snapshot.l1
            offset = self.at['snapshot_l1', i]
            self._put(offset, struct.pack(f'>{len(values)}Q', *values))
            entries = len(values) if snapshot.l1_entries is None else snapshot.l1_entries
            table += self._snapshot_entry(
                snapshot, offset if snapshot.l1_offset is None else snapshot.l1_offset, entries)
        if table:
            self._put(table_offset, table)

    # -- refcounts and header ---------------------------------------------------

    def _put_refcounts(self, blocks):
        width = 1 << self.refcount_order
        per_block = self.cs * 8 // width
        stored = {**self.references, **self.refcounts}
        start = self.at['refcount_blocks']
        self._put(self.at['refcount_table'],
                  struct.pack(f'>{blocks}Q', *(start + i * self.cs for i in range(blocks))))
        for i in range(blocks):
            counts = [stored.get(i * per_block + k, 0) & ((1 << width) - 1)
                      for k in range(per_block)]
            if width >= 8:
                data = b''.join(count.to_bytes(width // 8, 'big') for count in counts)
            else:
                per_byte = 8 // width
                data = bytes(sum(counts[b * per_byte + k] << (k * width) for k in range(per_byte))
                             for b in range(self.cs))
            self._put(start + i * self.cs, data)

    def _put_header(self, l1_entries, table_clusters):
        v3 = self.version >= 3
        values = {
            'magic': b'QFI\xfb', 'version': self.version, 'backing_file_offset': 0,
            'backing_file_size': 0, 'cluster_bits': self.cluster_bits, 'size': self.size,
            'crypt_method': 0, 'l1_size': l1_entries, 'l1_table_offset': self.at['l1'],
            'refcount_table_offset': self.at['refcount_table'],
            'refcount_table_clusters': table_clusters, 'nb_snapshots': len(self.snapshots),
            'snapshots_offset': self.at.get('snapshots', 0),
            'incompatible_features': (INCOMPATIBLE['compression_type'] * self.zstd |
                                      INCOMPATIBLE['extended_l2'] * self.extended_l2),
            'compatible_features': 0, 'autoclear_features': 0,
            'refcount_order': self.refcount_order, 'header_length': 112 if v3 else 72,
            'compression_type': 1 if self.zstd else 0,
        }
        known = values | self.header
        length = known['header_length'] if v3 else 72
        area = length if 72 <= length <= self.cs else (112 if v3 else 72)
        extensions = b''.join(e if isinstance(e, bytes) else e.bytes() for e in self.extensions)
        if self.end_marker and area + len(extensions) + 8 <= self.cs:
            extensions += bytes(8)
        if self.backing_file is not None:
            values['backing_file_offset'] = area + len(extensions)
            values['backing_file_size'] = len(self.backing_file)
            extensions += self.backing_file
        assert set(self.header) <= set(values), 'no such header field'
        values.update(self.header)
        self.values = values
        self.pieces.append((area, extensions))
        for name, offset, code in FIELDS if v3 else FIELDS[:V2_FIELDS]:
            if offset < area or name in self.header:  # a short header has no room for the last ones
                self.pieces.append((offset, struct.pack(code, values[name])))

    # -- output -----------------------------------------------------------------

    def lay_out(self):
        """Decides where everything goes (self.at) without writing; returns self."""
        blocks = 1
        while True:
            self._lay_out(blocks)
            per_block = self.cs * 8 // (1 << self.refcount_order)
            wanted = -(-(max(self.references) + 1) // per_block)
            if wanted <= blocks:
                return self
            blocks = wanted

    def write(self, path):
        """Writes the file and returns its path."""
        self.lay_out()
        end = self.next_free
        if self.round_up:
            end = -(-end // self.cs) * self.cs
        with open(path, 'wb') as file:
            file.truncate(end)
            for offset, data in self.pieces + self.writes:
                file.seek(offset)
                file.write(data)
            if self.length is not None:
                file.truncate(self.length)
        return path
