# SPDX-License-Identifier: MIT
"""Where conversions go wrong: the target is full, closed, gone, forbidden, in use, or the image itself.
What is told, which code, and that nothing unfinished is ever taken for the disk."""

import hashlib
import os
import pathlib
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest

import toolrun
from chainrun import PASSPHRASE, encrypted, overlay
from toolrun import fails_in_one_line, good, qemu_img, run

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
NOBODY = 65534
# Three mebibytes of data, in a disk of eight.
CONTENT = b'\1' * (3 << 20) + bytes(5 << 20)


@pytest.fixture(scope='module')
def image(tmp_path_factory):
    return toolrun.create(tmp_path_factory.mktemp('image') / 'disk.qcow2', '8M', 'write -P 1 0 3M')


def start(*words, **options):
    options.setdefault('stderr', subprocess.PIPE)
    return subprocess.Popen([toolrun.TOOL, *[os.fspath(word) for word in words]],
                            stdin=subprocess.DEVNULL, **options)


def unfinished(directory):
    return [name for name in os.listdir(directory) if re.fullmatch(r'\..*\.[0-9a-f]{16}\.part', name)]


def wait_for(condition, process):
    end = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize('exists', [True, False])
def test_killed_conversion_leaves_what_nobody_takes_for_the_disk(endless, image, tmp_path, exists):
    out = tmp_path / 'disk.raw'
    if exists:
        out.write_bytes(b'old')
    process = start('convert', endless, out)
    try:
        wait_for(lambda: unfinished(tmp_path), process)
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
    left = unfinished(tmp_path)
    assert len(left) == 1 and left[0].startswith('.disk.raw.')
    assert sorted(os.listdir(tmp_path)) == sorted(left + ['disk.raw'] * exists)
    if exists:
        assert out.read_bytes() == b'old'
    # It is in nobody's way.
    good('convert', image, out)
    assert out.read_bytes() == CONTENT and unfinished(tmp_path) == left


def test_existing_file_is_replaced_in_one_step(image, tmp_path):
    """Whoever has the old one open keeps it whole; the name leads to the old or the new one."""
    out = tmp_path / 'out'
    out.write_bytes(b'old' * 1000)
    with open(out, 'rb') as old:
        good('convert', image, out)
        assert old.read() == b'old' * 1000
    assert out.read_bytes() == CONTENT and os.listdir(tmp_path) == ['out']


def test_another_name_of_the_old_file_keeps_the_old_bytes(image, tmp_path):
    out, other = tmp_path / 'out', tmp_path / 'other'
    out.write_bytes(b'old')
    other.hardlink_to(out)
    good('convert', image, out)
    assert out.read_bytes() == CONTENT and other.read_bytes() == b'old'


