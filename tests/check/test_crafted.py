# SPDX-License-Identifier: MIT
"""One fault at a time, each with what it must be counted as, and qemu-img's word for it."""

import struct

import pytest

import comparing
import damage
import recipes

COPIED, COMPRESSED = 1 << 63, 1 << 62


class Patient:
    """An image in memory, its tables by kind, and words to change."""

    def __init__(self, path):
        self.path = path
        self.data = bytearray(path.read_bytes())
        self.tables = damage.Tables(bytes(self.data))
        self.cluster = self.tables.cluster

    def offset(self, kind, number=0):
        return [offset for k, offset, _ in self.tables.found if k == kind][number]

    def get(self, offset):
        return struct.unpack_from('>Q', self.data, offset)[0]

    def put(self, offset, word):
        struct.pack_into('>Q', self.data, offset, word & (1 << 64) - 1)
        return self

    def change(self, offset, function):
        return self.put(offset, function(self.get(offset)))

    def used(self, kind, number=0, skip=0):
        """The offset of the first word of a table that is not 0."""
        start = self.offset(kind, number)
        length = [length for k, offset, length in self.tables.found if offset == start][0]
        return [at for at in range(start, start + length, 8) if self.get(at) != 0][skip]

    def check(self):
        self.path.write_bytes(self.data)
        comparing.assert_interruptible(self.path)
        return comparing.assert_same(self.path)


@pytest.fixture
def patient(tmp_path):
    """A patient of six data clusters, or of what the commands write."""
    def make(*commands, size='4M', **options):
        path = tmp_path / 'patient.qcow2'
        recipes.create(path, size, **{'cluster_size': 4096, **options})
        recipes.io(path, *(commands or ['write 0 24k']))
        return Patient(path)
    return make


def counts(answer):
    return tuple(answer.counts[key] for key in ('check-errors', 'corruptions', 'leaks'))


# ---------------------------------------------------------------------------
# L1 and L2 entries

def test_reserved_bits_of_an_l1_entry_are_a_corruption(patient):
    p = patient()
    assert counts(p.change(p.used('l1'), lambda e: e | 1 << 60).check()) == (0, 1, 0)


def test_l1_entry_of_flags_alone_makes_the_header_a_table(patient):
    p = patient()
    answer = p.put(p.offset('l1') + 8, COPIED).check()
    assert answer.counts['corruptions'] > 0


def test_unaligned_l2_table_is_walked_all_the_same(patient):
    p = patient()
    p.change(p.used('l1'), lambda e: e + 512)
    answer = p.check()
    # The first 64 entries are skipped, and as much of the cluster behind is taken for entries.
    assert answer.counts['corruptions'] > 0 and answer.counts['allocated-clusters'] == 64


def test_copied_flag_must_agree_with_the_refcount(patient):
    p = patient()
    assert counts(p.change(p.used('l1'), lambda e: e ^ COPIED).check()) == (0, 1, 0)
    p = patient()
    assert counts(p.change(p.used('l2'), lambda e: e ^ COPIED).check()) == (0, 1, 0)


def test_reserved_bits_of_an_l2_entry_are_a_corruption_even_without_a_cluster(patient):
    p = patient()
    p.change(p.used('l2'), lambda e: e | 1 << 57)
    p.put(p.offset('l2') + 8 * 100, 2)
    assert counts(p.check()) == (0, 2, 0)


def test_zero_flag_is_no_fault_in_version_2(patient):
    p = patient(compat='0.10')
    p.put(p.offset('l2') + 8 * 100, 1)
    assert counts(p.change(p.used('l2'), lambda e: e | 1).check()) == (0, 0, 0)


def test_unaligned_data_cluster_counts_for_both_clusters(patient):
    p = patient()
    assert counts(p.change(p.used('l2'), lambda e: e + 512).check())[1] >= 2


def test_cluster_past_the_end_leaks_what_it_left(patient):
    p = patient()
    p.change(p.used('l2'), lambda e: e | 1 << 50)
    assert counts(p.check()) == (0, 2, 1)


@pytest.mark.parametrize('count', [1, 0, 2])
def test_cluster_past_the_end_may_have_a_refcount_all_the_same(patient, count):
    """The block of the file's own clusters goes on for 8 MiB."""
    p = patient()
    struct.pack_into('>H', p.data, p.offset('refcount block') + 2 * (4 << 20 >> 12), count)
    p.put(p.used('l2'), 4 << 20 | COPIED)
    assert counts(p.check())[1] == (1 if count == 1 else 2)


