# SPDX-License-Identifier: MIT
"""Internal snapshots and dirty bitmaps: listed as by qemu-img, read as disks of their own, and never the
reason why the rest of an image cannot be had."""

import hashlib
import json
import struct

import pytest

import toolrun
from chainrun import number_at, overlay, patch
from toolrun import fails_in_one_line, good, qemu_img, run, tool_json


@pytest.fixture(scope='module')
def image(tmp_path_factory):
    """Snapshots "one" (id 1), "1" (id 2), "" (id 3); two bitmaps."""
    path = tmp_path_factory.mktemp('snapshots') / 'image.qcow2'
    toolrun.create(path, '2M', 'write -P 1 0 1M')
    qemu_img('snapshot', '-c', 'one', path)
    toolrun.qemu_io(path, 'write -P 2 0 100k', 'write -b -P 77 0 5120')
    qemu_img('snapshot', '-c', '1', path)
    qemu_img('bitmap', '--add', '-g', '64k', path, 'first')
    toolrun.qemu_io(path, 'write -P 3 1536k 100k', 'write -P 4 2000k 4k')
    qemu_img('bitmap', '--add', '-g', '512', path, 'second')
    return path


def digest_of(content):
    return hashlib.sha256(content).hexdigest()


FIRST = b'\1' * (1 << 20) + bytes(1 << 20)
SECOND = b'\2' * 102400 + FIRST[102400:]


@pytest.mark.parametrize('word, content', [('1', FIRST), ('one', FIRST), ('2', SECOND)],
                         ids=['id', 'name', 'second'])
def test_snapshot_is_a_disk_of_its_own(image, word, content, tmp_path):
    assert good('digest', '--snapshot', word, image).stdout.split()[0].decode() == digest_of(content)
    assert good('cat', '--snapshot', word, '-l', '200k', image).stdout == content[:204800]
    good('convert', '-q', f'--snapshot={word}', image, tmp_path / 'out')
    assert (tmp_path / 'out').read_bytes() == content
    qemu_img('convert', '-l', word, '-O', 'raw', image, tmp_path / 'expected')
    assert (tmp_path / 'expected').read_bytes() == content


def test_map_of_a_snapshot(image):
    rows = tool_json('map', '--output=json', '--snapshot', '1', image)
    assert [(row['start'], row['data']) for row in rows][-1] == (1 << 20, False)
    assert sum(row['length'] for row in rows if row['data']) == 1 << 20
    assert rows != tool_json('map', '--output=json', image)


@pytest.mark.parametrize('command', ['map', 'digest', 'cat', 'explain'])
def test_unknown_snapshot_is_named(image, command):
    words = [command, '--snapshot', 'nope', image] + (['0'] if command == 'explain' else [])
    fails_in_one_line(run(*words), 'image.qcow2: ', 'nope', "'qcow2 info' lists")


@pytest.mark.parametrize('command', ['info', 'check'])
def test_snapshot_option_is_not_there_where_it_has_no_meaning(image, command):
    fails_in_one_line(run(command, '--snapshot', '1', image), "unknown option '--snapshot'")


def test_info_lists_snapshots_and_bitmaps_as_qemu_img(image):
    ours = tool_json('info', '--output=json', image)
    own = ours.pop('qcow2')
    assert ours == toolrun.qemu_json('info', '--output=json', image)
    assert [entry['id'] for entry in ours['snapshots']] == ['1', '2']
    assert [entry['virtual-size'] for entry in own['snapshots']] == [2 << 20] * 2


def test_info_for_people_lists_them(image):
    text = good('info', image).stdout.decode()
    assert 'id 1, "one", 2' in text and 'id 2, "1", 2' in text and 'disk 2 MiB' in text
    assert '"first", a bit for each 64 KiB, recording' in text and '"second", a bit for each 512 B' in text


