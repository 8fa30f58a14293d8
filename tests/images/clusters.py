# SPDX-License-Identifier: MIT
"""One compressed cluster between two ordinary ones, for the tests of what a stream may be.

The first and the last cluster show that a bad stream costs nothing but itself.
"""

import random

from build import COMPRESSED, Compressed, Image, Normal
from expect import reads_like_qemu
from streams import deflate_stored, deflate_unfinished
from tools import qemu_img

CS = 4096
NOISE = random.Random(20).randbytes(2 * 65536)
TEXT = b''.join(b'%d bottles of beer on the wall\n' % (n % 977) for n in range(6000))
INVALID = b'\x06' * 16  # a deflate block of the reserved type


def case(payload, cs=CS, zstd=False, **where):
    """Three clusters; the one in the middle is compressed."""
    first, last = b'\x11' * cs, b'\x33' * cs
    return Image(cluster_bits=cs.bit_length() - 1, zstd=zstd,
                 l2={0: Normal(first), 1: Compressed(payload, **where), 2: Normal(last)})


def check(path, good, cs=CS):
    """Both read cluster 1 alike, or both fail there."""
    answer = reads_like_qemu(path, cs, errors={} if good else {1: 'CORRUPT'})
    assert (answer.reads[0], answer.reads[2]) == (b'\x11' * cs, b'\x33' * cs)
    return answer.reads[1]


def exact_deflate(length, cs, rest=b''):
    """A stream of exactly `length` bytes that fills a cluster and does not end: one byte more of
    input is part of it, one byte less starves it. Returns (stream, cluster)."""
    likely = length - 5 - len(deflate_unfinished(bytes(cs)))
    for stored in sorted(range(min(length, cs)), key=lambda n: abs(n - likely)):
        head = deflate_unfinished(bytes(cs - stored))
        if len(head) + 5 + stored == length:
            tail = random.Random(length).randbytes(stored)
            return head + deflate_stored(tail, final=False), bytes(cs - stored) + tail
    raise AssertionError('no such stream')


def compressed_payloads(path):
    """The streams of an image that qemu-img made, as far as its first L2 table knows them."""
    with open(path, 'rb') as file:
        image = file.read()
    number = lambda at: int.from_bytes(image[at:at + 8], 'big')  # noqa: E731
    bits = int.from_bytes(image[20:24], 'big')
    table = number(number(40)) & 0x00FFFFFFFFFFFE00
    for i in range(1 << (bits - 3)):
        entry = number(table + 8 * i)
        if entry & COMPRESSED:
            offset = entry & ((1 << (70 - bits)) - 1)
            sectors = ((entry & (COMPRESSED - 1)) >> (70 - bits)) + 1
            yield image[offset:offset + sectors * 512 - offset % 512]


def made_streams(directory, kind, clusters):
    """The raw disk and the streams that qemu-img makes of it, one for each cluster."""
    source, made = directory / 'source.raw', directory / 'made.qcow2'
    source.write_bytes(b''.join(clusters))
    qemu_img('convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o',
             f'cluster_size={CS},compression_type={kind}', source, made)
    return list(compressed_payloads(made))
