# SPDX-License-Identifier: MIT
"""Every step of an explanation against qemu-img's map and the bytes of the files."""

import json
import struct

import pytest

import comparing
import recipes

HOLE, ZERO, DATA, COMPRESSED = range(4)
QCOW2, RAW = 0, 1
NONE = (1 << 64) - 1
OFFSET_MASK = 0x00FFFFFFFFFFFE00


def explain(image, *offsets, options=()):
    """A list of steps for each offset."""
    done = comparing.run(comparing.EXPLAIN, *options, image, *offsets)
    return json.loads(done.stdout)


def rows(image):
    return json.loads(comparing.run('qemu-img', 'map', '--output=json', image).stdout)


def word(data, offset):
    return struct.unpack_from('>Q', data, offset)[0]


def refcount(data, host_offset):
    """As the format says; widths of a byte and more."""
    cluster_bits, order = (struct.unpack_from('>I', data, at)[0] for at in (20, 96))
    if struct.unpack_from('>I', data, 4)[0] == 2:
        order = 4
    width = (1 << order) // 8
    per_block = (1 << cluster_bits) // width
    cluster = host_offset >> cluster_bits
    table = word(data, 48)
    block = word(data, table + cluster // per_block * 8)
    at = block + cluster % per_block * width
    return int.from_bytes(data[at:at + width], 'big') if block else 0


def assert_entries(data, step, extended=False):
    """The entries are what the file has where the step says that they are."""
    assert step['l1_entry'] == word(data, step['l1_offset'])
    assert step['l1_offset'] == word(data, 40) + 8 * step['l1_index']
    table = step['l1_entry'] & OFFSET_MASK
    if table == 0:
        assert step['l2_offset'] == NONE
        return
    entry_bytes = 16 if extended else 8
    assert step['l2_offset'] == table + entry_bytes * step['l2_index']
    assert step['l2_entry'] == word(data, step['l2_offset'])
    if extended:
        assert step['l2_bitmap'] == word(data, step['l2_offset'] + 8)


def test_entries_of_an_l1_table_that_is_not_kept_in_memory_are_read(tmp_path):
    """Such a table is longer than 1 MiB: 16 GiB in clusters of 512 bytes have 4 MiB of it."""
    image = tmp_path / 'long.qcow2'
    recipes.create(image, '16G', cluster_size=512)
    recipes.io(image, 'write 0 512', 'write 15G 512')
    data = image.read_bytes()
    for steps in explain(image, 0, 15 << 30, 8 << 30):
        assert len(steps) == 1
        assert_entries(data, steps[0])
    assert [step['kind'] for step, in explain(image, 0, 15 << 30, 8 << 30)] == [DATA, DATA, HOLE]


@pytest.mark.parametrize('name', [
    'cluster_512_refcount_16', 'cluster_4096_refcount_8', 'cluster_65536_refcount_64',
    'cluster_4096_version_2', 'snapshots', 'snapshots_512', 'extended_l2', 'preallocated',
    'large_and_sparse', 'bitmaps_4096', 'resized', 'backed', 'data_file'])
def test_last_step_is_the_row_of_the_map(healthy, name):
    image = healthy(name)
    data = image.read_bytes()
    maps = [row for row in rows(image) if row['length'] > 0][:400]
    offsets = [row['start'] + row['length'] // 2 for row in maps]
    for row, offset, steps in zip(maps, offsets, explain(image, *offsets)):
        last = steps[-1]
        assert [step['decides'] for step in steps] == [0] * (len(steps) - 1) + [1]
        assert [step['depth'] for step in steps] == list(range(len(steps)))
        assert all(step['kind'] == HOLE for step in steps[:-1])
        assert last['depth'] == row['depth'], (row, steps)
        if last['format'] == RAW:
            # A map of a raw file shows the holes of the file system.
            assert last['l1_offset'] == last['l2_offset'] == last['refcount'] == NONE
            assert last['kind'] == DATA and last['host_offset'] == offset
            continue
        kind = DATA if row['data'] else ZERO if row['present'] else HOLE
        assert last['kind'] == kind, (row, steps)
        if 'offset' in row:
            assert last['host_offset'] == row['offset'] + offset - row['start']
        assert_entries(data, steps[0], extended='extended' in name)
        if last['depth'] == 0 and last['host_offset'] != NONE:
            if last['in_data_file']:
                assert last['refcount'] == NONE
            else:
                assert last['refcount'] == refcount(data, last['host_offset']) > 0


def test_compressed_stream_is_where_its_entry_says(healthy):
    image = healthy('deflate_4096')
    data = image.read_bytes()
    seen = 0
    for steps in explain(image, *range(100, 4 << 20, 4096)):
        last = steps[-1]
        if last['kind'] != COMPRESSED:
            assert last['compressed_bytes'] == 0
            continue
        seen += 1
        assert last['host_offset'] == last['l2_entry'] & (1 << 58) - 1
        sectors = (last['l2_entry'] >> 58 & 15) + 1
        assert last['compressed_bytes'] == sectors * 512 - last['host_offset'] % 512
        assert last['refcount'] == refcount(data, last['host_offset'])
        assert_entries(data, last)
    assert seen > 100


def test_subcluster_is_numbered(healthy):
    for number, steps in zip((0, 1, 31), explain(healthy('extended_l2'), 0, 512, 16383)):
        assert steps[0]['subcluster'] == number


def test_snapshot_is_explained_by_its_own_table(healthy):
    image = healthy('snapshots')
    data = image.read_bytes()
    live, = explain(image, 0)
    saved, = explain(image, 0, options=('--snapshot', '1'))
    table = word(data, word(data, 64))
    assert saved[0]['l1_offset'] == table != live[0]['l1_offset']
    assert saved[0]['l1_entry'] == word(data, table)


def test_chain_is_walked_until_a_disk_is_too_short(tmp_path):
    base, middle, top = (tmp_path / name for name in ('base', 'middle.qcow2', 'top.qcow2'))
    base.write_bytes(b'x' * (1 << 20))
    comparing.run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', middle,
                  '256k')
    comparing.run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', middle, '-F', 'qcow2', top,
                  '1M')
    recipes.io(top, 'write 64k 64k', 'write -z 128k 64k')
    steps = explain(top, 0, 65536, 131072, 300 * 1024)
    assert [[step['kind'] for step in walk] for walk in steps] == [
        [HOLE, HOLE, DATA], [DATA], [ZERO], [HOLE]]
    assert [step['format'] for step in steps[0]] == [QCOW2, QCOW2, RAW]


def test_broken_table_is_an_error_of_its_layer(healthy, tmp_path):
    image = tmp_path / 'broken.qcow2'
    data = bytearray(healthy('cluster_4096_refcount_8').read_bytes())
    l1 = word(data, 40)
    struct.pack_into('>Q', data, l1, word(data, l1) + 512)
    image.write_bytes(data)
    assert explain(image, 0) == [[{'error': 'corrupt', 'depth': 0}]]


def test_refcount_that_cannot_be_read_is_not_known(healthy, tmp_path):
    image = tmp_path / 'broken.qcow2'
    data = bytearray(healthy('preallocated').read_bytes())
    table = word(data, 48)
    struct.pack_into('>Q', data, table, word(data, table) + 512)
    image.write_bytes(data)
    (step,), = explain(image, 0)
    assert step['kind'] == DATA and step['refcount'] == NONE
    struct.pack_into('>Q', data, table, 0)
    image.write_bytes(data)
    (step,), = explain(image, 0)
    assert step['kind'] == DATA and step['refcount'] == 0


def test_offset_past_the_disk_is_refused(healthy):
    assert explain(healthy('empty'), 0) == [[{'error': 'argument', 'depth': 0}]]
