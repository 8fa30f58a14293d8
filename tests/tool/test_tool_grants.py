# SPDX-License-Identifier: MIT
"""Files that an image refers to: which are opened, and what is said of those that are not."""

import os

import pytest

import toolrun
from chainrun import overlay
from toolrun import fails_in_one_line, good, run


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """images/, bases/base.raw, secret outside of both."""
    monkeypatch.chdir(tmp_path)
    os.mkdir('images')
    os.mkdir('bases')
    (tmp_path / 'bases' / 'base.raw').write_bytes(b'b' * 4096)
    (tmp_path / 'images' / 'base.raw').write_bytes(b'i' * 4096)
    (tmp_path / 'secret').write_bytes(b's' * 4096)
    return tmp_path


def refer(name):
    return overlay('images/disk.qcow2', name, form='raw', size='1M')


def first_byte(*options):
    return good('cat', '-l', '1', *options, 'images/disk.qcow2').stdout


def refused(*words, options=()):
    for command in ('cat', 'map', 'digest', 'convert', 'explain'):
        operands = {'convert': ['out'], 'explain': ['0']}.get(command, [])
        result = run(command, *options, 'images/disk.qcow2', *operands)
        text = fails_in_one_line(result, 'images/disk.qcow2: ', *words)
        assert not result.stdout and not os.path.exists('out')
    return text


def test_own_directory_is_granted(tree):
    refer('base.raw')
    assert first_byte() == b'i'
    refer(os.path.abspath('images/base.raw'))
    assert first_byte() == b'i'


@pytest.mark.parametrize('absolute', [False, True])
def test_sibling_directory_can_be_allowed(tree, absolute):
    refer(os.path.abspath('bases/base.raw') if absolute else '../bases/base.raw')
    refused('lies outside', '--allow DIR', '--no-backing')
    refused('lies outside', options=['--allow', 'images'])
    assert first_byte('--allow', 'bases') == b'b'
    assert first_byte('--allow', 'images', '--allow', os.path.abspath('bases')) == b'b'
    assert first_byte('--allow=.') == b'b'


@pytest.mark.parametrize('name', ['../secret', '../images/../secret', 'link', 'linked/secret', '../'])
def test_what_leads_outside_is_refused(tree, name):
    os.symlink('../secret', 'images/link')
    os.symlink('..', 'images/linked')
    refer(name)
    refused('--no-backing')
    assert first_byte('--no-backing') == b'\0'


def test_links_may_lead_around_inside(tree):
    os.mkdir('images/deep')
    os.symlink('../base.raw', 'images/deep/link')
    refer('deep/link')
    assert first_byte() == b'i'


@pytest.mark.parametrize('name', ['json:{"driver":"raw"}', 'nbd://localhost/x', 'file:base.raw', 'a:b'])
def test_protocols_are_refused_and_cannot_be_allowed(tree, name):
    refer(name)
    text = refused('protocol', '--no-backing', options=['--allow', '/'])
    assert '--allow' not in text


def test_what_is_no_regular_file_is_refused(tree):
    os.mkfifo('images/fifo')
    os.mkdir('images/directory')
    refer('fifo')
    refused('fifo', 'not a regular file')
    refer('directory')
    refused('directory')
    refer('/dev/zero')
    refused('/dev/zero', options=['--allow', '/dev'])


def test_missing_file_is_named(tree):
    refer('gone.raw')
    refused('"gone.raw"', 'No such file or directory', '--allow DIR', '--no-backing')


def test_names_are_made_harmless(tree):
    refer(b'gone\x1b[31m\n')
    refused('gone\\x1b[31m\\x0a')


def test_data_file_is_asked_for_in_the_same_way(tree):
    outside = os.path.abspath('bases/disk.data')
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '-o', f'data_file={outside}', 'images/disk.qcow2',
                     '1M')
    text = refused('data file', 'lies outside', '--allow DIR')
    assert '--no-backing' not in text
    assert first_byte('--allow', 'bases') == b'\0'


def test_loop_is_refused(tree):
    overlay('images/disk.qcow2', 'other.qcow2')
    overlay('images/other.qcow2', 'disk.qcow2')
    refused('loop', '--no-backing')


def test_directory_that_is_not_there_grants_nothing(tree):
    refer('../bases/base.raw')
    refused('base.raw', options=['--allow', 'nowhere'])


def test_allow_without_end_is_refused(tree):
    refer('base.raw')
    fails_in_one_line(run('map', *['--allow', '.'] * 65, 'images/disk.qcow2'), '--allow', '64 times')


def test_info_of_a_chain_asks_too(tree):
    refer('../bases/base.raw')
    assert run('info', 'images/disk.qcow2').returncode == 0
    fails_in_one_line(run('info', '--backing-chain', 'images/disk.qcow2'), 'lies outside', '--allow DIR')
    chain = toolrun.tool_json('info', '--backing-chain', '--output=json', '--allow=.',
                              'images/disk.qcow2')
    assert [entry['format'] for entry in chain] == ['qcow2', 'raw']
