# SPDX-License-Identifier: MIT
"""Headers that are cut short, out of range, newer than us, or at odds with themselves."""

import pytest

from build import INCOMPATIBLE, Extension, Image, Normal, Zero, feature_names
from expect import reads_like_qemu, refused
from tools import probe, qemu_opens

CS = 4096


# -- not a qcow2 ------------------------------------------------------------

@pytest.mark.parametrize('content', [b'', b'Q', b'QFI', b'\0' * 4096, b'QFI\xfa' + bytes(4092),
                                     b'KDMV' + bytes(1000), b'\x7fELF' + bytes(200)],
                         ids=['empty', 'one_byte', 'three_bytes', 'zeros', 'wrong_last_byte',
                              'vmdk', 'elf'])
def test_other_file_is_not_qcow2(tmp_path, content):
    """Without the four magic bytes it is another kind of file, not a broken qcow2."""
    path = tmp_path / 'other'
    path.write_bytes(content)
    refused(path, 'NOT_QCOW2')


def test_directory_is_refused(tmp_path):
    """A directory is an I/O problem (EISDIR), said before anything is read."""
    answer = probe(tmp_path)
    assert answer.code == 'IO'
    assert answer.raw['error']['errno'] != 0


def test_missing_file_is_io_with_errno(tmp_path):
    """A file that is not there is an I/O problem with ENOENT."""
    answer = probe(tmp_path / 'missing')
    assert answer.code == 'IO'
    assert answer.raw['error']['errno'] == 2


def test_fifo_is_refused_without_waiting(tmp_path):
    """Opening a FIFO for reading would block until somebody writes; it is refused instead."""
    import os
    os.mkfifo(tmp_path / 'fifo')
    assert probe(tmp_path / 'fifo').code == 'ARGUMENT'


def test_character_device_is_refused():
    """/dev/zero can be read but not at an offset."""
    assert probe('/dev/zero').code == 'ARGUMENT'


@pytest.mark.parametrize('length', [4, 7, 8, 16, 71])
def test_file_that_ends_inside_the_v2_header_is_truncated(written, length):
    """The magic is there, the rest of the 72 bytes is not."""
    refused(written(Image(version=2, length=length)), 'TRUNCATED', qemu='not asked')


@pytest.mark.parametrize('length', [72, 80, 96, 100, 103])
def test_file_that_ends_inside_the_v3_header_is_truncated(written, length):
    """Version 3 has at least 104 bytes of header."""
    refused(written(Image(length=length)), 'TRUNCATED', qemu='not asked')


def test_file_of_one_header_opens_if_nothing_else_is_needed(written):
    """A disk of 0 bytes needs no L1 table; what is missing of the header cluster is zeros."""
    path = written(Image(size=0, length=104, header={'l1_size': 0, 'l1_table_offset': 0,
                                                     'refcount_table_offset': 0}))
    answer = probe(path, reads=[(0, 512), (4096, 1)], flags=['--extents'])
    assert (answer.code, answer.size, answer.reads) == ('OK', 0, [b'', b''])
    assert answer.extents == []
    assert qemu_opens(path)


# -- versions ---------------------------------------------------------------

@pytest.mark.parametrize('version', [0, 4, 5, 1 << 31, 0xFFFFFFFF])
def test_header_version_is_unsupported(written, version):
    """Versions 1 to 3 are read; those above are newer than this library, and never taken for raw."""
    refused(written(Image(l2={0: Normal(b'x')}, header={'version': version})), 'UNSUPPORTED',
            str(version))


# -- fields out of range ------------------------------------------------------

@pytest.mark.parametrize('bits', [0, 1, 8])
def test_header_cluster_bits_too_small_is_corrupt(written, bits):
    """The smallest cluster has 512 bytes; tested before anything is shifted by it."""
    refused(written(Image(header={'cluster_bits': bits})), 'CORRUPT', str(bits))


@pytest.mark.parametrize('bits', [22, 31, 32, 63, 64, 0x80000009, 0xFFFFFFFF])
def test_header_cluster_bits_too_large_is_unsupported(written, bits):
    """The format has no upper bound, QEMU's is 21 (2 MiB)."""
    refused(written(Image(header={'cluster_bits': bits})), 'UNSUPPORTED', str(bits))


