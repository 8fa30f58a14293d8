# SPDX-License-Identifier: MIT
"""qcow2 digest: lines that sha256sum prints for the raw file, and takes back."""

import hashlib
import json
import subprocess

import pytest

import toolrun
from conftest import NAMES
from toolrun import fails_in_one_line, good, run

SMALL = [name for name in NAMES if name != 'sparse_1t']


@pytest.mark.parametrize('name', SMALL)
def test_digest_equals_that_of_qemu_img(images, tmp_path, name):
    out = tmp_path / 'raw'
    toolrun.qemu_img('convert', '-f', 'qcow2', '-O', 'raw', images[name], out)
    expected = hashlib.sha256(out.read_bytes()).hexdigest()
    assert good('digest', images[name]).stdout.decode() == f'{expected}  {images[name]}\n'
    assert good('digest', '-m', '1', images[name]).stdout.decode().startswith(expected)


@pytest.mark.parametrize('name', ['plain', 'with space', 'back\\slash', 'line\nend', 'return\rchar',
                                  '\x1b[m', 'caf\u00e9', '\x9b\u202e\U000e0041'])
def test_lines_are_those_of_sha256sum(tmp_path, name):
    """Compared with the real one on the raw file, which takes the image's name."""
    image = toolrun.create(tmp_path / 'image', '1M', 'write -P 1 0 3k')
    named = tmp_path / 'images'
    named.mkdir()
    image.rename(named / name)
    raw = tmp_path / 'raws'
    raw.mkdir()
    good('convert', named / name, raw / name)
    theirs = subprocess.run(['sha256sum', name], cwd=raw, stdout=subprocess.PIPE, check=True)
    ours = good('digest', name, cwd=named)
    assert ours.stdout == theirs.stdout
    subprocess.run(['sha256sum', '--quiet', '-c'], input=ours.stdout, cwd=raw, check=True)


def test_several_images(images):
    names = ['v3', 'cs4k', 'zstd']
    lines = good('digest', *[images[name] for name in names]).stdout.splitlines()
    assert [line.split()[1].decode() for line in lines] == [str(images[name]) for name in names]


def test_one_bad_image_does_not_cost_the_others(images, tmp_path):
    result = run('digest', images['v3'], tmp_path / 'missing', images['cs4k'])
    fails_in_one_line(result, 'missing: ')
    assert result.stdout == good('digest', images['v3'], images['cs4k']).stdout
    result = run('digest', '--output=json', images['v3'], tmp_path / 'missing')
    fails_in_one_line(result, 'missing: ')
    assert [entry['filename'] for entry in json.loads(result.stdout)] == [str(images['v3'])]


def test_json(images):
    for names in (['v3'], ['odd_sector', 'empty']):
        entries = toolrun.tool_json('digest', '--output=json', *[images[name] for name in names])
        lines = good('digest', *[images[name] for name in names]).stdout.decode().splitlines()
        assert entries == [
            {'filename': str(images[name]), 'algorithm': 'sha256', 'digest': line.split()[0],
             'virtual-size': toolrun.tool_json('info', '--output=json', images[name])['virtual-size']}
            for name, line in zip(names, lines)]


def test_json_of_a_name_that_is_not_utf8(images, tmp_path):
    path = bytes(tmp_path) + b'/a\xff'
    with open(path, 'wb') as file:
        file.write(images['v3'].read_bytes())
    result = subprocess.run([toolrun.TOOL, 'digest', '--output=json', path], stdout=subprocess.PIPE,
                            check=True)
    assert json.loads(result.stdout.decode())[0]['filename'].endswith('/a\ufffd')
