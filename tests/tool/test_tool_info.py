# SPDX-License-Identifier: MIT
"""qcow2 info: JSON equal to qemu-img's but for one key of ours, and strings of strangers made harmless."""

import json
import os
import re
import struct

import pytest

import toolrun
from chainrun import encrypted, overlay
from conftest import NAMES
from vetting import build


def info_without_ours(path):
    ours = toolrun.tool_json('info', '--output=json', path)
    assert isinstance(ours.pop('qcow2'), dict)
    return ours


@pytest.mark.parametrize('name', NAMES)
def test_json_equals_qemu_img(images, name):
    path = images[name]
    assert info_without_ours(path) == toolrun.qemu_json('info', '--output=json', path)


@pytest.mark.parametrize('name', ['v2', 'zstd'])
def test_backing_chain_is_an_array_of_one(images, name):
    ours = toolrun.tool_json('info', '--backing-chain', '--output=json', images[name])
    assert isinstance(ours, list) and len(ours) == 1
    ours[0].pop('qcow2')
    assert ours == toolrun.qemu_json('info', '--backing-chain', '--output=json', images[name])


@pytest.mark.parametrize('backing', ['base.raw', '../else/base', '/nowhere/base', 'nbd://host/x',
                                     'json:{"driver":"null-co"}', 'file:x', 'sub/na:me', ':x'])
@pytest.mark.parametrize('spelling', ['{name}', './{name}', '../{directory}/{name}', '{path}'])
def test_json_names_backing_file_as_qemu_img(tmp_path, backing, spelling):
    path = tmp_path / 'overlay.qcow2'
    toolrun.qemu_img('create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', backing, path, '1M')
    spelled = spelling.format(name=path.name, directory=tmp_path.name, path=path)
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        ours = info_without_ours(spelled)
        assert ours == toolrun.qemu_json('info', '--output=json', spelled)
        assert ours['backing-filename'] == backing
    finally:
        os.chdir(before)


@pytest.mark.parametrize('raw', ['on', 'off'])
def test_json_of_data_file_image_equals_qemu_img(tmp_path, raw):
    path = tmp_path / 'image.qcow2'
    options = f'data_file={tmp_path}/data,data_file_raw={raw}'
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '-o', options, path, '1M')
    (tmp_path / 'data').unlink()
    ours = info_without_ours(path)
    assert ours == toolrun.qemu_json('info', '--output=json', path)
    assert ours['format-specific']['data']['data-file-raw'] is (raw == 'on')


def test_json_of_extended_l2_equals_qemu_img(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M', options='extended_l2=on')
    assert info_without_ours(path) == toolrun.qemu_json('info', '--output=json', path)


def test_json_of_aes_image_equals_qemu_img(tmp_path):
    path = tmp_path / 'image.qcow2'
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '--object', 'secret,id=s,data=abc', '-o',
                     'encrypt.format=aes,encrypt.key-secret=s', path, '1M')
    assert info_without_ours(path) == toolrun.qemu_json('info', '--output=json', path)


@pytest.mark.parametrize('mode, generator, hash_name', [('xts', 'plain64', 'sha256'), ('cbc', 'essiv', 'sha512'),
                                                        ('ctr', 'plain', 'sha1')])
def test_json_of_luks_image_equals_qemu_img(tmp_path, mode, generator, hash_name):
    path = tmp_path / 'image.qcow2'
    options = f'encrypt.cipher-mode={mode},encrypt.ivgen-alg={generator},encrypt.hash-alg={hash_name}'
    if generator == 'essiv':
        options += ',encrypt.ivgen-hash-alg=sha256'
    encrypted(path, '1M', options=options)
    ours = info_without_ours(path)
    assert ours == toolrun.qemu_json('info', '--output=json', path)
    assert ours['format-specific']['data']['encrypt']['hash-alg'] == hash_name