@pytest.mark.parametrize('length', [0, 71, 72, 103, CS + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_header_length_out_of_range_is_corrupt(written, length):
    """Version 3: 104 bytes to one cluster."""
    refused(written(Image(header={'header_length': length})), 'CORRUPT', 'header length')


@pytest.mark.parametrize('length', [104, 105, 108, 111, 112, 113, 120, 1001, CS - 8, CS])
def test_header_length_odd_or_large_opens(written, length):
    """Multiples of 8 are asked for by the format and not by QEMU; unknown header bytes are skipped,
    extensions start wherever the header ends, and a header of a whole cluster leaves no room for
    any."""
    extensions = [feature_names((1, 7, b'seven'))] if length < CS - 100 else []
    path = written(Image(l2={0: Normal(b'data'), 1: Zero()}, extensions=extensions,
                         header={'header_length': length}))
    reads_like_qemu(path, CS)
    answer = probe(path, flags=['--extensions', '--info', '--features'])
    assert answer.info['header_length'] == length
    assert len(answer.extensions) == len(extensions)
    assert answer.features.get('1.7') == ('seven' if extensions else None)


def test_header_padding_after_compression_type_is_ignored(written):
    """Bytes 105..111 should be zero; nobody looks."""
    reads_like_qemu(written(Image(l2={0: Normal(b'x')}, writes=[(105, b'\xff' * 7)])), CS)


@pytest.mark.parametrize('order', [7, 8, 63, 64, 255, 0xFFFFFFFF])
def test_refcount_order_above_6_is_corrupt(written, order):
    """Refcounts have at most 64 bits."""
    refused(written(Image(header={'refcount_order': order})), 'CORRUPT', 'refcount')


@pytest.mark.parametrize('size', [1 << 63, (1 << 64) - 1, (1 << 64) - (1 << 29),
                                  (1 << 64) - 511])
def test_size_near_2_to_64_is_refused(written, size):
    """The count of L1 entries is computed without wrapping."""
    refused(written(Image(header={'size': size})), 'CORRUPT', 'size')


@pytest.mark.parametrize('size', [(1 << 63) - 1, 1 << 62, 1 << 50])
def test_size_larger_than_the_l1_table_is_refused(written, size):
    """Every guest cluster needs an L1 entry."""
    refused(written(Image(header={'size': size})), 'CORRUPT', 'L1 table')


@pytest.mark.parametrize('cluster_bits', [9, 12, 16])
def test_l1_too_small_by_one_entry_is_refused(written, cluster_bits):
    """One L1 entry short of the disk."""
    per_entry = 1 << (2 * cluster_bits - 3)
    good = Image(cluster_bits=cluster_bits, size=3 * per_entry)
    assert probe(written(good, 'good')).code == 'OK'
    bad = Image(cluster_bits=cluster_bits, size=3 * per_entry, header={'l1_size': 2})
    refused(written(bad, 'bad'), 'CORRUPT', 'L1 table', '2')


def test_l1_check_uses_the_size_that_is_stored(written):
    """One byte past what the L1 table covers is refused, although the disk that is shown (rounded
    down to sectors) would fit."""
    per_entry = 1 << (2 * 12 - 3)
    refused(written(Image(size=per_entry, header={'size': per_entry + 1})), 'CORRUPT', 'L1 table')


@pytest.mark.parametrize('entries', [4194305, 1 << 30, 0x80000000, 0xFFFFFFFF])
def test_l1_larger_than_32_mib_is_refused(written, entries):
    """The limit is tested before anything is allocated."""
    refused(written(Image(header={'l1_size': entries})), 'LIMIT', 'L1 table', str(entries))


@pytest.mark.parametrize('offset', [1, 512, CS + 8, 3 * CS + 2048, (1 << 63) + 512])
def test_l1_offset_unaligned_is_corrupt(written, offset):
    """Tables start on a cluster."""
    refused(written(Image(header={'l1_table_offset': offset})), 'CORRUPT', 'L1 table', 'aligned')


@pytest.mark.parametrize('offset, code', [
    (1 << 63, 'CORRUPT'), ((1 << 64) - CS, 'CORRUPT'), ((1 << 63) - CS, 'CORRUPT'),
    ((1 << 63) - 2 * CS, 'TRUNCATED')])
def test_l1_near_2_to_63_is_refused(written, offset, code):
    """Offset plus length (513 entries here) must fit a signed file offset; where it just does,
    the file is far too short."""
    image = Image(l1_entries=CS // 8 + 1, size=CS, header={'l1_table_offset': offset})
    refused(written(image), code, 'L1 table')


def test_l1_past_the_end_of_the_file_is_truncated(written):
    """A table of 32 MiB that a file of a few KiB cannot hold: nothing is allocated for it. QEMU
    reads it as empty."""
    image = Image(header={'l1_table_offset': 64 * CS, 'l1_size': 4194304})
    refused(written(image), 'TRUNCATED', 'L1 table', qemu='opens')


def test_l1_that_starts_inside_and_ends_past_the_file_is_truncated(written):
    """Only the first part of the table is there."""
    image = Image(header={'l1_size': 4194304})
    refused(written(image), 'TRUNCATED', 'L1 table', qemu='opens')


def test_l1_that_ends_less_than_a_cluster_past_the_file_reads_as_empty_there(written):
    """The last cluster of a file may be cut short: what is missing is zeros, so unallocated."""
    image = Image(size=200 << 21, header={})  # 200 L1 entries of 2 MiB each
    path = written(image)
    with open(path, 'r+b') as file:
        file.truncate(image.at['l1'] + 100)
    answer = probe(path, reads=[(0, 512), (199 << 21, 512)], flags=['--extents'])
    assert answer.reads == [bytes(512)] * 2
    assert answer.runs() == [(0, 200 << 21, 'hole')]


def test_l1_offset_zero_takes_the_header_for_a_table(written):
    """Nothing in the format forbids it; the words of the header are then L1 entries like any. The
    first one, magic and version, leads far past the end of the file."""
    image = Image(size=1 << 21, l2={0: Normal(b'unseen')}, header={'l1_table_offset': 0})
    reads_like_qemu(written(image), CS, size=2 * CS, stricter={0: 'TRUNCATED', 1: 'TRUNCATED'})


@pytest.mark.parametrize('count', [0x20001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_refcount_table_larger_than_8_mib_is_refused(written, count):
    refused(written(Image(header={'refcount_table_clusters': count})), 'LIMIT', 'refcount table')


def test_refcount_table_of_no_clusters_is_refused(written):
    """An image without refcounts was not written by QEMU."""
    refused(written(Image(header={'refcount_table_clusters': 0})), 'CORRUPT', 'refcount table')


@pytest.mark.parametrize('offset', [512, CS + 1, 1 << 63, (1 << 64) - CS])
def test_refcount_table_unaligned_or_past_2_to_63_is_refused(written, offset):
    refused(written(Image(header={'refcount_table_offset': offset})), 'CORRUPT', 'refcount table')


def test_refcount_table_that_lies_is_no_matter_for_reading(written):
    """Reading never looks at refcounts: all zero, or a table past the end of the file."""
    zeros = Image(l2={0: Normal(b'data')}, refcounts={i: 0 for i in range(8)})
    reads_like_qemu(written(zeros, 'zeros'), CS)
    away = Image(l2={0: Normal(b'data')}, header={'refcount_table_offset': 1 << 40})
    answer = probe(written(away, 'away'), reads=[(0, 4)])
    assert answer.reads == [b'data']


@pytest.mark.parametrize('method', [3, 4, 0xFFFFFFFF])
def test_crypt_method_unknown_is_unsupported(written, method):
    refused(written(Image(header={'crypt_method': method})), 'UNSUPPORTED', str(method))


@pytest.mark.parametrize('method', [1, 2])
def test_encrypted_image_is_refused_and_never_read_as_ciphertext(written, method):
    """Without a key there is no answer; the bytes in the file are not one."""
    path = written(Image(l2={0: Normal(b'ciphertext')}, header={'crypt_method': method}))
    answer = refused(path, 'KEY', 'encrypt', qemu='not asked')
    assert answer.reads == []


def test_encrypted_image_opens_for_metadata(written):
    """A look at the headers needs no key."""
    path = written(Image(l2={0: Normal(b'ciphertext')}, header={'crypt_method': 1}))
    answer = probe(path, reads=[(0, 512)], flags=['--metadata-only', '--info'])
    assert (answer.code, answer.reads) == ('OK', ['ARGUMENT'])
    assert answer.info['encryption'] == 1


# -- sizes that are not whole sectors ---------------------------------------------

@pytest.mark.parametrize('size, shown', [(0, 0), (1, 0), (511, 0), (512, 512), (1000, 512),
                                         (CS - 1, CS - 512), (CS + 1, CS), (66536, 66048)])
def test_size_is_rounded_down_to_whole_sectors(written, size, shown):
    """QEMU shows floor(size / 512) * 512 bytes."""
    clusters = max(1, -(-size // CS))
    path = written(Image(size=size, l2={c: Normal(bytes([c + 1]) * CS) for c in range(clusters)}))
    answer = probe(path, reads=[(0, 2 * clusters * CS), (shown, 1), (max(shown, 1) - 1, 10)],
                   flags=['--info', '--extents'])
    assert (answer.size, answer.info['header_size']) == (shown, size)
    assert [len(read) for read in answer.reads] == [shown, 0, min(shown, 1)]
    assert sum(length for _, length, _ in answer.extents) == shown
    reads_like_qemu(path, CS, size=shown)


# -- feature bits -------------------------------------------------------------

@pytest.mark.parametrize('bit', [5, 6, 31, 32, 63])
def test_unknown_incompatible_bit_is_unsupported(written, bit):
    """A bit this library does not know changes how the image is read."""
    refused(written(Image(header={'incompatible_features': 1 << bit})), 'UNSUPPORTED', str(bit))


def test_unknown_incompatible_bit_is_named_from_the_feature_table(written):
    image = Image(header={'incompatible_features': (1 << 40) | (1 << 41)},
                  extensions=[feature_names((0, 40, b'time travel'), (0, 41, b'zigzag'))])
    refused(written(image), 'UNSUPPORTED', 'time travel', 'zigzag')


def test_feature_name_of_one_letter_is_told(written):
    image = Image(header={'incompatible_features': 1 << 40}, extensions=[feature_names((0, 40, b'q'))])
    refused(written(image), 'UNSUPPORTED', 'q (bit 40)')


def test_feature_name_with_terminal_escapes_is_escaped(written):
    """A name out of an image must not reach the terminal as it is (probe checks every message for
    what is not printable)."""
    image = Image(header={'incompatible_features': 1 << 40},
                  extensions=[feature_names((0, 40, b'\x1b[2J\x07evil\n\xff'))])
    refused(written(image), 'UNSUPPORTED', 'evil', 'x1b')


def test_all_unknown_incompatible_bits_with_long_names_fit_the_message(written):
    names = feature_names(*((0, bit, b'%02d' % bit + b'\xff' * 44) for bit in range(5, 64)))
    image = Image(header={'incompatible_features': (1 << 64) - (1 << 5)}, extensions=[names])
    refused(written(image), 'UNSUPPORTED')


@pytest.mark.parametrize('table', [
    feature_names((0, 200, b'bit 200'), (9, 3, b'set 9'), (255, 255, b'255')).data,
    feature_names((0, 40, b'forty')).data + b'\0\x29ragged',
    feature_names((0, 40, b'forty')).data + b'\0',
    b'\0', b'\0\x28', b'', b'\0\x28' + b'a' * 46,
], ids=['bit_200', 'ragged', 'one_byte_rest', 'one_byte', 'no_name', 'empty', 'unterminated'])
@pytest.mark.parametrize('refuse', [False, True])
def test_feature_table_that_is_ragged_or_absurd_is_survived(written, table, refuse):
    """Bit numbers above 63 shift by nothing; a rest shorter than an entry is used or ignored."""
    image = Image(l2={0: Normal(b'x')}, extensions=[Extension(0x6803F857, table)],
                  header={'incompatible_features': 3 << 40 if refuse else 0})
    path = written(image)
    if refuse:
        refused(path, 'UNSUPPORTED', qemu='not asked')
    else:
        answer = probe(path, reads=[(0, 1)], flags=['--features', '--extensions'])
        assert answer.reads == [b'x']


def test_unknown_compatible_and_autoclear_bits_are_ignored(written):
    """That is what makes them compatible."""
    image = Image(l2={0: Normal(b'data')},
                  header={'compatible_features': (1 << 64) - 1,
                          'autoclear_features': ((1 << 64) - 1) & ~3})
    reads_like_qemu(written(image), CS)


@pytest.mark.parametrize('feature', ['dirty', 'corrupt'])
def test_dirty_or_corrupt_image_is_readable(written, feature):
    """Dirty concerns refcounts only; corrupt forbids writing. Neither forbids reading."""
    image = Image(l2={0: Normal(b'data')},
                  header={'incompatible_features': INCOMPATIBLE[feature]})
    path = written(image)
    reads_like_qemu(path, CS)
    info = probe(path, flags=['--info']).info
    assert info['incompatible_features'] == INCOMPATIBLE[feature]


def test_external_data_file_is_never_read_as_if_the_data_were_here(written):
    """Guest data lies in another file, which nobody has granted; the headers can be looked at."""
    image = Image(cluster_bits=14, l2={0: Normal(b'data')},
                  header={'incompatible_features': INCOMPATIBLE['data_file']})
    path = written(image)
    answer = refused(path, 'CORRUPT', 'external', qemu='not asked')
    assert answer.reads == []
    answer = probe(path, reads=[(0, 1)], flags=['--metadata-only', '--info'])
    assert (answer.code, answer.reads) == ('OK', ['ARGUMENT'])


@pytest.mark.parametrize('cluster_bits', [9, 12, 13])
def test_extended_l2_with_small_clusters_is_refused(written, cluster_bits):
    """A subcluster has at least 512 bytes, so a cluster has 16 KiB."""
    image = Image(cluster_bits=cluster_bits, header={'incompatible_features': 16})
    refused(written(image), 'CORRUPT', 'extended L2')


# -- compression type ---------------------------------------------------------

@pytest.mark.parametrize('bit, kind, length, code', [
    (0, 0, 112, 'OK'), (0, 0, 104, 'OK'), (1, 1, 112, 'OK'),
    (0, 1, 112, 'CORRUPT'), (1, 0, 112, 'CORRUPT'), (1, 0, 104, 'CORRUPT'),
    (0, 2, 112, 'UNSUPPORTED'), (1, 2, 112, 'UNSUPPORTED'), (1, 255, 112, 'UNSUPPORTED'),
    (0, 255, 112, 'UNSUPPORTED'),
])
def test_compression_type_and_its_feature_bit_must_agree(written, bit, kind, length, code):
    """The bit keeps readers away that do not know the field; a field that is absent (a header of
    104 bytes) is deflate."""
    header = {'incompatible_features': bit << 3, 'header_length': length}
    if length > 104:
        header['compression_type'] = kind
    path = written(Image(l2={0: Normal(b'x')}, header=header))
    if code == 'OK':
        reads_like_qemu(path, CS)
        assert probe(path, flags=['--info']).info['compression'] == kind
    else:
        refused(path, code, 'compression')


def test_compression_type_byte_is_not_a_field_of_a_short_header(written):
    """With a header of 104 bytes, byte 104 belongs to the first extension."""
    image = Image(l2={0: Normal(b'x')}, header={'header_length': 104},
                  extensions=[Extension(0x01020304, b'unknown')])
    reads_like_qemu(written(image), CS)


def test_version_2_has_no_version_3_fields(written):
    """Bytes 72..111 of a version 2 image are extensions: here they look like every incompatible
    bit, refcount order 255 and compression type 9."""
    extension = Extension(0xFFFFFFFF, b'\xff' * 24 + b'\x09' * 40)
    reads_like_qemu(written(Image(version=2, l2={0: Normal(b'x')}, extensions=[extension])), CS)
