# SPDX-License-Identifier: MIT
"""Who changes the name of the program from qemu-img to qcow2 gets the same, or is told what to do instead."""

import errno
import os
import platform
import subprocess

import pytest

import toolrun
from kernels import without
from toolrun import TIMEOUT, fails_in_one_line, good, qemu_img, run

MODES = ['none', 'writeback', 'unsafe', 'directsync', 'writethrough', 'off']
FSYNC = {'x86_64': 74, 'aarch64': 82}


def by_qemu_img(*words):
    """Whether it takes these words."""
    return subprocess.run(['qemu-img', *[os.fspath(word) for word in words]], timeout=TIMEOUT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE).returncode == 0


@pytest.fixture
def image(images):
    return images['v3']


@pytest.mark.parametrize('words', [
    [], ['-p'], ['-q', '-p'], ['-U'], ['-W'], ['-C'], ['-m', '4'], ['-W', '-m', '2'], ['-t', 'none'],
    ['-T', 'none'], ['-t', 'writeback', '-T', 'directsync'], ['-tnone', '-Tunsafe'], ['-S', '0'],
    ['-S', '64k'], ['-S0'], ['-S', '1.5k'], ['-o', 'preallocation=off'],
    ['-o', 'preallocation=falloc'], ['-o', 'preallocation=full'],
    ['-o', 'preallocation=full', '-S', '0'],
    ['-pqUWt', 'none', '-S0']])
def test_same_words_make_the_same_file(image, tmp_path, words):
    words = ['convert', '-f', 'qcow2', '-O', 'raw', *words, image]
    qemu_img(*words, tmp_path / 'theirs')
    result = run(*words, tmp_path / 'ours')
    assert result.returncode == 0, result.stderr
    assert (tmp_path / 'ours').read_bytes() == (tmp_path / 'theirs').read_bytes()


@pytest.mark.parametrize('words', [['convert', '{image}', '{out}', '-t'],
                                   ['convert', '{image}', '{out}', '-T'], ['check', '{image}', '-T'],
                                   ['compare', '{image}', '{image}', '-T']])
def test_cache_modes(image, tmp_path, words):
    command, *words = [word.format(image=image, out=tmp_path / 'out') for word in words]
    theirs = [command, *(['-O', 'raw'] if command == 'convert' else [])]
    for mode in MODES:
        assert by_qemu_img(*theirs, *words, mode)
        good(command, *words, mode)
    for mode in ['', 'on', 'None', 'writebac', 'unsafe ']:
        assert not by_qemu_img(*theirs, *words, mode)
        fails_in_one_line(run(command, *words, mode), f"not '{mode}'", 'writethrough',
                          code=2 if command == 'compare' else 1)


@pytest.mark.skipif(platform.machine() not in FSYNC, reason='the number of fsync is not known')
@pytest.mark.parametrize('mode', MODES)
def test_every_cache_mode_but_unsafe_waits_for_the_medium(image, tmp_path, mode):
    system = without(FSYNC[platform.machine()])
    good('convert', image, tmp_path / 'out', preexec_fn=system)
    result = run('convert', '-t', mode, image, tmp_path / 'out', preexec_fn=system)
    if mode == 'unsafe':
        assert result.returncode == 0, result.stderr
    else:
        fails_in_one_line(result, 'flushing to the medium failed', os.strerror(errno.ENOSYS))
    # One does not undo the other.
    fails_in_one_line(run('convert', '--sync', '-t', mode, image, tmp_path / 'out', preexec_fn=system),
                      'flushing')
    good('convert', '-T', mode, image, tmp_path / 'out', preexec_fn=system)


def test_no_creation_is_what_devices_and_pipes_have_anyway(image, tmp_path):
    good('convert', '-n', image, '/dev/null')
    content = good('cat', image).stdout
    assert good('convert', '-n', image, '-').stdout == content
    os.mkfifo(tmp_path / 'fifo')
    process = subprocess.Popen([toolrun.TOOL, 'convert', '-n', image, tmp_path / 'fifo'])
    assert (tmp_path / 'fifo').read_bytes() == content
    assert process.wait(30) == 0


def test_block_device_is_written_the_same_with_and_without_creation(image, device):
    for words in ([], ['-n']):
        good('convert', *words, image, device)
        content = good('cat', image).stdout
        with open(device, 'rb') as file:
            assert file.read(len(content)) == content


def test_no_creation_of_a_file_is_refused_as_it_is_replaced(image, tmp_path):
    out = tmp_path / 'out'
    out.write_bytes(b'old')
    (tmp_path / 'link').symlink_to('out')
    for name in ('out', 'link'):
        fails_in_one_line(run('convert', '-n', image, tmp_path / name), f'{name}: ',
                          'always replaced as a whole', 'leave out -n')
    assert not by_qemu_img('convert', '-n', '-O', 'raw', image, tmp_path / 'missing')
    fails_in_one_line(run('convert', '-n', image, tmp_path / 'missing'), 'missing: ',
                      'No such file')
    assert sorted(os.listdir(tmp_path)) == ['link', 'out'] and out.read_bytes() == b'old'


