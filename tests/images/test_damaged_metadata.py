# SPDX-License-Identifier: MIT
"""Sound images with a few bytes of metadata changed at random.

Nobody says beforehand what the answer must be, only what it must not be: a crash, a hang, memory
without bound (probe looks after these), or bytes that are not QEMU's. Where QEMU makes up zeros for
what the file does not have, an error is right.
"""

import random

import pytest

from build import (EXT_DATA_FILE, Compressed, Extension, Image, Normal, Snapshot, Zero, ZeroAlloc,
                   feature_names)
from streams import deflate, zstd_frame
from tools import probe, qemu_opens, qemu_reads

CLUSTERS = 24


def sound_image(chance):
    """Something of everything."""
    bits = chance.choice([9, 9, 12, 16])
    cs = 1 << bits
    zstd = chance.random() < 0.3
    version = 3 if zstd else chance.choice([2, 3, 3])
    pack = zstd_frame if zstd else deflate
    kinds = [lambda: Normal(chance.randbytes(cs)), lambda: 0,
             lambda: Compressed(pack(bytes([chance.randrange(256)]) * cs)),
             lambda: Compressed(pack(chance.randbytes(cs)))]
    if version == 3:
        kinds += [Zero, lambda: ZeroAlloc(chance.randbytes(cs))]
    return Image(version=version, cluster_bits=bits, zstd=zstd, size=CLUSTERS * cs,
                 l2={i: chance.choice(kinds)() for i in range(CLUSTERS)},
                 extensions=[Extension(0x1234, b'unknown'), Extension(EXT_DATA_FILE, b'name'),
                             feature_names((0, 7, b'seven'), (1, 3, b'three'))],
                 snapshots=[Snapshot()] if chance.random() < 0.3 else [])


def damage(chance, image, path):
    """Changes 1 to 4 bytes of the header, the extensions, the L1 or the L2 table."""
    header = [(0, 112), (0, 112), (20, 4), (96, 16), (104, 200)]
    tables = [(image.at['l1'], 8), (image.at['l2', 0], 8 * CLUSTERS), (image.at['l2', 0], 8)]
    with open(path, 'r+b') as file:
        for _ in range(chance.randint(1, 4)):
            start, length = chance.choice(header if chance.random() < 0.4 else tables)
            at = start + chance.randrange(length)
            file.seek(at)
            old = file.read(1)[0]
            new = chance.choice([old ^ 1 << chance.randrange(8), chance.randrange(256), 0, 255,
                                 old + 1 & 255, old - 1 & 255])
            file.seek(at)
            file.write(bytes([new]))


@pytest.mark.parametrize('seed', range(8))
def test_damaged_metadata_gives_qemus_bytes_or_an_error(written, seed):
    chance = random.Random(seed)
    opened = 0
    for number in range(12):
        image = sound_image(chance)
        path = written(image)
        damage(chance, image, path)
        cs = image.cs
        pieces = [(i * cs, cs) for i in range(CLUSTERS)]
        answer = probe(path, reads=pieces, flags=['--extents', '--info', '--extensions',
                                                  '--features', '--stats'])
        if answer.code != 'OK' or not qemu_opens(path):
            continue
        opened += 1
        for piece, (ours, theirs) in enumerate(zip(answer.reads, qemu_reads(path, pieces))):
            if theirs is None and isinstance(ours, bytes):
                assert len(ours) < cs, f'image {number}, cluster {piece}: QEMU has an error here'
            elif isinstance(ours, bytes):
                assert ours == theirs, f'image {number}, cluster {piece} differs from QEMU'
            elif theirs is not None:
                assert ours == 'TRUNCATED', f'image {number}, cluster {piece}: {ours}'
    assert opened >= 2, 'all images were refused: the damage is too heavy to test anything'