@pytest.mark.parametrize('mask, mode', [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_file_has_the_mode_that_the_umask_leaves(image, tmp_path, mask, mode):
    good('convert', image, tmp_path / 'out', preexec_fn=lambda: os.umask(mask))
    assert stat.S_IMODE((tmp_path / 'out').stat().st_mode) == mode


@pytest.mark.parametrize('mode', [0o600, 0o640, 0o755, 0o4755])
def test_replaced_file_keeps_its_mode_but_no_set_user_id(image, tmp_path, mode):
    out = tmp_path / 'out'
    out.write_bytes(b'old')
    out.chmod(mode)
    good('convert', image, out, preexec_fn=lambda: os.umask(0o777))
    assert stat.S_IMODE(out.stat().st_mode) == mode & 0o777


def secret_chain(place, top_mode, base_mode, form):
    """An encrypted image, or (base_mode) one over an encrypted image, and the words for its key."""
    base = place / 'base.qcow2'
    key = encrypted(base, '1M', 'write -P 5 0 512k', form=form)
    if base_mode is None:
        base.chmod(top_mode)
        return base, ['--key-file', key]
    base.chmod(base_mode)
    top = overlay(place / 'top.qcow2', 'base.qcow2', size='1M')
    top.chmod(top_mode)
    return top, ['--key-file', key]


@pytest.mark.parametrize('form', ['luks', 'aes'])
@pytest.mark.parametrize('image_mode, mask, mode', [(0o600, 0o022, 0o600), (0o640, 0o022, 0o640),
                                                    (0o640, 0o077, 0o600), (0o644, 0o022, 0o644)])
def test_new_file_of_an_encrypted_image_is_readable_by_no_more_users(tmp_path, form, image_mode, mask, mode):
    """Seen: what an image of mode 0600 kept secret was in a file of mode 0644 afterwards."""
    image, key = secret_chain(tmp_path, image_mode, None, form)
    good('convert', *key, image, tmp_path / 'out', preexec_fn=lambda: os.umask(mask))
    assert stat.S_IMODE((tmp_path / 'out').stat().st_mode) == mode
    assert (tmp_path / 'out').read_bytes() == b'\5' * (512 << 10) + bytes(512 << 10)


def test_new_file_of_an_image_over_an_encrypted_one_is_readable_by_no_more_users(tmp_path):
    top, key = secret_chain(tmp_path, 0o600, 0o600, 'luks')
    good('convert', *key, top, tmp_path / 'out', preexec_fn=lambda: os.umask(0o022))
    assert stat.S_IMODE((tmp_path / 'out').stat().st_mode) == 0o600


def test_new_file_that_more_users_could_read_than_an_encrypted_layer_is_refused(tmp_path):
    """The mode is set before it is known which files of the chain are encrypted."""
    top, key = secret_chain(tmp_path, 0o644, 0o600, 'luks')
    fails_in_one_line(run('convert', *key, top, tmp_path / 'out', preexec_fn=lambda: os.umask(0o022)),
                      'out: ', 'layer 1', 'encrypted', 'umask of 077')
    assert not (tmp_path / 'out').exists() and not unfinished(tmp_path)
    good('convert', *key, top, tmp_path / 'out', preexec_fn=lambda: os.umask(0o077))
    assert stat.S_IMODE((tmp_path / 'out').stat().st_mode) == 0o600


@pytest.mark.parametrize('spelling', ['{}', 'link', 'hard'])
def test_key_file_is_no_target(locked, tmp_path, spelling):
    """The image would be lost with it."""
    key = tmp_path / 'key'
    key.write_bytes(PASSPHRASE)
    (tmp_path / 'link').symlink_to('key')
    (tmp_path / 'hard').hardlink_to(key)
    out = tmp_path / spelling.format('key')
    fails_in_one_line(run('convert', '--key-file', key, locked, out), f'{out}: ', 'is a key file of the image')
    with open(out, 'r+b') as file:
        fails_in_one_line(run('cat', '--key-file', key, locked, stdout=file), 'standard output: is a key file')
    with open(key, 'rb') as file:
        fails_in_one_line(run('convert', '--key-file', '-', locked, out, stdin=file), 'is a key file of the image')
    assert key.read_bytes() == PASSPHRASE


def test_file_that_an_encrypted_image_replaces_keeps_its_mode(tmp_path):
    """It is the user who has chosen that."""
    image, key = secret_chain(tmp_path, 0o600, None, 'luks')
    (tmp_path / 'out').write_bytes(b'old')
    (tmp_path / 'out').chmod(0o644)
    good('convert', *key, image, tmp_path / 'out')
    assert stat.S_IMODE((tmp_path / 'out').stat().st_mode) == 0o644


@ROOT_ONLY
def test_new_file_of_another_group_gives_it_no_more_than_others_have(tmp_path):
    image, key = secret_chain(tmp_path, 0o640, None, 'luks')
    os.chown(image, 0, 4321)
    good('convert', *key, image, tmp_path / 'out', preexec_fn=lambda: os.umask(0))
    assert stat.S_IMODE((tmp_path / 'out').stat().st_mode) == 0o600


def test_new_file_of_an_image_without_encryption_has_nothing_to_do_with_its_mode(image, tmp_path):
    own = tmp_path / 'disk.qcow2'
    shutil.copy(image, own)
    own.chmod(0o600)
    good('convert', own, tmp_path / 'out', preexec_fn=lambda: os.umask(0o022))
    assert stat.S_IMODE((tmp_path / 'out').stat().st_mode) == 0o644


@ROOT_ONLY
def test_owner_is_kept_by_root_and_taken_by_others(image, tmp_path):
    tool = tmp_path / 'qcow2'
    shutil.copy(toolrun.TOOL, tool)
    place = tmp_path / 'place'
    place.mkdir()
    (place / 'disk.qcow2').write_bytes(image.read_bytes())
    out = place / 'out'
    out.write_bytes(b'old')
    out.chmod(0o666)
    os.chown(out, 1234, 4321)
    good('convert', place / 'disk.qcow2', out)
    assert (out.stat().st_uid, out.stat().st_gid) == (1234, 4321)
    place.chmod(0o777)
    result = as_nobody(tool, place, 'convert', 'disk.qcow2', 'out')
    assert result.returncode == 0, result.stderr
    assert out.stat().st_uid == NOBODY and stat.S_IMODE(out.stat().st_mode) == 0o666
    assert out.read_bytes() == CONTENT


def as_nobody(tool, place, *words):
    return toolrun.run_as(NOBODY, NOBODY, [], tool, place, *words)


@ROOT_ONLY
@pytest.mark.parametrize('what', ['directory', 'file', 'both'])
def test_what_may_not_be_written_stays_as_it_is(image, tmp_path, what):
    tool = tmp_path / 'qcow2'
    shutil.copy(toolrun.TOOL, tool)
    place = tmp_path / 'place'
    place.mkdir()
    (place / 'disk.qcow2').write_bytes(image.read_bytes())
    (place / 'disk.qcow2').chmod(0o444)
    (place / 'out').write_bytes(b'old')
    (place / 'out').chmod(0o666 if what == 'directory' else 0o444)
    place.chmod(0o777 if what == 'file' else 0o555)
    fails_in_one_line(as_nobody(tool, place, 'convert', 'disk.qcow2', 'out'), 'out: ',
                      'Permission denied')
    if what != 'file':
        fails_in_one_line(as_nobody(tool, place, 'convert', 'disk.qcow2', 'new'), 'new: ',
                          'Permission denied')
    assert sorted(os.listdir(place)) == ['disk.qcow2', 'out']
    assert (place / 'out').read_bytes() == b'old'
    # And it is the permission that was missing.
    (place / 'out').chmod(0o666)
    place.chmod(0o777)
    assert as_nobody(tool, place, 'convert', 'disk.qcow2', 'out').returncode == 0


def test_full_file_system(image, full):
    before = os.statvfs(full).f_bfree
    (full / 'old').write_bytes(b'old')
    for out in ('new', 'old'):
        fails_in_one_line(run('convert', image, full / out), f'{full}/{out}: no space left on device',
                          '3145728 bytes')
    assert [name for name in os.listdir(full) if name != 'lost+found'] == ['old']
    assert (full / 'old').read_bytes() == b'old'
    (full / 'old').unlink()
    assert os.statvfs(full).f_bfree == before
    # To the descriptor of the shell as well.
    with open(full / 'stream', 'wb') as file:
        fails_in_one_line(run('convert', image, '-', stdout=file), 'standard output: no space left')
    for command in (['cat', image], ['cat', '-l', '3M', image]):
        with open(full / 'stream', 'wb') as file:
            fails_in_one_line(run(*command, stdout=file), 'standard output', 'No space left')


@pytest.fixture(scope='module')
def alternating(tmp_path_factory):
    """A billion extents in a megabyte."""
    return toolrun.write_alternating(tmp_path_factory.mktemp('alternating') / 'disk.qcow2', 1 << 17)


def test_no_space_on_a_stream_is_told_at_once_whatever_the_tables_are(alternating):
    """Seen: the whole tree was walked for the sake of a number in the message, for ever."""
    process = start('convert', '-q', alternating, '/dev/full')
    try:
        _, text = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 1
    assert text == b'qcow2: /dev/full: no space left on device\n'


def test_no_space_in_a_file_system_is_told_at_once_whatever_the_tables_are(alternating, full):
    """The unfinished file is gone by then."""
    process = start('convert', '-q', alternating, full / 'out')
    try:
        _, text = process.communicate(timeout=20)
    finally:
        process.kill()
    if b'too large' not in text:  # for that file system
        assert text.decode() == f'qcow2: {full}/out: no space left on device\n'
    assert process.returncode == 1 and not unfinished(full)


def test_file_size_limit(image, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    fails_in_one_line(run('convert', image, tmp_path / 'out', preexec_fn=limit), 'out: ', '8388608')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('words', [['convert', '{image}', '-'], ['cat', '{image}'],
                                   ['convert', '{image}', '/dev/stdout'],
                                   ['convert', '-m', '4', '{image}', '{fifo}']])
def test_closed_pipe_is_one_line_and_code_1(image, tmp_path, words):
    """Not a death by SIGPIPE, which a script would see as 141 and no reason."""
    fifo = tmp_path / 'fifo'
    os.mkfifo(fifo)
    words = [word.format(image=image, fifo=fifo) for word in words]
    if str(fifo) in words:
        process = start(*words)
        os.close(os.open(fifo, os.O_RDONLY))
    else:
        reader, writer = os.pipe()
        process = start(*words, stdout=writer)
        os.close(writer)
        os.read(reader, 100)
        os.close(reader)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1 and text.count(b'\n') == 1, text
    assert b'closed by its reader before everything was written' in text


@pytest.mark.parametrize('words', [['info', '{image}'], ['map', '--output=json', '{image}'],
                                   ['check', '{image}'], ['digest', '{image}'], ['--help']])
def test_text_into_a_closed_pipe(image, words):
    reader, writer = os.pipe()
    os.close(reader)
    result = run(*[word.format(image=image) for word in words], stdout=writer)
    os.close(writer)
    fails_in_one_line(result, 'standard output', 'closed by its reader')


def bytes_of(path):
    with open(path, 'rb') as file:
        return file.read()


@pytest.mark.parametrize('linked', [False, True])
def test_device_is_written_in_place_and_stays_one(image, device, tmp_path, linked):
    out = device
    if linked:
        out = tmp_path / 'link'
        out.symlink_to(device)
    listed = sorted(os.listdir('/dev'))
    good('convert', '--sync', image, out)
    assert bytes_of(device) == CONTENT + b'\2' * 512
    assert stat.S_ISBLK(os.stat(device).st_mode)
    assert not linked or out.is_symlink()
    assert [name for name in os.listdir('/dev') if name.startswith('.') and name not in listed] == []


def test_device_is_untouched_by_what_is_refused(image, device, tmp_path):
    before = bytes_of(device)
    large = toolrun.create(tmp_path / 'large.qcow2', '9M', 'write -P 1 0 1M')
    (tmp_path / 'broken').write_bytes(b'QFI\xfb' + bytes(4092))
    fails_in_one_line(run('convert', large, device), f'{device}: ', 'too small', '9437184', '8389120')
    assert run('convert', tmp_path / 'broken', device).returncode == 1
    assert run('convert', tmp_path / 'missing', device).returncode == 1
    assert bytes_of(device) == before


@ROOT_ONLY
def test_interrupted_device_says_so(endless):
    backing = os.memfd_create('large')
    os.ftruncate(backing, 64 << 30)
    done = subprocess.run(['losetup', '--find', '--show', f'/proc/{os.getpid()}/fd/{backing}'],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        pytest.skip('no loop device over memory')
    path = done.stdout.decode().strip()
    process = start('convert', endless, path)
    try:
        wait_for(lambda: os.fstat(backing).st_blocks > 0, process)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
        subprocess.run(['losetup', '-d', path], check=True)
        os.close(backing)
    assert process.returncode == 130
    assert text.decode() == f'qcow2: {path}: stopped by SIGINT, not complete\n'


@pytest.fixture
def chain(tmp_path):
    """Three layers and a data file, each with another name by every kind of link; and their bytes."""
    qemu_img('create', '-q', '-f', 'raw', tmp_path / 'base.raw', '1M')
    qemu_img('create', '-q', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', tmp_path / 'middle.qcow2')
    qemu_img('create', '-q', '-f', 'qcow2', '-b', 'middle.qcow2', '-F', 'qcow2',
             tmp_path / 'top.qcow2')
    files = ['base.raw', 'middle.qcow2', 'top.qcow2']
    for name in files:
        (tmp_path / f'soft-{name}').symlink_to(name)
        (tmp_path / f'softer-{name}').symlink_to(tmp_path / f'soft-{name}')
        (tmp_path / f'hard-{name}').hardlink_to(tmp_path / name)
    return tmp_path, {name: (tmp_path / name).read_bytes() for name in files}


@pytest.mark.parametrize('spelling', ['{}', 'soft-{}', 'softer-{}', 'hard-{}', '../{place}/{}',
                                      './/{}'])
def test_no_file_of_the_chain_is_a_target(chain, spelling):
    place, contents = chain
    before = sorted(os.listdir(place))
    for name in contents:
        out = f'{place}/' + spelling.format(name, place=place.name)
        fails_in_one_line(run('convert', place / 'top.qcow2', out), f'{out}: ',
                          'is a file of the image itself, which is never overwritten')
    assert {name: (place / name).read_bytes() for name in contents} == contents
    assert sorted(os.listdir(place)) == before


@pytest.mark.parametrize('name', ['{}', 'soft-{}', 'hard-{}'])
def test_backing_file_is_no_target_even_if_it_is_not_read(chain, name):
    """Seen: with --no-backing only opened files were compared, and a disk took the place of its own parent,
    without which the image is nothing."""
    place, contents = chain
    out = place / name.format('middle.qcow2')
    fails_in_one_line(run('convert', '--no-backing', place / 'top.qcow2', out), 'image itself')
    for words in (['convert', '--no-backing', place / 'top.qcow2', '-'],
                  ['cat', '--no-backing', '--force', place / 'top.qcow2']):
        with open(out, 'r+b') as file:
            fails_in_one_line(run(*words, stdout=file), 'standard output', 'image itself')
    assert {name: (place / name).read_bytes() for name in contents} == contents


def test_backing_file_is_no_target_for_the_state_of_a_machine(chain):
    """Nothing but the snapshot's own clusters is read then."""
    place, contents = chain
    qemu_img('snapshot', '-c', 'one', place / 'top.qcow2')
    with open(place / 'middle.qcow2', 'r+b') as file:
        fails_in_one_line(run('cat', '--no-backing', '--snapshot', 'one', '--vm-state',
                              place / 'top.qcow2', stdout=file), 'image itself')
    assert (place / 'middle.qcow2').read_bytes() == contents['middle.qcow2']


@pytest.mark.parametrize('name', ['{}', 'soft-{}', 'hard-{}'])
def test_file_beyond_the_backing_file_is_no_target_even_if_it_is_not_read(chain, name):
    """Seen: the disk took the place of the image's grandparent."""
    place, contents = chain
    out = place / name.format('base.raw')
    fails_in_one_line(run('convert', '--no-backing', place / 'top.qcow2', out), f'{out}: ', 'image itself')
    with open(out, 'r+b') as file:
        for words in (['convert', '--no-backing', place / 'top.qcow2', '-'],
                      ['cat', '--no-backing', '--force', place / 'top.qcow2']):
            fails_in_one_line(run(*words, stdout=file), 'standard output', 'image itself')
    qemu_img('snapshot', '-c', 'one', place / 'top.qcow2')
    with open(out, 'r+b') as file:
        fails_in_one_line(run('cat', '--snapshot', 'one', '--vm-state', place / 'top.qcow2', stdout=file),
                          'standard output', 'image itself')
    assert (place / 'base.raw').read_bytes() == contents['base.raw']
    assert (place / 'middle.qcow2').read_bytes() == contents['middle.qcow2']


JSON = 'json:{"driver": "raw", "file": {"driver": "file", "filename": "base.raw"}}'


@pytest.mark.parametrize('depth', [1, 2])
@pytest.mark.parametrize('name, form', [('file:base.raw', 'raw'), (JSON, 'raw'), ('../elsewhere/base.raw', 'raw'),
                                        ('base.raw', 'vmdk'), ('missing.raw', 'raw'), ('fifo', 'raw')])
def test_file_that_may_belong_to_a_chain_is_no_target(tmp_path, depth, name, form):
    """Seen: a parent spelled in QEMU's words was replaced by the disk, since no name of a file was found in them."""
    place = tmp_path / 'place'
    (tmp_path / 'elsewhere').mkdir()
    place.mkdir()
    base = place / 'base.raw'
    base.write_bytes(b'\3' * 512 * 1024)
    os.link(base, tmp_path / 'elsewhere' / 'base.raw')
    os.mkfifo(place / 'fifo')
    top = overlay(place / 'top.qcow2', name, form=form, size='512k')
    if depth == 2:
        top = overlay(place / 'over.qcow2', 'top.qcow2', size='512k')
    fails_in_one_line(run('convert', '--no-backing', top, base), f'{base}: ', 'file of the image itself')
    with open(base, 'r+b') as file:
        for command in (['cat', '--no-backing', top], ['convert', '--no-backing', top, '-']):
            fails_in_one_line(run(*command, stdout=file), 'standard output: ', 'file of the image itself')
    assert base.read_bytes() == b'\3' * 512 * 1024
    # What does not exist, or has no bytes to lose, is no file of a chain.
    (place / 'empty').touch()
    good('convert', '--no-backing', top, place / 'new')
    good('convert', '--no-backing', top, place / 'empty')
    with open(place / 'redirected', 'wb') as file:
        good('cat', '--no-backing', top, stdout=file)
    for out in ('new', 'empty', 'redirected'):
        assert (place / out).read_bytes() == bytes(512 * 1024)


@pytest.mark.parametrize('spelling', ['disk.data', './disk.data', '../{place}/disk.data', 'link', 'hard'])
def test_data_file_of_a_backing_file_is_no_target_even_if_it_is_not_read(tmp_path, spelling):
    base = tmp_path / 'base.qcow2'
    qemu_img('create', '-q', '-f', 'qcow2', '-o', f'data_file={tmp_path}/disk.data', base, '1M')
    toolrun.qemu_io(base, 'write -P 1 0 64k')
    top = overlay(overlay(tmp_path / 'middle.qcow2', 'base.qcow2', size='1M').with_name('top.qcow2'),
                  'middle.qcow2', size='1M')
    (tmp_path / 'link').symlink_to('disk.data')
    (tmp_path / 'hard').hardlink_to(tmp_path / 'disk.data')
    before = (tmp_path / 'disk.data').read_bytes()
    out = f'{tmp_path}/' + spelling.format(place=tmp_path.name)
    fails_in_one_line(run('convert', '--no-backing', top, out), 'is a file of the image itself')
    with open(out, 'r+b') as file:
        fails_in_one_line(run('cat', '--no-backing', top, stdout=file), 'is a file of the image itself')
    assert (tmp_path / 'disk.data').read_bytes() == before
    # And nothing is replaced where it cannot be found.
    (tmp_path / 'disk.data').rename(tmp_path / 'moved.data')
    fails_in_one_line(run('convert', '--no-backing', top, tmp_path / 'moved.data'),
                      'may be a file of the image itself', 'data file of layer 2')
    assert (tmp_path / 'moved.data').read_bytes() == before


def test_device_below_the_image_is_no_target_by_any_node(device, tmp_path):
    """Two nodes of one device are two files."""
    before = bytes_of(device)
    node = tmp_path / 'node'
    os.mknod(node, stat.S_IFBLK | 0o600, os.stat(device).st_rdev)
    for backing in (device, node, f'host_device:{device}'):
        top = overlay(tmp_path / 'top.qcow2', backing, form='raw', size='1M')
        over = overlay(tmp_path / 'over.qcow2', 'top.qcow2', size='1M')
        for image in (top, over):
            for out in (device, node):
                fails_in_one_line(run('convert', '--no-backing', image, out), f'{out}: ',
                                  'file of the image itself')
    assert bytes_of(device) == before


@pytest.fixture(scope='module')
def locked(tmp_path_factory):
    path = tmp_path_factory.mktemp('locked') / 'secret.qcow2'
    encrypted(path, '1M', 'write -P 5 0 512k')
    return path


@pytest.fixture
def waiting(locked, tmp_path):
    """A conversion that has opened its target and waits for a key, a change made meanwhile, and the key."""
    secret = tmp_path / 'secret.qcow2'
    shutil.copy(locked, secret)
    fifo = tmp_path / 'key'
    os.mkfifo(fifo)
    place = tmp_path / 'place'
    place.mkdir()

    def convert(change, link=False, leaves=False):
        out = place / 'out'
        if link:
            out = tmp_path / 'link'
            out.symlink_to(place / 'out')
        process = start('convert', '--key-file', fifo, secret, out)
        try:
            wait_for(lambda: unfinished(place), process)
            change(place / 'out')
            fifo.write_bytes(PASSPHRASE)
            _, text = process.communicate(timeout=60)
        finally:
            process.kill()
        assert leaves or not unfinished(place)
        return process.returncode, text.decode()

    return convert, place, secret


def write_new(path):
    path.write_bytes(b'new')


def replace_by_new(path):
    path.with_name('other').write_bytes(b'new')
    os.rename(path.with_name('other'), path)


@pytest.mark.parametrize('link', [False, True])
@pytest.mark.parametrize('existed, change', [
    (False, lambda path: path.mkdir()), (False, write_new),
    (False, lambda path: path.symlink_to('../secret.qcow2')),
    (False, lambda path: path.hardlink_to(path.parent.parent / 'other')), (False, os.mkfifo),
    (True, replace_by_new), (True, lambda path: path.unlink()),
    (True, lambda path: (path.unlink(), path.symlink_to('../secret.qcow2'))),
    (True, lambda path: (path.unlink(), path.mkdir()))])
def test_name_that_something_else_has_taken_meanwhile_is_left_alone(waiting, existed, change, link):
    """Seen: what stood there at the end was replaced, whatever it was by then."""
    convert, place, secret = waiting
    (place.parent / 'other').write_bytes(b'other')
    if existed:
        (place / 'out').write_bytes(b'old')
    before = secret.read_bytes()
    seen = []

    def change_and_look(path):
        change(path)
        seen.append([(name, os.lstat(path.parent / name).st_ino)
                     for name in os.listdir(path.parent) if not name.endswith('.part')])

    code, text = convert(change_and_look, link)
    assert code == 1 and text.count('\n') == 1
    assert 'out: the finished file cannot be given its name: ' in text.replace('link:', 'out:')
    assert [(name, os.lstat(place / name).st_ino) for name in os.listdir(place)] == seen[0]
    assert secret.read_bytes() == before and (place.parent / 'other').read_bytes() == b'other'


@pytest.mark.parametrize('existed', [False, True])
def test_link_that_leads_elsewhere_at_the_end_fails(waiting, existed):
    """Seen: what it led to at the start was replaced, with status 0, and the link led to no disk."""
    convert, place, _ = waiting
    for name in ['out', 'other'] if existed else ['other']:
        (place / name).write_bytes(b'old')
    link = place.parent / 'link'
    code, text = convert(lambda path: (link.unlink(), link.symlink_to('place/other')), link=True)
    assert code == 1 and f'{link}: the finished file cannot be given its name: ' in text
    assert all(path.read_bytes() == b'old' for path in place.iterdir())


def test_directory_that_is_exchanged_at_the_end_fails(waiting):
    convert, place, _ = waiting
    moved = place.with_name('moved')
    code, text = convert(lambda path: (place.rename(moved), place.mkdir(), (place / 'out').write_bytes(b'other')))
    assert code == 1 and 'the finished file cannot be given its name: ' in text
    assert (place / 'out').read_bytes() == b'other' and list(moved.iterdir()) == []


def test_empty_file_that_is_filled_meanwhile_is_not_replaced(waiting):
    """An empty file may be one of the chain, since it has nothing to lose."""
    convert, place, _ = waiting
    (place / 'out').touch()
    code, text = convert(lambda path: path.write_bytes(b'filled'))
    assert code == 1 and 'filled meanwhile' in text and (place / 'out').read_bytes() == b'filled'


def open_for_writing(pid):
    """Is a .part file open for writing there?"""
    for number in os.listdir(f'/proc/{pid}/fd'):
        try:
            if os.readlink(f'/proc/{pid}/fd/{number}').endswith('.part'):
                with open(f'/proc/{pid}/fdinfo/{number}') as file:
                    flags = int(re.search(r'flags:\s*(\d+)', file.read())[1], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    return True
        except FileNotFoundError:
            pass
    return False


@pytest.mark.skipif(shutil.which('strace') is None, reason='needs strace')
def test_file_that_took_the_hidden_name_just_before_the_rename_is_an_error(image, tmp_path):
    """Seen: the last look and the rename are two steps; the other file got the name, with status 0."""
    place, log = tmp_path / 'place', tmp_path / 'log'
    place.mkdir()
    process = subprocess.Popen(['strace', '-f', '-o', log, '-e', 'trace=renameat,renameat2,openat', '-e',
                                'inject=renameat,renameat2:delay_enter=3000000', toolrun.TOOL, 'convert',
                                '--no-sandbox', image, place / 'out'], stderr=subprocess.PIPE)
    try:
        wait_for(lambda: unfinished(place), process)
        pid = int(log.read_text().split()[0])
        wait_for(lambda: not open_for_writing(pid) and
                 (place / unfinished(place)[0]).stat().st_size == len(CONTENT), process)
        (place / 'new').write_bytes(b'other')
        os.rename(place / 'new', place / unfinished(place)[0])
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
    assert b'leads to another file than the finished one' in text, text
    if b'ptrace' not in text:  # a sanitizer that looks for leaks ends with a code of its own under strace
        assert process.returncode == 1
    assert (place / 'out').read_bytes() == b'other'


@pytest.mark.parametrize('change', [write_new, lambda path: path.symlink_to('../secret.qcow2'),
                                    lambda path: path.hardlink_to(path.parent.parent / 'secret.qcow2'),
                                    lambda path: None])
def test_file_that_took_the_hidden_name_is_not_taken_for_the_disk(waiting, change):
    """Seen: it was given the name of the output, and the exit status was 0."""
    convert, place, secret = waiting
    before = secret.read_bytes()

    def replace(path):
        hidden = path.with_name(unfinished(path.parent)[0])
        hidden.unlink()
        change(hidden)

    code, text = convert(replace, leaves=True)
    assert code == 1 and 'the unfinished file was removed or replaced meanwhile' in text
    assert 'out' not in os.listdir(place) and secret.read_bytes() == before


def test_file_whose_bytes_change_meanwhile_is_still_the_one_to_be_replaced(waiting):
    convert, place, _ = waiting
    (place / 'out').write_bytes(b'old')
    assert convert(lambda path: path.write_bytes(b'older')) == (0, '')
    assert (place / 'out').read_bytes() == b'\5' * (512 << 10) + bytes(512 << 10)


TOGGLE = """
import os
while True:
    try:
        os.symlink('disk.qcow2', 'out')
        os.unlink('out')
    except OSError:  # an output has appeared there
        os.unlink('out')
"""


def test_output_that_turns_into_a_link_to_the_image_never_replaces_it(image, tmp_path):
    """Seen: OUT was looked at by its name, and resolved afterwards. While a neighbour made and removed a link there,
    the image became the raw disk."""
    own, out = tmp_path / 'disk.qcow2', tmp_path / 'out'
    shutil.copy(image, own)
    before = own.read_bytes()
    toggle = subprocess.Popen([sys.executable, '-c', TOGGLE], cwd=tmp_path)
    try:
        codes = {run('convert', own, out).returncode for _ in range(200)}
    finally:
        toggle.kill()
        toggle.wait()
    assert own.read_bytes() == before and codes <= {0, 1} and not unfinished(tmp_path)


def test_file_without_a_name_is_no_target(image, tmp_path):
    """A link of /proc to a file that was removed has a text that is no name of it."""
    with open(tmp_path / 'gone', 'w+b') as file:
        (tmp_path / 'gone').unlink()
        file.write(b'old')
        file.flush()
        out = f'/proc/self/fd/{file.fileno()}'
        fails_in_one_line(run('convert', image, out, pass_fds=[file.fileno()]), f'{out}: ')
        assert os.pread(file.fileno(), 10, 0) == b'old' and os.listdir(tmp_path) == []


def test_data_file_is_never_a_target(tmp_path):
    """Seen: only the files that hold the layers were compared, and a disk was converted over its own
    data."""
    image = tmp_path / 'disk.qcow2'
    qemu_img('create', '-q', '-f', 'qcow2', '-o', f'data_file={tmp_path}/disk.data', image, '1M')
    toolrun.qemu_io(image, 'write -P 1 0 64k')
    (tmp_path / 'link').symlink_to('disk.data')
    before = (tmp_path / 'disk.data').read_bytes()
    for out in ('disk.data', 'link'):
        fails_in_one_line(run('convert', image, tmp_path / out), 'image itself')
    with open(tmp_path / 'disk.data', 'r+b') as file:
        fails_in_one_line(run('convert', image, '-', stdout=file), 'image itself')
    assert (tmp_path / 'disk.data').read_bytes() == before


def test_directory_that_vanishes_changes_nothing_about_the_error(endless, tmp_path):
    place = tmp_path / 'place'
    place.mkdir()
    process = start('convert', endless, place / 'out')
    try:
        # With bytes in it, the conversion has begun, and a signal no longer ends it at once.
        wait_for(lambda: any(entry.stat().st_size for entry in place.iterdir()), process)
        shutil.rmtree(place)
        process.terminate()
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143 and text.count(b'\n') == 1


def test_reader_of_a_pipe_gets_its_end_when_the_image_is_bad(tmp_path):
    """Not a wait for ever."""
    (tmp_path / 'broken').write_bytes(b'QFI\xfb' + bytes(4092))
    os.mkfifo(tmp_path / 'fifo')
    process = start('convert', tmp_path / 'broken', tmp_path / 'fifo')
    with open(tmp_path / 'fifo', 'rb') as reader:
        assert reader.read() == b''
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1 and text.count(b'\n') == 1
    # And nobody is waited for where there is no image.
    fails_in_one_line(run('convert', tmp_path / 'missing', tmp_path / 'fifo'), 'missing: ',
                      'No such file')


@pytest.fixture
def loop_device():
    """Makes loop devices over files, and takes them away."""
    made = []

    def make(path, *options):
        result = subprocess.run(['losetup', '--find', '--show', *options, path], capture_output=True,
                                text=True)
        if result.returncode != 0:
            pytest.skip('loop devices are not to be had: ' + result.stderr.strip())
        made.append(result.stdout.strip())
        return made[-1]

    if shutil.which('losetup') is None:
        pytest.skip('losetup is not installed')
    yield make
    for device in made:
        subprocess.run(['losetup', '--detach', device], check=False)


def digest_of(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).digest()


def raw_parent(size=4 << 20):
    with open('base.raw', 'wb') as base:
        base.write(os.urandom(size))
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', 'top.qcow2')
    subprocess.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 7 0 1M', 'top.qcow2'], check=True,
                   stdout=subprocess.DEVNULL)


@pytest.mark.parametrize('options', [[], ['--no-backing']])
def test_loop_device_over_a_file_of_the_chain_is_never_overwritten(tmp_path, monkeypatch, loop_device, options):
    """Seen: the device is another file than the one whose bytes it shows."""
    monkeypatch.chdir(tmp_path)
    raw_parent()
    before = {name: digest_of(name) for name in ('base.raw', 'top.qcow2')}
    for name in before:
        device = loop_device(name)
        fails_in_one_line(run('convert', *options, 'top.qcow2', device), device, 'file of the image itself')
        with open(device, 'r+b') as opened:
            fails_in_one_line(run('convert', *options, 'top.qcow2', '-', stdout=opened),
                              'file of the image itself')
        with open(device, 'r+b') as opened:
            fails_in_one_line(run('cat', *options, 'top.qcow2', stdout=opened), 'file of the image itself')
    assert {name: digest_of(name) for name in before} == before


def test_device_below_the_file_system_of_the_image_is_never_overwritten(tmp_path, monkeypatch, loop_device):
    monkeypatch.chdir(tmp_path)
    with open('fs.img', 'wb') as image:
        image.truncate(16 << 20)
    if shutil.which('mkfs.ext4') is None:
        pytest.skip('mkfs.ext4 is not installed')
    subprocess.run(['mkfs.ext4', '-q', 'fs.img'], check=True)
    device = loop_device('fs.img')
    os.mkdir('mnt')
    if subprocess.run(['mount', device, 'mnt'], capture_output=True).returncode != 0:
        pytest.skip('nothing can be mounted')
    try:
        qemu_img('create', '-q', '-f', 'qcow2', 'mnt/image.qcow2', '1M')
        with open(device, 'r+b') as opened:
            fails_in_one_line(run('convert', 'mnt/image.qcow2', '-', stdout=opened), 'file of the image itself')
            fails_in_one_line(run('cat', 'mnt/image.qcow2', stdout=opened), 'file of the image itself')
        fails_in_one_line(run('convert', 'mnt/image.qcow2', 'fs.img'), 'file of the image itself')
        good('convert', 'mnt/image.qcow2', 'out.raw')
        good('convert', 'mnt/image.qcow2', 'mnt/out.raw')
    finally:
        subprocess.run(['umount', 'mnt'], check=True)


def test_file_below_the_loop_device_that_has_the_image_is_never_overwritten(tmp_path, monkeypatch, loop_device):
    monkeypatch.chdir(tmp_path)
    with open('disk', 'wb') as disk:
        disk.truncate(8 << 20)
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', 'small.qcow2', '1M')
    subprocess.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 7 0 1M', 'small.qcow2'], check=True,
                   stdout=subprocess.DEVNULL)
    with open('disk', 'r+b') as disk, open('small.qcow2', 'rb') as image:
        disk.seek(1 << 20)
        shutil.copyfileobj(image, disk)
    before = digest_of('disk')
    image = loop_device('disk', '--offset', str(1 << 20))
    fails_in_one_line(run('convert', image, 'disk'), 'file of the image itself')
    whole = loop_device('disk')
    fails_in_one_line(run('convert', image, whole), 'file of the image itself')
    assert digest_of('disk') == before
    # Another part of the same file is not the image's.
    beside = loop_device('disk', '--offset', str(6 << 20), '--sizelimit', str(1 << 20))
    image = loop_device('disk', '--offset', str(1 << 20), '--sizelimit', str(4 << 20))
    good('convert', image, beside)
    with open('disk', 'rb') as disk:
        disk.seek(6 << 20)
        assert disk.read(1 << 20) == b'\7' * (1 << 20)


@pytest.mark.parametrize('words', [['info'], ['map'], ['check'], ['digest'], ['vet'], ['explain'], ['compare'], ['cat']])
@pytest.mark.parametrize('name', ['top.qcow2', 'base.raw'])
def test_no_command_writes_its_text_over_a_file_of_the_image(tmp_path, monkeypatch, words, name):
    """Seen: `qcow2 info a.qcow2 >>a.qcow2` added to the image, and `1<>` wrote over its header."""
    monkeypatch.chdir(tmp_path)
    raw_parent()
    if name == 'base.raw' and words[0] in ('info', 'check', 'vet'):
        pytest.skip('the parent is not opened')
    before = digest_of(name)
    operands = {'explain': ['0'], 'compare': ['top.qcow2']}.get(words[0], [])
    for stream in ('stdout', 'stderr'):
        with open(name, 'r+b') as opened:
            result = run(*words, 'top.qcow2', *operands, **{stream: opened})
        assert result.returncode != 0
        if stream == 'stdout':
            assert digest_of(name) == before
            assert b'standard output is a file of the image itself' in result.stderr
