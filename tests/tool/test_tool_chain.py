# SPDX-License-Identifier: MIT
"""Chains: info --backing-chain, map and the disks themselves, as qemu-img sees them; errors that name the
layer at fault."""

import hashlib
import json
import os

import pytest

import toolrun
from chainrun import encrypted, number_at, opened, overlay, patch
from toolrun import fails_in_one_line, good, qemu_img, qemu_json, run, tool_json

SECRET = 'secret,id=key,file='


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Five files: raw with holes, v1 over it, v2, extended L2 with a data file, and the image."""
    monkeypatch.chdir(tmp_path)
    with open('base.raw', 'wb') as file:
        file.truncate(5_000_123)
        for place in (0, 1_000_000, 2_097_152, 4_999_000):
            file.seek(place)
            file.write(os.urandom(1100))
    qemu_img('create', '-q', '-f', 'qcow', '-b', 'base.raw', '-F', 'raw', 'one.qcow', '6M')
    toolrun.subprocess.run(['qemu-io', '-f', 'qcow', '-c', 'write -P 9 300k 10k', 'one.qcow'],
                           check=True, stdout=toolrun.subprocess.PIPE)
    overlay('two.qcow2', 'one.qcow', 'write -P 2 3M 100k', 'write -P 3 4200k 4k', form='qcow',
            size='4500k', options='compat=0.10,cluster_size=4k')
    overlay('three.qcow2', 'two.qcow2', 'write -P 4 1M 2k', 'write -z 3100k 64k', 'discard 2M 64k',
            'write -P 5 7M 12k', size='9M', options='extended_l2=on,data_file=three.data')
    overlay('top.qcow2', 'three.qcow2', 'write -P 6 0 64k', 'write -z 64k 128k',
            'write -c -P 7 5M 64k')
    return tmp_path


def without_ours(value):
    if isinstance(value, list):
        return [without_ours(item) for item in value]
    value.pop('qcow2', None)
    return value


def without_guesses(rows):
    """qemu-img asks for holes of the file in images that look preallocated, of every layer; then what is
    data may be zero too."""
    joined = []
    for row in rows:
        row = dict(row, zero=row['zero'] and not row['data'])
        last = joined[-1] if joined else None
        if last and all(last[key] == row[key] for key in ('depth', 'present', 'zero', 'data')) and \
                last.get('offset', -1) + (last['length'] if 'offset' in last else 0) == \
                row.get('offset', -1):
            last['length'] += row['length']
        else:
            joined.append(row)
    return joined


@pytest.mark.parametrize('name', ['top.qcow2', 'three.qcow2', 'two.qcow2', 'one.qcow', './top.qcow2'])
def test_info_of_a_chain_equals_qemu_img(chain, name):
    for options in ([], ['--backing-chain']):
        ours = without_ours(tool_json('info', '--output=json', *options, name))
        assert ours == qemu_json('info', '--output=json', *options, name)


def test_info_of_a_chain_for_people_names_every_file(chain):
    text = good('info', '--backing-chain', 'top.qcow2').stdout.decode()
    images = [line.split(':')[1].strip() for line in text.splitlines() if line.startswith('image:')]
    assert images == ['top.qcow2', 'three.qcow2', 'two.qcow2', 'one.qcow', 'base.raw']
    formats = [line.split(':')[1].strip() for line in text.splitlines() if line.startswith('format:')]
    assert formats[3:] == ['qcow version 1', 'raw']
    assert good('info', 'top.qcow2').stdout.decode() == text.split('\n\n')[0] + '\n'


@pytest.mark.parametrize('name', ['top.qcow2', 'three.qcow2', 'two.qcow2', 'one.qcow'])
def test_map_of_a_chain_equals_qemu_img(chain, name):
    ours = tool_json('map', '--output=json', name)
    assert without_guesses(ours) == without_guesses(qemu_json('map', '--output=json', name))
    if name != 'one.qcow':
        assert len({row['depth'] for row in ours}) > 2


def test_map_table_names_the_file_of_each_row(chain):
    lines = good('map', 'three.qcow2').stdout.decode().splitlines()
    assert {line.split()[-1] for line in lines[1:]} == {'three.data', 'two.qcow2', 'one.qcow', 'base.raw'}
    assert lines == qemu_img('map', 'three.qcow2').decode().splitlines()


def test_map_shows_holes_of_raw_files(chain):
    rows = tool_json('map', '--output=json', '-f', 'raw', 'base.raw')
    assert rows == qemu_json('map', '--output=json', '-f', 'raw', 'base.raw')
    assert any(row['zero'] for row in rows) and any(row['data'] for row in rows)


def test_disk_of_a_chain_equals_qemu_img(chain):
    qemu_img('convert', '-O', 'raw', 'top.qcow2', 'expected.raw')
    expected = (chain / 'expected.raw').read_bytes()
    assert good('cat', 'top.qcow2').stdout == expected
    good('convert', '-q', 'top.qcow2', 'out.raw')
    assert (chain / 'out.raw').read_bytes() == expected
    assert good('digest', 'top.qcow2').stdout.decode().split()[0] == \
        hashlib.sha256(expected).hexdigest()


def test_no_backing_reads_the_top_layer_alone(chain):
    os.remove('three.qcow2')
    content = good('cat', '--no-backing', 'top.qcow2').stdout
    assert content[:65536] == b'\6' * 65536 and content[5 << 20] == 7
    assert len(content) == 8 << 20 and content.count(0) == len(content) - 2 * 65536
    assert all(row['depth'] == 0 for row in tool_json('map', '--no-backing', '--output=json', 'top.qcow2'))


def test_missing_layer_is_named_with_the_way_out(chain):
    os.remove('two.qcow2')
    for command in ('map', 'digest', 'cat'):
        text = fails_in_one_line(run(command, 'top.qcow2'), 'qcow2: top.qcow2: ', '"two.qcow2"',
                                 'three.qcow2, layer 1', '--allow DIR', '--no-backing')
        assert text.count('top.qcow2') == 1
    fails_in_one_line(run('info', '--backing-chain', 'top.qcow2'), '"two.qcow2"')
    assert run('info', 'top.qcow2').returncode == 0


def test_error_deep_in_a_chain_names_that_file(chain):
    l1 = number_at('two.qcow2', 40)
    patch('two.qcow2', l1 + 6, b'\2')
    for command in ('map', 'digest', 'cat'):
        fails_in_one_line(run(command, 'top.qcow2'), 'qcow2: top.qcow2: ', 'L2 table',
                          'two.qcow2, layer 2 of the backing chain')


def test_layer_that_is_no_image_is_named(chain):
    (chain / 'two.qcow2').write_bytes(b'no image' * 100)
    fails_in_one_line(run('digest', 'top.qcow2'), 'qcow2: top.qcow2: not a qcow2 image',
                      'in two.qcow2, layer 2')


def test_snapshots_and_bitmaps_of_every_layer_are_told(chain):
    for name in ('two.qcow2', 'top.qcow2'):
        qemu_img('snapshot', '-c', f'of {name}', name)
    qemu_img('bitmap', '--add', 'top.qcow2', 'b')
    ours = tool_json('info', '--output=json', '--backing-chain', 'top.qcow2')
    assert without_ours(ours) == qemu_json('info', '--output=json', '--backing-chain', 'top.qcow2')
    assert ours[2]['snapshots'][0]['name'] == 'of two.qcow2'


def test_chain_of_encrypted_layers_takes_a_key_for_each(tmp_path):
    base_key = encrypted(tmp_path / 'base.qcow2', '2M', 'write -P 1 0 1M', passphrase=b'one')
    key = encrypted(tmp_path / 'top.qcow2', '2M', 'write -P 2 1M 100k', passphrase=b'two')
    put_backing(tmp_path / 'top.qcow2', b'base.qcow2')
    words = ['digest', tmp_path / 'top.qcow2', '--key-file', key]
    content = b'\1' * (1 << 20) + b'\2' * 102400 + bytes((1 << 20) - 102400)
    assert good(*words, '--key-file', base_key).stdout.split()[0].decode() == \
        hashlib.sha256(content).hexdigest()
    fails_in_one_line(run(*words), 'base.qcow2', 'passphrase')
    rows = tool_json('map', '--output=json', '--key-file', key, '--key-file', base_key,
                     tmp_path / 'top.qcow2')
    assert not any('offset' in row for row in rows)


def put_backing(path, name):
    """Gives an image that has none a backing file of stated format: the name at the end of the first
    cluster, the format in place of the end of the extensions."""
    place = 65536 - 64
    with open(path, 'rb') as file:
        extensions = file.read(65536)
    end = 112
    while extensions[end:end + 4] != bytes(4):
        end += 8 + -(-int.from_bytes(extensions[end + 4:end + 8], 'big') // 8) * 8
    patch(path, end, bytes.fromhex('e2792aca00000005') + b'qcow2'.ljust(8, b'\0') + bytes(8))
    patch(path, place, name)
    patch(path, 8, place.to_bytes(8, 'big') + len(name).to_bytes(4, 'big'))
