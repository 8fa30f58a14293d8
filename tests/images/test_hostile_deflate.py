# SPDX-License-Identifier: MIT
"""Deflate streams: what QEMU takes (much that one-shot decoders refuse) and what it does not."""

import zlib

import pytest

from build import Compressed, Image, Normal
from clusters import CS, INVALID, NOISE, TEXT, case, check, exact_deflate
from expect import reads_like_qemu
from streams import FixedBlock, deflate, deflate_stored, deflate_unfinished


@pytest.mark.parametrize('payload', [
    deflate(NOISE[:CS]), deflate(TEXT[:CS]), deflate(bytes(CS)), deflate(TEXT[:CS], level=1),
    deflate(TEXT[:CS], window=12), deflate_stored(NOISE[:CS]), deflate_stored(TEXT[:CS], chunk=50),
    deflate_unfinished(TEXT[:1000]) + deflate(TEXT[1000:CS]),
    FixedBlock().literals(b'a').match(258, 1).literals(NOISE[:CS - 259]).end(),
], ids=['noise', 'text', 'zeros', 'fast', 'small_window', 'stored', 'many_blocks', 'sync_flush',
        'fixed'])
@pytest.mark.parametrize('rest', [b'', b'\0' * 600, NOISE[:600], INVALID],
                         ids=['alone', 'zeros', 'noise', 'invalid'])
def test_deflate_stream_that_ends_with_the_cluster_then_anything(written, payload, rest):
    """What follows the final block is padding."""
    check(written(case(payload + rest)), good=True)


@pytest.mark.parametrize('more', [1, 100, CS, 20 * CS])
def test_deflate_stream_longer_than_the_cluster_is_cut(written, more):
    """The first cluster of it counts."""
    data = (TEXT * 2)[:CS + more]
    assert check(written(case(deflate(data))), good=True) == data[:CS]


@pytest.mark.parametrize('length', [0, 1, CS // 2, CS - 1])
def test_deflate_stream_shorter_than_the_cluster_is_corrupt(written, length):
    """Even by one byte, and even when what is there would cover all that is visible."""
    check(written(case(deflate(NOISE[:length]))), good=False)


def test_deflate_stream_shorter_than_a_partial_last_cluster_is_corrupt(written):
    """A stored cluster is whole, also when the disk shows 512 bytes of it."""
    good = Image(size=CS + 512, l2={0: Normal(b'x'), 1: Compressed(deflate(TEXT[:CS]))})
    bad = Image(size=CS + 512, l2={0: Normal(b'x'), 1: Compressed(deflate(TEXT[:512]))})
    reads_like_qemu(written(good), CS)
    reads_like_qemu(written(bad), CS, errors={1: 'CORRUPT'})


def test_deflate_unterminated_with_input_exhausted_is_fine(written):
    """The cluster is full and the input is over: nobody misses the final block."""
    stream, cluster = exact_deflate(1000, CS)
    assert check(written(case(stream, ends_on_sector=True)), good=True) == cluster


def test_deflate_unterminated_followed_by_an_invalid_block_is_corrupt(written):
    """The decoder looks at the next block header before it sees that there is no room."""
    stream, _ = exact_deflate(1000, CS)
    check(written(case(stream + INVALID)), good=False)


def test_deflate_unterminated_followed_by_zero_padding_is_corrupt(written):
    """Zeros read as a stored block whose two lengths disagree."""
    check(written(case(deflate_unfinished(TEXT[:CS]) + bytes(512))), good=False)


def test_deflate_unterminated_followed_by_more_data_is_fine(written):
    """The next block is in order and merely has no room."""
    payload = deflate_stored(NOISE[:CS], final=False) + deflate(TEXT[:CS])
    assert check(written(case(payload)), good=True) == NOISE[:CS]


@pytest.mark.parametrize('distance', [4097, 24577, 32767, 32768])
def test_deflate_match_as_far_back_as_deflate_goes(written, distance):
    """QEMU gives a window of 4 KiB but the output in one piece, so all 32 KiB work."""
    cs = 65536
    block = FixedBlock().literals(NOISE[:32768])
    for _ in range(100):
        block.match(258, distance)
    block.literals(NOISE[:cs - 32768 - 25800])
    check(written(case(block.end(), cs=cs)), good=True, cs=cs)


def test_deflate_match_before_the_start_is_corrupt(written):
    """It would copy what is not part of the cluster."""
    block = FixedBlock().literals(b'ab').match(258, 3)
    for _ in range(20):
        block.match(258, 1)
    check(written(case(block.end())), good=False)


@pytest.mark.parametrize('wrapped', [zlib.compress(TEXT[:CS]), b'\x1f\x8b\x08' + bytes(7) +
                                     deflate(TEXT[:CS])], ids=['zlib', 'gzip'])
def test_deflate_in_a_wrapper_is_corrupt(written, wrapped):
    """Streams are raw, whatever the name "zlib" suggests."""
    check(written(case(wrapped)), good=False)


@pytest.mark.parametrize('payload', [INVALID, bytes(512), b'\xff' * 512, b'\x05' * 512, b'\x04' * 8],
                         ids=['reserved', 'zeros', 'ones', 'dynamic', 'short'])
def test_deflate_of_no_stream_at_all_is_corrupt(written, payload):
    check(written(case(payload)), good=False)
