# SPDX-License-Identifier: MIT
"""L1 and L2 entries that are odd, wrong, or lead out of the file."""

import os
import struct

import pytest

from build import COMPRESSED, COPIED, Compressed, Image, Normal, Zero, ZeroAlloc
from expect import reads_like_qemu
from streams import deflate
from tools import probe, qemu_reads

CS = 4096
L1_RESERVED = 0x7F000000000001FF
L2_RESERVED = 0x3F000000000001FE


def pattern(number, length=CS):
    """Bytes that differ between clusters and inside a cluster."""
    return bytes((number * 37 + i + (i >> 8)) & 0xFF for i in range(length))


# -- L2 entries: every class ------------------------------------------------------------

@pytest.mark.parametrize('cluster_bits', [9, 12, 16])
def test_every_class_of_l2_entry_reads_like_qemu(written, cluster_bits):
    """Normal, zero with and without a place, unallocated, compressed, side by side."""
    cs = 1 << cluster_bits
    image = Image(cluster_bits=cluster_bits, size=12 * cs, l2={
        0: Normal(pattern(0, cs)), 1: Zero(), 2: ZeroAlloc(pattern(2, cs)),
        4: Compressed(deflate(pattern(4, cs))), 5: Normal(pattern(5, cs), flags=0),
        7: Compressed(deflate(pattern(7, cs)), at_mod=511), 8: COPIED, 9: COPIED | 1,
        10: Normal(pattern(10, cs))})
    answer = reads_like_qemu(written(image), cs)
    assert answer.reads[5] == pattern(5, cs)
    assert answer.runs() == [
        (0, cs, 'data'), (cs, 2 * cs, 'zero'), (3 * cs, cs, 'hole'), (4 * cs, cs, 'compressed'),
        (5 * cs, cs, 'data'), (6 * cs, cs, 'hole'), (7 * cs, cs, 'compressed'),
        (8 * cs, cs, 'hole'), (9 * cs, cs, 'zero'), (10 * cs, cs, 'data'), (11 * cs, cs, 'hole')]


@pytest.mark.parametrize('bit', [b for b in range(64) if L2_RESERVED >> b & 1])
def test_l2_reserved_bit_is_ignored(written, bit):
    """With data, without, and on a zero cluster."""
    image = Image(l2={0: Normal(pattern(0), flags=COPIED | 1 << bit), 1: 1 << bit,
                      2: 1 | 1 << bit}, size=3 * CS)
    answer = reads_like_qemu(written(image), CS)
    assert answer.reads == [pattern(0), bytes(CS), bytes(CS)]


def test_l2_copied_flag_without_offset_is_unallocated(written):
    """Only an external data file has something at offset 0."""
    answer = reads_like_qemu(written(Image(l2={0: COPIED, 1: Normal(b'x')})), CS)
    assert answer.runs()[0] == (0, CS, 'hole')


@pytest.mark.parametrize('low', [512, 1024, 2048, 3584])
@pytest.mark.parametrize('zero', [0, 1])
def test_l2_offset_unaligned_is_corrupt(written, low, zero):
    """Also with the zero flag: the entry is wrong as a whole."""
    image = Image(l2={0: Normal(pattern(0)), 1: (5 * CS + low) | COPIED | zero,
                      2: Normal(pattern(2))})
    reads_like_qemu(written(image), CS, errors={1: 'CORRUPT'})


@pytest.mark.parametrize('entry', [1, 1 | COPIED, 5 * CS | 1 | COPIED])
def test_l2_zero_flag_in_version_2_is_corrupt(written, entry):
    """Version 2 has no zero clusters. The bit is neither ignored nor obeyed."""
    image = Image(version=2, l2={0: Normal(pattern(0)), 1: entry, 2: Normal(pattern(2))})
    answer = reads_like_qemu(written(image), CS, errors={1: 'CORRUPT'})
    assert answer.extents_code == 'CORRUPT'


