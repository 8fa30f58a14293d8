# SPDX-License-Identifier: MIT
"""Keys of encrypted images: from a file, a descriptor, the terminal; the wrong one, and none."""

import errno
import hashlib
import os
import pty
import select
import signal
import subprocess
import termios
import time

import pytest

import toolrun
from chainrun import PASSPHRASE, encrypted, opened
from toolrun import fails_in_one_line, good, run, tool_json

CONTENT = b'\5' * (1 << 19) + bytes(1 << 19)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FORMS = ['luks', 'aes']


@pytest.fixture(scope='module', params=FORMS)
def secret(request, tmp_path_factory):
    path = tmp_path_factory.mktemp('keys') / f'{request.param}.qcow2'
    key = encrypted(path, '1M', 'write -P 5 0 512k', form=request.param)
    return path, key


@pytest.fixture(scope='module')
def luks(tmp_path_factory):
    path = tmp_path_factory.mktemp('luks') / 'luks.qcow2'
    return path, encrypted(path, '1M', 'write -P 5 0 512k')


def digest(*words, **options):
    return good('digest', *words, **options).stdout.split()[0].decode()


def test_key_from_a_file(secret):
    path, key = secret
    assert digest('--key-file', key, path) == DIGEST
    assert good('cat', path, '--key-file', key).stdout == CONTENT


def test_one_line_end_is_left_out_and_no_more(secret, tmp_path):
    path, _ = secret
    key = tmp_path / 'key'
    key.write_bytes(PASSPHRASE + b'\n')
    assert digest('--key-file', key, path) == DIGEST
    for wrong in (b'\n\n', b'\r\n', b' ', b'\0'):
        key.write_bytes(PASSPHRASE + wrong)
        result = run('digest', '--key-file', key, path)
        # Both forms pad a short key with zeros, so one more changes nothing; legacy AES cannot tell
        # that a key is wrong.
        if wrong == b'\0' or path.name == 'aes.qcow2':
            assert (result.stdout.split()[0].decode() == DIGEST) == (wrong == b'\0')
        else:
            fails_in_one_line(result, 'wrong passphrase')


def test_key_from_descriptors(secret, tmp_path):
    path, _ = secret
    assert digest('--key-file', '-', path, stdin=None, input=PASSPHRASE + b'\n') == DIGEST
    assert digest('--key-file', '/dev/fd/0', path, stdin=None, input=PASSPHRASE) == DIGEST
    reader, writer = os.pipe()
    os.write(writer, PASSPHRASE)
    os.close(writer)
    assert digest('--key-file', f'/dev/fd/{reader}', path, pass_fds=[reader]) == DIGEST
    os.close(reader)
    # From where it stands, which a name would not do.
    (tmp_path / 'file').write_bytes(b'before' + PASSPHRASE)
    fd = os.open(tmp_path / 'file', os.O_RDONLY)
    os.lseek(fd, 6, os.SEEK_SET)
    assert digest('--key-file', f'/dev/fd/{fd}', path, pass_fds=[fd]) == DIGEST
    os.close(fd)