def allocated(path):
    return os.stat(path).st_blocks * 512


@pytest.mark.parametrize('words', [['-S', '0'], ['-o', 'preallocation=falloc'],
                                   ['-o', 'preallocation=full'], ['--sparse-size=0k'],
                                   ['-S', '4k', '-S', '0'], ['-S', '0', '-t', 'none']])
@pytest.mark.parametrize('name', ['v3', 'sector', 'empty', 'odd_sector', 'all_zero'])
def test_file_that_is_asked_for_without_holes_has_none(images, tmp_path, words, name):
    out = tmp_path / 'out'
    good('convert', *words, images[name], out)
    assert out.read_bytes() == good('cat', images[name]).stdout
    if not by_qemu_img('convert', '-O', 'raw', '-S', '0', images[name], tmp_path / 'theirs') or \
            allocated(tmp_path / 'theirs') < os.path.getsize(out):
        pytest.skip('what a file takes cannot be told here')
    assert allocated(out) >= os.path.getsize(out)


@pytest.mark.parametrize('words', [[], ['-S', '4k'], ['-S', '0', '-S', '64k'],
                                   ['-o', 'preallocation=full', '-o', 'preallocation=off']])
def test_other_files_have_holes(images, tmp_path, words):
    good('convert', *words, images['v3'], tmp_path / 'out')
    assert allocated(tmp_path / 'out') < os.path.getsize(tmp_path / 'out')


def test_place_for_a_whole_file_that_is_not_there_is_told(full, tmp_path):
    image = toolrun.create(tmp_path / 'disk.qcow2', '64M', 'write -P 1 0 64k')
    good('convert', image, full / 'sparse')
    for words in (['-S', '0'], ['-o', 'preallocation=falloc']):
        fails_in_one_line(run('convert', *words, image, full / 'out'), 'no space left on device',
                          'the whole disk needs 67108864 bytes (64 MiB)')
    assert sorted(name for name in os.listdir(full) if name != 'lost+found') == ['sparse']


def test_file_of_the_shell_cannot_be_asked_for_without_holes(image, tmp_path):
    with open(tmp_path / 'out', 'wb') as out:
        for words in (['-S', '0'], ['-o', 'preallocation=full']):
            fails_in_one_line(run('convert', *words, image, '-', stdout=out), 'standard output',
                              'give its name')
    assert (tmp_path / 'out').read_bytes() == b''
    assert good('convert', '-S', '0', image, '-').stdout == good('cat', image).stdout
    good('convert', '-S', '0', image, '/dev/null')


@pytest.mark.parametrize('option, said', [
    ('preallocation=metadata', "'metadata'"), ('preallocation=', "''"), ('preallocation', "'preallocation'"),
    ('help', "'help'"), ('size=1M', "'size=1M'"), ('cluster_size=64k', "'cluster_size=64k'"),
    ('preallocation=full,size=1M', "'full,size=1M'"), ('', "''")])
def test_other_creation_options_are_refused_by_name(image, tmp_path, option, said):
    fails_in_one_line(run('convert', '-o', option, image, tmp_path / 'out'), said, 'falloc')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('size', ['', 'x', '-1', '1.5'])
def test_sparse_sizes_that_are_none(image, tmp_path, size):
    fails_in_one_line(run('convert', '-S', size, image, tmp_path / 'out'), f"'{size}'")
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope='module')
def snapshots(tmp_path_factory):
    """Three, of which each has the disk full of its id; the name of the third is the id of the first."""
    path = toolrun.create(tmp_path_factory.mktemp('snapshots') / 'disk.qcow2', '64k')
    for number, name in (('1', 'one'), ('2', 'a,b'), ('3', '1')):
        toolrun.qemu_io(path, f'write -P {number} 0 64k')
        qemu_img('snapshot', '-c', name, path)
    toolrun.qemu_io(path, 'write -P 9 0 64k')
    return path


@pytest.mark.parametrize('words, expected', [
    ('1', 1), ('one', 1), ('3', 3), ('a,b', 2), ('snapshot.id=1', 1), ('snapshot.id=3', 3),
    ('snapshot.name=one', 1), ('snapshot.name=a,,b', 2), ('snapshot.id=2,snapshot.name=a,,b', 2),
    ('snapshot.name=one,snapshot.id=1', 1), ('snapshot.name=1,snapshot.id=3', 3),
    ('snapshot.id=one', None), ('snapshot.name=3', None), ('snapshot.id=1,snapshot.name=1', None),
    ('snapshot.id=2,snapshot.name=one', None), ('snapshot.name=none', None), ('none', None),
    ('snapshot.id=', None), ('snapshot.other=1', None), ('snapshot.id', None), ('snapshot.', None),
    ('snapshot.id=1,', 1), ('snapshot.id=1,one', None)])
