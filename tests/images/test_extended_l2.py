# SPDX-License-Identifier: MIT
"""Images with extended L2 entries: clusters of 32 subclusters, each allocated, zero or neither."""

import pytest

from build import COMPRESSED, COPIED, Compressed, Extension, Image, Normal, Subclusters
from expect import reads_like_qemu
from streams import deflate
from test_matrix import KI, MI, Maker
from tools import probe

CS = 16384
SUB = CS // 32
ALL = range(32)


def pattern(number, length=CS):
    return bytes((number * 37 + i + (i >> 8)) & 0xFF for i in range(length))


def image(l2, **more):
    return Image(cluster_bits=14, extended_l2=True, l2=l2, **more)


@pytest.fixture
def maker(tmp_path, request):
    return Maker(tmp_path, request.node.name)


# -- made by QEMU's tools ---------------------------------------------------------------------

@pytest.mark.parametrize('cs', [16 * KI, 64 * KI, 2 * MI])
@pytest.mark.parametrize('kind', ['plain', 'deflate', 'zstd'])
def test_image_changed_after_it_was_made(maker, cs, kind):
    """Writes of less than a cluster leave clusters of which only some subclusters exist."""
    size = max(4 * MI, 3 * cs)
    maker.convert(size - 512, cs=cs, kind=kind, extended_l2='on')
    maker.change(size - 512, cs)
    maker.compare(count=3000)
    if cs < MI:
        maker.compare_without_caches()


def test_disk_written_in_single_subclusters(maker):
    """From nothing: every other subcluster, then zeros and discards between them."""
    maker.create(2 * MI + 512, cs=64 * KI, extended_l2='on')
    maker.change(2 * MI, 64 * KI, count=120)
    maker.compare(count=5000)
    maker.compare_without_caches()


# -- made by hand ------------------------------------------------------------------------------

def test_every_class_of_subcluster_reads_like_qemu(written):
    """Allocated, zero and unallocated in one cluster, with and without a host cluster. Data lies at
    its natural place in the cluster."""
    path = written(image({
        0: Subclusters(pattern(0), allocated=[0, 1, 5, 31], zero=[2, 3, 30]),
        1: Subclusters(place=False, zero=[4, 5, 31]), 2: Normal(pattern(2)),
        3: Subclusters(pattern(3), allocated=range(0, 32, 2), zero=range(1, 32, 2)),
        5: Subclusters(pattern(5), zero=ALL), 6: Subclusters(pattern(6)),
        7: Compressed(deflate(pattern(7))), 8: Normal(pattern(8))}))
    reads_like_qemu(path, SUB)
    answer = reads_like_qemu(path, CS)
    reads_like_qemu(path, 9 * CS)
    assert answer.reads[7] == pattern(7)
    assert answer.runs()[:5] == [(0, 2 * SUB, 'data'), (2 * SUB, 2 * SUB, 'zero'),
                                 (4 * SUB, SUB, 'hole'), (5 * SUB, SUB, 'data'),
                                 (6 * SUB, 24 * SUB, 'hole')]


def test_entry_1_is_unallocated(written):
    """Bit 0 has no meaning here, so the usual zero cluster is none."""
    answer = reads_like_qemu(written(image({0: (1, 0), 1: Normal(pattern(1))})), CS)
    assert answer.runs()[0] == (0, CS, 'hole')


def test_bit_0_of_an_entry_with_data_is_ignored(written):
    path = written(image({0: Normal(pattern(0), flags=COPIED | 1)}))
    assert reads_like_qemu(path, CS).reads == [pattern(0)]


@pytest.mark.parametrize('k', [0, 13, 31])
def test_subcluster_both_allocated_and_zero_makes_its_cluster_corrupt(written, k):
    """Every subcluster of it, whichever is asked for; the neighbours are as they were."""
    path = written(image({0: Normal(pattern(0)),
                          1: Subclusters(pattern(1), allocated=ALL, zero=[k]),
                          2: Normal(pattern(2))}))
    reads_like_qemu(path, CS, errors={1: 'CORRUPT'})
    reads_like_qemu(path, SUB, errors={n: 'CORRUPT' for n in range(32, 64)})


def test_subcluster_allocated_without_a_host_cluster_is_corrupt(written):
    path = written(image({0: Subclusters(place=False, allocated=[7], zero=[3]),
                          1: Normal(pattern(1))}))
    reads_like_qemu(path, SUB, errors={n: 'CORRUPT' for n in range(32)})


@pytest.mark.parametrize('bitmap', [0, 0xFFFFFFFF << 32, 0xFFFFFFFF],
                         ids=['unallocated', 'zero', 'allocated'])
def test_unaligned_host_offset_is_corrupt_whatever_the_bitmap_says(written, bitmap):
    path = written(image({0: Normal(pattern(0)), 1: (5 * CS + 512 | COPIED, bitmap),
                          2: Normal(pattern(2))}))
    reads_like_qemu(path, CS, errors={1: 'CORRUPT'})


def test_bitmap_of_a_compressed_cluster_is_ignored(written):
    """All of it, conflicts included."""
    at = image({0: Compressed(deflate(pattern(0)))}).lay_out()
    entry = COMPRESSED | (7 << (70 - 14)) | at.at['data', 0]
    table = at.at['l2', 0]
    path = written(image({0: Compressed(deflate(pattern(0))), 1: Normal(pattern(1))},
                         writes=[(table, entry.to_bytes(8, 'big') + b'\xff' * 8)]))
    assert reads_like_qemu(path, CS).reads[0] == pattern(0)


def test_table_has_half_as_many_entries(written):
    """A reader that takes the table for one of 8 byte entries reads the other half right or wrong by
    chance: here the disk spans two tables."""
    per_table = CS // 16
    path = written(image({0: Normal(pattern(0)), per_table - 1: Normal(pattern(1)),
                          per_table: Normal(pattern(2)), per_table + 1: Normal(pattern(3))}))
    reads = [(n * CS, CS) for n in (0, 1, per_table - 1, per_table, per_table + 1)]
    assert probe(path, reads=reads).reads == [pattern(0), bytes(CS), pattern(1), pattern(2),
                                              pattern(3)]


def test_unallocated_subclusters_past_the_end_of_the_file_are_zeros(written):
    """Only what is stored can be missing."""
    path = written(image({0: (1 << 40 | COPIED, 0b11 << 40), 1: (1 << 40 | COPIED, 0b1)},
                         extensions=[Extension(0x1234, b'x')]))
    reads_like_qemu(path, SUB, stricter={32: 'TRUNCATED'})
