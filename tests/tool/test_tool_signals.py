# SPDX-License-Identifier: MIT
"""Ctrl-C and its kin: nothing unfinished is left, the exit code tells, and nothing hangs."""

import ctypes
import os
import platform
import pty
import re
import resource
import signal
import struct
import subprocess
import time

import pytest

import toolrun
from chainrun import encrypted, number_at, patch
from vetting import build

# As many as the library takes without being asked.
SLOW_ITERATIONS = 32 << 20
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


# Those that end a program by default, beside these.
OTHERS = ['SIGQUIT', 'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGUSR2', 'SIGSEGV', 'SIGALRM', 'SIGXCPU',
          'SIGVTALRM', 'SIGPROF', 'SIGSYS', 'SIGIO', 'SIGPWR', 'SIGSTKFLT', 'SIGRTMAX']
# SIGRTMIN of glibc is a signal that musl keeps for itself.
OTHERS = [getattr(signal, name) for name in OTHERS if hasattr(signal, name)] + [signal.SIGRTMIN + 1]
# A sanitizer leaves the program its faults.
OWN_FAULTS = {**os.environ, 'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') +
              ':handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0'}
TGKILL = {'x86_64': 234, 'aarch64': 131}


def without_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def start(*words, **options):
    options.setdefault('stderr', subprocess.PIPE)
    return subprocess.Popen([toolrun.TOOL, *[os.fspath(word) for word in words]],
                            stdin=subprocess.DEVNULL, **options)


def processor_seconds(process):
    with open(f'/proc/{process.pid}/stat') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def wait_until(condition, process):
    end = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)


def hidden_file_grows(directory):
    for name in os.listdir(directory):
        if name.startswith('.'):
            return os.stat(os.path.join(directory, name)).st_blocks > 0
    return False


@pytest.mark.parametrize('number', CODES)
@pytest.mark.parametrize('exists', [True, False])
def test_convert_to_a_file(endless, tmp_path, number, exists):
    out = tmp_path / 'out.raw'
    if exists:
        out.write_bytes(b'old')
    process = start('convert', endless, out)
    try:
        wait_until(lambda: hidden_file_grows(tmp_path), process)
        process.send_signal(number)
        _, text = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == CODES[number]
    assert text.decode() == f'qcow2: {out}: stopped by {number.name}, not complete\n'
    assert os.listdir(tmp_path) == (['out.raw'] if exists else [])
    if exists:
        assert out.read_bytes() == b'old'


@pytest.mark.parametrize('words', [['convert', '{image}', '-'], ['cat', '{image}']])
@pytest.mark.parametrize('number', CODES)
def test_stuck_in_a_pipe_nobody_reads(endless, words, number):
    reader, writer = os.pipe()
    process = start(*[word.format(image=endless) for word in words], stdout=writer)
    os.close(writer)
    try:
        time.sleep(0.5)  # the pipe is full long before
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(10) == CODES[number]
    finally:
        process.kill()
        os.close(reader)


def test_waiting_for_the_reader_of_a_pipe(endless, tmp_path):
    os.mkfifo(tmp_path / 'fifo')
    process = start('convert', endless, tmp_path / 'fifo')
    try:
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    finally:
        process.kill()


def test_digest(endless):
    process = start('digest', endless, stdout=subprocess.PIPE)
    try:
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, text = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == b'' and b'stopped by SIGINT' in text


@pytest.mark.parametrize('number', CODES)
def test_way_back_through_a_disk_without_end(tmp_path, number):
    """5000 snapshots of one L1 table of a MiB, without a limit; nothing refers to the byte, so nothing is found on
    the way."""
    at, l2, entries = 1 << 23, 1 << 22, 1 << 17
    snapshots = [build.Snapshot(id=b'%d' % number, l1=[], l1_entries=entries, l1_offset=at, disk_size=1 << 50)
                 for number in range(5000)]
    image = build.Image(cluster_bits=16, size=1 << 20, snapshots=snapshots,
                        writes=[(l2, bytes(65536)), (at, struct.pack('>Q', l2) * entries)])
    process = start('explain', '--no-limit', '--host', '1M', image.write(tmp_path / 'image.qcow2'),
                    stdout=subprocess.PIPE)
    try:
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(number)
        out, _ = process.communicate(timeout=10)
    finally:
        process.kill()
    # The line that repeats the question may have been written already.
    assert process.returncode == CODES[number] and len(out.splitlines()) <= 1


@pytest.fixture(scope='module')
def slow_to_open(tmp_path_factory):
    """Words that open an encrypted image whose key takes a minute to find out."""
    image = tmp_path_factory.mktemp('slow') / 'luks.qcow2'
    key = encrypted(image, '1M', 'write -P 5 0 64k')
    luks_at = number_at(image, image.read_bytes().index(b'\x05\x37\xbe\x77') + 8)
    for slot in range(8):  # the second field of each
        patch(image, luks_at + 208 + 48 * slot + 4, struct.pack('>I', SLOW_ITERATIONS))
    return [image, '--key-file', key]


@pytest.mark.parametrize('words', [['digest'], ['compare', '{image}'], ['cat'], ['map'],
                                   ['explain', '--host', '0'], ['convert', '{image}-out']])
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_while_an_image_is_opened(slow_to_open, words, number):
    """Seen: digest and compare only made a note of the first one, and nobody looked at it for minutes."""
    command, *more = [word.format(image=slow_to_open[0]) for word in words]
    process = start(command, *slow_to_open, *more, stdout=subprocess.PIPE)
    try:
        wait_until(lambda: processor_seconds(process) > 0.2, process)
        process.send_signal(number)
        process.communicate(timeout=5)
    finally:
        process.kill()
    assert process.returncode == CODES[number]
    assert not [name for name in os.listdir(slow_to_open[0].parent) if name.startswith('.')]


