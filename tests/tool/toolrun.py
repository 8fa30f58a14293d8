# SPDX-License-Identifier: MIT
"""Running the tool and qemu-img, and making images small and large for it.

The tool is $QCOW2_TOOL, or build/qcow2 of the checkout."""

import functools
import json
import os
import pathlib
import resource
import struct
import subprocess
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = os.path.abspath(os.environ.get('QCOW2_TOOL', ROOT / 'build' / 'qcow2'))
TIMEOUT = 120

COMMANDS = ['info', 'map', 'convert', 'cat', 'digest', 'check', 'compare', 'explain', 'vet']


def run(*args, **options):
    """The tool with these arguments; output as bytes, nothing checked."""
    options.setdefault('stdin', subprocess.DEVNULL)
    if 'stdout' not in options:
        options['stdout'] = subprocess.PIPE
    if 'stderr' not in options:
        options['stderr'] = subprocess.PIPE
    return subprocess.run([TOOL, *[os.fspath(a) for a in args]], timeout=TIMEOUT, **options)


def run_as(user, group, groups, tool, place, *words):
    """Runs a copy of the tool for another user, in a directory that only its descriptor leads to: the directories of
    a test session are root's alone. Words that begin with a dash, and the first, are no names in there."""
    descriptor, program = os.open(place, os.O_PATH), os.open(tool, os.O_PATH)
    try:
        named = [word if word.startswith('-') else f'/proc/self/fd/{descriptor}/{word}' for word in words[1:]]
        return subprocess.run([f'/proc/self/fd/{program}', words[0], *named], user=user, group=group,
                              extra_groups=groups, timeout=TIMEOUT, pass_fds=[descriptor, program],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        os.close(descriptor)
        os.close(program)


def good(*args, **options):
    """The same for a run that must succeed without a word on standard error."""
    result = run(*args, **options)
    assert result.returncode == 0, result.stderr
    assert not result.stderr, result.stderr
    return result


# What the program takes of its own, that its libraries have included.
BASE_MEMORY = 2 << 20


def limited(memory, *words):
    """Exit code and output of the tool with that much memory to have (and small stacks for its
    threads)."""
    def limit():
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_STACK, (1 << 18, 1 << 18))
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    with subprocess.Popen([TOOL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=limit) as child:
        output, _ = child.communicate()
        return child.returncode, output


@functools.lru_cache(maxsize=None)
def is_measurable():
    """A sanitizer takes more than the program, and its time: then only the answers are looked at."""
    return limited(BASE_MEMORY, '--version')[0] == 0


def cheap(*words, seconds=10, memory=64 << 20, **options):
    """A run in no more than so much processor time and memory, where that can be measured."""
    def limit():
        if is_measurable():
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    is_measurable()
    return run(*words, preexec_fn=limit, **options)


def fails_in_one_line(result, *words, code=1):
    """One line on standard error beginning with the program's name, holding `words`; that code."""
    text = result.stderr.decode()
    assert result.returncode == code, (result.returncode, text)
    assert text.startswith('qcow2: ') and text.endswith('\n') and text.count('\n') == 1, text
    for word in words:
        assert word in text, text
    return text


def qemu_img(*args):
    return subprocess.run(['qemu-img', *[os.fspath(a) for a in args]], check=True,
                          stdout=subprocess.PIPE, timeout=TIMEOUT).stdout


def qemu_io(path, *commands):
    words = ['qemu-io', '-f', 'qcow2']
    for command in commands:
        words += ['-c', command]
    subprocess.run([*words, os.fspath(path)], check=True, stdout=subprocess.PIPE, timeout=TIMEOUT)


def create(path, size, *commands, options=''):
    """An image by qemu-img, written to by qemu-io."""
    words = ['create', '-q', '-f', 'qcow2']
    if options:
        words += ['-o', options]
    qemu_img(*words, path, size)
    if commands:
        qemu_io(path, *commands)
    return path


def compress(source, path, options=''):
    words = ['convert', '-c', '-f', 'qcow2', '-O', 'qcow2']
    if options:
        words += ['-o', options]
    qemu_img(*words, source, path)
    return path


def tool_json(*args):
    return json.loads(good(*args).stdout)


def qemu_json(*args):
    return json.loads(qemu_img(*args))


def write_one_table(path, cluster_bits, size, l1_size, make_rest):
    """A small image of a disk of that size, in which every L1 entry points at one L2 table. make_rest(OFFSET) is
    that table and all behind it, whose first byte is at OFFSET."""
    cluster = 1 << cluster_bits
    table_at = (3 + -(-l1_size * 8 // cluster)) * cluster
    header = struct.pack('>4sIQIIQIIQQIIQQQQII', b'QFI\xfb', 3, 0, 0, cluster_bits, size, 0, l1_size,
                         3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, 104)
    with open(path, 'wb') as file:
        file.write(header)
        file.seek(cluster)
        file.write(struct.pack('>Q', 2 * cluster))
        file.seek(3 * cluster)
        file.write(struct.pack('>Q', table_at) * l1_size)
        file.seek(table_at)
        file.write(make_rest(table_at + cluster))
        file.truncate(max(file.tell(), table_at + cluster))
    return path


def write_alternating(path, l1_size):
    """A disk whose tables are long: every other cluster is stored, all in one place."""
    cluster = 1 << 16
    return write_one_table(path, 16, l1_size << 29, l1_size,
                           lambda data_at: struct.pack('>QQ', data_at, 0) * (cluster // 16) + b'x' * cluster)


def write_endless(path, gib, cluster_bits=16):
    """A tiny image of a disk that is large and full: all entries point at one compressed cluster. Takes long to
    convert, and no time to make."""
    cluster = 1 << cluster_bits
    entries = cluster // 8
    packer = zlib.compressobj(1, zlib.DEFLATED, -12)
    payload = packer.compress((bytes(range(1, 252)) * (cluster // 251 + 1))[:cluster])
    payload += packer.flush()
    sectors = -(-len(payload) // 512)
    descriptor = 1 << 62 | (sectors - 1) << (62 - (cluster_bits - 8))
    return write_one_table(path, cluster_bits, gib << 30, -(-(gib << 30) // (cluster * entries)),
                           lambda stream_at: struct.pack('>Q', descriptor | stream_at) * entries
                           + payload.ljust(sectors * 512, b'\0'))
