# SPDX-License-Identifier: MIT
"""Images that QEMU's own tools make, in every combination that changes how they are read.

qemu-img and qemu-io make an image, qemu-img converts it to a raw file, and random_reads compares
every byte: one pass in odd chunks, then 10,000 random reads from 8 threads beside a walk over the
extents. Versions, cluster sizes, compression, odd sizes, refcount widths, preallocation, zero
clusters, discards, snapshots, resizing, files that end inside a cluster.
"""

import hashlib
import os
import random
import struct
import zlib

import pytest

from tools import TOOL, probe, qemu_img, qemu_io, qemu_raw, random_reads, run

KI, MI = 1 << 10, 1 << 20
COMPAT = {2: '0.10', 3: '1.1'}


def seed_of(text):
    return zlib.crc32(str(text).encode())


def make_source(path, size, seed):
    """A raw disk of `size` bytes: stretches of noise, text, single bytes, zeros and holes."""
    chance = random.Random(seed)
    text = b''.join(b'line %d of a file, and some words\n' % n for n in range(4000))
    with open(path, 'wb') as file:
        file.truncate(size)
        at = 0
        while at < size:
            length = min(int(2 ** chance.uniform(4, 19)), size - at)
            kind = chance.choice(['noise', 'text', 'byte', 'zeros', 'hole', 'nearly'])
            file.seek(at)
            if kind == 'noise':
                file.write(chance.randbytes(length))
            elif kind == 'text':
                file.write((text * (length // len(text) + 1))[:length])
            elif kind == 'byte':
                file.write(bytes([chance.randrange(256)]) * length)
            elif kind == 'zeros':
                file.write(bytes(length))
            elif kind == 'nearly':  # zeros but for one byte
                file.write(bytes(length - 1) + b'\x01')
            at += length
    return path


class Maker:
    """One image under test, and the file names that belong to it."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        self.image, self.raw = directory / 'image.qcow2', directory / 'reference.raw'

    def source(self, size):
        return make_source(self.directory / 'source.raw', size, seed_of(self.name))

    def convert(self, size, *, version=3, cs=64 * KI, kind='plain', **options):
        """From a raw source, as `qemu-img convert` does it."""
        arguments = ['-c'] if kind != 'plain' else []
        options = {'compat': COMPAT[version], 'cluster_size': cs, **options}
        if kind == 'zstd':
            options['compression_type'] = 'zstd'
        qemu_img('convert', *arguments, '-f', 'raw', '-O', 'qcow2', '-o',
                 ','.join(f'{key}={value}' for key, value in options.items()),
                 self.source(size), self.image)

    def create(self, size, *, version=3, cs=64 * KI, **options):
        options = {'compat': COMPAT[version], 'cluster_size': cs, **options}
        qemu_img('create', '-f', 'qcow2', '-o',
                 ','.join(f'{key}={value}' for key, value in options.items()), self.image, size)

    def change(self, size, cs, count=40, compressed=False):
        """Random writes, zero writes and discards, aligned and not."""
        chance = random.Random(seed_of(self.name) + 1)
        commands = []
        for _ in range(count):
            unit = chance.choice([512, 512, 4096, cs])
            at = chance.randrange(size // 512) * 512 // unit * unit
            length = min(chance.randint(1, 4) * unit, (size - at) // 512 * 512)
            if length <= 0:
                continue
            commands.append(chance.choice(
                [f'write -P {chance.randrange(256)} {at} {length}', f'write -z {at} {length}',
                 f'write -z -u {at} {length}', f'discard {at} {length}']))
            if compressed:  # only over what is not allocated
                start = at // cs * cs
                length = min(cs, (size - start) // 512 * 512)
                commands += [f'discard {start} {length}',
                             f'write -c -P {chance.randrange(256)} {start} {length}']
        qemu_io(self.image, *commands)

    def patch(self, offset, data):
        with open(self.image, 'r+b') as file:
            file.seek(offset)
            file.write(data)

    def compare(self, *options, count=10000):
        """Every byte, from 8 threads; then again with caches too small to hold anything."""
        qemu_raw(self.image, self.raw)
        random_reads(self.image, self.raw, '--threads', 8, '--count', count, '--seed',
                     seed_of(self.name), *options)

    def compare_without_caches(self, count=1000):
        for table, cluster in ((1, 1), (8192, 3 * 64 * KI)):
            random_reads(self.image, self.raw, '--threads', 4, '--count', count, '--seed', 7,
                         '--table-cache', table, '--cluster-cache', cluster)


@pytest.fixture
def maker(tmp_path, request):
    return Maker(tmp_path, request.node.name)


# -- the matrix -----------------------------------------------------------------------------

COMBINATIONS = [(version, cs, kind)
                for version in (2, 3) for cs in (512, 4 * KI, 64 * KI, 2 * MI)
                for kind in ('plain', 'deflate', 'zstd') if version == 3 or kind != 'zstd']


@pytest.mark.parametrize('version, cs, kind', COMBINATIONS)
def test_converted_image_of_an_odd_size(maker, version, cs, kind):
    """A whole number of sectors, but not of clusters: the last cluster is partial, plain or
    compressed."""
    size = {512: 1 * MI, 4 * KI: 3 * MI, 64 * KI: 5 * MI, 2 * MI: 9 * MI}[cs] + 7 * 512
    maker.convert(size, version=version, cs=cs, kind=kind)
    maker.compare()
    maker.compare_without_caches(count=50 if cs == 2 * MI else 1000)


@pytest.mark.parametrize('version, cs, kind', COMBINATIONS)
def test_image_changed_after_it_was_made(maker, version, cs, kind):
    """Written to, zeroed and discarded at random: all kinds of clusters beside each other. The size
    is then patched so that it is not a whole number of sectors."""
    size = {512: MI // 2, 4 * KI: 2 * MI, 64 * KI: 4 * MI, 2 * MI: 8 * MI}[cs]
    maker.convert(size, version=version, cs=cs, kind=kind)
    maker.change(size, cs, compressed=kind != 'plain')
    maker.patch(24, struct.pack('>Q', size - 700))
    maker.compare()
    assert probe(maker.image).size == size - 1024


@pytest.mark.parametrize('version', [2, 3])
@pytest.mark.parametrize('cs', [512, 4 * KI, 64 * KI, 2 * MI])
@pytest.mark.parametrize('size', [512, 1024, 4096 - 512, 64 * KI + 512])
def test_small_disks(maker, version, cs, size):
    """From a single sector on."""
    kind = 'deflate' if (size // 512 + cs) % 3 else 'plain'
    maker.convert(size, version=version, cs=cs, kind=kind)
    maker.compare(count=500)


@pytest.mark.parametrize('version', [2, 3])
@pytest.mark.parametrize('size', [0, 512])
def test_empty_disks(maker, version, size):
    """Nothing written at all, and nothing that could be."""
    maker.create(size, version=version)
    maker.compare(count=100)


@pytest.mark.parametrize('patched', [1, 511, 513, 65536 + 1, 65536 * 3 - 1])
def test_size_that_is_not_whole_sectors(maker, patched):
    """qemu-img cannot create such a size, so it is patched in; it is shown rounded down."""
    maker.convert(65536 * 3, kind='deflate')
    maker.patch(24, struct.pack('>Q', patched))
    maker.compare(count=500)
    assert probe(maker.image).size == patched // 512 * 512


@pytest.mark.parametrize('cs, size', [(512, 40 * MI), (4 * KI, 60 * MI), (64 * KI, 1300 * MI),
                                      (2 * MI, 1300 << 30)])
@pytest.mark.parametrize('version', [2, 3])
def test_several_l1_entries(maker, version, cs, size):
    """Data on both sides of every border between two L2 tables, and in the last sector."""
    maker.create(size, version=version, cs=cs)
    span = cs * cs // 8
    borders = list(range(span, size, max(span, size // 8 // span * span)))
    qemu_io(maker.image, *(f'write -P {i + 1} {border - 512 * 3} {512 * 7}'
                           for i, border in enumerate(borders)),
            f'write -P 77 {size - 512} 512', 'write -P 78 0 512')
    maker.compare('--no-sequential', '--max-read', 64 * KI, count=2000)
    data = sum(length for _, length, kind in probe(maker.image, flags=['--extents']).extents
               if kind == 'data')
    assert 0 < data <= (2 * len(borders) + 2) * max(cs, 8 * 512)


# -- what must make no difference --------------------------------------------------------------

@pytest.mark.parametrize('bits', [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize('kind', ['plain', 'deflate'])
def test_every_refcount_width(maker, bits, kind):
    maker.convert(2 * MI + 512, cs=4 * KI, kind=kind, refcount_bits=bits)
    maker.change(2 * MI, 4 * KI)
    maker.compare(count=1000)
    assert probe(maker.image, flags=['--info']).info['refcount_bits'] == bits


@pytest.mark.parametrize('mode', ['off', 'metadata', 'falloc', 'full'])
@pytest.mark.parametrize('version', [2, 3])
def test_every_preallocation(maker, mode, version):
    """Allocated tables and clusters that nobody has written to."""
    maker.create(3 * MI + 512, version=version, cs=4 * KI, preallocation=mode)
    maker.change(3 * MI, 4 * KI, count=20)
    maker.compare(count=1000)


@pytest.mark.parametrize('cs', [512, 64 * KI])
def test_zero_clusters_with_and_without_a_place(maker, cs):
    """`write -z` keeps the cluster set aside, `write -z -u` gives it up; both are "zero", and what
    lies in the file there must not be seen."""
    maker.create(64 * cs, cs=cs)
    qemu_io(maker.image, f'write -P 1 0 {32 * cs}', f'write -z {4 * cs} {4 * cs}',
            f'write -z -u {12 * cs} {4 * cs}', f'write -z {40 * cs} {2 * cs}',
            f'discard {20 * cs} {2 * cs}')
    maker.compare(count=1000)
    runs = probe(maker.image, flags=['--extents']).runs()
    assert {'data', 'zero', 'hole'} == {kind for _, _, kind in runs}
    assert (4 * cs, 4 * cs, 'zero') in runs


@pytest.mark.parametrize('kind', ['plain', 'deflate', 'zstd'])
def test_snapshots_do_not_disturb_the_disk(maker, kind):
    """Clusters are shared, copied on write, and no longer flagged as the only reference."""
    maker.convert(MI, cs=4 * KI, kind=kind)
    qemu_img('snapshot', '-c', 'first', maker.image)
    maker.change(MI, 4 * KI)
    qemu_img('snapshot', '-c', 'second', maker.image)
    qemu_io(maker.image, 'write -P 9 1000k 24k', 'write -z 0 64k')
    maker.compare(count=1000)


@pytest.mark.parametrize('sizes', [['+3M'], ['--shrink 300k'], ['--shrink 300k', '+5M', '+512']])
def test_resized_disks(maker, sizes):
    """What is left in the tables past the end of the disk must not come back."""
    maker.convert(2 * MI, cs=512, kind='deflate')
    for size in sizes:
        *option, amount = size.split()
        qemu_img('resize', *option, maker.image, amount)
    maker.compare(count=1000)


@pytest.mark.parametrize('path', [(2, 3), (3, 2)])
def test_version_changed_by_amend(maker, path):
    """The header is rewritten in place, with other extensions."""
    maker.convert(MI, version=path[0], cs=4 * KI)
    maker.change(MI, 4 * KI, count=10)
    qemu_img('amend', '-f', 'qcow2', '-o', f'compat={COMPAT[path[1]]}', maker.image)
    maker.compare(count=500)
    assert probe(maker.image, flags=['--info']).info['version'] == path[1]


def test_lazy_refcounts_and_the_dirty_flag(maker):
    """An image of a machine that was switched off."""
    maker.convert(MI, lazy_refcounts='on')
    maker.patch(72, struct.pack('>Q', 1))
    maker.compare(count=500)
    assert probe(maker.image, flags=['--info']).info['incompatible_features'] & 1


# -- files that end inside a cluster ---------------------------------------------------------------

@pytest.mark.parametrize('cs', [512, 4 * KI, 64 * KI, 2 * MI])
@pytest.mark.parametrize('version', [2, 3])
def test_file_that_ends_inside_its_last_data_cluster(maker, version, cs):
    """The missing part reads as zeros."""
    maker.create(4 * cs, version=version, cs=cs)
    qemu_io(maker.image, f'write -P 1 0 {cs}', f'write -P 2 {2 * cs} {cs}')
    os.truncate(maker.image, os.path.getsize(maker.image) - cs // 2 - 3)
    maker.compare(count=500)
    with open(maker.raw, 'rb') as raw:
        assert raw.read()[2 * cs:3 * cs] == b'\2' * (cs // 2 - 3) + bytes(cs // 2 + 3)


@pytest.mark.parametrize('kind', ['deflate', 'zstd'])
@pytest.mark.parametrize('cs', [4 * KI, 64 * KI, 2 * MI])
def test_compressed_file_that_ends_with_its_last_stream(maker, cs, kind):
    """No padding after the last byte of the last stream: its last sector is incomplete."""
    maker.convert(3 * cs + 512, cs=cs, kind=kind)
    with open(maker.image, 'rb') as file:
        content = file.read()
    os.truncate(maker.image, len(content.rstrip(b'\0')) + (1 if kind == 'deflate' else 4))
    maker.compare(count=200)


# -- the tool on the same images --------------------------------------------------------------------

@pytest.mark.skipif(not os.access(TOOL, os.X_OK), reason='the tool is not built')
@pytest.mark.parametrize('version, cs, kind', COMBINATIONS)
def test_tool_converts_and_digests(maker, tmp_path, version, cs, kind):
    """`qcow2 convert` writes the raw file, `qcow2 digest` prints its sha256."""
    size = {512: MI // 2, 4 * KI: 2 * MI, 64 * KI: 4 * MI, 2 * MI: 8 * MI}[cs] + 3 * 512
    maker.convert(size, version=version, cs=cs, kind=kind)
    maker.change(size, cs, count=10)
    wanted = qemu_raw(maker.image, maker.raw).read_bytes()
    run(TOOL, 'convert', maker.image, tmp_path / 'out.raw')
    assert (tmp_path / 'out.raw').read_bytes() == wanted
    digest = run(TOOL, 'digest', maker.image).stdout
    assert digest.split()[0] == hashlib.sha256(wanted).hexdigest()
