# SPDX-License-Identifier: MIT
"""qcow2 convert: the right bytes in a file, a device or a stream, and never a file that looks complete
and is not."""

import hashlib
import os
import resource
import stat
import subprocess

import pytest

import toolrun
from conftest import NAMES
from toolrun import fails_in_one_line, good, run

SMALL = [name for name in NAMES if name != 'sparse_1t']


@pytest.fixture(scope='session')
def raw(images, tmp_path_factory):
    """qemu-img's raw file of an image."""
    directory = tmp_path_factory.mktemp('raw')

    def make(name):
        path = directory / name
        if not path.exists():
            toolrun.qemu_img('convert', '-f', 'qcow2', '-O', 'raw', images[name], path)
        return path
    return make


@pytest.mark.parametrize('name', SMALL)
def test_file_equals_qemu_img(images, raw, tmp_path, name):
    out = tmp_path / 'out.raw'
    good('convert', images[name], out)
    assert out.read_bytes() == raw(name).read_bytes()
    assert os.listdir(tmp_path) == ['out.raw']


@pytest.mark.parametrize('name', SMALL)
def test_stream_equals_qemu_img(images, raw, name):
    assert good('convert', images[name], '-').stdout == raw(name).read_bytes()


@pytest.mark.parametrize('options', [
    ['-m', '1'], ['-m', '7'], ['--threads=64'], ['-O', 'raw'], ['--output-format=raw'], ['-W'],
    ['--out-of-order'], ['--keep-zeros'], ['--sync'], ['--cache-size=0'],
    ['-qWm3', '-O', 'raw', '-f', 'qcow2']])
@pytest.mark.parametrize('name', ['half_compressed', 'odd_sector'])
def test_options_do_not_change_the_bytes(images, raw, tmp_path, name, options):
    out = tmp_path / 'out.raw'
    good('convert', *options, images[name], out)
    assert out.read_bytes() == raw(name).read_bytes()


@pytest.mark.parametrize('options, words', [
    (['-O', 'vmdk'], ['vmdk']), (['-m', '0'], ["'0'", '64']), (['-m', '65'], ["'65'"]),
    (['-m', 'x'], ["'x'"]), (['-m', '-1'], ["'-1'"]), (['-m', '4294967297'], []), (['-n'], ['-n']),
    (['-c'], ["'-c'"]), (['-o', 'x=y'], ["'x=y'"])])
def test_what_is_not_done_is_refused(images, tmp_path, options, words):
    fails_in_one_line(run('convert', *options, images['v3'], tmp_path / 'out'), *words)
    assert not os.listdir(tmp_path)


def test_terabyte_of_holes_stays_one(images, tmp_path):
    out = tmp_path / 'out.raw'
    good('convert', images['sparse_1t'], out)
    info = out.stat()
    assert info.st_size == 1 << 40 and info.st_blocks * 512 < 4 << 20
    with open(out, 'rb') as file:
        for offset, length, byte in ((300 << 30, 65536, 1), (700 << 30, 1 << 20, 2)):
            file.seek(offset)
            assert file.read(length + 1) == bytes([byte]) * length + b'\0'


def test_zeros_become_holes_unless_kept(tmp_path):
    image = toolrun.create(tmp_path / 'image', '16M', 'write -P 0 0 16M')
    good('convert', image, tmp_path / 'sparse')
    good('convert', '--keep-zeros', image, tmp_path / 'kept')
    assert (tmp_path / 'sparse').stat().st_blocks * 512 < 1 << 20
    assert (tmp_path / 'kept').stat().st_blocks * 512 >= 16 << 20


def test_new_file_has_the_mode_of_the_umask(images, tmp_path):
    out = tmp_path / 'out.raw'
    good('convert', images['v3'], out, preexec_fn=lambda: os.umask(0o027))
    assert stat.S_IMODE(out.stat().st_mode) == 0o640


def test_replaced_file_keeps_its_mode_and_owner(images, raw, tmp_path):
    out = tmp_path / 'out.raw'
    out.write_bytes(b'older' * 10000000)
    out.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(out, 12, 34)
    before = out.stat()
    good('convert', images['v3'], out)
    after = out.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == \
        (before.st_mode, before.st_uid, before.st_gid)
    assert out.read_bytes() == raw('v3').read_bytes()


def test_file_is_whole_or_old_at_every_moment(endless, tmp_path):
    """While a conversion runs, the old file stands under its name; the new one has its mode from the first byte."""
    out = tmp_path / 'out.raw'
    out.write_bytes(b'old')
    out.chmod(0o640)
    process = subprocess.Popen([toolrun.TOOL, 'convert', '-q', endless, out])
    try:
        while not any(entry.stat().st_size > 3 for entry in tmp_path.iterdir()):
            assert process.poll() is None
        assert out.read_bytes() == b'old'
        hidden = [name for name in os.listdir(tmp_path) if name != 'out.raw']
        assert hidden[0].startswith('.out.raw.')
        # The mode of the old one from the first byte on: the sandbox lets nobody change it later.
        assert stat.S_IMODE((tmp_path / hidden[0]).stat().st_mode) == 0o640
    finally:
        process.terminate()
        assert process.wait(30) == 143
    assert os.listdir(tmp_path) == ['out.raw']
    assert out.read_bytes() == b'old'