def test_snapshots_in_their_words(snapshots, tmp_path, words, expected):
    theirs = by_qemu_img('convert', '-O', 'raw', '-l', words, snapshots, tmp_path / 'theirs')
    result = run('convert', '-l', words, snapshots, tmp_path / 'ours')
    if expected is None:
        assert not theirs
        fails_in_one_line(result)
        assert not (tmp_path / 'ours').exists() and not [
            name for name in os.listdir(tmp_path) if name.endswith('.part')]
        fails_in_one_line(run('convert', '-l', words, snapshots, '-'))
    else:
        assert result.returncode == 0, result.stderr
        assert (tmp_path / 'ours').read_bytes() == bytes([expected]) * 65536
        assert not theirs or (tmp_path / 'theirs').read_bytes() == bytes([expected]) * 65536


def test_name_that_is_another_snapshots_id_is_refused_with_its_own(snapshots, tmp_path):
    """The library would take it for the id."""
    qemu_img('convert', '-O', 'raw', '-l', 'snapshot.name=1', snapshots, tmp_path / 'theirs')
    assert (tmp_path / 'theirs').read_bytes() == b'\3' * 65536
    fails_in_one_line(run('convert', '-l', 'snapshot.name=1', snapshots, tmp_path / 'ours'),
                      "'1' is also the id of another snapshot; say snapshot.id=3")
    assert os.listdir(tmp_path) == ['theirs']


@pytest.mark.parametrize('options, expected', [
    (['-l', 'snapshot.id=1', '--snapshot', '2'], 2), (['--snapshot', '2', '-l', 'snapshot.id=1'], 1),
    (['-l', 'snapshot.id=1', '-l', 'snapshot.name=a,,b'], 2), (['-l', 'snapshot.name=1', '-l', '1'], 1)])
def test_last_of_several_snapshots_counts(snapshots, options, expected):
    assert good('convert', *options, snapshots, '-').stdout == bytes([expected]) * 65536


def test_strict_comparison_has_its_letter(tmp_path):
    for name, size in (('a', '1M'), ('b', '2M')):
        toolrun.create(tmp_path / name, size)
    pair = [tmp_path / 'a', tmp_path / 'b']
    good('compare', *pair)
    assert run('compare', '-s', *pair).returncode == 1
    assert not by_qemu_img('compare', '-s', *pair)


@pytest.mark.parametrize('command, words, said', [
    ('convert', ['--object', 'secret,id=key,file=key'], '--key-file FILE'),
    ('digest', ['--object=secret,id=key,file=key'], '--key-file FILE'),
    ('info', ['--object', 'secret,id=key,file=key'], 'no secret is needed'),
    ('map', ['--image-opts'], '--key-file FILE'), ('vet', ['--image-opts'], 'named as a file'),
    ('check', ['-r', 'leaks'], 'never writes'), ('check', ['-rall'], 'never writes'),
    ('convert', ['-c'], 'only raw disks are written'), ('convert', ['-pc'], 'only raw disks are written'),
    ('convert', ['-B', 'base.qcow2'], 'no backing file'), ('convert', ['-F', 'raw'], 'no backing file'),
    ('convert', ['-O', 'qcow2'], "takes raw, not 'qcow2'"), ('convert', ['-r', '1M'], 'no limit'),
    ('convert', ['--target-image-opts'], 'named as a file'), ('convert', ['--bitmaps'], 'no bitmaps'),
    ('convert', ['--salvage'], 'never zeros')])
def test_what_is_not_done_here_is_told(image, tmp_path, command, words, said):
    operands = [image, tmp_path / 'out'] if command == 'convert' else [image]
    text = fails_in_one_line(run(command, *words, *operands), said, f"try 'qcow2 {command} --help'",
                             code=2 if command == 'vet' else 1)
    assert 'unknown' not in text and os.listdir(tmp_path) == []


@pytest.mark.parametrize('command', [name for name in toolrun.COMMANDS if name != 'vet'])
def test_raw_disk_is_told_how_it_is_read(tmp_path, command):
    disk = tmp_path / 'disk.raw'
    disk.write_bytes(bytes(65536))
    more = {'convert': [tmp_path / 'out'], 'explain': ['0'], 'compare': [disk]}.get(command, [])
    result = run(command, disk, *more)
    text = fails_in_one_line(result, 'not a qcow2 image', code=2 if command == 'compare' else 1)
    # Reading it as raw would show nothing to check.
    assert ('; a raw disk needs -f raw\n' in text) == (command != 'check')
    if command == 'compare':
        more = [*more, '-F', 'raw']
    if command != 'check':
        good(command, '-f', 'raw', disk, *more)