def give_vm_state(path, size):
    """qemu-img, which has no machine, takes snapshots with a VM state of 0 bytes."""
    at = number_at(path, 64)
    with open(path, 'rb') as file:
        file.seek(at)
        entry = file.read(4096)
    id_size, name_size, _, _, _, _, extra = struct.unpack_from('>HHIIQII', entry, 12)
    at += -(-(40 + extra + id_size + name_size) // 8) * 8
    patch(path, at + 32, struct.pack('>I', size))
    patch(path, at + 40, struct.pack('>Q', size))


def test_vm_state_is_a_stream(image, tmp_path):
    path = tmp_path / 'copy.qcow2'
    path.write_bytes(image.read_bytes())
    give_vm_state(path, 5000)
    assert good('cat', '--vm-state', '--snapshot', '2', path).stdout == b'\x4d' * 5000
    assert good('cat', '--vm-state', '--snapshot', '2', '-s', '4990', path).stdout == b'\x4d' * 10
    assert good('cat', '--vm-state', '--snapshot', '1', path).stdout == b''
    assert 'VM state 4.88 KiB' in good('info', path).stdout.decode()
    fails_in_one_line(run('cat', '--vm-state', path), "'--vm-state' needs '--snapshot'")


def test_broken_snapshot_table_costs_nothing_else(image, tmp_path):
    path = tmp_path / 'copy.qcow2'
    path.write_bytes(image.read_bytes())
    at = number_at(path, 64)
    patch(path, at + 36 + 72, b'\xff\xff\xff\xff')  # second entry: extra data size
    size = number_at(path, at + 36, '>I')
    assert size < 1024
    result = run('info', '--output=json', path)
    assert result.returncode == 0
    warning = result.stderr.decode()
    assert warning.startswith('qcow2: ') and ': warning: not all snapshots' in warning
    assert warning.count('\n') == 1
    ours = json.loads(result.stdout)
    assert [entry['name'] for entry in ours['snapshots']] == ['one']
    assert ours['qcow2']['snapshots-problem'] and len(ours['format-specific']['data']['bitmaps']) == 2
    assert good('digest', path).stdout == good('digest', image).stdout.replace(
        str(image).encode(), str(path).encode())
    human = run('info', path)
    assert human.returncode == 0 and b'"one"' in human.stdout and b'warning' in human.stderr


def bitmap_directory(path):
    for extension in tool_json('info', '--output=json', path)['qcow2']['header-extensions']:
        if extension['name'] == 'bitmaps':
            return number_at(path, extension['offset'] + 16)
    raise AssertionError


def test_broken_bitmap_costs_nothing_else(image, tmp_path):
    path = tmp_path / 'copy.qcow2'
    path.write_bytes(image.read_bytes())
    patch(path, bitmap_directory(path) + 16, b'\7')  # the type
    result = run('info', '--output=json', path)
    assert result.returncode == 0 and b'warning: not all bitmaps' in result.stderr
    ours = json.loads(result.stdout)
    assert 'bitmaps' not in ours['format-specific']['data'] and len(ours['snapshots']) == 2
    assert ours['qcow2']['bitmaps-problem']
    assert good('digest', path).stdout.split()[0] == good('digest', image).stdout.split()[0]
    fails_in_one_line(run('map', '--bitmap', 'second', path), 'copy.qcow2: ')


# ---- what bitmaps mark ----

def test_bitmap_as_json_covers_the_disk(image):
    rows = tool_json('map', '--bitmap', 'first', '--output=json', image)
    assert rows == [{'start': 0, 'length': 1536 << 10, 'dirty': False},
                    {'start': 1536 << 10, 'length': 128 << 10, 'dirty': True},
                    {'start': 1664 << 10, 'length': 320 << 10, 'dirty': False},
                    {'start': 1984 << 10, 'length': 64 << 10, 'dirty': True}]
    assert tool_json('map', '--bitmap', 'second', '--output=json', image) == \
        [{'start': 0, 'length': 2 << 20, 'dirty': False}]


def test_bitmap_far_into_a_large_disk_is_found(tmp_path):
    """Past several clusters of bits: 128 KiB of them."""
    path = toolrun.create(tmp_path / 'large.qcow2', '512M')
    qemu_img('bitmap', '--add', '-g', '512', path, 'b')
    toolrun.qemu_io(path, 'write 511M 512', 'write 300M 1024')
    rows = tool_json('map', '--bitmap', 'b', '--output=json', path)
    assert [(row['start'], row['length']) for row in rows if row['dirty']] == [(300 << 20, 1024), (511 << 20, 512)]


def test_bitmap_of_a_range(image):
    rows = tool_json('map', '--bitmap', 'first', '--output=json', '-s', '1600k', '-l', '70000', image)
    assert rows == [{'start': 1600 << 10, 'length': 65536, 'dirty': True},
                    {'start': 1664 << 10, 'length': 70000 - 65536, 'dirty': False}]
    assert tool_json('map', '--bitmap', 'first', '--output=json', '-s', '3M', image) == []


def test_bitmap_as_a_table(image):
    lines = good('map', '--bitmap', 'first', image).stdout.decode().splitlines()
    assert [line.split() for line in lines[1:]] == [['0x180000', '0x20000'], ['0x1f0000', '0x10000']]


def test_bitmaps_that_cannot_be_shown(image):
    fails_in_one_line(run('map', '--bitmap', 'nope', image), "no bitmap named 'nope'")
    fails_in_one_line(run('map', '--bitmap', 'first', '--snapshot', '1', image), '--snapshot')
    fails_in_one_line(run('map', '--bitmap', 'first', '--output=html', image), '--output=html')


def test_bitmap_that_was_not_closed_is_refused(image, tmp_path):
    path = tmp_path / 'copy.qcow2'
    path.write_bytes(image.read_bytes())
    patch(path, bitmap_directory(path) + 15, b'\1')
    fails_in_one_line(run('map', '--bitmap', 'first', path), 'not closed properly')
    assert 'unusable' in good('info', path).stdout.decode()
    ours = tool_json('info', '--output=json', path)
    del ours['qcow2']
    assert ours == toolrun.qemu_json('info', '--output=json', path)


def test_bitmap_needs_no_backing_file(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M')
    toolrun.create(tmp_path / 'base.qcow2', '1M')
    qemu_img('rebase', '-u', '-b', 'base.qcow2', '-F', 'qcow2', path)
    qemu_img('bitmap', '--add', path, 'b')
    toolrun.qemu_io(path, 'write 0 64k')
    (tmp_path / 'base.qcow2').unlink()
    assert tool_json('map', '--bitmap', 'b', '--output=json', path)[0]['dirty'] is True
