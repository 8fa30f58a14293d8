# SPDX-License-Identifier: MIT
"""What the words of the command line, the standard descriptors and the terminal give to code that an image got
hold of (tests/sandbox/inside.c), beside the images themselves."""

import contextlib
import errno
import json
import os
import pty
import shutil
import subprocess

import pytest

import toolrun
from test_tool_sandbox import DENIED, DONE, INSIDE, NO_SUCH_CALL, sandbox  # noqa: F401 pylint: disable=unused-import
from toolrun import good, qemu_img, run

OPENING, SEALED = 1, 7  # the reads of an image that are in the first and in the second step


def environment(name, read, stray=0):
    return {**os.environ, 'LD_PRELOAD': INSIDE, 'QCOW2_TEST_ATTEMPT': name,
            'QCOW2_TEST_READ': str(read), 'QCOW2_TEST_STRAY': str(stray)}


def outcome_of(text):
    last = text.decode().replace('forged', '').split()[-1]
    return last if last == DONE else errno.errorcode[int(last)]


def attempt(words, name, read, **options):
    result = run(*words, env=environment(name, read), **options)
    assert result.returncode == 97, result.stderr
    return outcome_of(result.stdout)


@pytest.fixture
def place(sandbox, images, tmp_path):  # noqa: F811
    shutil.copyfile(images['v3'], tmp_path / 'image')
    return tmp_path


# ---- names ----

def test_key_from_standard_input_allows_no_file_of_that_name(place):
    """Seen: a link with the name "-" in the working directory led to what could be read."""
    (place / '-').symlink_to('/')
    assert attempt(['digest', '--key-file=-', 'image'], 'reading_outside', OPENING, cwd=place) == DENIED
    assert attempt(['compare', '--key-file=-', 'image', 'image'], 'reading_outside', OPENING,
                   cwd=place) == DENIED


def test_key_file_that_is_a_directory_allows_nothing_beneath_it(place):
    assert attempt(['digest', '--key-file=/etc', place / 'image'], 'reading_outside', OPENING) == DENIED


@pytest.mark.parametrize('command', ['digest', 'compare', 'convert'])
@pytest.mark.parametrize('target', ['/', '/etc', '/dev'])
def test_operand_that_leads_to_a_directory_allows_nothing_beneath_it(place, command, target):
    """Seen: a link to the root beside a hostile image let that image read all files, while `digest *` looked
    at both."""
    (place / 'other').symlink_to(target)
    words = [command, 'image', 'other'] if command != 'convert' else [command, 'other', 'out']
    name = 'reading_a_device' if target == '/dev' else 'reading_outside'
    if command == 'convert':  # it has no second image to be read by
        result = run(*words, cwd=place, env=environment(name, OPENING))
        assert result.returncode == 1 and b'directory' in result.stderr.lower()
        return
    assert attempt(words, name, OPENING, cwd=place) == DENIED


def test_operand_that_leads_to_a_character_device_does_not_allow_it(place):
    (place / 'other').symlink_to('/dev/zero')
    assert attempt(['digest', 'image', 'other'], 'reading_a_device', OPENING, cwd=place) == DENIED


def test_directory_that_is_open_to_be_flushed_cannot_be_listed(place):
    """Seen: with --sync the directory of the output is open, and Landlock takes no open descriptor back."""
    (place / 'private').mkdir()
    assert attempt(['convert', '--sync', 'image', 'private/out'], 'listing_an_open_directory', OPENING + 1,
                   cwd=place) == NO_SUCH_CALL


# ---- standard output and error ----

@pytest.mark.parametrize('words, read', [
    (['digest', 'image'], OPENING), (['digest', 'image'], SEALED), (['map', 'image'], OPENING),
    (['convert', 'image', 'out'], OPENING), (['convert', 'image', 'out'], SEALED)])
def test_text_before_the_output_of_a_command_cannot_be_overwritten(place, words, read):
    """Seen: `(earlier; qcow2 map IMAGE) >log` let the image change what the other program had written."""
    log = place / 'log'
    log.write_bytes(b'what was there before\n')
    with open(log, 'r+b') as file:
        file.seek(0, os.SEEK_END)
        result = run(*words, cwd=place, stdout=file,
                     env=environment('going_back_in_standard_output', read + (words[0] == 'convert')))
    assert result.returncode == 97, result.stderr
    assert log.read_bytes() == b'what was there before\n%d\n' % errno.ESPIPE


@pytest.mark.parametrize('words', [['cat', 'image'], ['convert', 'image', '-']])
def test_disk_behind_text_on_standard_output_keeps_its_holes(place, words):
    """That output is sought in, and no other."""
    disk = good('cat', place / 'image').stdout
    log = place / 'log'
    with open(log, 'wb') as file:
        file.write(b'before')
        file.flush()
        good(*words, cwd=place, stdout=file)
    assert log.read_bytes() == b'before' + disk


