# SPDX-License-Identifier: MIT
"""qcow2 compare: the first difference, whose it is on either side, and exit codes as diff has them."""

import json
import os

import pytest

import toolrun
from chainrun import encrypted, number_at, overlay, patch
from toolrun import fails_in_one_line, good, qemu_img, run


def compare(*words):
    """Exit code and the JSON object."""
    result = run('compare', '--output=json', *words)
    assert result.returncode in (0, 1) and not result.stderr, result.stderr
    return result.returncode, json.loads(result.stdout)


@pytest.fixture
def pair(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('a.qcow2', 'b.qcow2'):
        toolrun.create(name, '8M', 'write -P 1 0 3M', 'write -z 5M 1M')
    return tmp_path


def test_same_disks(pair):
    assert compare('a.qcow2', 'b.qcow2')[0] == 0
    assert good('compare', 'a.qcow2', 'b.qcow2').stdout == b'the same bytes\n'
    assert not good('compare', '-q', 'a.qcow2', 'b.qcow2').stdout


@pytest.mark.parametrize('name', ['deflate', 'zstd', 'cs512', 'cs2m', 'v2', 'scattered', 'sparse_1t'])
def test_raw_disk_of_an_image_is_the_same(images, tmp_path, name):
    good('convert', '-q', images[name], tmp_path / 'disk.raw')
    code, value = compare('-F', 'raw', images[name], tmp_path / 'disk.raw')
    assert code == 0 and value['same'] is True
    assert compare('-f', 'raw', '--second-format=qcow2', tmp_path / 'disk.raw', images[name])[0] == 0
    with open(tmp_path / 'disk.raw', 'r+b') as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    code, value = compare('-F', 'raw', images[name], tmp_path / 'disk.raw')
    assert code == 1 and value['offset'] == os.path.getsize(tmp_path / 'disk.raw') - 1
    assert value['second']['byte'] == last[0] ^ 1 and value['first']['byte'] == last[0]


@pytest.mark.parametrize('place', [0, 1, 65535, 65536, 3 << 20, (5 << 20) + 7, (8 << 20) - 1])
def test_first_difference_is_found(pair, place):
    toolrun.qemu_io('b.qcow2', f'write -P 9 {place} 1', f'write -P 9 {8192 - 64}k 64k')
    code, value = compare('a.qcow2', 'b.qcow2')
    assert (code, value['offset']) == (1, min(place, (8 << 20) - 65536))
    assert value['second']['byte'] == 9 and value['second']['kind'] == 'data'
    offset = value['second']['host-offset']
    assert (pair / 'b.qcow2').read_bytes()[offset] == 9
    first = run('compare', 'a.qcow2', 'b.qcow2').stdout.decode()
    assert f'differ at byte {value["offset"]} ' in first
    assert f'  b.qcow2: 0x09, stored at {offset:#x} of b.qcow2\n' in first


def test_layer_that_decides_is_named(pair):
    overlay('over.qcow2', 'a.qcow2', 'write -P 5 1M 64k')
    code, value = compare('over.qcow2', 'b.qcow2')
    assert (code, value['offset']) == (1, 1 << 20)
    toolrun.qemu_io('b.qcow2', 'write -P 6 64k 64k')
    _, value = compare('over.qcow2', 'b.qcow2')
    assert value['first']['file'] == 'a.qcow2' and value['first']['depth'] == 1
    assert '(layer 1)' in run('compare', 'over.qcow2', 'b.qcow2').stdout.decode()


def test_shared_layers_are_not_read(pair):
    overlay('one.qcow2', 'a.qcow2', 'write -P 5 1M 64k')
    overlay('two.qcow2', 'a.qcow2', 'write -P 5 1M 64k')
    code, value = compare('one.qcow2', 'two.qcow2')
    assert code == 0 and value['read-bytes'] == 2 * 65536
    assert value['skipped-bytes'] == (8 << 20) - 65536


def test_longer_disk_may_end_in_zeros_but_not_strictly(pair):
    qemu_img('resize', '-q', 'b.qcow2', '9M')
    assert compare('a.qcow2', 'b.qcow2')[0] == 0
    assert b'longer disk ends in zeros' in good('compare', 'a.qcow2', 'b.qcow2').stdout
    code, value = compare('--strict', 'a.qcow2', 'b.qcow2')
    assert code == 1 and value['same'] is False and 'offset' not in value
    toolrun.qemu_io('b.qcow2', 'write -P 1 8600k 1k')
    code, value = compare('a.qcow2', 'b.qcow2')
    assert (code, value['offset'], value['first']['kind']) == (1, 8600 << 10, 'past-end')
    assert b'past the end' in run('compare', 'a.qcow2', 'b.qcow2').stdout


def test_snapshots_can_be_compared(pair):
    qemu_img('snapshot', '-c', 'before', 'a.qcow2')
    assert compare('--snapshot', 'before', 'a.qcow2', 'a.qcow2')[0] == 0
    toolrun.qemu_io('a.qcow2', 'write -P 7 100k 1k')
    code, value = compare('--snapshot', 'before', 'a.qcow2', 'a.qcow2')
    assert (code, value['offset']) == (1, 102400)
    assert value['read-bytes'] <= 2 * 65536
    assert compare('--second-snapshot', 'before', 'b.qcow2', 'a.qcow2')[0] == 0


def test_encrypted_images_with_keys_of_their_own(pair):
    one = encrypted(pair / 'one.qcow2', '1M', 'write -P 3 0 100k', passphrase=b'one')
    two = encrypted(pair / 'two.qcow2', '1M', 'write -P 3 0 100k', passphrase=b'two', form='aes')
    assert compare('--key-file', one, '--second-key-file', two, 'one.qcow2', 'two.qcow2')[0] == 0
    result = run('compare', '--key-file', two, '--second-key-file', two, 'one.qcow2', 'two.qcow2')
    fails_in_one_line(result, 'one.qcow2: wrong passphrase', code=2)


def test_errors_are_exit_2(pair):
    fails_in_one_line(run('compare', 'a.qcow2', 'nowhere'), 'nowhere: ', code=2)
    fails_in_one_line(run('compare', 'a.qcow2'), 'second image is missing', code=2)
    fails_in_one_line(run('compare'), code=2)
    fails_in_one_line(run('compare', 'a.qcow2', 'b.qcow2', 'c'), "'c'", code=2)
    fails_in_one_line(run('compare', '--xyzzy', 'a.qcow2', 'b.qcow2'), '--xyzzy', code=2)
    fails_in_one_line(run('compare', '-m', '0', 'a.qcow2', 'b.qcow2'), '--threads', code=2)
    (pair / 'raw').write_bytes(bytes(512))
    fails_in_one_line(run('compare', 'a.qcow2', 'raw'), 'raw: not a qcow2 image', '-F raw', code=2)
    fails_in_one_line(run('compare', 'raw', 'a.qcow2'), 'raw: not a qcow2 image', '-f raw', code=2)
    with open('/dev/full', 'wb') as out:
        fails_in_one_line(run('compare', 'a.qcow2', 'b.qcow2', stdout=out), 'standard output', code=2)


def test_damage_is_an_error_and_says_on_which_side(pair):
    patch('b.qcow2', number_at('b.qcow2', 40) + 6, b'\2')
    fails_in_one_line(run('compare', 'a.qcow2', 'b.qcow2'), 'qcow2: b.qcow2: L2 table', code=2)
    fails_in_one_line(run('compare', 'b.qcow2', 'a.qcow2'), 'qcow2: b.qcow2: L2 table', code=2)


def test_terabytes_of_nothing_take_no_time(tmp_path):
    toolrun.create(tmp_path / 'a.qcow2', '60T', 'write -P 1 59T 64k', options='cluster_size=2M')
    toolrun.create(tmp_path / 'b.qcow2', '60T', 'write -P 1 59T 64k', 'write -z 1T 1G')
    code, value = compare(tmp_path / 'a.qcow2', tmp_path / 'b.qcow2')
    assert code == 0 and value['read-bytes'] <= 4 << 20