def test_l2_entry_that_points_at_metadata_returns_metadata(written):
    """Nothing in the format forbids it: header, L1 table and L2 table as guest data."""
    image = Image(l2={0: Normal(pattern(0)), 1: Normal(offset=CS), 2: Normal(offset=4 * CS),
                      3: Normal(offset=3 * CS)})
    reads_like_qemu(written(image), CS)


def test_two_guest_clusters_on_one_host_cluster(written):
    image = Image(l2={0: Normal(pattern(0)), 1: Normal(offset=5 * CS), 2: Normal(offset=5 * CS)})
    answer = reads_like_qemu(written(image), CS)
    assert answer.reads[1] == answer.reads[2] == pattern(0)


def test_clusters_in_descending_and_scattered_order(written):
    """Runs must be joined by place, not by order of arrival."""
    order = [7, 3, 6, 2, 5, 1, 4, 0, 8, 9, 10, 15, 14]
    image = Image(size=16 * CS, l2={c: Normal(pattern(c)) for c in order})
    path = written(image)
    reads_like_qemu(path, CS)
    reads_like_qemu(path, 16 * CS)
    reads_like_qemu(path, 5 * 512)


# -- past the end of the file -----------------------------------------------------------

@pytest.mark.parametrize('offset', [1 << 30, 1 << 40, (1 << 56) - CS])
def test_data_far_past_the_end_is_truncated(written, offset):
    """QEMU makes zeros up; here it is an error, for that cluster only."""
    image = Image(l2={0: Normal(pattern(0)), 1: Normal(offset=offset), 2: Normal(pattern(2))})
    path = written(image)
    reads_like_qemu(path, CS, stricter={1: 'TRUNCATED'})
    answer = probe(path, reads=[(0, 3 * CS)], flags=['--zeros-past-end'])
    assert answer.reads == [pattern(0) + bytes(CS) + pattern(2)]


def test_data_that_starts_at_the_end_of_the_file_is_truncated(written):
    """A whole cluster is missing: that is not a file whose last cluster was cut short."""
    image = Image(l2={0: Normal(pattern(0)), 1: Normal(pattern(1))})
    path = written(image)
    os.truncate(path, image.at['data', 1])
    reads_like_qemu(path, CS, stricter={1: 'TRUNCATED'})


def test_read_across_the_end_of_the_file_names_the_first_missing_byte(written):
    """Four clusters in a row of which two are missing: the first half is readable, and the error of
    a read over all of them says where the other begins."""
    image = Image(l2={i: Normal(pattern(i)) for i in range(4)})
    path = written(image)
    os.truncate(path, image.at['data', 2])
    answer = probe(path, reads=[(0, 2 * CS), (0, 4 * CS), (100, 4 * CS - 100), (3 * CS + 5, 9)])
    assert answer.reads == [pattern(0) + pattern(1)] + ['TRUNCATED'] * 3
    assert [error['guest_offset'] for error in answer.read_errors[1:]] == [2 * CS, 2 * CS,
                                                                           3 * CS + 5]
    assert answer.read_errors[1]['host_offset'] == image.at['data', 2]


@pytest.mark.parametrize('left', [1, 511, 512, 1000, CS - 1])
@pytest.mark.parametrize('cluster_bits', [9, 12, 16])
def test_last_cluster_cut_short_reads_zeros_for_the_missing_part(written, left, cluster_bits):
    """Less than a cluster is missing: writers leave files like that."""
    cs = 1 << cluster_bits
    if left >= cs:
        left = cs - 1
    image = Image(cluster_bits=cluster_bits,
                  l2={0: Normal(pattern(0, cs)), 1: Normal(pattern(1, cs))})
    path = written(image)
    os.truncate(path, image.at['data', 1] + left)
    answer = reads_like_qemu(path, cs)
    assert answer.reads[1] == pattern(1, cs)[:left] + bytes(cs - left)
    reads_like_qemu(path, 512)


