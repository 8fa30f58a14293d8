# SPDX-License-Identifier: MIT
"""qcow2 vet, rule by rule: for each an image that it finds, and a near miss that it does not. Raw disks have
tests of their own: test_tool_vet_raw.py."""

import os
import struct
import subprocess

import pytest

import toolrun
from chainrun import number_at, overlay, patch
from vetting import build, luks, of_bytes, rules, streams, vet

CS = 4096
DATA = b'some data that is not zero'


def two_clusters(**more):
    return build.Image(cluster_bits=12, size=16 * CS,
                       l2={0: build.Normal(DATA), 3: build.Normal(DATA)}, **more)


def laid_out(**more):
    return two_clusters(**more).lay_out()


def compressed(*offsets, **more):
    """An image whose clusters 0, 1, .. are compressed; an offset that is not None says where."""
    stream = streams.deflate(bytes(range(256)) * 16, window=12)
    return build.Image(cluster_bits=12, size=16 * CS, l2={
        i: build.Compressed(stream if offset is None else b'', offset=offset,
                            sectors=None if offset is None else (len(stream) - 1) // 512)
        for i, offset in enumerate(offsets)}, **more)


def not_qcow2(path, near):
    if near:
        return two_clusters().write(path)
    return of_bytes(path, b'KDMV' + bytes(4096))


def unknown_feature(path, near):
    return two_clusters(header={'incompatible_features': 1 if near else 1 << 5}).write(path)


def unsupported(path, near):
    return two_clusters(header={} if near else {'version': 4}).write(path)


def broken_header(path, near):
    return two_clusters(header={'refcount_order': 4 if near else 7}).write(path)


def no_refcount_table(path, near):
    return two_clusters(header={} if near else {'refcount_table_clusters': 0}).write(path)


def truncated(path, near):
    two_clusters().write(path)
    os.truncate(path, path.stat().st_size if near else 90)
    return path


def over_limit(path, near):
    """The format's limit is 8 MiB: 2048 clusters; within it the table still is not there."""
    return two_clusters(header={'refcount_table_clusters': 2048 if near else 2049}).write(path)


def unchecked(path, near):
    if near:
        return two_clusters().write(path)
    toolrun.qemu_img('create', '-q', '-f', 'qcow', path, '1M')
    return path


def backing_file(path, near):
    if near:
        # A name of no bytes is none.
        return two_clusters(header={'backing_file_offset': 512}).write(path)
    return overlay(path, '/etc/passwd', form='raw')


def backing_format(path, near):
    if near:
        return overlay(path, 'base.raw', form='raw')
    return two_clusters(backing_file=b'base.raw').write(path)


def data_file(path, near):
    if near:
        return two_clusters(extensions=[build.Extension(build.EXT_DATA_FILE, b'')]).write(path)
    return two_clusters(extensions=[build.Extension(build.EXT_DATA_FILE, b'/etc/shadow')]).write(path)


def data_file_without_a_name(path, near):
    return two_clusters(header={} if near else {'incompatible_features': 4}).write(path)


def encryption(path, near):
    return two_clusters(header={} if near else {'crypt_method': 1}).write(path)


def luks_header_at(path):
    """Where the LUKS header lies: the first of the pointers that its extension has."""
    head = path.read_bytes()[:512]
    at = head.index(struct.pack('>II', build.EXT_LUKS, 16))
    return struct.unpack('>Q', head[at + 8:at + 16])[0]


LIMIT = 160 << 20  # iterations for one passphrase, as the library counts them
STRIPES = 16000  # what merging the stripes of a slot counts as


def slots_of(path, first, *others, master=1000, hash_name=b'sha256'):
    """An image whose active LUKS slots ask for so many iterations each. Its key has 64 bytes."""
    luks(path)
    at = luks_header_at(path)
    patch(path, at + 72, hash_name.ljust(32, b'\0'))
    patch(path, at + 164, struct.pack('>I', master))
    patch(path, at + 208 + 4, struct.pack('>I', first))
    for i, iterations in enumerate(others, 1):
        patch(path, at + 208 + 48 * i, struct.pack('>II', 0x00ac71f3, iterations))
    return path


def key_cost(path, near):
    """Two digests of SHA-256 make the key."""
    return slots_of(path, (LIMIT - 1000) // 2 - STRIPES + (0 if near else 1))


def key_cost_of_all_slots(path, near):
    """None of them is over the limit by itself."""
    return slots_of(path, *[LIMIT // 16 - 500 - STRIPES] * 7, LIMIT // 16 - STRIPES - (500 if near else 499))


def key_cost_of_the_digest(path, near):
    """The digest is made once for each slot."""
    return slots_of(path, *[1] * 8, master=LIMIT // 8 - 2 * STRIPES - (2 if near else 1))


def broken_keys(path, near):
    luks(path)
    if not near:
        patch(path, luks_header_at(path), b'NOPE')
    return path


def version_1(path, near):
    if near:
        return two_clusters(version=2).write(path)
    toolrun.qemu_img('create', '-q', '-f', 'qcow', path, '1M')
    return path


def unknown_compatible(path, near):
    return two_clusters(header={'compatible_features': 1 if near else 2}).write(path)


def unknown_autoclear(path, near):
    return two_clusters(header={'autoclear_features': 0 if near else 4}).write(path)


def unknown_extension(path, near):
    kind = build.EXT_FEATURE_NAMES if near else 0x12345678
    return two_clusters(extensions=[build.Extension(kind, bytes(48))]).write(path)


def stray_bytes(path, near):
    return two_clusters(writes=[(CS if near else CS - 1, b'\1' if not near else b'')]).write(path)


def dirty(path, near):
    return two_clusters(header={'compatible_features': 1,
                                'incompatible_features': 0 if near else 1}).write(path)


def corrupt(path, near):
    return two_clusters(header={'incompatible_features': 0 if near else 2}).write(path)


def virtual_size(path, near):
    toolrun.create(path, '64T')
    if not near:
        toolrun.qemu_img('resize', '-q', path, '+512')
    return path


def virtual_size_of_a_snapshot(path, near):
    return two_clusters(snapshots=[build.Snapshot(l1=[0]), build.Snapshot(
        l1=[0], disk_size=(64 << 40) + (0 if near else 512))]).write(path)


def virtual_size_of_a_state(path, near):
    return two_clusters(snapshots=[build.Snapshot(
        l1=[0], vm_state_size=(64 << 40) + (0 if near else 1))]).write(path)


def ratio(path, near):
    return toolrun.create(path, '100G' if near else '1T')


def large_l1(path, near):
    """One entry is needed; twice that and 8192 may be."""
    return build.Image(cluster_bits=16, size=1 << 20, l2={0: build.Normal(DATA)},
                       l1_entries=8194 if near else 8195).write(path)


def snapshots(path, near):
    return two_clusters(snapshots=[] if near else [build.Snapshot()]).write(path)


def vm_state(path, near):
    return two_clusters(snapshots=[build.Snapshot(vm_state_size=0 if near else 1)]).write(path)


def broken_snapshots(path, near):
    return two_clusters(snapshots=[build.Snapshot(extra=bytes(1024 if near else 1025))]).write(path)


def too_many_snapshots(path, near):
    return two_clusters(header={} if near else {'nb_snapshots': 65537}).write(path)


def l1_of_a_snapshot_too_large(path, near):
    return two_clusters(snapshots=[build.Snapshot(l1_entries=(4 << 20) + (0 if near else 1))]
                        ).write(path)


def snapshots_outside(path, near):
    header = {} if near else {'snapshots_offset': 1 << 40}
    return two_clusters(snapshots=[build.Snapshot()], header=header).write(path)


def snapshots_that_leave_the_file(path, near):
    """The table's cluster is the last one, and has room for a hundred entries without names."""
    at = two_clusters(snapshots=[build.Snapshot()]).lay_out().at['snapshots']
    return two_clusters(snapshots=[build.Snapshot()], length=at + CS,
                        header={'nb_snapshots': 50 if near else 200}).write(path)


def snapshot_whose_name_leaves_the_file(path, near):
    at = two_clusters(snapshots=[build.Snapshot()]).lay_out().at['snapshots']
    return two_clusters(snapshots=[build.Snapshot(name=b'n' * 8 * CS)],
                        length=None if near else at + CS).write(path)


def with_bitmaps(path):
    """An image with two bitmaps; where its extension's data is."""
    toolrun.create(path, '8M', 'write -P 1 0 1M')
    for name in ('one', 'two'):
        toolrun.qemu_img('bitmap', '--add', path, name)
    head = path.read_bytes()[:65536]
    return head.index(struct.pack('>II', build.EXT_BITMAPS, 24)) + 8


def bitmaps(path, near):
    if near:
        # One that was taken out again leaves an image without the extension.
        toolrun.create(path, '8M')
        toolrun.qemu_img('bitmap', '--add', path, 'one')
        toolrun.qemu_img('bitmap', '--remove', path, 'one')
    else:
        with_bitmaps(path)
    return path


def broken_bitmaps(path, near):
    at = with_bitmaps(path)
    if not near:
        patch(path, at, struct.pack('>I', 3))
    return path


def bitmaps_of(path, count, granularity_bits, *, cluster_bits=16, size=1 << 41, flags=0):
    """An image with bitmaps whose tables stand for ones and store nothing."""
    cluster = 1 << cluster_bits
    entries = -(-size // (cluster << granularity_bits + 3))
    common = {'cluster_bits': cluster_bits, 'size': size, 'l2': {0: build.Normal(DATA)},
              'header': {'autoclear_features': 1}}
    bare = build.Extension(build.EXT_BITMAPS, bytes(24))
    directory_at = build.Image(extensions=[bare], **common).lay_out().at['data', 0] + cluster
    names = [b'%08d' % i for i in range(count)]
    table_at = directory_at + -(-count * 32 // cluster) * cluster
    step = -(-entries * 8 // cluster) * cluster
    directory = b''.join(
        struct.pack('>QIIBBHI', table_at + i * step, entries, flags, 1, granularity_bits, 8, 0) + name
        for i, name in enumerate(names))
    extension = struct.pack('>IIQQ', count, 0, len(directory), directory_at)
    tables = [(table_at + i * step, struct.pack('>Q', 1) * entries) for i in range(count)]
    return build.Image(extensions=[build.Extension(build.EXT_BITMAPS, extension)],
                       writes=[(directory_at, directory), *tables], **common).write(path)


def memory_of_bitmaps(path, near):
    """Of 512 MiB, and of 256 MiB."""
    return bitmaps_of(path, 1, 10 if near else 9)


def memory_of_bitmaps_together(path, near):
    return bitmaps_of(path, 4 if near else 5, 12)


def memory_of_bitmaps_in_use(path, near):
    """QEMU makes room for them too, and they need no table of the right length."""
    bitmaps_of(path, 4, 12, flags=1)
    patch(path, number_at(path, 112 + 8 + 16) + 17, b'\x0d' if near else b'\x09')
    return path


def number_of_bitmaps(path, near):
    return bitmaps_of(path, 4096 if near else 4097, 16, cluster_bits=9, size=1 << 16)


def without_the_autoclear_bit(path, near):
    """QEMU reads the length of the extension before it looks at the bit, and refuses one of another length."""
    return two_clusters(extensions=[build.Extension(build.EXT_BITMAPS, bytes(24 if near else 25))]
                        ).write(path)


def empty_extension_without_the_autoclear_bit(path, near):
    """In version 2, which has no such bit, too."""
    return two_clusters(version=2, extensions=[build.Extension(build.EXT_BITMAPS, bytes(24 if near else 0))]
                        ).write(path)


def first_of_two_extensions_broken(path, near):
    """The last one counts; QEMU looks at both."""
    at = with_bitmaps(path)
    good = path.read_bytes()[at - 8:at + 24]
    patch(path, at - 8, (good if near else good[:12] + b'\0\0\0\1' + good[16:]) + good + bytes(8))
    return path


def bitmaps_of_one_name(path, near):
    """Both names have three letters."""
    at = with_bitmaps(path)
    second = path.read_bytes().index(b'two', number_at(path, at + 16))
    patch(path, second, b'onf' if near else b'one')
    return path


def control_characters_in_the_name_of_a_bitmap(path, near):
    at = with_bitmaps(path)
    second = path.read_bytes().index(b'two', number_at(path, at + 16))
    patch(path, second, b't\xc2\xa0' if near else b't\xc2\x9b')
    return path


def escape_in_the_name_of_a_snapshot(path, near):
    return two_clusters(snapshots=[build.Snapshot(name=b'one' if near else b'\x1b[2J')]).write(path)


def bitmaps_of_one_name_up_to_a_nul(path, near):
    at = with_bitmaps(path)
    directory = number_at(path, at + 16)
    for name, new in ((b'one', b'o\0e'), (b'two', b'p\0o' if near else b'o\0o')):
        patch(path, path.read_bytes().index(name, directory), new)
    return path


def with_bits(path):
    """An image with bitmaps that have bits; where the directory is, and the first bitmap's table."""
    at = with_bitmaps(path)
    toolrun.qemu_io(path, 'write -P 2 2M 1M')
    directory = number_at(path, at + 16)
    return directory, number_at(path, directory)


def broken_bitmap_table(path, near):
    """Bits that are all ones need no cluster; reserved bits have no meaning."""
    _, table = with_bits(path)
    patch(path, table, struct.pack('>Q', 1 if near else 2))
    return path


def bits_on_table(path, near):
    _, table = with_bits(path)
    patch(path, table, struct.pack('>Q', 0 if near else table))
    return path


def bits_outside(path, near):
    _, table = with_bits(path)
    patch(path, table, struct.pack('>Q', 0 if near else 1 << 40))
    return path


def bitmap_table_outside(path, near):
    directory, table = with_bits(path)
    patch(path, directory, struct.pack('>Q', table if near else 1 << 40))
    return path


def bitmap_directory_outside(path, near):
    at = with_bitmaps(path)
    patch(path, at + 16, struct.pack('>Q', number_at(path, at + 16) if near else 1 << 40))
    return path


def table_on_table(path, near):
    if near:
        return two_clusters().write(path)
    return two_clusters(l1={0: laid_out().at['refcount_blocks'] | build.COPIED}).write(path)


def table_named_twice(path, near):
    at = build.Image(cluster_bits=12, size=600 * CS, l2={0: build.Normal(DATA)}).lay_out().at
    return build.Image(cluster_bits=12, size=600 * CS, l2={0: build.Normal(DATA)},
                       l1={} if near else {0: at['l2', 0], 1: at['l2', 0]},
                       refcounts={at['l2', 0] // CS: 2} if not near else {}).write(path)


def data_on_table(path, near):
    at = laid_out().at
    return build.Image(cluster_bits=12, size=16 * CS, l2={
        0: build.Normal(DATA), 3: build.Normal(DATA, offset=None if near else at['l1'])}).write(path)


def stream_on_table(path, near):
    return compressed(None if near else 4096).write(path)


def snapshot_table_on_table(path, near):
    image = two_clusters(snapshots=[build.Snapshot()]).lay_out()
    return two_clusters(snapshots=[build.Snapshot(
        l1_offset=None if near else image.at['l1'])]).write(path)


def refcount_block_on_header(path, near):
    at = laid_out().at
    return two_clusters(writes=[] if near else [(at['refcount_table'] + 8, struct.pack('>Q', at['l1']))
                                                ]).write(path)


def table_outside(path, near):
    at = laid_out().at
    end = laid_out().write(path).stat().st_size
    return two_clusters(l1={0: (at['l2', 0] if near else end) | build.COPIED}).write(path)


def data_outside(path, near):
    end = laid_out().write(path).stat().st_size
    return build.Image(cluster_bits=12, size=16 * CS, l2={
        0: build.Normal(DATA), 3: build.Normal(offset=end - CS if near else end)},
        refcounts={end // CS - 1: 1}, length=end).write(path)


def stream_outside(path, near):
    end = compressed(None).write(path).stat().st_size
    return compressed(None, None if near else end).write(path)


def stream_that_leaves_the_file(path, near):
    """A stream ends in its last sector, and the file may end there."""
    image = compressed(None).lay_out()
    compressed(None).write(path)
    at = image.at['data', 0]
    sectors = -(-(path.stat().st_size - at) // 512) - 1
    patch(path, image.at['l2', 0], struct.pack('>Q', build.compressed_descriptor(
        12, at, sectors + (0 if near else 1))))
    return path


def l1_outside(path, near):
    toolrun.create(path, '1M')
    patch(path, 40, struct.pack('>Q', 3 << 16 if near else 1 << 40))
    return path


def refcount_block_outside(path, near):
    at = laid_out().at
    return two_clusters(writes=[] if near else [(at['refcount_table'] + 8, struct.pack('>Q', 1 << 40))
                                                ]).write(path)


def refcount_block_past_all_offsets(path, near):
    at = laid_out().at
    return two_clusters(writes=[] if near else [(at['refcount_table'] + 8,
                                                 struct.pack('>Q', (1 << 64) - CS))]).write(path)


def table_unaligned(path, near):
    at = laid_out().at
    return two_clusters(l1={0: (at['l2', 0] + (0 if near else 512)) | build.COPIED}).write(path)


def data_unaligned(path, near):
    at = laid_out().at
    return two_clusters(writes=[] if near else [
        (at['l2', 0], struct.pack('>Q', (at['data', 0] + 512) | build.COPIED))]).write(path)


def broken_entry(path, near):
    """Version 2 has no zero flag."""
    return build.Image(version=3 if near else 2, cluster_bits=12, size=16 * CS,
                       l2={0: build.Normal(DATA), 1: 1}).write(path)


def subcluster_both(path, near):
    return build.Image(cluster_bits=16, size=1 << 20, extended_l2=True, l2={
        0: build.Subclusters(DATA, allocated=[0, 1], zero=[2] if near else [1])}).write(path)


def reserved_bits(path, near):
    at = laid_out().at
    return two_clusters(writes=[
        (at['l2', 0] + 8, struct.pack('>Q', 0 if near else 2))]).write(path)


def reserved_bits_of_l1(path, near):
    at = laid_out().at
    return two_clusters(l1={0: at['l2', 0] | build.COPIED | (0 if near else 1 << 56)}).write(path)


def data_twice(path, near):
    at = laid_out().at
    return two_clusters(
        refcounts={} if near else {at['data', 0] // CS: 2},
        writes=[] if near else [(at['l2', 0], struct.pack('>Q', at['data', 0])),
                                (at['l2', 0] + 8, struct.pack('>Q', at['data', 0]))]).write(path)


def stream_twice(path, near):
    at = compressed(None).lay_out().at
    return compressed(None, None if near else at['data', 0]).write(path)


def stream_twice_out_of_order(path, near):
    at = compressed(None, None).lay_out().at
    return compressed(None, None, None if near else at['data', 0]).write(path)


def stream_in_data(path, near):
    at = laid_out().at
    stream = build.compressed_descriptor(12, at['data', 0] + 100, 0)
    return two_clusters(writes=[] if near else [(at['l2', 0] + 8, struct.pack('>Q', stream))]
                        ).write(path)


# One cluster of the same byte throughout.
SMALLEST = streams.deflate(bytes([7]) * CS, window=12)


def expansion(path, near):
    """4 KiB of data in each 20 bytes, against the room that tables take."""
    return build.Image(cluster_bits=12, l2={
        i: build.Compressed(SMALLEST) for i in range(1000 if near else 4000)}).write(path)


def expansion_of_a_snapshot(path, near):
    """The snapshot names the disk's one table, of one cluster, from each of its entries."""
    count = 500 if near else 2000  # the file is of 10 clusters, or of 13
    at = build.Image(cluster_bits=12, l2={0: build.Normal(DATA)}, snapshots=[build.Snapshot(
        l1=[0] * count)]).lay_out().at
    return build.Image(
        cluster_bits=12, l2={0: build.Normal(DATA, flags=0)}, l1={0: at['l2', 0]},
        snapshots=[build.Snapshot(l1=[at['l2', 0]] * count, disk_size=count << 21)],
        refcounts={at['l2', 0] // CS: count + 1, at['data', 0] // CS: count + 1}).write(path)


def expansion_of_a_table_that_overlaps(path, near):
    """The disk's own L1 table: what its entries name is not looked at for the snapshot."""
    at = laid_out().at
    return two_clusters(snapshots=[build.Snapshot(l1_offset=at['l1'], l1_entries=0 if near else 3)]
                        ).write(path)


def refcounts(path, near):
    at = laid_out().at
    return two_clusters(refcounts={} if near else {at['data', 0] // CS: 0}).write(path)


def leaks(path, near):
    end = laid_out().write(path).stat().st_size
    return two_clusters(refcounts={} if near else {end // CS: 1}, length=end + CS).write(path)


def unused(path, near):
    at = laid_out().at
    # The first of two data clusters is given up: the second one stands behind a gap.
    return two_clusters(refcounts={} if near else {at['data', 0] // CS: 0},
                        writes=[] if near else [(at['l2', 0], bytes(8))]).write(path)


def leftover(path, near):
    two_clusters().write(path)
    with open(path, 'ab') as file:
        file.write(b'x' * (CS - 1 if near else CS))
    return path


def disguised(path, near):
    """The rule has tests of its own: test_tool_vet_second.py and, of raw disks, test_tool_vet_raw.py."""
    return two_clusters(writes=[] if near else [(0x8001 % CS, b''), (257, b'ustar')]).write(path)


# Bytes that have no meaning, in clusters of tables. QEMU writes zeros there, or nothing.

def unknown_extra_data(path, near):
    return two_clusters(snapshots=[build.Snapshot(extra=bytes(24) + (bytes(40) if near else b'x' * 40))]
                        ).write(path)


def name_of_a_snapshot_with_a_nul(path, near):
    return two_clusters(snapshots=[build.Snapshot(name=b'one' if near else b'one\0two')]).write(path)


def name_of_a_snapshot_longer_than_qemus(path, near):
    return two_clusters(snapshots=[build.Snapshot(name=b'n' * (255 if near else 256))]).write(path)


def padding_of_a_bitmap(path, near):
    at = with_bitmaps(path)
    directory = number_at(path, at + 16)
    patch(path, directory + 24 + 3 + (-1 if near else 0), b'f')
    return path


# And where QEMU leaves what was there: strict policies deny it.

def after_l1(path, near):
    at = laid_out().at
    return two_clusters(writes=[(at['l1'] + 8, bytes(8) if near else b'12345678')]).write(path)


def after_l1_of_a_snapshot(path, near):
    one = build.Snapshot(l1=[0])
    at = two_clusters(snapshots=[one]).lay_out().at
    table = two_clusters(snapshots=[one]).write(path)
    l1 = number_at(table, at['snapshots'])
    return two_clusters(snapshots=[one], writes=[(l1 + (8 if not near else 4096), b'' if near else b'x')]
                        ).write(path)


def after_the_snapshot_table(path, near):
    at = two_clusters(snapshots=[build.Snapshot()]).lay_out().at['snapshots']
    return two_clusters(snapshots=[build.Snapshot()], writes=[(at + CS - 1, b'\0' if near else b'x')]
                        ).write(path)


def between_snapshots(path, near):
    """Entries begin at multiples of 8 bytes."""
    both = [build.Snapshot(id=b'1', name=b'one'), build.Snapshot(id=b'2', name=b'two')]
    at = two_clusters(snapshots=both).lay_out().at['snapshots']
    two_clusters(snapshots=both).write(path)
    ends = path.read_bytes().index(b'1one', at) + 4
    patch(path, ends, b'\0' if near else b'x')
    return path


def after_the_bitmap_directory(path, near):
    directory, _ = with_bits(path)
    patch(path, directory + (65535 if not near else 0), b'x' if not near else path.read_bytes()[
        directory:directory + 1])
    return path


def after_a_bitmap_table(path, near):
    _, table = with_bits(path)
    patch(path, table + 8, b'\0' if near else b'x')
    return path


def entries_past_the_end_of_the_disk(path, near):
    """The disk has 16 clusters."""
    at = laid_out().at
    end = laid_out().write(path).stat().st_size
    return two_clusters(writes=[(at['l2', 0] + (15 if near else 16) * 8,
                                 struct.pack('>Q', end | build.COPIED))],
                        refcounts={end // CS: 1}, length=end + CS).write(path)


def table_past_the_end_of_the_disk(path, near):
    """The second L1 entry is for nothing that the disk shows."""
    at = laid_out().at
    end = laid_out().write(path).stat().st_size
    return two_clusters(l1_entries=2, writes=[
        (at['l1'] + 8, struct.pack('>Q', end | build.COPIED)),
        (end + 8, struct.pack('>Q', 0 if near else (end + CS) | build.COPIED))],
        refcounts={end // CS: 1, end // CS + 1: 1}, length=end + 2 * CS).write(path)


def refcounts_past_the_end_of_the_file(path, near):
    """A block of 4 KiB has 2048 of them."""
    at = laid_out().at
    clusters = laid_out().write(path).stat().st_size // CS
    return two_clusters(writes=[(at['refcount_blocks'] + 2 * (clusters + (0 if not near else 100)),
                                 b'\0\0' if near else b'\0\1')]).write(path)


def refcount_block_past_the_end_of_the_file(path, near):
    at = laid_out().at
    end = laid_out().write(path).stat().st_size
    return two_clusters(writes=[(at['refcount_table'] + 8, struct.pack('>Q', end)),
                                (end + 100, b'\0' if near else b'x')],
                        refcounts={end // CS: 1}, length=end + CS).write(path)


def after_the_last_cluster(path, near):
    two_clusters().write(path)
    with open(path, 'ab') as file:
        file.write(b'\0' * 99 if near else b'\0' * 98 + b'x')
    return path


# maker: the rule, its default severity
CASES = {
    not_qcow2: ('not-qcow2', 'deny'),
    unknown_feature: ('unknown-feature', 'deny'),
    unsupported: ('unsupported', 'deny'),
    broken_header: ('broken-header', 'deny'),
    no_refcount_table: ('broken-header', 'deny'),
    truncated: ('truncated', 'deny'),
    over_limit: ('over-limit', 'deny'),
    unchecked: ('unchecked', 'deny'),
    backing_file: ('backing-file', 'deny'),
    backing_format: ('backing-format', 'deny'),
    data_file: ('data-file', 'deny'),
    data_file_without_a_name: ('data-file', 'deny'),
    encryption: ('encryption', 'deny'),
    key_cost: ('key-cost', 'deny'),
    key_cost_of_all_slots: ('key-cost', 'deny'),
    key_cost_of_the_digest: ('key-cost', 'deny'),
    broken_keys: ('broken-keys', 'deny'),
    version_1: ('version-1', 'deny'),
    unknown_compatible: ('unknown-compatible', 'warn'),
    unknown_autoclear: ('unknown-compatible', 'warn'),
    unknown_extension: ('unknown-extension', 'warn'),
    stray_bytes: ('stray-bytes', 'warn'),
    disguised: ('disguised', 'deny'),
    unknown_extra_data: ('stray-bytes', 'warn'),
    name_of_a_snapshot_with_a_nul: ('stray-bytes', 'warn'),
    name_of_a_snapshot_longer_than_qemus: ('stray-bytes', 'warn'),
    control_characters_in_the_name_of_a_bitmap: ('stray-bytes', 'warn'),
    escape_in_the_name_of_a_snapshot: ('stray-bytes', 'warn'),
    padding_of_a_bitmap: ('stray-bytes', 'warn'),
    dirty: ('dirty', 'warn'),
    corrupt: ('corrupt', 'deny'),
    virtual_size: ('virtual-size', 'deny'),
    virtual_size_of_a_snapshot: ('virtual-size', 'deny'),
    virtual_size_of_a_state: ('virtual-size', 'deny'),
    ratio: ('ratio', 'note'),
    large_l1: ('large-l1', 'warn'),
    snapshots: ('snapshots', 'warn'),
    vm_state: ('vm-state', 'deny'),
    broken_snapshots: ('broken-snapshots', 'deny'),
    too_many_snapshots: ('broken-snapshots', 'deny'),
    l1_of_a_snapshot_too_large: ('broken-snapshots', 'deny'),
    snapshots_outside: ('broken-snapshots', 'deny'),
    snapshots_that_leave_the_file: ('broken-snapshots', 'deny'),
    snapshot_whose_name_leaves_the_file: ('broken-snapshots', 'deny'),
    bitmaps: ('bitmaps', 'note'),
    broken_bitmaps: ('broken-bitmaps', 'deny'),
    without_the_autoclear_bit: ('broken-bitmaps', 'deny'),
    empty_extension_without_the_autoclear_bit: ('broken-bitmaps', 'deny'),
    first_of_two_extensions_broken: ('broken-bitmaps', 'deny'),
    bitmaps_of_one_name: ('broken-bitmaps', 'deny'),
    bitmaps_of_one_name_up_to_a_nul: ('broken-bitmaps', 'deny'),
    memory_of_bitmaps: ('bitmap-cost', 'deny'),
    memory_of_bitmaps_together: ('bitmap-cost', 'deny'),
    memory_of_bitmaps_in_use: ('bitmap-cost', 'deny'),
    number_of_bitmaps: ('bitmap-cost', 'deny'),
    broken_bitmap_table: ('broken-bitmaps', 'deny'),
    bits_on_table: ('overlap', 'deny'),
    bits_outside: ('outside', 'deny'),
    bitmap_table_outside: ('outside', 'deny'),
    bitmap_directory_outside: ('outside', 'deny'),
    refcount_block_past_all_offsets: ('outside', 'deny'),
    table_on_table: ('overlap', 'deny'),
    table_named_twice: ('overlap', 'deny'),
    data_on_table: ('overlap', 'deny'),
    stream_on_table: ('overlap', 'deny'),
    snapshot_table_on_table: ('overlap', 'deny'),
    refcount_block_on_header: ('overlap', 'deny'),
    table_outside: ('outside', 'deny'),
    data_outside: ('outside', 'deny'),
    stream_outside: ('outside', 'deny'),
    stream_that_leaves_the_file: ('outside', 'deny'),
    l1_outside: ('outside', 'deny'),
    refcount_block_outside: ('outside', 'deny'),
    table_unaligned: ('unaligned', 'deny'),
    data_unaligned: ('unaligned', 'deny'),
    broken_entry: ('broken-entry', 'deny'),
    subcluster_both: ('broken-entry', 'deny'),
    reserved_bits: ('reserved-bits', 'warn'),
    reserved_bits_of_l1: ('reserved-bits', 'warn'),
    data_twice: ('shared-data', 'deny'),
    stream_twice: ('shared-data', 'deny'),
    stream_twice_out_of_order: ('shared-data', 'deny'),
    stream_in_data: ('shared-data', 'deny'),
    expansion: ('expansion', 'deny'),
    expansion_of_a_snapshot: ('expansion', 'deny'),
    expansion_of_a_table_that_overlaps: ('expansion', 'deny'),
    refcounts: ('refcounts', 'deny'),
    leaks: ('leaks', 'note'),
    unused: ('unused', 'note'),
    leftover: ('leftover', 'note'),
}


SLACK = [after_l1, after_l1_of_a_snapshot, after_the_snapshot_table, between_snapshots,
         after_the_bitmap_directory, after_a_bitmap_table, entries_past_the_end_of_the_disk,
         table_past_the_end_of_the_disk, refcounts_past_the_end_of_the_file,
         refcount_block_past_the_end_of_the_file, after_the_last_cluster]


@pytest.mark.parametrize('make', SLACK)
def test_slack_is_found_when_it_is_asked_for_and_denies_when_strict(tmp_path, make):
    path = make(tmp_path / 'image.qcow2', False)
    assert 'slack' not in vet(path)[1]
    assert vet(path, '--note', 'slack')[1]['slack'] == 'note'
    code, found, _ = vet(path, '--strict')
    assert (code, found['slack']) == (1, 'warn')
    assert 'slack' not in vet(path, '--strict', '--ignore', 'slack')[1]
    assert 'slack' not in vet(make(tmp_path / 'near.qcow2', True), '--strict')[1]


@pytest.mark.parametrize('make', CASES)
def test_rule_finds_what_it_is_for(tmp_path, make):
    rule, severity = CASES[make]
    code, found, value = vet(make(tmp_path / 'image.qcow2', False))
    assert found.get(rule) == severity, found
    assert code == (1 if 'deny' in found.values() else 0)
    assert all(finding['denies'] == (finding['severity'] == 'deny') for finding in value['findings'])


@pytest.mark.parametrize('make', CASES)
def test_rule_lets_a_near_miss_pass(tmp_path, make):
    _, found, _ = vet(make(tmp_path / 'image.qcow2', True))
    assert CASES[make][0] not in found


@pytest.mark.parametrize('make', [
    without_the_autoclear_bit, empty_extension_without_the_autoclear_bit, first_of_two_extensions_broken,
    bitmaps_of_one_name, bitmaps_of_one_name_up_to_a_nul])
def test_qemu_refuses_what_is_denied_for_its_bitmaps_and_opens_the_near_miss(tmp_path, make):
    for near in (False, True):
        path = make(tmp_path / 'image.qcow2', near)
        assert subprocess.run(['qemu-img', 'info', path], capture_output=True,
                              check=False).returncode == (0 if near else 1)
        assert vet(path)[0] == (0 if near else 1)


def test_bitmaps_may_cost_what_the_user_allows(tmp_path):
    path = memory_of_bitmaps(tmp_path / 'image.qcow2', False)
    options = '--note', 'refcounts'
    code, found, value = vet(path, *options)
    assert code == 1 and value['bounds']['bitmap-memory'] == 512 << 20
    finding, = [f for f in value['findings'] if f['rule'] == 'bitmap-cost']
    assert 'has dirty bitmaps of 512 MiB (536870912 bytes) in memory, more than 256 MiB' == finding['message']
    assert 'bitmap-cost' in vet(path, *options, '--max-bitmap-memory', '536870911')[1]
    code, found, _ = vet(path, *options, '--max-bitmap-memory', '512M')
    assert code == 0 and 'bitmap-cost' not in found


def test_bitmap_of_a_large_disk_with_the_default_granularity_passes(tmp_path):
    path = tmp_path / 'image.qcow2'
    toolrun.create(path, '64T')
    toolrun.qemu_img('bitmap', '--add', path, 'one')
    code, found, value = vet(path)
    assert (code, value['bounds']['bitmap-memory']) == (0, 128 << 20) and 'bitmap-cost' not in found


@pytest.mark.parametrize('make, said', [
    (virtual_size_of_a_snapshot, 'has a snapshot with a disk of 64 TiB ('),
    (virtual_size_of_a_state, 'has a snapshot with a state of 64 TiB ('),
    (expansion_of_a_snapshot, "makes up to 7.81 MiB of a snapshot's data from")])
def test_rule_says_when_it_is_a_snapshot_and_all_else_is_in_order(tmp_path, make, said):
    _, found, value = vet(make(tmp_path / 'image.qcow2', False), '--ignore', 'vm-state')
    finding, = [f for f in value['findings'] if f['rule'] == CASES[make][0]]
    assert said in finding['message']
    assert set(found) == {'snapshots', CASES[make][0]}


NAMED = build.Extension(build.EXT_BACKING_FORMAT, b'raw')
STRAY = {
    'boot_sector': ({}, [(510, b'\x55\xaa')], 510, 2),
    'volume_descriptor_of_a_cd': ({'cluster_bits': 16}, [(0x8001, b'CD001')], 0x8001, 5),
    'padding_of_the_last_field': ({}, [(105, b'\1')], 105, 1),
    'header_that_says_it_is_longer': ({'header': {'header_length': 1024}}, [(112, b'x' * 900)],
                                      112, 900),
    'padding_of_an_extension': ({'extensions': [NAMED], 'backing_file': b'base'},
                                [(112 + 8 + 3, b'12345')], 123, 5),
    'behind_the_last_extension': ({'extensions': [NAMED], 'backing_file': b'base'}, [(140, b'x')], 140, 1),
    'place_of_a_backing_file_that_is_not_named': ({'header': {'backing_file_offset': 0x123}}, [], 14, 2),
    'place_of_snapshots_that_there_are_not': ({'header': {'snapshots_offset': 0x1000}}, [], 70, 1),
    'features_that_are_not_named': ({'extensions': [build.Extension(
        build.EXT_FEATURE_NAMES, b'\0\0dirty bit'.ljust(48, b'\0') + bytes(48) + b'x' * 200)]},
        [], 112 + 8 + 96, 200),
    'feature_named_twice': ({'extensions': [build.Extension(
        build.EXT_FEATURE_NAMES, (b'\1\5' + b'n' * 46) * 2)]}, [], 112 + 8 + 48, 48),
    'feature_of_no_set': ({'extensions': [build.Extension(
        build.EXT_FEATURE_NAMES, b'\3\5' + b'n' * 46)]}, [], 112 + 8, 48),
    'feature_whose_name_is_no_text': ({'extensions': [build.Extension(
        build.EXT_FEATURE_NAMES, b'\1\5n\x01' + bytes(44))]}, [], 112 + 8, 4),
    'bytes_after_the_name_of_a_feature': ({'extensions': [build.Extension(
        build.EXT_FEATURE_NAMES, b'\1\5name\0' + b'x' * 41)]}, [], 112 + 8 + 7, 41),
    'bytes_after_the_last_whole_feature': ({'extensions': [build.Extension(
        build.EXT_FEATURE_NAMES, (b'\1\5name').ljust(48, b'\0') + b'\1\6na')]}, [], 112 + 8 + 48, 4),
    'format_of_a_backing_file_that_does_not_count': ({'extensions': [build.Extension(
        build.EXT_BACKING_FORMAT, b'x' * 15), NAMED], 'backing_file': b'base'}, [], 112, 5 + 15),
    'format_without_a_backing_file': ({'extensions': [NAMED]}, [], 112 + 8, 3),
    'format_of_a_backing_file_that_is_no_text': ({'extensions': [build.Extension(
        build.EXT_BACKING_FORMAT, b'r\x01w')], 'backing_file': b'base'}, [], 112 + 8, 3),
    'bitmaps_that_are_out_of_date': ({'extensions': [build.Extension(
        build.EXT_BITMAPS, b'x' * 24)]}, [], 112 + 8, 24),
    'bitmaps_of_version_2': ({'version': 2, 'extensions': [build.Extension(
        build.EXT_BITMAPS, b'x' * 24)]}, [], 72 + 8, 24),
    'bitmaps_that_do_not_count': ({'extensions': [build.Extension(build.EXT_BITMAPS, b'x' * 24)] * 3 + [
        build.Extension(build.EXT_BITMAPS, bytes(24))]}, [], 112, 3 * (5 + 24)),
    'feature_names_that_do_not_count': ({'extensions': [build.feature_names((0, 0, b'dirty bit'))] * 2},
                                        [], 112, 5 + 9),
    'name_of_a_data_file_that_does_not_count': ({'extensions': [
        build.Extension(build.EXT_DATA_FILE, b'x' * 900), build.Extension(build.EXT_DATA_FILE, b'')]},
        [], 112, 6 + 900),
    'behind_the_header_of_version_2': ({'version': 2}, [(100, b'x')], 100, 1),
    'within_a_name': ({'backing_file': b'base\0' + b'x' * 90}, [], 112 + 8 + 5, 90),
    'last_byte_of_the_largest_cluster': ({'cluster_bits': 21}, [((1 << 21) - 1, b'x')],
                                         (1 << 21) - 1, 1),
}


@pytest.mark.parametrize('name', STRAY)
def test_stray_bytes_are_counted_and_their_place_is_told(tmp_path, name):
    image, writes, offset, count = STRAY[name]
    path = build.Image(**{'cluster_bits': 12, 'l2': {0: build.Normal(DATA)}, 'writes': writes, **image}
                       ).write(tmp_path / 'image.qcow2')
    finding, = [f for f in vet(path)[2]['findings'] if f['rule'] == 'stray-bytes']
    assert (finding['offset'], finding['severity']) == (offset, 'warn')
    assert f'has {count} byte' in finding['message']


def test_every_rule_has_a_case():
    assert {rule for rule, _ in CASES.values()} | {'slack'} == set(rules())


@pytest.mark.parametrize('make', [table_on_table, data_on_table, data_outside, key_cost, broken_keys])
def test_other_rules_are_looked_at_as_well(tmp_path, make):
    """A finding does not end the looking: the dirty flag beside it is seen."""
    path = make(tmp_path / 'image.qcow2', False)
    patch(path, 79, b'\1')
    assert {CASES[make][0], 'dirty'} <= set(vet(path)[1])


@pytest.mark.parametrize('hash_name, pieces, of_digest', [
    (b'sha1', 4, 1), (b'sha224', 12, 4), (b'sha256', 2, 1), (b'sha384', 8, 4), (b'sha512', 4, 4),
    (b'ripemd160', 16, 4), (b'md5', 16, 8), (b'sm3', 8, 4)])
def test_key_cost_is_counted_for_each_piece_that_the_hash_makes(tmp_path, hash_name, pieces, of_digest):
    path = slots_of(tmp_path / 'image.qcow2', LIMIT + 1, 7, master=11, hash_name=hash_name)
    finding, = [f for f in vet(path)[2]['findings'] if f['rule'] == 'key-cost']
    assert f'wants {(LIMIT + 8 + 2 * STRIPES) * pieces + 22 * of_digest} iterations ' in finding['message']


def test_key_cost_of_slots_that_are_not_active_is_not_counted(tmp_path):
    path = slots_of(tmp_path / 'image.qcow2', 1, LIMIT)
    patch(path, luks_header_at(path) + 208 + 48, struct.pack('>I', 0x0000dead))
    assert vet(path)[1] == {'encryption': 'deny'}


def test_tables_of_encrypted_images_are_looked_at(tmp_path):
    path = luks(tmp_path / 'secret.qcow2')
    table = number_at(path, number_at(path, 40)) & 0x00fffffffffffe00
    patch(path, table + 8, struct.pack('>Q', 1 << 40 | build.COPIED))
    assert vet(path)[1].keys() >= {'encryption', 'outside'}
