# SPDX-License-Identifier: MIT
"""What commands take of memory, however many threads are asked for and however many files a chain has."""

import shutil
import struct
import subprocess
import sys

import pytest

import toolrun
import vetting  # for the path to build
from build import EXT_BACKING_FORMAT, Compressed, Extension, Image, compressed_descriptor
from streams import deflate
from toolrun import BASE_MEMORY, limited

assert vetting
MIB = 1 << 20
CLUSTER = 2 * MIB


@pytest.fixture(autouse=True)
def measurable():
    if not toolrun.is_measurable():
        pytest.skip('a sanitizer needs more memory than the program')


@pytest.fixture(scope='module')
def longest_streams(tmp_path_factory):
    """A disk of 160 clusters of 2 MiB, each of a stream that claims the longest length there is, 4 MiB."""
    path = tmp_path_factory.mktemp('memory') / 'streams.qcow2'
    l2 = {0: Compressed(deflate(bytes(CLUSTER)))}
    at = Image(cluster_bits=21, l2=l2).lay_out().at
    entry = struct.pack('>Q', compressed_descriptor(21, at['data', 0], (1 << 13) - 1))
    Image(cluster_bits=21, size=160 * CLUSTER, l2=l2, writes=[(at['l2', 0], entry * 160)],
          length=at['data', 0] + 6 * MIB).write(path)
    return path


# In a process of its own: a child's peak is at least that of the process it comes from.
MEASURE = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024, file=sys.stderr)
"""


def peak_of(*words):
    """The exit code, and the most memory that the tool had in use."""
    done = subprocess.run([sys.executable, '-c', MEASURE, toolrun.TOOL, *map(str, words)], check=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return [int(word) for word in done.stderr.split()]


@pytest.mark.parametrize('command', ['convert', 'digest', 'compare'])
def test_64_threads_with_the_largest_clusters_stay_within_the_stated_memory(tmp_path, longest_streams,
                                                                           command):
    """A buffer or two for each thread, and 6 MiB to read into, were up to 600 MiB."""
    other = {'convert': [tmp_path / 'raw'], 'digest': [], 'compare': [tmp_path / 'copy.qcow2']}[command]
    shutil.copyfile(longest_streams, tmp_path / 'copy.qcow2')
    code, peak = peak_of(command, '-m', '64', longest_streams, *other)
    assert code == 0
    # 128 MiB for the threads, caches, and what images keep of the threads' memory for later.
    assert peak < 176 * MIB, peak / MIB


def chain_of_large_l1_tables(directory, files):
    """Each with an L1 table of 1 MiB, which a file of its own keeps in memory; it is a hole."""
    for depth in range(files):
        more = {} if depth == files - 1 else {
            'backing_file': b'%d.qcow2' % (depth + 1),
            'extensions': [Extension(EXT_BACKING_FORMAT, b'qcow2')]}
        Image(cluster_bits=9, size=512, l2={0: 0}, length=2 * MIB,
              header={'size': 131072 << 15, 'l1_size': 131072}, **more).write(directory / f'{depth}.qcow2')
    return directory / '0.qcow2'


def test_chain_of_256_files_with_large_l1_tables_takes_bounded_memory(tmp_path):
    """It took 256 MiB."""
    path = chain_of_large_l1_tables(tmp_path, 256)
    assert limited(BASE_MEMORY + 48 * MIB, 'cat', '-m', '1', '-l', '64k', path) == (0, bytes(65536))