def test_zero_cluster_with_a_place_past_the_end_is_zeros(written):
    """Nothing is read there, so nothing is missing."""
    image = Image(l2={0: ZeroAlloc(offset=1 << 40), 1: Normal(pattern(1))})
    reads_like_qemu(written(image), CS)


# -- L1 entries and L2 tables -----------------------------------------------------------

def two_tables(**more):
    """A disk of two L1 entries with one cluster in each."""
    return Image(l2={0: Normal(pattern(0)), 512: Normal(pattern(1))}, size=1024 * CS, **more)


def read_both(path, flags=()):
    return probe(path, reads=[(0, CS), (512 * CS, CS)], flags=flags)


@pytest.mark.parametrize('bit', [b for b in range(64) if L1_RESERVED >> b & 1] + [63])
def test_l1_reserved_bit_is_ignored(written, bit):
    value = two_tables().lay_out().at['l2', 1] ^ (1 << bit)
    path = written(two_tables(l1={1: value}))
    assert read_both(path).reads == [pattern(0), pattern(1)]


@pytest.mark.parametrize('value', [0, COPIED, L1_RESERVED, COPIED | L1_RESERVED])
def test_l1_entry_without_offset_is_unallocated(written, value):
    """Whatever its other bits say."""
    path = written(two_tables(l1={1: value}))
    answer = read_both(path, flags=['--extents'])
    assert answer.reads == [pattern(0), bytes(CS)]
    assert answer.runs()[-1][2] == 'hole'


@pytest.mark.parametrize('low', [512, 1024, 2048])
def test_l1_entry_unaligned_is_corrupt(written, low):
    """The other half of the disk is as readable as before."""
    answer = read_both(written(two_tables(l1={1: (4 * CS + low) | COPIED})), flags=['--extents'])
    assert answer.reads == [pattern(0), 'CORRUPT']
    assert 'aligned' in answer.messages[1]
    assert answer.extents_code == 'CORRUPT'


@pytest.mark.parametrize('offset', [1 << 30, 1 << 40, (1 << 56) - CS])
def test_l2_table_past_the_end_is_truncated(written, offset):
    """QEMU reads it as empty."""
    path = written(two_tables(l1={1: offset | COPIED}))
    answer = read_both(path, flags=['--extents'])
    assert answer.reads == [pattern(0), 'TRUNCATED']
    assert answer.extents_code == 'TRUNCATED'
    assert read_both(path, flags=['--zeros-past-end']).reads == [pattern(0), bytes(CS)]


def test_l2_table_cut_short_by_less_than_a_cluster_is_empty_there(written):
    """The part of the table that is missing says "unallocated", as in QEMU."""
    table = struct.pack('>3Q', 5 * CS | COPIED, 0, 5 * CS | COPIED)
    image = Image(l2={0: Normal(pattern(0))}, size=1024 * CS, l1={1: 6 * CS | COPIED},
                  writes=[(6 * CS, table)])
    path = written(image)
    os.truncate(path, 6 * CS + 20)  # inside the third entry
    reads = [(512 * CS, CS), (513 * CS, CS), (514 * CS, CS)]
    answer = probe(path, reads=reads)
    assert answer.reads[:2] == [pattern(0), bytes(CS)]
    assert [None if isinstance(r, str) else r for r in answer.reads] == qemu_reads(path, reads)


@pytest.mark.parametrize('target', ['l1', 'refcount_table', 'refcount_blocks', ('l2', 0)])
def test_l1_entry_that_points_at_other_metadata_is_bounded(written, target):
    """The L1 table itself, refcounts or another L2 table taken for an L2 table."""
    at = two_tables().lay_out().at
    path = written(two_tables(l1={1: at[target] | COPIED}))
    reads = [((512 + i) * CS, CS) for i in range(64)]
    answer = probe(path, reads=reads, flags=['--extents'])
    for ours, qemu in zip(answer.reads, qemu_reads(path, reads)):
        assert isinstance(ours, str) or ours == qemu
        assert not isinstance(ours, str) or qemu is None or ours == 'TRUNCATED'