def test_cluster_past_the_end_whose_refcount_cannot_be_read(patient):
    p = patient()
    p.put(p.offset('refcount table') + 8, 512)
    p.put(p.used('l2'), 9 << 20 | COPIED)
    assert p.check().counts['corruptions'] > 0


def test_one_cluster_used_twice_is_a_corruption(patient):
    p = patient()
    p.put(p.used('l2', skip=1), p.get(p.used('l2')))
    assert counts(p.check()) == (0, 1, 1)


def test_no_snapshots_may_begin_anywhere(patient):
    p = patient(cluster_size=512)
    assert counts(p.put(64, (1 << 63) - 512).check()) == (0, 0, 0)


def test_stream_over_two_clusters_overflows_the_refcounts_of_both(patient):
    p = patient(refcount_bits=1)
    data_off = p.get(p.used('l2')) & (1 << 56) - 512
    p.put(p.offset('l2') + 8 * 100, COMPRESSED | 15 << 58 | data_off)
    assert counts(p.check()) == (0, 2, 0)


def test_dropped_entry_is_a_leak(patient):
    p = patient()
    answer = p.put(p.used('l2'), 0).check()
    assert counts(answer) == (0, 0, 1) and answer.status == 3


def test_neighbouring_leaks_are_one_finding(patient):
    p = patient()
    for i in range(6):
        p.put(p.offset('l2') + 8 * i, 0)
    answer = p.check()
    assert counts(answer) == (0, 0, 6) and len(answer.findings) == 1


def test_copied_flag_on_compressed_data_is_a_corruption(tmp_path):
    path = tmp_path / 'patient.qcow2'
    recipes.RECIPES['deflate_4096'](path)
    p = Patient(path)
    compressed = next(at for skip in range(1000)
                      if p.get(at := p.used('l2', skip=skip)) & COMPRESSED)
    answer = p.change(compressed, lambda e: e | COPIED).check()
    assert counts(answer) == (0, 1, 0)


def test_l2_table_named_twice_counts_twice(patient):
    p = patient('write 0 24k', 'write 2M 24k')
    first, second = p.offset('l1'), p.offset('l1') + 8
    p.put(second, p.get(first))
    answer = p.check()
    assert answer.counts['allocated-clusters'] == 12


def test_l2_table_named_by_every_l1_entry_is_counted_as_often(patient):
    p = patient('write 0 2M', size='512M', refcount_bits=64)
    for i in range(256):
        p.put(p.offset('l1') + 8 * i, p.get(p.offset('l1')))
    answer = p.check()
    assert answer.counts['allocated-clusters'] == 256 * 512


def test_references_past_the_width_of_a_refcount_are_corruptions(patient):
    p = patient(refcount_bits=2)
    for i in range(1, 6):
        p.put(p.offset('l2') + 8 * i, p.get(p.offset('l2')))
    answer = p.check()
    assert counts(answer) == (0, 3 + 1, 5)