@pytest.mark.parametrize('exists', [True, False])
def test_symbolic_links_are_followed(images, raw, tmp_path, exists):
    target = tmp_path / 'elsewhere' / 'target'
    target.parent.mkdir()
    if exists:
        target.write_bytes(b'old')
    (tmp_path / 'one').symlink_to('elsewhere/two')
    (tmp_path / 'elsewhere' / 'two').symlink_to(target)
    good('convert', images['v3'], tmp_path / 'one')
    assert (tmp_path / 'one').is_symlink() and not target.is_symlink()
    assert target.read_bytes() == raw('v3').read_bytes()
    assert sorted(os.listdir(tmp_path / 'elsewhere')) == ['target', 'two']


# What the system says is in the words of the C library, glibc's or musl's, which begin differently.
def test_symbolic_link_to_itself_is_refused(images, tmp_path):
    (tmp_path / 'loop').symlink_to('loop')
    fails_in_one_line(run('convert', images['v3'], tmp_path / 'loop'), 'loop', 'ymbolic link')


def test_long_names(images, tmp_path):
    good('convert', images['v3'], tmp_path / ('n' * 255))
    assert os.listdir(tmp_path) == ['n' * 255]
    fails_in_one_line(run('convert', images['v3'], tmp_path / ('n' * 256)), 'ame too long')


def test_relative_name(images, raw, tmp_path):
    good('convert', images['v3'], 'out.raw', cwd=tmp_path)
    assert (tmp_path / 'out.raw').read_bytes() == raw('v3').read_bytes()


@pytest.mark.parametrize('out, word', [
    ('.', 'is a directory'), ('new/', 'directory'), ('no/such/out', 'No such file'),
    ('file/out', 'Not a directory')])
def test_names_that_cannot_be_written(images, tmp_path, out, word):
    (tmp_path / 'file').touch()
    fails_in_one_line(run('convert', images['v3'], f'{tmp_path}/{out}'), word)
    assert os.listdir(tmp_path) == ['file']


def test_image_is_never_overwritten(tmp_path):
    image = toolrun.create(tmp_path / 'image', '1M', 'write -P 1 0 64k')
    before = image.read_bytes()
    (tmp_path / 'hard').hardlink_to(image)
    (tmp_path / 'soft').symlink_to(image)
    for out in ('image', 'hard', 'soft', '../' + tmp_path.name + '/image'):
        fails_in_one_line(run('convert', image, f'{tmp_path}/{out}'), 'image itself')
    for command in (['convert', image, '-'], ['cat', image]):
        with open(image, 'r+b') as out:
            fails_in_one_line(run(*command, stdout=out), 'standard output', 'image itself')
    assert image.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ['hard', 'image', 'soft']


def test_standard_output_file_is_written_from_where_it_stands(images, raw, tmp_path):
    out = tmp_path / 'out'
    with open(out, 'wb') as file:
        file.write(b'head')
        file.flush()
        good('convert', images['discarded'], '-', stdout=file)
        file.seek(0, os.SEEK_END)
        file.write(b'tail')
    assert out.read_bytes() == b'head' + raw('discarded').read_bytes() + b'tail'


def test_standard_output_file_is_sparse_only_at_its_end(images, raw, tmp_path):
    expected = raw('all_zero').read_bytes()
    fresh = tmp_path / 'fresh'
    with open(fresh, 'wb') as file:
        good('convert', images['all_zero'], '-', stdout=file)
    assert fresh.read_bytes() == expected and fresh.stat().st_blocks * 512 < 1 << 20
    for mode in ('r+b', 'ab'):
        full = tmp_path / 'full'
        full.write_bytes(b'x' * len(expected))
        with open(full, mode) as file:
            good('convert', images['all_zero'], '-', stdout=file)
        assert full.read_bytes() == (expected if mode == 'r+b' else b'x' * len(expected) + expected)


def test_character_device_and_pipe(images, raw, tmp_path):
    good('convert', images['v3'], '/dev/null')
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode)
    fifo = tmp_path / 'fifo'
    os.mkfifo(fifo)
    writer = subprocess.Popen([toolrun.TOOL, 'convert', images['v3'], fifo])
    with open(fifo, 'rb') as reader:
        assert reader.read() == raw('v3').read_bytes()
    assert writer.wait(toolrun.TIMEOUT) == 0
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_full_device_is_told_with_the_bytes_needed(tmp_path):
    image = toolrun.create(tmp_path / 'image', '8M', 'write -P 1 0 3M')
    result = run('convert', image, '/dev/full')
    fails_in_one_line(result, '/dev/full: no space left on device', '3145728 bytes', '3 MiB')


