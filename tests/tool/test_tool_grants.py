# SPDX-License-Identifier: MIT
"""Files that an image refers to: which are opened, and what is said of those that are not."""

import os
import resource
import shutil
import subprocess
import tempfile
import time

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


def test_allowed_directory_that_cannot_be_opened_is_an_error(tree):
    refer('../bases/base.raw')
    for command in ('cat', 'map', 'digest'):
        fails_in_one_line(run(command, '--allow', 'nowhere', '--allow', 'bases', 'images/disk.qcow2'), 'nowhere: ',
                          '--allow', 'No such file or directory')
    fails_in_one_line(run('cat', '--allow', 'bases/base.raw', 'images/disk.qcow2'), 'Not a directory')


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


def test_directory_is_held_from_before_the_image_is_read(tree):
    """Seen: while a component of the path was a link that another user exchanged, the backing file was read from the
    directory that the link had come to name."""
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '--object', 'secret,id=s,data=key',
                     '-o', 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10',
                     '-b', 'base.raw', '-F', 'raw', 'images/disk.qcow2', '4096')
    shutil.copy('images/disk.qcow2', 'bases/disk.qcow2')
    os.symlink('images', 'link')
    os.mkfifo('key')
    reader = subprocess.Popen([toolrun.TOOL, 'cat', '-l', '1', '--key-file', 'key', 'link/disk.qcow2'],
                              stdout=subprocess.PIPE)
    # The program waits for its key, and has read the header by then.
    with open('key', 'wb') as key:
        os.unlink('link')
        os.symlink('bases', 'link')
        key.write(b'key')
    assert reader.communicate()[0] == b'i'


def test_allowed_directory_is_held_too(tree):
    os.mkdir('third')
    (tree / 'third' / 'base.raw').write_bytes(b't' * 4096)
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '--object', 'secret,id=s,data=key',
                     '-o', 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10', '-u',
                     '-b', '../link/base.raw', '-F', 'raw', 'images/disk.qcow2', '4096')
    os.symlink('bases', 'link')
    os.mkfifo('key')
    reader = subprocess.Popen([toolrun.TOOL, 'cat', '-l', '1', '--key-file', 'key', '--allow', 'link',
                               'images/disk.qcow2'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with open('key', 'wb') as key:
        os.unlink('link')
        os.symlink('third', 'link')
        key.write(b'key')
    out, err = reader.communicate()
    assert not out and b'lies outside' in err


def test_writer_that_waits_at_a_fifo_is_not_released(tree):
    os.mkfifo('images/fifo')
    refer('fifo')
    writer = subprocess.Popen(['sh', '-c', 'echo x > images/fifo'])
    time.sleep(0.2)
    for _ in range(5):
        fails_in_one_line(run('cat', 'images/disk.qcow2'), 'not a regular file')
        fails_in_one_line(run('info', 'images/fifo'), 'must be a regular file')
    time.sleep(0.2)
    assert writer.poll() is None
    writer.kill()
    writer.wait()


def test_descriptor_has_no_directory(tree):
    """/dev/stdin lies in /dev, which is nothing of the image's; neither is where descriptors have names."""
    with tempfile.NamedTemporaryFile(dir='/dev/shm') as shared:
        shared.write(b'm' * 4096)
        shared.flush()
        refer('shm/' + os.path.basename(shared.name))
        for name in ('/dev/stdin', '/dev/fd/0', '/proc/self/fd/0'):
            with open('images/disk.qcow2', 'rb') as image:
                result = subprocess.run([toolrun.TOOL, 'cat', '-l', '1', name], stdin=image,
                                        capture_output=True)
            assert result.returncode == 1 and not result.stdout
            assert b'lies outside' in result.stderr
        with open('images/disk.qcow2', 'rb') as image:
            result = subprocess.run([toolrun.TOOL, 'cat', '-l', '1', '--allow=/dev', '/dev/stdin'],
                                    stdin=image, capture_output=True)
        assert result.stdout == b'm'


@pytest.mark.skipif(not os.access('/', os.W_OK), reason='only root may write to the root directory')
def test_root_directory_is_no_images_own(tree):
    refer(os.path.abspath('secret'))
    with tempfile.NamedTemporaryFile(dir='/', suffix='.qcow2') as image:
        with open('images/disk.qcow2', 'rb') as disk:
            shutil.copyfileobj(disk, image)
        image.flush()
        text = fails_in_one_line(run('cat', '-l', '1', image.name), 'lies outside')
        assert '--allow DIR' in text
        assert good('cat', '-l', '1', '--allow', '/', image.name).stdout == b's'


@pytest.mark.skipif(os.getuid() != 0, reason='only root may become another user')
def test_directory_that_cannot_be_listed_is_granted_from(tree):
    """Of mode 0711: plain programs open files there that they can name."""
    top = tempfile.mkdtemp()
    try:
        os.chmod(top, 0o711)
        shutil.copy(toolrun.TOOL, top + '/qcow2')
        refer('base.raw')
        os.mkdir(top + '/images')
        for name in ('disk.qcow2', 'base.raw'):
            shutil.copy('images/' + name, top + '/images')
            os.chmod(top + '/images/' + name, 0o644)
        os.chmod(top + '/images', 0o711)
        result = subprocess.run([top + '/qcow2', 'cat', '-l', '1', top + '/images/disk.qcow2'], user=65534,
                                group=65534, extra_groups=[], cwd='/', capture_output=True)
        assert result.stdout == b'i', result.stderr
    finally:
        shutil.rmtree(top)


def test_what_is_mounted_beneath_belongs_to_the_directory(tree):
    """As a container's volumes do."""
    os.mkdir('images/volume')
    refer('volume/base.raw')
    mount = 'mount --bind bases images/volume && exec "$@"'
    unshare = ['unshare', '--mount', '--map-root-user', 'sh', '-c', mount, 'sh']
    if subprocess.run(unshare + ['true'], capture_output=True).returncode != 0:
        pytest.skip('mount namespaces are not to be had')
    result = subprocess.run(unshare + [toolrun.TOOL, 'cat', '-l', '1', 'images/disk.qcow2'],
                            capture_output=True)
    assert result.stdout == b'b', result.stderr


def test_link_to_a_file_in_another_allowed_directory_is_followed(tree):
    os.symlink('../bases/base.raw', 'images/link.raw')
    refer('link.raw')
    refused('lies outside', '--allow DIR')
    assert first_byte('--allow', 'bases') == b'b'


def test_images_in_more_directories_than_can_be_open(tree):
    """Seen: the directories of all images were open at once, and not one digest was made."""
    names = [f'place{i}/disk.raw' for i in range(100)]
    for name in names:
        os.mkdir(os.path.dirname(name))
        (tree / name).write_bytes(b'd' * 512)
    result = run('digest', '-f', 'raw', *names, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (64, 64)))
    assert result.returncode == 0 and len(result.stdout.splitlines()) == 100, result.stderr


def test_too_few_descriptors_are_not_told_as_a_place_outside(tree):
    refer('base.raw')
    texts = set()
    for limit in range(3, 40):
        result = run('cat', '-l', '1', 'images/disk.qcow2', preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (limit, limit)))
        texts.add(result.stderr)
        assert 'lies outside' not in str(result.stderr), limit
        assert result.returncode == 0 or not result.stdout
    # glibc and musl have other words for EMFILE.
    assert any('Too many open files' in str(text) or 'No file descriptors' in str(text) for text in texts)
