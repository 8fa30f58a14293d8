# SPDX-License-Identifier: MIT
"""Progress: on a terminal by itself, elsewhere when asked for, never with -q; and what a terminal may
be given."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

import toolrun
from toolrun import fails_in_one_line, good, run


def on_terminal(words, columns=80, stdout=None):
    """Runs with standard error (and output, unless given) on a terminal; what it showed, and the code."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    process = subprocess.Popen([toolrun.TOOL, *[os.fspath(word) for word in words]],
                               stdin=subprocess.DEVNULL, stdout=slave if stdout is None else stdout,
                               stderr=slave, close_fds=True)
    os.close(slave)
    shown = b''
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(master)
    return shown.decode(), process.wait(toolrun.TIMEOUT)


@pytest.fixture(scope='module')
def busy(tmp_path_factory):
    """2 GiB that take a moment to decompress."""
    return toolrun.write_endless(tmp_path_factory.mktemp('busy') / 'busy.qcow2', 2)


def screens(shown):
    """The states of the line, and what stands below it at the end."""
    *states, last = shown.split('\r')
    return [state for state in states if state.strip()], last


@pytest.mark.parametrize('columns', [80, 200, 30, 12])
@pytest.mark.parametrize('command', ['convert', 'digest'])
def test_bar_on_a_terminal(busy, tmp_path, command, columns):
    words = [command, busy] + (['/dev/null'] if command == 'convert' else [])
    with open(tmp_path / 'out', 'wb') as out:
        shown, code = on_terminal(words, columns, stdout=out)
    assert code == 0
    states, _ = screens(shown.replace('\r\n', '\n'))
    bars = [state for state in states if '%' in state]
    assert bars
    for state in bars:
        assert len(state) < columns, state
        assert re.match(r' {0,3}\d+% ', state)
    percents = [int(state.split('%')[0]) for state in bars]
    assert percents == sorted(percents) and 0 <= percents[0] and percents[-1] <= 100
    if columns >= 80:
        assert all('[' in state for state in bars)
        assert any(re.search(r'\d (KiB|MiB|GiB)/s', state) for state in bars)
        assert any(re.search(r'\d( s|:\d\d) left', state) for state in bars)


def test_bar_is_wiped_and_a_summary_left(busy):
    shown, code = on_terminal(['convert', busy, '/dev/null'])
    assert code == 0
    states, _ = screens(shown.replace('\r\n', '\n'))
    blank = shown.rfind('\r' + ' ' * 79 + '\r')
    assert blank > 0
    assert re.fullmatch(r'/dev/null: 2 GiB in [\d.:]+( s)?, [\d.]+ [MG]iB/s\r\n',
                        shown[blank:].lstrip('\r '))


def test_quiet_shows_nothing_on_a_terminal(busy, images, tmp_path):
    shown, code = on_terminal(['convert', '-q', images['v3'], tmp_path / 'out'])
    assert (shown, code) == ('', 0)
    with open(tmp_path / 'digest', 'wb') as out:
        shown, code = on_terminal(['digest', '--quiet', images['v3']], stdout=out)
    assert (shown, code) == ('', 0)


def test_error_on_a_terminal_stands_on_a_line_of_its_own(tmp_path):
    source = toolrun.create(tmp_path / 'source', '8M', 'write -P 1 0 4M')
    image = toolrun.compress(source, tmp_path / 'image')
    content = bytearray(image.read_bytes())
    content[-65536:] = bytes(65536)
    image.write_bytes(content)
    shown, code = on_terminal(['convert', image, '/dev/null'])
    assert code == 1
    assert re.search(r'(^|\r|\n)qcow2: [^\r\n]*\r\n$', shown)


def test_forced_progress_in_a_file_is_plain_lines(busy, tmp_path):
    for option in ('-p', '--progress'):
        result = run('convert', option, busy, '/dev/null')
        assert result.returncode == 0
        lines = result.stderr.decode().splitlines()
        assert '\r' not in result.stderr.decode() and '\x1b' not in result.stderr.decode()
        assert lines[-1].startswith('/dev/null: 2 GiB in ')
        assert lines[-2].startswith(' 100%')
        assert all(re.match(r' {0,3}\d+%', line) for line in lines[:-1])
    result = run('digest', '-p', busy)
    assert b'100%' in result.stderr and len(result.stdout.split()[0]) == 64


def test_quiet_wins_over_progress(images, tmp_path):
    good('convert', '-p', '-q', images['v3'], tmp_path / 'out')
    good('digest', '-q', '-p', images['v3'])


@pytest.mark.parametrize('command', ['convert', 'cat'])
def test_terminal_is_given_no_disk_unless_forced(images, command):
    words = [command, images['sector']] + (['-'] if command == 'convert' else [])
    shown, code = on_terminal(words)
    assert code == 1
    assert re.fullmatch(r'qcow2: standard output: is a terminal[^\r\n]*--force\r\n', shown)
    shown, code = on_terminal([*words, '--force', '-q'])
    assert code == 0 and shown == '\x01' * 512


def test_terminal_by_its_own_name_is_refused_too(images, tmp_path):
    master, slave = pty.openpty()
    try:
        fails_in_one_line(run('convert', images['sector'], os.ttyname(slave)), 'terminal', '--force')
    finally:
        os.close(slave)
        os.close(master)
