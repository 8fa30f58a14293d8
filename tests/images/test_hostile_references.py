# SPDX-License-Identifier: MIT
"""Files that an image points to: an external data file that is none, or is not used as it must be, and
a file that somebody is writing to."""

import json
import subprocess

import pytest

from build import (COMPRESSED, COPIED, EXT_BACKING_FORMAT, EXT_DATA_FILE, INCOMPATIBLE, Extension,
                   Image, Normal)
from expect import reads_like_qemu, refused
from tools import probe, qemu_img, qemu_io, qemu_opens, tool

CS = 4096


def with_data_file(name, l2=None, **more):
    return Image(l2=l2 or {0: COPIED}, extensions=[Extension(EXT_DATA_FILE, name)],
                 header={'incompatible_features': INCOMPATIBLE['data_file']}, **more)


@pytest.mark.parametrize('name', [b'json:{"driver":"file","filename":"/etc/passwd"}',
                                  b'nbd://localhost/x', b'file:/etc/passwd', b'/dev/zero'])
def test_data_file_name_is_never_parsed(written, tmp_path, name):
    """Whoever asks about the image is told the name; nothing behind it is opened, and a pseudo
    protocol is no way around that."""
    path = written(with_data_file(name))
    refused(path, 'REFERENCE', 'data file', qemu='not asked')
    done = tool('info', '--output=json', path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['format-specific']['data']['data-file'] == name.decode()


@pytest.mark.parametrize('name', [b'image.qcow2', b'./image.qcow2', b'link', b'second'])
def test_image_that_is_its_own_data_file_is_refused(written, tmp_path, monkeypatch, name):
    """QEMU hands out the header as the guest's first bytes."""
    monkeypatch.chdir(tmp_path)
    path = written(with_data_file(name))
    (tmp_path / 'link').symlink_to('image.qcow2')
    (tmp_path / 'second').hardlink_to(path)
    assert qemu_opens(path)
    refused(path, 'REFERENCE', 'data file', qemu='not asked')


@pytest.mark.parametrize('bad', [2 * CS | COPIED, 3 * CS | COPIED | 1, COMPRESSED | CS],
                         ids=['elsewhere', 'zero_elsewhere', 'compressed'])
def test_external_data_lies_where_the_guest_has_it_or_is_corrupt(written, tmp_path, monkeypatch, bad):
    """Every cluster of the disk has one place in the data file, and none is compressed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').write_bytes(bytes(range(256)) * (3 * CS // 256))
    path = written(with_data_file(b'data', {0: COPIED, 1: bad, 2: 2 * CS}))
    answer = reads_like_qemu(path, CS, errors={1: 'CORRUPT'})
    assert answer.reads[0] == answer.reads[2] == bytes(range(256)) * (CS // 256)


def test_image_opened_by_a_running_machine_is_read_without_a_lock(written):
    """QEMU's own tools stop at its lock unless told otherwise; what is read here is as good as the
    moment, and nothing is locked."""
    path = written(Image(l2={0: Normal(b'data')}))
    writer = subprocess.Popen(['qemu-io', '-f', 'qcow2', path], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        writer.stdin.write(b'write -P 7 0 4k\nflush\nlength\n')
        writer.stdin.flush()
        while b'4 KiB' not in (line := writer.stdout.readline()):
            assert line, 'qemu-io ended'
        done = qemu_img('info', path, check=False)
        assert done.returncode != 0 and 'lock' in done.stderr
        assert probe(path).code == 'OK'
        assert tool('cat', path).returncode == 0
        assert 'lock' not in qemu_io(path, 'length', read_only=True, options=('-U',))
    finally:
        writer.communicate(b'quit\n', timeout=60)
    assert probe(path, reads=[(0, CS)]).reads == [b'\7' * CS]


def test_image_stated_to_be_raw_is_raw_whatever_it_holds(written, tmp_path):
    """A guest, or who uploads a disk, can write any header; the names in it mean nothing then."""
    (tmp_path / 'secret').write_bytes(b'secret' * 1000)
    inner = written(Image(size=8 * CS, backing_file=b'secret',
                          extensions=[Extension(EXT_BACKING_FORMAT, b'raw')]), 'upload')
    container = inner.read_bytes()
    done = tool('cat', '-f', 'raw', inner)
    assert (done.returncode, done.stdout) == (0, container)
    info = json.loads(tool('info', '-f', 'raw', '--output=json', inner).stdout)
    assert info['format'] == 'raw' and 'backing-filename' not in info
    over = written(Image(size=8 * CS, backing_file=b'upload',
                         extensions=[Extension(EXT_BACKING_FORMAT, b'raw')]))
    answer = probe(over, reads=[(0, len(container))])
    assert answer.reads == [container[:8 * CS]]
    assert b'secret' not in tool('cat', over).stdout.replace(container, b'')


def test_file_that_is_no_image_is_never_taken_for_raw(tmp_path):
    """The other direction: what should be qcow2 and is not has no bytes."""
    (tmp_path / 'disk.qcow2').write_bytes(b'plain' * 5000)
    for command in ('cat', 'digest', 'map', 'info'):
        done = tool(command, tmp_path / 'disk.qcow2')
        assert (done.returncode, done.stdout) == (1, b''), command
