# SPDX-License-Identifier: MIT
"""Small files that ask for much work or memory: what is done is in proportion to what is asked for."""

import json
import struct

import pytest

from build import EXT_BACKING_FORMAT, EXT_BITMAPS, Compressed, Extension, Image, Normal
from streams import deflate
from tools import probe, qemu_reads, tool

MIB = 1 << 20


def test_decompression_bomb_costs_what_is_read_of_it(written):
    """2 EiB of disk, every byte of it in one compressed cluster of 2 MiB that a few KiB hold: each
    read decompresses one cluster at most, and none twice."""
    cs, size = 2 * MIB, 1 << 61
    payload = deflate(b'boom' * (cs // 4))

    def image(l1=b'', l2=b''):
        made = Image(cluster_bits=21, size=cs, l1_entries=4194304, l2={0: Compressed(payload)},
                     header={'size': size})
        made.lay_out()
        made.writes = [(made.at['l1'], l1), (made.at['l2', 0], l2)]
        return made
    where = image()
    entry = dict(where.pieces)[where.at['l2', 0]][:8]
    table = struct.pack('>Q', where.at['l2', 0] | 1 << 63)
    path = written(image(table * 4194304, entry * (cs // 8)))
    places = [0, size // 3 // 4 * 4, size - 512]
    answer = probe(path, reads=[(place, 512) for place in places], flags=['--stats'])
    assert answer.reads == [b'boom' * 128] * 3
    stats = answer.stats
    assert stats['comp_cache_misses'] <= 2 * len(places)
    assert stats['source_bytes'] < 64 * MIB


@pytest.mark.parametrize('size', [64 * MIB - 1024, 65535 * 1024, 1 << 40])
def test_bitmap_directory_larger_than_the_file_costs_no_memory(written, size):
    """QEMU allocates what the extension says and refuses the image. Here the disk is read, and who
    asks for the bitmaps is told that they are not there."""
    image = Image(l2={0: Normal(b'data')}, header={'autoclear_features': 1},
                  extensions=[Extension(EXT_BITMAPS, struct.pack('>IIQQ', 65535, 0, size, 0x5000))])
    path = written(image)
    assert probe(path, reads=[(0, 4)]).reads == [b'data']
    done = tool('info', '--output=json', path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['qcow2']['bitmaps-problem']
    done = tool('map', '--bitmap', 'any', path)
    assert (done.returncode, done.stdout) == (1, b'')


def test_chain_whose_l1_tables_are_not_all_kept_in_memory_reads_as_in_qemu(written):
    """Each of 20 tables is 1 MiB, and those of a chain are kept up to 16 MiB: data below is found all the same."""
    places = [(depth * 6000 * 64 + depth) * 512 for depth in range(20)]
    for depth, place in reversed(list(enumerate(places))):
        more = {} if depth == 19 else {
            'backing_file': b'%d.qcow2' % (depth + 1),
            'extensions': [Extension(EXT_BACKING_FORMAT, b'qcow2')]}
        path = written(Image(cluster_bits=9, size=131072 << 15, l1_entries=131072,
                             l2={place // 512: Normal(b'%3d.' % depth * 128)}, **more), f'{depth}.qcow2')
    reads = [(place, 512) for place in places]
    answers = probe(path, reads=reads).reads
    assert answers == qemu_reads(path, reads)
    assert answers[19] == b' 19.' * 128