def test_key_from_a_fifo(luks, tmp_path):
    path, _ = luks
    fifo = tmp_path / 'fifo'
    os.mkfifo(fifo)
    process = subprocess.Popen([toolrun.TOOL, 'digest', '--key-file', fifo, path],
                               stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    fifo.write_bytes(PASSPHRASE)
    assert process.communicate(timeout=60)[0].split()[0].decode() == DIGEST


def test_key_is_read_once_for_several_images(luks):
    path, _ = luks
    result = good('digest', '--key-file', '-', path, path, path, stdin=None, input=PASSPHRASE)
    assert [line.split()[0].decode() for line in result.stdout.splitlines()] == [DIGEST] * 3
    result = good('compare', '--key-file', '-', path, path, stdin=None, input=PASSPHRASE)
    assert result.stdout.startswith(b'the same')


def test_wrong_key_is_a_quick_clear_error(luks, tmp_path):
    path, _ = luks
    (tmp_path / 'wrong').write_bytes(b'not it')
    out = tmp_path / 'out'
    begin = time.monotonic()
    for words in (['digest', path], ['cat', path], ['map', path], ['convert', path, out],
                  ['explain', path, '0']):
        result = run(*words, '--key-file', tmp_path / 'wrong')
        fails_in_one_line(result, 'luks.qcow2: wrong passphrase', '--key-file')
        assert not result.stdout and not out.exists()
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize('command', ['digest', 'cat', 'map'])
def test_no_key_is_answered_with_how_to_give_one(secret, command):
    path, _ = secret
    result = run(command, path)
    fails_in_one_line(result, f'{path.name}: the image is encrypted', '--key-file FILE')
    assert not result.stdout


def test_key_is_not_needed_to_ask_about_an_image(secret):
    path, _ = secret
    assert tool_json('info', '--output=json', path)['encrypted'] is True
    assert run('check', path).returncode == 0


def test_key_files_that_cannot_be_read(luks, tmp_path):
    path, _ = luks
    def refused(name, *words):
        fails_in_one_line(run('digest', '--key-file', name, path), 'luks.qcow2: ', 'the key file',
                          *words)
    refused(tmp_path / 'missing', 'missing', 'No such file')
    refused(tmp_path, 'directory')
    refused('/dev/zero', '/dev/zero', 'longer than 65536 bytes')
    refused('/dev/fd/77', 'Bad file descriptor')
    (tmp_path / 'long').write_bytes(b'x' * 65537)
    refused(tmp_path / 'long', 'longer than 65536 bytes')


def test_key_file_of_an_image_that_needs_none_is_not_read(images):
    assert run('digest', '--key-file', '/nowhere', images['v3']).returncode == 0


def test_too_many_key_files(luks):
    path, key = luks
    fails_in_one_line(run('digest', path, *['--key-file', key] * 17), '--key-file', '16 times')


def test_key_never_appears_on_the_command_line():
    for command in toolrun.COMMANDS:
        text = good(command, '--help').stdout.decode()
        assert '--key=' not in text and '--password' not in text and '--passphrase' not in text


@pytest.mark.parametrize('options', [
    'encrypt.cipher-alg=aes-128', 'encrypt.hash-alg=sha1', 'encrypt.hash-alg=sha512',
    'encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256',
    'encrypt.cipher-mode=cbc,encrypt.ivgen-alg=plain'])
def test_info_of_luks_equals_qemu_img(tmp_path, options):
    path = tmp_path / 'image.qcow2'
    encrypted(path, '1M', options=options)
    ours = tool_json('info', '--output=json', path)
    assert 'encryption-problem' not in ours.pop('qcow2')
    assert ours == toolrun.qemu_json('info', '--output=json', path)
    assert len(ours['format-specific']['data']['encrypt']['slots']) == 8


def test_map_of_an_encrypted_image_tells_no_offsets(secret):
    path, key = secret
    ours = tool_json('map', '--output=json', '--key-file', key, path)
    theirs = toolrun.qemu_json('map', '--output=json', '--object', f'secret,id=key,file={key}',
                               '--image-opts', opened(path))
    assert ours == theirs
    table = good('map', '--key-file', key, path).stdout.decode().splitlines()
    assert table[1].split()[2] == 'encrypted'


# ---- the terminal ----

class Terminal:
    """The tool with a terminal of its own as standard input, output and error."""

    def __init__(self, *words):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(toolrun.TOOL, [toolrun.TOOL, *map(os.fspath, words)])
        self.text = b''

    def read_until(self, wanted):
        while wanted not in self.text:
            ready, _, _ = select.select([self.fd], [], [], 30)
            assert ready, self.text
            try:
                piece = os.read(self.fd, 4096)
            except OSError as error:
                assert error.errno == errno.EIO
                piece = b''
            assert piece, self.text
            self.text += piece

    def echo(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def finish(self):
        """Exit code, all that was printed."""
        try:
            while True:
                piece = os.read(self.fd, 4096)
                if not piece:
                    break
                self.text += piece
        except OSError:
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status), self.text


def wait_for_silence(terminal):
    deadline = time.monotonic() + 30
    while terminal.echo():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_terminal_is_asked_without_echo(secret):
    path, _ = secret
    terminal = Terminal('digest', '-q', path)
    terminal.read_until(b'Passphrase for ')
    wait_for_silence(terminal)
    os.write(terminal.fd, PASSPHRASE + b'\n')
    terminal.read_until(DIGEST.encode())
    assert terminal.echo()
    code, text = terminal.finish()
    assert code == 0 and PASSPHRASE not in text and path.name.encode() in text


def test_wrong_answer_is_an_error(luks):
    terminal = Terminal('digest', '-q', luks[0])
    terminal.read_until(b'Passphrase for ')
    wait_for_silence(terminal)
    os.write(terminal.fd, b'wrong\n')
    code, text = terminal.finish()
    assert code == 1 and b'wrong passphrase' in text


@pytest.mark.parametrize('command', ['digest', 'cat'])
@pytest.mark.parametrize('how', ['key', 'signal', 'other signal'])
def test_signal_leaves_the_terminal_as_it_was(luks, command, how):
    """The echo comes back."""
    terminal = Terminal(command, luks[0])
    terminal.read_until(b'Passphrase for ')
    wait_for_silence(terminal)
    if how == 'key':
        os.write(terminal.fd, b'\x03')
    else:
        os.kill(terminal.pid, signal.SIGTERM if how == 'signal' else signal.SIGUSR2)
    deadline = time.monotonic() + 30
    while not terminal.echo():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    code, _ = terminal.finish()
    if how == 'other signal':
        assert code == -signal.SIGUSR2
        return
    number = signal.SIGINT if how == 'key' else signal.SIGTERM
    assert code == 128 + number


def test_end_of_input_is_no_passphrase(luks):
    terminal = Terminal('digest', luks[0])
    terminal.read_until(b'Passphrase for ')
    wait_for_silence(terminal)
    os.write(terminal.fd, b'\x04')
    code, text = terminal.finish()
    assert code == 1 and b'no passphrase' in text


def test_interrupted_by_a_stop_signal_it_asks_again(luks):
    """Here nobody could continue it, so that it is not stopped; but the question is asked anew."""
    terminal = Terminal('digest', '-q', luks[0])
    terminal.read_until(b'Passphrase for ')
    wait_for_silence(terminal)
    terminal.text = b''
    os.kill(terminal.pid, signal.SIGTSTP)
    terminal.read_until(b'Passphrase for ')
    wait_for_silence(terminal)
    os.write(terminal.fd, PASSPHRASE + b'\n')
    code, text = terminal.finish()
    assert code == 0 and DIGEST.encode() in text


def test_name_of_the_image_is_made_harmless_in_the_question(tmp_path):
    path = tmp_path / 'a\x1b[31m.qcow2'
    encrypted(path, '1M', form='aes')
    terminal = Terminal('digest', '-q', path)
    terminal.read_until(b'Passphrase for ')
    wait_for_silence(terminal)
    os.write(terminal.fd, b'x\n')
    _, text = terminal.finish()
    assert b'\x1b' not in text.split(b'\n')[0] and b'\\x1b' in text