@pytest.fixture
def small_file_system(tmp_path):
    place = tmp_path / 'small'
    place.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1M', 'small', place],
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        pytest.skip('cannot mount a file system')
    yield place
    subprocess.run(['umount', place], check=True)


def test_full_file_system_is_told_and_left_clean(tmp_path, small_file_system):
    image = toolrun.create(tmp_path / 'image', '8M', 'write -P 1 0 3M')
    (small_file_system / 'out').write_bytes(b'old')
    result = run('convert', image, small_file_system / 'out')
    fails_in_one_line(result, 'out: no space left on device', '3145728 bytes')
    assert os.listdir(small_file_system) == ['out']
    assert (small_file_system / 'out').read_bytes() == b'old'
    with open(small_file_system / 'stream', 'wb') as out:
        fails_in_one_line(run('convert', image, '-', stdout=out), 'no space left on device')
    os.unlink(small_file_system / 'stream')
    fits = toolrun.create(tmp_path / 'fits', '800M', 'write -P 1 0 64k')
    good('convert', fits, small_file_system / 'out')
    assert (small_file_system / 'out').stat().st_size == 800 << 20


def test_file_size_limit_is_an_error(tmp_path):
    image = toolrun.create(tmp_path / 'image', '8M', 'write -P 1 0 8M')
    place = tmp_path / 'place'
    place.mkdir()
    result = run('convert', image, place / 'out',
                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
    fails_in_one_line(result, 'out: ', '8388608')
    assert not os.listdir(place)


def test_broken_image_leaves_no_file(tmp_path):
    source = toolrun.create(tmp_path / 'source', '8M', 'write -P 1 0 4M')
    image = toolrun.compress(source, tmp_path / 'image')
    content = bytearray(image.read_bytes())
    content[-65536:] = bytes(65536)
    image.write_bytes(content)
    place = tmp_path / 'place'
    place.mkdir()
    (place / 'old').write_bytes(b'old')
    for out in ('new', 'old'):
        fails_in_one_line(run('convert', image, place / out), 'image: ')
    assert os.listdir(place) == ['old'] and (place / 'old').read_bytes() == b'old'


@pytest.fixture
def device(tmp_path):
    """A block device of 8 MiB and a bit, full of ones."""
    if os.geteuid() != 0:
        pytest.skip('needs root')
    backing = tmp_path / 'backing'
    backing.write_bytes(b'\1' * ((8 << 20) + 512))
    done = subprocess.run(['losetup', '--find', '--show', backing], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        pytest.skip('no loop devices')
    path = done.stdout.decode().strip()
    yield path
    subprocess.run(['losetup', '-d', path], check=True)


def device_bytes(device):
    with open(device, 'rb') as file:
        return file.read()


@pytest.mark.parametrize('name', ['v3', 'discarded', 'all_zero', 'half_compressed'])
def test_device_is_written_in_place(images, raw, device, name):
    good('convert', '--sync', images[name], device)
    assert device_bytes(device) == raw(name).read_bytes() + b'\1' * 512
    assert stat.S_ISBLK(os.stat(device).st_mode)


def test_device_known_to_be_zero_gets_data_only(images, device):
    good('convert', '--target-is-zero', images['all_zero'], device)
    assert device_bytes(device) == b'\1' * ((8 << 20) + 512)


def test_device_too_small(images, device):
    fails_in_one_line(run('convert', images['cs2m'], device), f'{device}: ', 'too small', '9437184',
                      '8389120')
    assert device_bytes(device) == b'\1' * ((8 << 20) + 512)


def test_device_in_use(images, device, tmp_path):
    subprocess.run(['mke2fs', '-q', device], check=True)
    place = tmp_path / 'mounted'
    place.mkdir()
    if subprocess.run(['mount', '-o', 'ro', device, place]).returncode != 0:
        pytest.skip('cannot mount')
    try:
        before = device_bytes(device)
        fails_in_one_line(run('convert', images['v3'], device), f'{device}: ', 'in use')
        assert device_bytes(device) == before
    finally:
        subprocess.run(['umount', place], check=True)


def test_device_as_image_and_as_its_own_target(images, device):
    content = images['v3'].read_bytes()
    with open(device, 'r+b') as file:
        file.write(content)
    assert good('digest', device).stdout.split()[0] == good('digest', images['v3']).stdout.split()[0]
    fails_in_one_line(run('convert', device, device), 'image itself')
    assert device_bytes(device)[:len(content)] == content


def test_digest_of_the_stream_is_that_of_the_file(images, tmp_path):
    out = tmp_path / 'out'
    good('convert', images['scattered'], out)
    stream = good('convert', images['scattered'], '-').stdout
    assert hashlib.sha256(stream).digest() == hashlib.sha256(out.read_bytes()).digest()
