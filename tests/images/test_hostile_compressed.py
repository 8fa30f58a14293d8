# SPDX-License-Identifier: MIT
"""Compressed clusters whatever the method: the descriptor, the end of the file, damage at random."""

import os
import random

import pytest

from build import COMPRESSED, COPIED, Compressed, Image, Normal, compressed_descriptor
from clusters import CS, INVALID, NOISE, TEXT, case, check, exact_deflate, made_streams
from expect import reads_like_qemu
from streams import deflate, deflate_stored, zstd_frame
from tools import probe, qemu_reads


# -- the descriptor ------------------------------------------------------------------------

@pytest.mark.parametrize('cluster_bits, entry, offset, length', [
    (21, 0x4008000000A00802, 0xA00802, 2558), (9, 0x6000000000000A01, 0xA01, 1023),
    (12, 0x4C00000000001234, 0x1234, 1996), (16, 0x40400000000500FF, 0x500FF, 769)])
@pytest.mark.parametrize('wrong', [0, -1, 1])
def test_descriptor_names_exactly_these_bytes(written, cluster_bits, entry, offset, length, wrong):
    """Streams that fit the descriptor to the byte: one byte shorter, and an invalid block is part
    of the input; one byte longer, and the cluster is not full."""
    cs = 1 << cluster_bits
    empty = b'\0\0\0\xff\xff'  # a stored block of nothing, to make streams longer
    padding = max(0, length - cs - 6) // 5
    stream, cluster = exact_deflate(length + wrong - 5 * padding, cs)
    stream = empty * padding + stream
    image = Image(cluster_bits=cluster_bits, l2={0: entry}, size=2 * cs,
                  writes=[(offset, stream + INVALID)], length=cs * 9)
    path = written(image)
    step = min(cs, 65536)
    if wrong == 0:
        answer = reads_like_qemu(path, step)
        assert b''.join(answer.reads[:cs // step]) == cluster
    else:
        theirs, = qemu_reads(path, [(0, 512)])
        assert theirs is None
        assert probe(path, reads=[(0, 512)]).reads == ['CORRUPT']


@pytest.mark.parametrize('cs', [512, CS, 65536])
@pytest.mark.parametrize('at_mod', [0, 1, 2, 255, 256, 510, 511])
def test_compressed_data_starts_at_any_byte(written, cs, at_mod):
    """Bit 0 of the offset is a bit of the offset, not a zero flag."""
    for data in (TEXT[:cs], NOISE[:cs]):
        stream = deflate(data)
        if at_mod + len(stream) <= max(1024, 2 * cs):  # what the descriptor of 512 bytes can say
            check(written(case(stream, cs=cs, at_mod=at_mod)), good=True, cs=cs)


def test_compressed_sector_count_one_too_small_is_corrupt(written):
    check(written(case(deflate(NOISE[:CS]), at_mod=0, more_sectors=-1)), good=False)


@pytest.mark.parametrize('more', [1, 3, 6])
def test_compressed_sector_count_too_large_is_fine(written, more):
    """The rest is padding, even when it reaches over the next cluster and the end of the file."""
    check(written(case(deflate(NOISE[:CS]), at_mod=0, more_sectors=more)), good=True)


def test_compressed_sector_count_of_all_ones_spans_clusters_and_the_end(written):
    image = Image(l2={0: Compressed(deflate(TEXT[:CS]), sectors=15)})
    reads_like_qemu(written(image), CS)


def test_compressed_flag_with_copied_flag_reads_the_same(written):
    """Bit 63 beside bit 62 is an error for a check, not for a read."""
    at = case(deflate(TEXT[:CS])).lay_out().at['data', 1]
    entry = compressed_descriptor(12, at, 7) | COPIED
    image = case(deflate(TEXT[:CS]))
    image.writes = [(image.lay_out().at['l2', 0] + 8, entry.to_bytes(8, 'big'))]
    assert check(written(image), good=True) == TEXT[:CS]


def test_compressed_clusters_share_sectors_and_cross_clusters(written):
    """Packed back to back, as qemu-img writes them."""
    image = Image(l2={i: Compressed(deflate((TEXT if i % 3 else NOISE)[i * 50:i * 50 + CS]))
                      for i in range(60)})
    path = written(image)
    reads_like_qemu(path, CS)
    reads_like_qemu(path, 7 * 512)


def test_one_stream_serves_many_guest_clusters(written):
    """Nothing forbids it; every answer is the same."""
    first = Image(l2={0: Compressed(deflate(TEXT[:CS]))}).lay_out()
    entry = compressed_descriptor(12, first.at['data', 0], 7)
    image = Image(l2={0: Compressed(deflate(TEXT[:CS])), **{i: entry for i in range(1, 20)}})
    answer = reads_like_qemu(written(image), CS)
    assert set(answer.reads) == {TEXT[:CS]}


def test_compressed_offset_zero_is_the_header_and_does_not_decode(written):
    image = Image(l2={0: Normal(b'x'), 1: COMPRESSED})
    reads_like_qemu(written(image), CS, errors={1: 'CORRUPT'})


@pytest.mark.parametrize('cluster_bits', [9, 10, 12, 13, 16, 21])
@pytest.mark.parametrize('where', ['all_ones', 'high_bit', 'far'])
def test_compressed_offset_past_the_end_is_an_error(written, cluster_bits, where):
    """The field is up to 61 bits wide: nothing may overflow, and QEMU has no bytes either (zeros
    do not decode)."""
    cs, bits = 1 << cluster_bits, 70 - cluster_bits
    entry = {'all_ones': (1 << 63) - 1, 'high_bit': COMPRESSED | (1 << (bits - 1)),
             'far': compressed_descriptor(cluster_bits, 1 << 45, 1)}[where]
    image = Image(cluster_bits=cluster_bits, l2={0: Normal(b'x'), 1: entry}, size=2 * cs)
    path = written(image)
    answer = probe(path, reads=[(0, 1), (cs, cs)])
    assert answer.reads == [b'x', 'TRUNCATED']
    assert qemu_reads(path, [(cs, 512)]) == [None]


# -- the end of the file --------------------------------------------------------------------

@pytest.mark.parametrize('zstd', [False, True], ids=['deflate', 'zstd'])
@pytest.mark.parametrize('cluster_bits', [9, 12, 16])
def test_compressed_stream_whose_last_sector_is_cut_by_the_end_is_fine(written, zstd, cluster_bits):
    """The stream is complete; only its padding is missing."""
    cs = 1 << cluster_bits
    pack = zstd_frame if zstd else deflate
    for data in (NOISE[:cs], bytes(cs)):
        image = Image(cluster_bits=cluster_bits, zstd=zstd, round_up=False,
                      l2={0: Normal(b'\1' * cs), 1: Compressed(pack(data), at_mod=5)})
        path = written(image)
        assert os.path.getsize(path) % 512
        answer = reads_like_qemu(path, cs)
        assert answer.reads[1] == data


@pytest.mark.parametrize('zstd', [False, True], ids=['deflate', 'zstd'])
@pytest.mark.parametrize('lost', [1, 2, 10, 500, 4000])
def test_compressed_stream_cut_by_the_end_is_an_error(written, zstd, lost):
    """QEMU decodes zeros in place of what is missing, and sometimes likes the result."""
    stream = (zstd_frame if zstd else deflate)(NOISE[:CS])
    image = Image(zstd=zstd, round_up=False, l2={0: Normal(b'\1' * CS), 1: Compressed(stream)})
    path = written(image)
    os.truncate(path, os.path.getsize(path) - lost)
    for flags in ((), ('--zeros-past-end',)):
        answer = probe(path, reads=[(0, CS), (CS, CS)], flags=flags)
        assert answer.reads == [b'\1' * CS, 'TRUNCATED']


def test_deflate_unterminated_stream_cut_after_the_cluster_is_full(written):
    """The cluster is full, but the decoder asks for more and the file has no more to give: QEMU
    hands it zeros, which are an invalid block."""
    stream = deflate_stored(NOISE[:CS], final=False)
    image = Image(round_up=False, l2={0: Normal(b'\1' * CS), 1: Compressed(stream)})
    reads_like_qemu(written(image), CS, errors={1: 'TRUNCATED'})


# -- damage at random --------------------------------------------------------------------------

@pytest.mark.parametrize('seed', [1, 2, 3])
@pytest.mark.parametrize('kind', ['zlib', 'zstd'])
def test_damaged_streams_get_qemus_answer(written, tmp_path, kind, seed):
    """Streams made by qemu-img with a few bytes changed, cut out or put in. Whatever QEMU's
    decoder makes of them - bytes or an error - must be our answer too."""
    chance = random.Random(f'{kind}{seed}')
    streams = made_streams(tmp_path, kind, [
        (TEXT[i * 61:] + TEXT)[:CS - 700] + NOISE[i * 700:(i + 1) * 700] for i in range(40)])
    assert len(streams) == 40
    entries = {}
    for cluster in range(120):
        stream = bytearray(streams[cluster % 40])
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(stream) if chance.random() < 0.5 else 40)
            what = chance.randrange(4)
            if what == 0:
                stream[at] ^= 1 << chance.randrange(8)
            elif what == 1:
                stream[at] = chance.randrange(256)
            elif what == 2:
                del stream[at]
            else:
                stream.insert(at, chance.randrange(256))
        entries[cluster] = Compressed(bytes(stream), ends_on_sector=chance.random() < 0.2)
    path = written(Image(l2=entries, zstd=kind == 'zstd'))
    pieces = [(cluster * CS, CS) for cluster in range(120)]
    ours = probe(path, reads=pieces).reads
    theirs = qemu_reads(path, pieces)
    assert sum(answer is None for answer in theirs) > 20, 'hardly any damage'
    for cluster, (mine, qemu) in enumerate(zip(ours, theirs)):
        assert (None if isinstance(mine, str) else mine) == qemu, f'cluster {cluster}: {mine!r:.80}'