def test_second_signal_ends_at_once_and_cleans_up(endless, tmp_path):
    """Also when the first was sent a moment ago and the copy has not come round to it."""
    process = start('convert', endless, tmp_path / 'out.raw')
    try:
        wait_until(lambda: hidden_file_grows(tmp_path), process)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) in (130, 143)
    finally:
        process.kill()
    assert os.listdir(tmp_path) == []


def test_ignored_hangup_stays_ignored(images, endless, tmp_path):
    """As nohup sets it."""
    process = start('convert', endless, tmp_path / 'out.raw',
                    preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    try:
        wait_until(lambda: hidden_file_grows(tmp_path), process)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
    assert os.listdir(tmp_path) == []


def test_interrupted_bar_ends_its_line(endless, tmp_path):
    for words in (['convert', endless, tmp_path / 'out.raw'], ['convert', endless, '/dev/null']):
        master, slave = pty.openpty()
        process = start(*words, stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        try:
            shown = os.read(master, 4096)
            while b'%' not in shown:
                shown += os.read(master, 4096)
            process.send_signal(signal.SIGINT)
            try:
                while True:
                    part = os.read(master, 65536)
                    if not part:
                        break
                    shown += part
            except OSError:
                pass
            assert process.wait(30) == 130
        finally:
            process.kill()
            os.close(master)
        assert shown.endswith(b'\n')


@pytest.mark.parametrize('words', [[], ['--no-sandbox']])
@pytest.mark.parametrize('number', OTHERS)
def test_other_signals_end_as_by_default_and_leave_nothing_unfinished(endless, tmp_path, number, words):
    """Seen: the unfinished file, decrypted data perhaps, was left by all but SIGINT, SIGTERM and SIGHUP. And a SIGSYS
    of another process was taken for an attack."""
    process = start('convert', *words, endless, tmp_path / 'out.raw', preexec_fn=without_core, env=OWN_FAULTS)
    try:
        wait_until(lambda: hidden_file_grows(tmp_path), process)
        process.send_signal(number)
        _, text = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == -number and text == b''
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(platform.machine() not in TGKILL, reason='the number of tgkill is not known here')
@pytest.mark.parametrize('number', [signal.SIGSEGV, signal.SIGBUS])
def test_fault_in_a_thread_of_a_copy_leaves_nothing_unfinished(endless, tmp_path, number):
    """All other signals are held back there, and reach the program by its first thread."""
    process = start('convert', '-m', '2', endless, tmp_path / 'out.raw', preexec_fn=without_core, env=OWN_FAULTS)
    try:
        wait_until(lambda: hidden_file_grows(tmp_path), process)
        threads = [int(name) for name in os.listdir(f'/proc/{process.pid}/task') if int(name) != process.pid]
        ctypes.CDLL(None).syscall(TGKILL[platform.machine()], process.pid, threads[0], int(number))
        assert process.wait(30) == -number
    finally:
        process.kill()
    assert os.listdir(tmp_path) == []


def test_limit_of_processor_time_leaves_nothing_unfinished(endless, tmp_path):
    def limit():
        without_core()
        resource.setrlimit(resource.RLIMIT_CPU, (1, 60))

    process = start('convert', endless, tmp_path / 'out.raw', preexec_fn=limit)
    try:
        assert process.wait(60) == -signal.SIGXCPU
    finally:
        process.kill()
    assert os.listdir(tmp_path) == []


def test_other_signals_that_are_ignored_stay_ignored(endless, tmp_path):
    process = start('convert', endless, tmp_path / 'out.raw',
                    preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN)
                                        for number in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM)])
    try:
        wait_until(lambda: hidden_file_grows(tmp_path), process)
        for number in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM):
            process.send_signal(number)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130 and text.count(b'\n') == 1


@pytest.mark.parametrize('words', [['convert', '{image}', '{out}'], ['convert', '-q', '{image}', '{out}'],
                                   ['convert', '{image}', '-'], ['digest', '{image}']])
def test_sigusr1_prints_the_progress_and_ends_nothing(endless, tmp_path, words):
    with open('/dev/null', 'wb') as null:
        process = start(*[word.format(image=endless, out=tmp_path / 'out.raw') for word in words], stdout=null)
    try:
        wait_until(lambda: processor_seconds(process) > 0.3, process)
        for _ in range(2):
            process.send_signal(signal.SIGUSR1)
            assert re.fullmatch(rb' {0,3}\d+%(  +[\d.]+ [KMG]iB/s  +[\d:.]+( s)? left)?\n', process.stderr.readline())
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    finally:
        process.kill()
    assert os.listdir(tmp_path) == []


def test_sigusr1_before_there_is_progress_leaves_nothing_unfinished(slow_to_open):
    process = start('convert', *slow_to_open, slow_to_open[0].with_name('out'))
    try:
        wait_until(lambda: processor_seconds(process) > 0.2, process)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(10) == -signal.SIGUSR1
    finally:
        process.kill()
    assert not [name for name in os.listdir(slow_to_open[0].parent) if name.startswith('.')]
