# SPDX-License-Identifier: MIT
"""Open files that the parent did not mean for the tool: it closes them, since no sandbox would."""

import os
import resource
import subprocess

import pytest

import toolrun
from chainrun import PASSPHRASE, encrypted
from kernels import without
from toolrun import good

CLOSE_RANGE = 436  # on every machine

# What the system has: close_range(2), or the list of descriptors alone.
SYSTEMS = {'close_range': None, 'list': without(CLOSE_RANGE)}


def held(process, path):
    """The descriptors that the process has on a file."""
    place = f'/proc/{process.pid}/fd'
    return [int(name) for name in os.listdir(place) if os.readlink(f'{place}/{name}') == str(path)]


@pytest.mark.parametrize('system', SYSTEMS)
@pytest.mark.parametrize('number', [3, 7, 900])
def test_descriptor_open_for_writing_does_not_survive_into_the_sandbox(endless, tmp_path, system, number):
    """Seen: no call of the sandbox's list opens a file for writing, but one was open already."""
    path = tmp_path / 'precious'
    path.write_bytes(b'precious')
    script = f'exec {number}<>"$0"; exec "$@"'
    process = subprocess.Popen(['bash', '-c', script, path, toolrun.TOOL, 'cat', endless],
                               stdout=subprocess.PIPE, preexec_fn=SYSTEMS[system])
    try:
        assert len(process.stdout.read(1)) == 1
        assert held(process, path) == []
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def high_limit():
    """As many descriptors may be open as the system lets us say: a million, where we are its master."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(1 << 20, before[1]), before[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            break
        except (OSError, ValueError):
            pass
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0], resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def processor_seconds_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize('system', SYSTEMS)
def test_high_limit_costs_no_time(images, high_limit, system):
    image = images['fresh']
    before = processor_seconds_of_children()
    for _ in range(5):
        good('info', image, preexec_fn=SYSTEMS[system])
    assert processor_seconds_of_children() - before < 5 * 0.2


@pytest.mark.parametrize('system', SYSTEMS)
@pytest.mark.parametrize('directory', ['/dev/fd', '/proc/self/fd'])
def test_descriptor_that_an_operand_names_stays(images, tmp_path, system, directory):
    with open(images['v3'], 'rb') as image, open(tmp_path / 'out', 'w+b') as out:
        place = os.open(tmp_path, os.O_PATH)
        words = [f'{directory}/{image.fileno()}', f'{directory}/{out.fileno()}']
        options = {'pass_fds': [image.fileno(), out.fileno(), place], 'preexec_fn': SYSTEMS[system]}
        good('convert', *words, **options)
        content = good('cat', images['v3']).stdout
        assert (tmp_path / 'out').read_bytes() == content
        good('convert', words[0], f'{directory}/{place}/below', **options)
        assert (tmp_path / 'below').read_bytes() == content
        os.close(place)


@pytest.fixture(scope='module')
def luks(tmp_path_factory):
    image = tmp_path_factory.mktemp('luks') / 'luks.qcow2'
    encrypted(image, '1M', 'write -P 5 0 64k')
    return image


@pytest.mark.parametrize('system', SYSTEMS)
@pytest.mark.parametrize('words', [['--key-file', '{}'], ['--key-file={}'], ['--key={}']])
def test_descriptor_that_an_option_names_stays(luks, system, words):
    reader, writer = os.pipe()
    os.write(writer, PASSPHRASE)
    os.close(writer)
    try:
        assert good('cat', '-l', '1', luks, *[word.format(f'/dev/fd/{reader}') for word in words],
                    pass_fds=[reader], preexec_fn=SYSTEMS[system]).stdout == b'\5'
    finally:
        os.close(reader)


def test_standard_descriptors_stay(images):
    with open(images['v3'], 'rb') as image:
        assert good('cat', '/dev/fd/0', stdin=image).stdout == good('cat', images['v3']).stdout


@pytest.mark.skipif(not os.path.exists('/proc/self/fdinfo/0'), reason='no list of descriptors')
@pytest.mark.parametrize('way', ['<>', '>>'])
def test_file_that_is_only_read_is_not_open_for_writing(endless, tmp_path, way):
    """Seen: standard input after `<>` was a file that the sandbox let be written, cut and given another
    mode. The same of a descriptor that an argument names."""
    path = tmp_path / 'precious'
    path.write_bytes(b'precious')
    script = f'exec 0{way}"$0" 5{way}"$0"; exec "$@"'
    process = subprocess.Popen(['bash', '-c', script, path, toolrun.TOOL, 'cat', '--key-file',
                                '/dev/fd/5', endless], stdout=subprocess.PIPE)
    try:
        assert len(process.stdout.read(1)) == 1
        assert sorted(held(process, path)) == [0, 5]
        for number in (0, 5):
            with open(f'/proc/{process.pid}/fdinfo/{number}') as file:
                flags = dict(line.split(':', 1) for line in file if ':' in line)['flags']
            assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
    finally:
        process.kill()
        process.communicate()
    assert path.read_bytes() == b'precious'


def test_key_is_read_from_where_the_descriptor_stands(tmp_path):
    image, key = tmp_path / 'image', tmp_path / 'key'
    encrypted(image, '1M', 'write -P 5 0 512k')
    key.write_bytes(b'another' + PASSPHRASE)
    for name, script in (('-', 'exec 0<>"$0"; read -N 7 x; exec "$@"'),
                         ('/dev/fd/5', 'exec 5<>"$0"; read -N 7 x <&5; exec "$@"')):
        result = subprocess.run(['bash', '-c', script, key, toolrun.TOOL, 'cat', '-l', '1',
                                 '--key-file', name, image], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=60)
        assert result.stdout == b'\5', result.stderr