def test_key_from_standard_error_is_refused(place):
    """The sandbox lets what is open for output not be read."""
    image = place / 'luks.qcow2'
    (place / 'key').write_bytes(b'x')
    qemu_img('create', '-q', '--object', f'secret,id=key,file={place}/key', '-f', 'qcow2', '-o',
             'encrypt.format=aes,encrypt.key-secret=key', image, '1M')
    for more in ([], ['--no-sandbox']):
        result = run('digest', '--key-file=/dev/fd/2', *more, image)
        assert result.returncode == 1 and b'is an output of the program' in result.stderr


# ---- the terminal ----

def on_terminal(*words, env, inherited=()):
    """The tool with a terminal of its own as all standard descriptors: exit code and text."""
    for fd in inherited:
        os.set_inheritable(fd, True)
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(toolrun.TOOL, [toolrun.TOOL, *map(os.fspath, words)], env)
    text = b''
    with contextlib.suppress(OSError):
        while piece := os.read(fd, 4096):
            text += piece
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), text


@pytest.mark.parametrize('words, read, wanted', [
    (['digest', '-q'], OPENING, DONE),  # a file further down the chain may be encrypted
    (['digest', '-q'], SEALED, 'ENXIO'),
    (['vet', '-q'], OPENING, 'ENXIO'),
    (['check', '-q'], OPENING, 'ENXIO'),
    (['info'], OPENING, 'ENXIO'),
    (['digest', '-q', '--key-file=key'], OPENING, 'ENXIO')])
def test_terminal_is_open_only_while_a_passphrase_can_be_asked_for(place, words, read, wanted):
    """Seen: code of an unencrypted image wrote to the terminal of `vet`, with all outputs redirected."""
    (place / 'key').write_bytes(b'x')
    words = [word.replace('=key', f'={place}/key') for word in words]
    code, text = on_terminal(*words, place / 'image', env=environment('writing_to_the_terminal', read))
    assert code == 97, text
    assert outcome_of(text) == wanted
    assert (b'forged' in text) == (wanted == DONE)


def test_duplicate_cannot_take_the_number_of_the_terminal(place):
    """Seen: behind more directories than there are numbers below the first duplicate's, a FIFO open for writing
    could be put where the terminal was, and be written to."""
    os.mkfifo(place / 'fifo')
    stray = os.open(place / 'fifo', os.O_RDWR)
    allowed = []
    for number in range(31):
        (place / f'{number}').mkdir()
        allowed.append(f'--allow={place}/{number}')
    code, text = on_terminal('digest', *allowed, place / 'image', f'/dev/fd/{stray}', inherited=[stray],
                             env=environment('the_stray_at_the_terminal', OPENING, stray))
    os.set_blocking(stray, False)
    with pytest.raises(BlockingIOError):
        os.read(stray, 1)
    os.close(stray)
    assert code == 97, text
    assert outcome_of(text) == NO_SUCH_CALL


# ---- holes ----

@pytest.mark.parametrize('command', ['convert', 'compare'])
def test_holes_of_image_files_are_seen_without_opening_them_again(sandbox, tmp_path, command):  # noqa: F811
    """With all files open nothing is opened: the library asks for holes by the descriptor it has."""
    image = tmp_path / 'image'
    qemu_img('create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', image, '8G')
    second = tmp_path / 'other'
    if command == 'compare':
        qemu_img('create', '-q', '-f', 'qcow2', second, '8G')
    result = subprocess.run([toolrun.TOOL, command, '--require-sandbox', '--stats=json', '-q', image, second],
                            stderr=subprocess.PIPE, timeout=60, check=True)
    counters = [json.loads(line) for line in result.stderr.splitlines()]
    assert counters and not any(counter['bytes_read'] for counter in counters)


@pytest.mark.parametrize('command', ['convert', 'compare'])
def test_holes_of_granted_files_are_seen_without_opening_them_again(sandbox, tmp_path, monkeypatch, command):  # noqa: F811
    """Seen: of a parent and a data file, which the grant had opened, all holes were read."""
    monkeypatch.chdir(tmp_path)
    for name in ('base.raw', 'data.raw'):
        with open(name, 'wb') as file:
            file.truncate(8 << 30)
    image, second = tmp_path / 'image', tmp_path / 'other'
    for kind in (['-b', 'base.raw', '-F', 'raw'], ['-o', 'data_file=data.raw,preallocation=metadata']):
        qemu_img('create', '-q', '-f', 'qcow2', *kind, image, '8G')
        if command == 'compare':
            qemu_img('create', '-q', '-f', 'qcow2', second, '8G')
        result = subprocess.run([toolrun.TOOL, command, '--require-sandbox', '--stats=json', '-q', image, second],
                                stderr=subprocess.PIPE, timeout=60, check=True)
        counters = [json.loads(line) for line in result.stderr.splitlines()]
        # qemu-img writes a block of a data file that it makes.
        assert counters and all(counter['bytes_read'] <= 4096 for counter in counters), kind
        image.unlink()
        second.unlink()
