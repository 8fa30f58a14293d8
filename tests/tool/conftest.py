# SPDX-License-Identifier: MIT
"""What the tests of the tool share: a set of images made by qemu-img, of every sort it can write that
stands alone, and a word if nothing has been built."""

import os
import subprocess

import pytest

import toolrun


def pytest_sessionstart(session):
    if not os.access(toolrun.TOOL, os.X_OK) and not session.config.option.collectonly:
        pytest.exit(f'not built: {toolrun.TOOL} (set QCOW2_TOOL)', returncode=2)


MIXED = ('write -P 1 0 300k', 'write -P 2 1M 1536k', 'write -z 3M 640k', 'write -P 3 5000k 37k',
         'discard 1M 256k', 'write -P 0 6M 128k', 'write -z -u 1536k 64k')

# name: size, qemu-img options, qemu-io commands
PLAIN = {
    'empty': ('0', '', ()),
    'fresh': ('64M', '', ()),
    'sector': ('512', '', ('write -P 1 0 512',)),
    'v2': ('8M', 'compat=0.10', tuple(c for c in MIXED if 'write -z' not in c)),
    'v2_4k': ('3M', 'compat=0.10,cluster_size=4k', ('write -P 1 4k 1M', 'write -P 2 2M 4k')),
    'v3': ('8M', 'compat=1.1', MIXED),
    'cs512': ('7M', 'cluster_size=512', MIXED),
    'cs1k': ('7M', 'cluster_size=1k', MIXED),
    'cs4k': ('7M', 'cluster_size=4k', MIXED),
    'cs2m': ('9M', 'cluster_size=2M', MIXED),
    'lazy': ('8M', 'lazy_refcounts=on', MIXED),
    'refcount1': ('8M', 'refcount_bits=1', MIXED),
    'refcount2': ('8M', 'refcount_bits=2', MIXED),
    'refcount32': ('8M', 'refcount_bits=32', MIXED),
    'refcount64': ('8M', 'refcount_bits=64', MIXED),
    'odd_size': ('7345664', 'cluster_size=64k', MIXED),
    'odd_sector': ('1000448', 'cluster_size=4k', ('write -P 5 999936 512', 'write -P 6 0 7k')),
    'pre_metadata': ('8M', 'preallocation=metadata', ()),
    'pre_metadata_used': ('8M', 'preallocation=metadata', ('write -P 5 1M 200k',
                                                           'write -P 5 4M 4k')),
    'pre_metadata_4k': ('8M', 'preallocation=metadata,cluster_size=4k', ('write -P 5 1M 200k',)),
    'pre_metadata_2m': ('64M', 'preallocation=metadata,cluster_size=2M', ('write -P 5 8M 3M',)),
    'pre_metadata_cut': ('32M', 'preallocation=metadata', ('write -P 5 1M 2M', 'discard 8M 8M')),
    'pre_falloc': ('8M', 'preallocation=falloc', ('write -P 5 1M 200k',)),
    'pre_falloc_cut': ('32M', 'preallocation=falloc', ('write -P 5 1M 2M', 'discard 8M 16M')),
    'pre_full': ('8M', 'preallocation=full', ('write -P 5 1M 200k',)),
    'all_zero': ('8M', '', ('write -z 0 8M',)),
    'discarded': ('8M', '', ('write -P 1 0 8M', 'discard 0 6M')),
    'sparse_1t': ('1T', '', ('write -P 1 300G 64k', 'write -P 2 700G 1M', 'write -z 900G 64M')),
    'scattered': ('64M', 'cluster_size=4k',
                  tuple(f'write -P {1 + i % 200} {i * 7919 % 16384 * 4}k 4k' for i in range(300))),
}

COMPRESSED = {
    'deflate': ('v3', ''),
    'deflate_512': ('v3', 'cluster_size=512'),
    'deflate_4k': ('cs4k', 'cluster_size=4k'),
    'deflate_2m': ('cs2m', 'cluster_size=2M'),
    'deflate_v2': ('v2', 'compat=0.10'),
    'deflate_odd': ('odd_size', ''),
    'zstd': ('v3', 'compression_type=zstd'),
    'zstd_4k': ('cs4k', 'compression_type=zstd,cluster_size=4k'),
    'zstd_odd': ('odd_size', 'compression_type=zstd'),
}

NAMES = [*PLAIN, *COMPRESSED, 'half_compressed']


class Images:
    """Makes images when they are first asked for."""

    def __init__(self, directory):
        self.directory = directory

    def __getitem__(self, name):
        path = self.directory / f'{name}.qcow2'
        if path.exists():
            return path
        if name in PLAIN:
            size, options, commands = PLAIN[name]
            return toolrun.create(path, size, *commands, options=options)
        if name in COMPRESSED:
            source, options = COMPRESSED[name]
            return toolrun.compress(self[source], path, options)
        assert name == 'half_compressed'
        return toolrun.create(path, '8M', 'write -c -P 1 0 64k', 'write -c -P 2 64k 64k',
                              'write -P 3 128k 128k', 'write -c -P 4 1M 64k', 'write -z 2M 64k')


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    return Images(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='session')
def endless(tmp_path_factory):
    """64 GiB that take minutes to convert."""
    return toolrun.write_endless(tmp_path_factory.mktemp('endless') / 'endless.qcow2', 64)


@pytest.fixture(params=['tmpfs', 'ext4'])
def full(request, tmp_path):
    """A file system of its own with little room, and its size."""
    place = tmp_path / 'full'
    place.mkdir()
    if request.param == 'tmpfs':
        words = ['mount', '-t', 'tmpfs', '-o', 'size=2M', 'full', place]
    else:
        with open(tmp_path / 'file-system', 'wb') as file:
            file.truncate(2 << 20)
        subprocess.run(['mke2fs', '-q', '-t', 'ext4', '-O', '^has_journal', '-F',
                        tmp_path / 'file-system'], check=True)
        words = ['mount', '-o', 'loop', tmp_path / 'file-system', place]
    if subprocess.run(words, stderr=subprocess.PIPE).returncode != 0:
        pytest.skip('cannot mount a file system')
    yield place
    subprocess.run(['umount', place], check=True)


@pytest.fixture
def device(tmp_path):
    """A block device of 8 MiB and a sector, full of twos."""
    if os.geteuid() != 0 or not os.path.exists('/dev/loop-control'):
        pytest.skip('needs root and loop devices')
    (tmp_path / 'backing').write_bytes(b'\2' * ((8 << 20) + 512))
    done = subprocess.run(['losetup', '--find', '--show', tmp_path / 'backing'],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        pytest.skip('no loop devices')
    path = done.stdout.decode().strip()
    yield path
    subprocess.run(['losetup', '-d', path], check=True)
