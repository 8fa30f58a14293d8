# SPDX-License-Identifier: MIT
"""The programs that the image tests run, and how their answers are read.

Ours: probe and random_reads (tests/reading) and the tool, from the build directory named by
QCOW2_BUILD (default: build at the root of the project), or each by its own variable QCOW2_PROBE,
QCOW2_RANDOM_READS, QCOW2_TOOL. QEMU's: qemu-img and qemu-io, whose bytes are the ones to match.
"""

import json
import os
import pathlib
import re
import resource
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('QCOW2_BUILD', ROOT / 'build')).absolute()
PROBE = os.environ.get('QCOW2_PROBE', str(BUILD / 'tests/reading/probe'))
RANDOM_READS = os.environ.get('QCOW2_RANDOM_READS', str(BUILD / 'tests/reading/random_reads'))
TOOL = os.environ.get('QCOW2_TOOL', str(BUILD / 'qcow2'))

# A hostile image must neither hang nor make us allocate what it asks for.
TIMEOUT_SECONDS = 10
MEMORY_BYTES = 256 << 20


def _is_sanitized(program):
    """Sanitizers reserve address space by the terabyte, so no memory limit can be set."""
    try:
        with open(program, 'rb') as file:
            return re.search(rb'__[at]san_init', file.read()) is not None
    except OSError:
        return False


def _has_32_bits(program):
    """What the fifth byte of an ELF file says."""
    try:
        with open(program, 'rb') as file:
            return file.read(5) == b'\x7fELF\x01'
    except OSError:
        return False


SANITIZED = _is_sanitized(PROBE)
# Set where the programs run under an emulator, which takes time and memory of its own.
EMULATED = 'QCOW2_EMULATED' in os.environ
HAS_32_BITS = _has_32_bits(PROBE)


def _limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def run(*command, timeout=120, check=True):
    """Runs a program; returns the finished process with text output."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors='replace',
                          timeout=timeout)
    assert not check or done.returncode == 0, f'{command}: {done.stdout}{done.stderr}'
    return done


# ---------------------------------------------------------------------------
# Ours

class Answer:
    """What probe printed. code, message: of the open; reads: bytes, or the code of the failure."""

    def __init__(self, raw):
        self.raw = raw
        self.code = raw['code']
        self.message = self._message(raw)
        self.size = raw.get('size')
        self.info = raw.get('info')
        self.features = raw.get('features')
        self.stats = raw.get('stats')
        self.reads = [bytes.fromhex(r['data']) if r['code'] == 'OK' else r['code']
                      for r in raw.get('reads', [])]
        self.read_errors = [self._error(r) for r in raw.get('reads', [])]
        self.messages = [self._message(r) for r in raw.get('reads', [])]
        assert all(r['stable'] for r in raw.get('reads', [])), 'two reads gave two answers'
        for part in ('info', 'extensions', 'extents'):
            if part in raw:
                self._message(raw[part])
        self.extensions = raw.get('extensions', {}).get('list')
        self.extents_code = raw.get('extents', {}).get('code')
        self.extents = [(e['offset'], e['length'], e['kind'])
                        for e in raw.get('extents', {}).get('list', [])]
        if 'extents' in raw:
            assert raw['extents']['finished'], 'the walk of the extents does not end'
            self._check_extents()

    @staticmethod
    def _error(part):
        return part.get('error')

    @staticmethod
    def _message(part):
        """The error's message, after a look at whether the error struct keeps its promises."""
        if part['code'] == 'OK':
            return None
        error = part['error']
        message = error['message']
        assert error['code'] == part['code'], 'the error struct and the return value differ'
        assert error['name'] not in ('success', 'unknown', '')
        assert 0 < len(message) < 256, 'no message'
        assert all(0x20 <= ord(c) < 0x7F for c in message), f'not printable: {message!r}'
        return message

    def _check_extents(self):
        """Extents touch, ascend and cover the disk (or the part before a failure)."""
        cursor = 0
        for offset, length, _ in self.extents:
            assert offset == cursor and length > 0
            cursor += length
        assert self.raw['extents']['cursor'] == cursor, 'a failure moved the cursor'
        if self.extents_code == 'OK':
            assert cursor == self.size

    def runs(self):
        """The extents with neighbours of one kind joined, as (offset, length, kind)."""
        joined = []
        for offset, length, kind in self.extents:
            if joined and joined[-1][2] == kind:
                joined[-1] = (joined[-1][0], joined[-1][1] + length, kind)
            else:
                joined.append((offset, length, kind))
        return joined


def probe(path, reads=(), flags=()):
    """Opens `path` with the library and does the reads [(offset, length)]. A crash, a hang, a huge
    allocation or a broken promise fails the test."""
    command = [PROBE, *flags]
    for offset, length in reads:
        command += ['--read', f'{offset}:{length}']
    done = subprocess.run([*command, str(path)], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=TIMEOUT_SECONDS * (10 if SANITIZED or EMULATED else 1),
                          preexec_fn=None if SANITIZED or EMULATED else _limit_memory)
    assert done.returncode == 0, f'probe died ({done.returncode}): {done.stderr.decode()}'
    assert not done.stderr, f'the library printed: {done.stderr.decode()}'
    raw = json.loads(done.stdout)
    assert 'broken_promise' not in raw, 'open left an image or an error where it must not'
    return Answer(raw)


def tool(*arguments, cwd=None):
    """The command, under the same limits; the finished process, with its output as bytes."""
    return subprocess.run([TOOL, *(str(part) for part in arguments)], cwd=cwd,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=TIMEOUT_SECONDS * (10 if SANITIZED else 1),
                          preexec_fn=None if SANITIZED else _limit_memory)


def random_reads(image, raw, *options):
    """Every byte of `image` against the file `raw`, from many threads."""
    return run(RANDOM_READS, *options, image, raw, timeout=300)


# ---------------------------------------------------------------------------
# QEMU's

def qemu_img(*arguments, check=True):
    return run('qemu-img', *arguments, check=check)


def qemu_io(image, *commands, read_only=False, options=()):
    """Runs qemu-io commands on an image; returns their output."""
    arguments = ['qemu-io', '-f', 'qcow2', *options] + (['-r'] if read_only else [])
    for command in commands:
        arguments += ['-c', command]
    return run(*arguments, image).stdout


def qemu_opens(path):
    """Whether QEMU opens the image for reading."""
    done = run('qemu-io', '-r', '-f', 'qcow2', '-c', 'length', path, check=False, timeout=30)
    return done.returncode == 0


def qemu_raw(image, raw):
    """Converts with qemu-img; returns the path of the raw file."""
    qemu_img('convert', '-f', 'qcow2', '-O', 'raw', image, raw)
    return raw


def qemu_reads(path, reads):
    """QEMU's bytes for each (offset, length), all multiples of 512; None where it fails."""
    command = ['qemu-io', '-r', '-f', 'qcow2']
    for offset, length in reads:
        command += ['-c', f'read -v {offset} {length}']
    done = run(*command, path, check=False)
    answers, current = [], bytearray()
    for line in done.stdout.splitlines() + done.stderr.splitlines():
        row = re.match(r'[0-9a-f]{8,}:  ((?:[0-9a-f]{2} )+)', line)
        if row:
            current += bytes.fromhex(row.group(1))
        elif line.startswith('read failed') or line.startswith('read '):
            answers.append(None if 'failed' in line else bytes(current))
            current = bytearray()
    assert len(answers) == len(reads), f'qemu-io: {done.stdout[-500:]}{done.stderr}'
    return answers