@pytest.mark.parametrize('width', [1, 2, 4, 8, 16, 32, 64])
def test_refcount_of_each_width_one_off(patient, width):
    p = patient('write 0 200k', refcount_bits=width)
    block = p.offset('refcount block')
    p.data[block + width // 8 + 2] ^= 1
    p.data[block + 4 * width // 8] ^= 0xFF
    assert p.check().status in (2, 3)


# ---------------------------------------------------------------------------
# Subclusters

def test_subcluster_allocated_and_zero_is_a_corruption(patient):
    p = patient('write 0 16k', 'write 32k 512', cluster_size=16384, extended_l2='on')
    at = p.used('l2') + 8
    assert counts(p.change(at, lambda b: b | 1 << 32).check()) == (0, 1, 0)


def test_subcluster_without_a_cluster_is_a_corruption(patient):
    p = patient('write 0 16k', cluster_size=16384, extended_l2='on')
    p.put(p.offset('l2') + 16 * 100 + 8, 1)
    p.put(p.offset('l2') + 16 * 101 + 8, 1 << 32)
    assert counts(p.check()) == (0, 1, 0)


def test_zero_flag_is_no_excuse_for_a_subcluster_without_a_cluster(patient):
    p = patient('write 0 16k', cluster_size=16384, extended_l2='on')
    p.put(p.offset('l2') + 16 * 100, 1).put(p.offset('l2') + 16 * 100 + 8, 1)
    assert counts(p.check()) == (0, 1, 0)


def test_zero_flag_of_an_extended_entry_has_no_meaning(patient):
    p = patient('write 0 16k', cluster_size=16384, extended_l2='on')
    p.put(p.offset('l2') + 16 * 100, 1)
    assert counts(p.change(p.used('l2'), lambda e: e | 1).check()) == (0, 0, 0)


def test_compressed_entry_with_a_bitmap_leaks_its_clusters(tmp_path):
    raw, path = tmp_path / 'raw', tmp_path / 'patient.qcow2'
    raw.write_bytes(b'abcdefgh' * 8192)
    comparing.run('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o',
                  'extended_l2=on,cluster_size=16k', raw, path)
    p = Patient(path)
    for i in range(4):
        p.put(p.offset('l2') + 16 * i + 8, 1 << 32)
    answer = p.check()
    assert answer.counts['corruptions'] == 4 and answer.counts['leaks'] > 0
    assert answer.counts['compressed-clusters'] == 0


# ---------------------------------------------------------------------------
# Refcount table and blocks

def test_reserved_bits_of_a_refcount_table_entry(patient):
    p = patient()
    answer = p.change(p.used('refcount table'), lambda e: e | 4).check()
    assert counts(answer) == (0, 1, 1)


def test_unaligned_refcount_block_cannot_be_read(patient):
    p = patient()
    answer = p.change(p.used('refcount table'), lambda e: e + 512).check()
    assert answer.counts['check-errors'] > 0 and answer.status == 1
    assert sum(1 for finding in answer.findings if finding[0] == 2) == 1


def test_refcount_block_outside_the_file_reads_as_zeros(patient):
    p = patient()
    answer = p.put(p.used('refcount table'), 1 << 40).check()
    assert answer.counts['check-errors'] == 0 and answer.counts['corruptions'] > 0


@pytest.mark.parametrize('where', [1 << 63, (1 << 64) - 4096, (1 << 63) - (1 << 30),
                                   (1 << 63) - (1 << 30) - 4096])
def test_refcount_block_beyond_all_file_offsets(patient, where):
    p = patient()
    p.put(p.used('refcount table'), where)
    p.check()


def test_refcount_block_used_by_two_table_entries(patient):
    p = patient()
    p.put(p.offset('refcount table') + 8, p.get(p.offset('refcount table')))
    p.check()


def test_refcount_table_that_leaves_the_file(patient):
    p = patient()
    struct.pack_into('>I', p.data, 56, 2048)
    assert p.check().counts['corruptions'] > 0


def test_no_refcount_block_at_all(patient):
    p = patient()
    p.put(p.used('refcount table'), 0)
    assert p.check().status == 2


# ---------------------------------------------------------------------------
# The end of the file

@pytest.mark.parametrize('cut', [1, 511, 512, 4095, 4096, 4097, 8192, 20000])
def test_file_cut_short(patient, cut):
    p = patient()
    del p.data[-cut:]
    p.check()


def test_file_cut_inside_its_l2_table(patient):
    p = patient()
    del p.data[p.offset('l2') + 16:]
    p.check()


@pytest.mark.parametrize('more', [1, 512, 4096, 1 << 20])
def test_file_with_something_behind_it(patient, more):
    p = patient()
    p.data += bytes(more)
    assert p.check().status == 0


def test_reference_into_the_cluster_that_the_file_ends_in(patient):
    p = patient()
    del p.data[-512:]
    end = len(p.data) // 4096 * 4096
    p.put(p.used('l2'), end | COPIED)
    p.put(p.used('l2', skip=1), end + 512 | COPIED)
    p.check()


# ---------------------------------------------------------------------------
# Snapshots

@pytest.fixture
def with_snapshots(patient):
    p = patient(size='8M')
    for name in ('one', 'two'):
        comparing.run('qemu-img', 'snapshot', '-c', name, p.path)
        recipes.io(p.path, 'write 4k 8k')
    return Patient(p.path)


def test_snapshot_l1_table_may_be_unaligned_or_too_large(with_snapshots):
    p, entry = with_snapshots, with_snapshots.offset('snapshot table')
    p.change(entry, lambda offset: offset + 512)
    assert counts(p.check())[1] == 1
    p.change(entry, lambda offset: offset - 512)
    struct.pack_into('>I', p.data, entry + 8, (4 << 20) + 1)
    assert counts(p.check())[1] == 1


@pytest.mark.parametrize('offset', [1 << 40, 1 << 62])
def test_snapshot_l1_table_outside_the_file(with_snapshots, offset):
    p = with_snapshots
    assert p.put(p.offset('snapshot table'), offset).check().counts['corruptions'] > 0


def test_snapshot_without_extra_data_is_incomplete_in_version_3(with_snapshots):
    p = with_snapshots
    first = p.offset('snapshot table')
    id_size, name_size = struct.unpack_from('>HH', p.data, first + 12)
    last = first + (40 + p.data[first + 39] + id_size + name_size + 7 & ~7)
    struct.pack_into('>I', p.data, last + 36, 15)
    assert counts(p.check()) == (0, 1, 0)


def test_copied_flags_of_a_snapshot_do_not_matter(with_snapshots):
    p = with_snapshots
    p.change(p.used('snapshot l1'), lambda e: e ^ COPIED)
    assert counts(p.check()) == (0, 0, 0)


@pytest.mark.parametrize('field', ['extra', 'offset'])
def test_broken_snapshot_table_ends_the_check(with_snapshots, field):
    p = with_snapshots
    if field == 'extra':
        struct.pack_into('>I', p.data, p.offset('snapshot table') + 36, 1025)
    else:
        p.put(64, (1 << 63) - 4096)
    p.path.write_bytes(p.data)
    theirs, mine = comparing.qemu(p.path), comparing.ours(p.path)
    assert theirs.counts is None and theirs.status == 1
    assert mine.counts is None and mine.status == 1
    comparing.assert_interruptible(p.path)


def test_many_snapshots_that_share_a_table(patient):
    p = patient('write 0 2M', size='256M')
    for i in range(12):
        comparing.run('qemu-img', 'snapshot', '-c', str(i), p.path)
    p = Patient(p.path)
    assert counts(p.check()) == (0, 0, 0)
    p.change(p.used('l2'), lambda e: e | 1 << 58)
    answer = p.check()
    assert counts(answer) == (0, 13, 0) and len(answer.findings) == 1


# ---------------------------------------------------------------------------
# Bitmaps

@pytest.fixture
def with_bitmap(tmp_path):
    path = tmp_path / 'patient.qcow2'
    recipes.create(path, '4M', cluster_size=4096)
    comparing.run('qemu-img', 'bitmap', '--add', '-g', '512', path, 'bits')
    recipes.io(path, 'write 1M 1M')
    return Patient(path)


def test_bitmap_cluster_used_twice(with_bitmap):
    p = with_bitmap
    p.put(p.used('bitmap table'), p.get(p.used('l2')) & damage.OFFSET_MASK)
    p.check()


def test_bitmap_cluster_dropped_is_a_leak(with_bitmap):
    p = with_bitmap
    assert counts(p.put(p.used('bitmap table'), 1).check()) == (0, 0, 1)


def test_invalid_entry_of_a_bitmap_in_use_ends_the_check(with_bitmap):
    p = with_bitmap
    directory = p.offset('bitmap directory')
    struct.pack_into('>I', p.data, directory + 12, 3)
    assert counts(p.check()) == (0, 0, 0)
    p.change(p.used('bitmap table'), lambda e: e | 1)
    p.path.write_bytes(p.data)
    theirs, mine = comparing.qemu(p.path), comparing.ours(p.path)
    assert theirs.counts is None and theirs.status == 1
    assert mine.counts is None and mine.status == 1 and mine.text.startswith('corrupt')
    comparing.assert_interruptible(p.path)


# In the extension: how many, reserved, length and offset of the directory.
@pytest.mark.parametrize('at, form, value', [
    (0, '>I', 0), (0, '>I', 2), (4, '>I', 1), (8, '>Q', 24), (8, '>Q', 1 << 20),
    (16, '>Q', 1 << 40), (16, '>Q', (1 << 63) - (1 << 30)), (16, '>Q', 512)])
def test_bitmaps_extension_that_makes_no_sense_ends_the_check(with_bitmap, at, form, value):
    p = with_bitmap
    extension = p.data.index(struct.pack('>II', 0x23852875, 24)) + 8
    struct.pack_into(form, p.data, extension + at, value)
    p.path.write_bytes(p.data)
    mine = comparing.ours(p.path)
    assert mine.counts is None and mine.status == 1 and mine.text.startswith('corrupt')
    assert any(finding[0] == 0 for finding in mine.findings)
    comparing.assert_interruptible(p.path)


@pytest.mark.parametrize('offset', [1 << 40, 1 << 55])
def test_bitmap_table_outside_the_file_is_a_corruption(with_bitmap, offset):
    p = with_bitmap
    assert p.put(p.offset('bitmap directory'), offset).check().counts['corruptions'] > 0


def test_an_invalid_entry_within_a_bitmap_table_is_told_with_its_place(tmp_path):
    path = tmp_path / 'patient.qcow2'
    recipes.create(path, '64M', cluster_size=4096)
    comparing.run('qemu-img', 'bitmap', '--add', '-g', '512', path, 'bits')
    p = Patient(path)
    second = p.offset('bitmap table') + 8
    struct.pack_into('>I', p.data, p.offset('bitmap directory') + 12, 3)
    p.path.write_bytes(p.put(second, 2).data)
    mine = comparing.ours(p.path)
    assert mine.counts is None and f'0x0000000000000002 at {second:#x} ' in mine.text


def test_bitmaps_that_are_out_of_date_leak(with_bitmap):
    p = with_bitmap
    answer = p.put(88, 0).check()
    assert answer.counts['leaks'] > 0 and answer.status == 3


# ---------------------------------------------------------------------------
# Refcounts

def test_a_format_without_refcounts_cannot_be_checked(tmp_path):
    path = tmp_path / 'version_1.qcow'
    comparing.run('qemu-img', 'create', '-q', '-f', 'qcow', path, '1M')
    answer = comparing.ours(path)
    assert answer.counts is None and answer.text.startswith('unsupported')


def test_a_refcount_block_longer_than_what_is_read_at_once_is_read_to_its_end(tmp_path):
    """With 8 bytes for a refcount a block of 128 KiB is two pieces; the file, sparse, has clusters for both."""
    path = tmp_path / 'long_block.qcow2'
    recipes.create(path, '1200M', cluster_size='128k', refcount_bits=64, preallocation='metadata')
    assert counts(comparing.assert_same(path)) == (0, 0, 0)


# ---------------------------------------------------------------------------
# External data files

@pytest.fixture
def with_data_file(tmp_path):
    path = tmp_path / 'patient.qcow2'
    recipes.create(path, '4M', data_file=tmp_path / 'data', cluster_size=4096)
    recipes.io(path, 'write 0 24k', 'write -z 1M 64k')
    return Patient(path)


def test_external_data_has_no_refcounts(with_data_file):
    p = with_data_file
    answer = p.check()
    assert counts(answer) == (0, 0, 0)
    p.change(p.used('l2'), lambda e: e ^ COPIED)        # cluster 0: then it is not there
    p.change(p.used('l2', skip=1), lambda e: e ^ COPIED)
    assert counts(p.check()) == (0, 1, 0)


def test_external_data_that_is_not_in_place_is_no_matter_of_refcounts(with_data_file):
    p = with_data_file
    p.change(p.used('l2', skip=2), lambda e: e + 4096)
    assert counts(p.check()) == (0, 0, 0)


def test_compressed_external_data_is_a_corruption(with_data_file):
    p = with_data_file
    answer = p.put(p.used('l2', skip=2), COMPRESSED | 0x5000).check()
    assert counts(answer) == (0, 1, 0) and answer.counts['compressed-clusters'] == 0


def test_snapshots_beside_a_data_file_are_a_corruption(with_data_file):
    p = with_data_file
    end = len(p.data)
    p.data += bytes(8192)
    struct.pack_into('>IQ', p.data, 60, 1, end)
    struct.pack_into('>QIHHIIQII', p.data, end, 0, 0, 1, 1, 0, 0, 0, 0, 16)
    assert p.check().counts['corruptions'] >= 1