def test_two_l1_entries_share_one_l2_table(written):
    table = two_tables().lay_out().at['l2', 0]
    path = written(two_tables(l1={1: table | COPIED}))
    assert read_both(path).reads == [pattern(0), pattern(0)]


def test_same_l2_table_under_different_flags_is_one_table(written):
    """A cache keyed by the raw entry would hold it twice, or take flags for an address."""
    table = two_tables().lay_out().at['l2', 0]
    path = written(two_tables(l1={0: table | L1_RESERVED, 1: table | COPIED}))
    assert read_both(path).reads == [pattern(0), pattern(0)]


# -- a bad cluster in the middle ----------------------------------------------------------

@pytest.mark.parametrize('bad', [5 * CS + 512, (1 << 50) | COPIED, COMPRESSED | (1 << 50)],
                         ids=['unaligned', 'past_end', 'compressed_past_end'])
def test_read_across_a_bad_cluster_names_the_first_bad_byte(written, bad):
    """The error names the first byte that could not be read; its neighbours stay readable."""
    image = Image(l2={0: Normal(pattern(0)), 1: Normal(pattern(1)), 2: bad,
                      3: Normal(pattern(3))})
    answer = probe(written(image), reads=[(100, 4 * CS - 100), (2 * CS + 7, 1), (0, 2 * CS),
                                          (3 * CS, CS), (100, 4 * CS - 100)])
    assert answer.reads[2:4] == [pattern(0) + pattern(1), pattern(3)]
    for number, place in ((0, 2 * CS), (1, 2 * CS + 7), (4, 2 * CS)):
        assert answer.reads[number] in ('CORRUPT', 'TRUNCATED')
        assert answer.read_errors[number]['guest_offset'] == place


def test_extents_up_to_a_bad_cluster_are_given_before_the_failure(written):
    """The walk stops at the bad cluster with the cursor on it."""
    image = Image(l2={0: Normal(pattern(0)), 1: Zero(), 2: 5 * CS + 512, 3: Zero()})
    answer = probe(written(image), flags=['--extents'])
    assert answer.runs() == [(0, CS, 'data'), (CS, CS, 'zero')]
    assert answer.extents_code == 'CORRUPT'


# -- size and work -----------------------------------------------------------------------

def test_huge_disk_of_nothing_costs_nothing(written):
    """2 EiB in 2 MiB clusters, all 4,194,304 L1 entries empty: one open, a few reads, a walk."""
    size = 1 << 61
    image = Image(cluster_bits=21, size=0, l1_entries=4194304, header={'size': size})
    answer = probe(written(image), reads=[(0, 512), (size - 512, 1024), (size // 2 + 1, 3), (size, 1)],
                   flags=['--extents'])
    assert (answer.code, answer.size) == ('OK', size)
    assert answer.reads == [bytes(512), bytes(512), bytes(3), b'']
    assert answer.runs() == [(0, size, 'hole')]


def test_one_table_shared_by_many_l1_entries_is_walked_step_by_step(written):
    """Every L1 entry names one L2 table: the walk is long, but each step is bounded and reading is
    as quick as ever."""
    def image(l1=None):
        return Image(cluster_bits=9, size=4096 << 15, l2={0: Normal(pattern(0, 512))}, l1=l1)
    table = image().lay_out().at['l2', 0]
    path = written(image({i: table | COPIED for i in range(4096)}))
    answer = probe(path, reads=[(4095 << 15, 512), (1 << 15, 513)], flags=['--extents'])
    assert len(answer.runs()) == 2 * 4096
    assert answer.reads[1] == answer.reads[0] + b'\0'


# -- cluster 0 ------------------------------------------------------------------------------

@pytest.mark.parametrize('entry', [0, COPIED, L2_RESERVED, 1])
def test_header_bytes_are_never_data_by_accident(written, entry):
    """A reader that takes offset 0 for a place hands out the header."""
    answer = reads_like_qemu(written(Image(l2={0: entry, 1: Normal(b'x')})), CS)
    assert answer.reads[0] == bytes(CS)