def test_json_of_an_absurd_state_is_the_number_of_qemu_img(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M')
    toolrun.qemu_img('snapshot', '-c', 'one', path)
    with open(path, 'r+b') as file:
        file.seek(64)
        table = int.from_bytes(file.read(8), 'big')
        file.seek(table + 40)
        file.write(((1 << 64) - 8).to_bytes(8, 'big'))
    ours = info_without_ours(path)
    assert ours['snapshots'] == toolrun.qemu_json('info', '--output=json', path)['snapshots']
    assert ours['snapshots'][0]['vm-state-size'] == -8


def flip_feature(path, offset, bit):
    with open(path, 'r+b') as file:
        file.seek(offset)
        value = int.from_bytes(file.read(8), 'big') | 1 << bit
        file.seek(offset)
        file.write(value.to_bytes(8, 'big'))


@pytest.mark.parametrize('offset, bit', [(72, 0), (72, 1), (80, 0), (80, 17), (88, 63)])
def test_json_of_feature_bits_equals_qemu_img(tmp_path, offset, bit):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M')
    flip_feature(path, offset, bit)
    assert info_without_ours(path) == toolrun.qemu_json('info', '--output=json', path)
    features = toolrun.tool_json('info', '--output=json', path)['qcow2']['features']
    name = {72: 'incompatible', 80: 'compatible', 88: 'autoclear'}[offset]
    assert [entry['bit'] for entry in features.pop(name)] == [bit]
    assert list(features.values()) == [[], []]


def test_odd_header_size_is_told_beside_the_size(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M')
    with open(path, 'r+b') as file:
        file.seek(24)
        file.write((1000000).to_bytes(8, 'big'))
    ours = toolrun.tool_json('info', '--output=json', path)
    assert ours['virtual-size'] == 1000000 // 512 * 512
    assert ours['qcow2']['header-size'] == 1000000
    assert info_without_ours(path) == toolrun.qemu_json('info', '--output=json', path)


def stranger(tmp_path):
    path = tmp_path / 'image.qcow2'
    toolrun.qemu_img('create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b',
                     b'a\xffb\x1b[31m\n\xe2\x80\xae\xc3\xa9', path, '1M')
    return path


def test_json_survives_names_that_are_not_utf8(tmp_path):
    path = stranger(tmp_path)
    text = toolrun.good('info', '--output=json', path).stdout.decode('utf-8')
    assert json.loads(text)['backing-filename'] == 'a\ufffdb\x1b[31m\n\u202e\u00e9'


def test_human_output_escapes_names(tmp_path):
    text = toolrun.good('info', stranger(tmp_path)).stdout.decode('utf-8')
    assert 'a\\xffb\\x1b[31m\\n\\u{202e}\u00e9 (format raw)' in text
    assert '\x1b' not in text and '\u202e' not in text


def test_human_output_states_the_facts(images):
    text = toolrun.good('info', images['cs2m']).stdout.decode()
    lines = dict(re.split(r':\s+', line, 1) for line in text.splitlines())
    assert lines['virtual size'] == '9 MiB (9437184 bytes)'
    assert lines['cluster size'] == '2 MiB (2097152 bytes)'
    assert lines['format'] == 'qcow2 version 3 (compat 1.1)'


def test_human_output_warns_of_dirty_and_corrupt(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M')
    flip_feature(path, 72, 0)
    flip_feature(path, 72, 1)
    text = toolrun.good('info', path).stdout.decode()
    assert 'dirty' in text and 'corrupt' in text


def test_header_extensions_are_listed(images):
    listed = toolrun.tool_json('info', '--output=json', images['v3'])['qcow2']['header-extensions']
    assert [entry['type'] for entry in listed] == ['0x6803f857']
    assert listed[0]['name'] and listed[0]['length'] % 48 == 0


# ---- lists without measure ----

def is_laid_out(text):
    """As jansson and Python do it: four blanks for each level, an empty list on one line."""
    value = json.loads(text)
    assert text.decode() == json.dumps(value, indent=4, ensure_ascii=False) + '\n'
    return value


def answered(memory, *words):
    """The output of a run that keeps to that much memory, beside what the program itself takes."""
    measurable = toolrun.is_measurable()
    code, output = toolrun.limited(toolrun.BASE_MEMORY + memory if measurable else None, 'info', *words)
    assert code == 0
    return output


@pytest.mark.parametrize('name', NAMES)
def test_json_is_laid_out_in_one_way(images, name, tmp_path):
    """It is printed piece by piece, and nobody sees that."""
    path = overlay(tmp_path / 'overlay.qcow2', images[name])
    toolrun.qemu_img('snapshot', '-c', 'one', path)
    is_laid_out(toolrun.good('info', '--output=json', path).stdout)
    chain = is_laid_out(toolrun.good('info', '--output=json', '--backing-chain', '--allow',
                                     images[name].parent, path).stdout)
    assert len(chain) == 2 and chain[0]['snapshots'][0]['name'] == 'one'


def flood(path, backing=None):
    """A first cluster of 2 MiB full of extensions of no bytes."""
    cluster = 1 << 21
    extensions = [build.Extension(build.EXT_BACKING_FORMAT, b'qcow2')] if backing else []
    count = (cluster - 112 - 16 - 8 - len(backing or b'') - 8) // 8
    extensions.append(struct.pack('>II', 0x11111111, 0) * count)
    build.Image(cluster_bits=21, size=1 << 20, extensions=extensions, backing_file=backing,
                refcount_order=6).write(path)
    return count + (backing is not None)


def test_a_thousand_extensions_are_listed_and_the_others_counted(tmp_path):
    path = tmp_path / 'image.qcow2'
    count = flood(path)
    own = is_laid_out(toolrun.good('info', '--output=json', path).stdout)['qcow2']
    assert len(own['header-extensions']) == 1000
    assert own['header-extensions-not-listed'] == count - 1000
    lines = toolrun.good('info', path).stdout.decode().splitlines()
    assert len([line for line in lines if 'unknown type 0x11111111' in line]) == 1000
    assert lines[-1].strip() == f'and {count - 1000} more, which are not listed'


def test_many_snapshots_are_listed_whole_and_not_kept_in_memory(tmp_path):
    """65536 of them were an object of 160 MB."""
    path, table, count = tmp_path / 'image.qcow2', 1 << 20, 20000
    entries = b''.join(struct.pack('>QIHHIIQIIQQ6s2x', 0, 0, 6, 0, 0, 0, 0, 0, 16, 0, 1 << 20,
                                   b'%06d' % number) for number in range(count))
    build.Image(cluster_bits=16, size=1 << 20, writes=[(table, entries)],
                header={'nb_snapshots': count, 'snapshots_offset': table}).write(path)
    value = json.loads(answered(1 << 20, '--output=json', path))
    assert [entry['id'] for entry in value['snapshots']] == ['%06d' % i for i in range(count)]
    assert len(value['qcow2']['snapshots']) == count


def test_chain_of_files_full_of_extensions_costs_what_their_headers_have(tmp_path):
    """Its array was made in memory, 278 MB for each file. The library keeps 2 MiB of each."""
    files = 4
    for number in range(files):
        flood(tmp_path / f'{number}', b'%d' % (number + 1) if number + 1 < files else None)
    text = answered((files + 3) << 21, '--output=json', '--backing-chain', tmp_path / '0')
    assert [entry['qcow2']['header-extensions-not-listed'] > 200000 for entry in is_laid_out(text)] == \
        [True] * files


def test_chain_that_breaks_off_does_not_look_complete(tmp_path):
    """Each file is printed before the next one is looked at. The name of a data file, of nearly 2 MiB, takes
    more memory to be printed than to be read."""
    if not toolrun.is_measurable():
        pytest.skip('a sanitizer needs more memory than the program')
    name = build.Extension(build.EXT_DATA_FILE, b'x' * 2_000_000)
    build.Image(cluster_bits=21, size=1 << 20, extensions=[name],
                refcount_order=6).write(tmp_path / 'base')
    path = overlay(tmp_path / 'top', 'base')
    begun = 0
    for mib in range(0, 24, 2):
        code, text = toolrun.limited(toolrun.BASE_MEMORY + (mib << 20), 'info', '--output=json',
                                     '--backing-chain', path)
        if code == 0:
            assert len(is_laid_out(text)) == 2
        else:
            with pytest.raises(ValueError):
                json.loads(text)
            begun += b'"filename"' in text
    assert code == 0 and begun > 0
