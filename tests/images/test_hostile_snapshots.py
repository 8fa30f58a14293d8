# SPDX-License-Identifier: MIT
"""Snapshot tables that are too long, lead astray, or repeat themselves; asked for by name, through the
command. That they never cost the disk is shown in test_hostile_extensions.py."""

import json
import struct

import pytest

from build import COPIED, Image, Normal, Snapshot
from tools import probe, qemu_img, qemu_opens, tool

CS = 4096
PER_TABLE = CS * CS // 8  # bytes of disk to an L1 entry


def listed(path):
    """(snapshots, what was wrong with the rest or None)."""
    done = tool('info', '--output=json', path)
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)
    problem = info['qcow2'].get('snapshots-problem')
    assert (problem is not None) == (b'not all snapshots' in done.stderr)
    return info.get('snapshots', []), problem


def snapshot_disk(path, name):
    done = tool('cat', '--snapshot', name, path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def no_snapshot(path, name, *words):
    """Using it fails with these words, while the live disk is as good as ever."""
    done = tool('cat', '--snapshot', name, path)
    assert (done.returncode, done.stdout) == (1, b'')
    for word in words:
        assert word.encode() in done.stderr, done.stderr
    assert probe(path, reads=[(0, 4)]).reads == [b'live']


def table_of(count, extra_size=16, id_size=1, name_size=65535):
    """An image whose table has so many large entries, most of them holes in the file."""
    image = Image(l2={0: Normal(b'live')}, snapshots=[Snapshot()])
    start = image.lay_out().at['snapshots']
    stride = -(-(40 + extra_size + id_size + name_size) // 8) * 8
    entry = struct.pack('>QIHHIIQII', image.at['l1'], 1, id_size, name_size, 0, 0, 0, 0, extra_size)
    writes = [(start + number * stride, entry + struct.pack('>QQ', 0, CS) + b'7')
              for number in range(count)]
    return Image(l2={0: Normal(b'live')}, snapshots=[Snapshot()], header={'nb_snapshots': count},
                 writes=writes, length=start + count * stride)


def test_snapshot_table_of_more_than_64_mib_is_a_limit(written):
    """QEMU refuses the image; here the disk is read, and the snapshots up to the limit are listed."""
    path = written(table_of(1030))
    assert not qemu_opens(path)
    assert probe(path, reads=[(0, 4)]).reads == [b'live']
    snapshots, problem = listed(path)
    assert '64 MiB' in problem
    assert 1000 < len(snapshots) < 1030


def test_snapshot_table_just_below_64_mib_is_listed_whole(written):
    path = written(table_of(1020))
    snapshots, problem = listed(path)
    assert (len(snapshots), problem) == (1020, None)


def test_snapshot_names_of_64_kib_each_cost_no_memory(written):
    """65,536 entries with ids and names of 65,535 bytes are 8 GiB. The limit of the table stops the
    walk, one entry is held at a time, and the command has 256 MiB."""
    image = table_of(600, id_size=65535)
    image.header['nb_snapshots'] = 65536
    image.length = 10 << 30
    path = written(image)
    assert not qemu_opens(path)
    snapshots, problem = listed(path)
    assert '64 MiB' in problem
    assert 500 < len(snapshots) < 520


@pytest.mark.parametrize('broken, words', [
    ({'l1_offset': CS + 512}, ['aligned']), ({'l1_offset': (1 << 63) - CS, 'l1_entries': 1024}, []),
    ({'l1_entries': 4194305}, ['4194305']), ({'l1_entries': 0xFFFFFFFF}, ['4294967295'])],
    ids=['unaligned', 'past_2_63', 'over_32_mib', 'all_ones'])
def test_snapshot_l1_table_is_checked_when_the_snapshot_is_used(written, broken, words):
    """As in QEMU: the image opens, that snapshot does not, and its neighbour does."""
    image = Image(l2={0: Normal(b'live')}, snapshots=[Snapshot(**broken), Snapshot(b'2', b'two')])
    path = written(image)
    assert qemu_opens(path)
    done = qemu_img('convert', '-l', 'snapshot.id=1', '-O', 'raw', path, f'{path}.raw', check=False)
    assert done.returncode != 0
    no_snapshot(path, '1', *words)
    assert snapshot_disk(path, '2')[:4] == b'live'


@pytest.mark.parametrize('entries', [0, 1])
def test_snapshot_l1_table_shorter_than_its_disk_is_unallocated_there(written, entries):
    """Not an error, and not the live disk's table either."""
    def image(l1=None):
        return Image(size=2 * PER_TABLE, l2={0: Normal(b'one'), 512: Normal(b'two')},
                     snapshots=[Snapshot(l1=l1)])
    table = image([0] * entries).lay_out().at['l2', 0]
    path = written(image([table | COPIED] * entries))
    raw = f'{path}.raw'
    qemu_img('convert', '-l', 'snapshot.id=1', '-O', 'raw', path, raw)
    with open(raw, 'rb') as file:
        disk = file.read()
    assert snapshot_disk(path, '1') == disk
    assert disk == (b'one' if entries else b'').ljust(2 * PER_TABLE, b'\0')


def test_snapshot_ids_and_names_may_repeat_or_be_empty(written):
    """The first entry whose id fits is meant, then the first whose name does."""
    def image(tables=(0, 0, 0)):
        one, two, three = ([table | COPIED] for table in tables)
        return Image(size=3 * PER_TABLE, l2={0: Normal(b'one'), 512: Normal(b'two'),
                                             1024: Normal(b'three')},
                     snapshots=[Snapshot(b'1', b'', one), Snapshot(b'1', b'b', two),
                                Snapshot(b'', b'1', three), Snapshot(b'', b'b', three)])
    at = image().lay_out().at
    path = written(image([at['l2', index] for index in range(3)]))
    assert qemu_opens(path)
    for name, content in (('1', b'one'), ('b', b'two')):
        assert snapshot_disk(path, name)[:5].rstrip(b'\0') == content
    theirs = json.loads(qemu_img('info', '--output=json', path).stdout)['snapshots']
    snapshots, problem = listed(path)
    assert problem is None
    assert [(s['id'], s['name']) for s in snapshots] == [(s['id'], s['name']) for s in theirs]
