# SPDX-License-Identifier: MIT
"""Header extensions, names of other files, and what must never cost the disk: snapshots, bitmaps."""

import struct

import pytest

from build import (EXT_BACKING_FORMAT, EXT_BITMAPS, EXT_DATA_FILE, EXT_FEATURE_NAMES, EXT_LUKS,
                   Extension, Image, Normal, Snapshot, Zero)
from expect import reads_like_qemu, refused
from tools import probe, qemu_opens

CS = 4096
AREA = CS - 112  # bytes for extensions in version 3
UNKNOWN = 0x6E6F7065


def filler(area):
    """An unknown extension that fills `area` bytes exactly, its own 8 included."""
    return Extension(UNKNOWN, bytes(area - 8))


# -- framing --------------------------------------------------------------------

@pytest.mark.parametrize('version', [2, 3])
def test_extensions_are_walked_in_file_order(written, version):
    """Types, data and places, the unknown included, up to the end marker."""
    image = Image(version=version, l2={0: Normal(b'x')},
                  extensions=[Extension(UNKNOWN, b'abc'), Extension(EXT_DATA_FILE, b'name'),
                              Extension(UNKNOWN + 1, b''), Extension(UNKNOWN, b'12345678')])
    answer = probe(written(image), flags=['--extensions'])
    start = 112 if version == 3 else 72
    assert [(e['type'], bytes.fromhex(e['data']), e['host_offset'])
            for e in answer.extensions] == [
        (UNKNOWN, b'abc', start + 8), (EXT_DATA_FILE, b'name', start + 24),
        (UNKNOWN + 1, b'', start + 40), (UNKNOWN, b'12345678', start + 48)]
    assert [e['name'] is None for e in answer.extensions] == [True, False, True, True]


def test_extensions_that_fill_the_cluster_without_end_marker_are_fine(written):
    image = Image(l2={0: Normal(b'x')}, extensions=[filler(AREA)], end_marker=False)
    path = written(image)
    reads_like_qemu(path, CS)
    assert len(probe(path, flags=['--extensions']).extensions) == 1


def test_extension_padding_may_step_past_the_area(written):
    """The data ends inside the area, its padding to 8 bytes does not."""
    area = CS - 109
    image = Image(l2={0: Normal(b'x')}, end_marker=False, header={'header_length': 109},
                  extensions=[Extension(UNKNOWN, bytes(area - 8)).bytes()[:area]])
    reads_like_qemu(written(image), CS)


@pytest.mark.parametrize('rest', range(1, 8))
def test_extension_area_with_stray_bytes_at_its_end_is_refused(written, rest):
    """What is left does not hold the 8 bytes of an extension."""
    image = Image(header={'header_length': 112 + 8 - rest}, end_marker=False,
                  extensions=[filler(AREA - 8)])
    refused(written(image), 'CORRUPT', 'extension')


@pytest.mark.parametrize('length', [AREA - 7, AREA, CS, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8,
                                    0xFFFFFFFF])
@pytest.mark.parametrize('kind', [UNKNOWN, EXT_FEATURE_NAMES, 0], ids=['unknown', 'known', 'end'])
def test_extension_longer_than_the_area_is_refused(written, kind, length):
    """Even if it says that it is the end marker."""
    refused(written(Image(extensions=[Extension(kind, b'', length)])), 'CORRUPT', 'extension')


def test_end_marker_with_a_small_length_is_an_end_marker(written):
    image = Image(l2={0: Normal(b'x')},
                  extensions=[Extension(0, b'', 5), b'\xff' * 16])
    reads_like_qemu(written(image), CS)


def test_extensions_after_the_end_marker_are_never_seen(written):
    image = Image(l2={0: Normal(b'x')},
                  extensions=[bytes(8), Extension(UNKNOWN, b'', 0x7FFFFFFF)])
    path = written(image)
    reads_like_qemu(path, CS)
    assert probe(path, flags=['--extensions']).extensions == []


def test_extension_area_ends_at_the_backing_name(written):
    """An extension that would reach into the name is refused, one that ends there is not."""
    def image(length):
        return Image(backing_file=b'base.raw', end_marker=False,
                     extensions=[Extension(UNKNOWN, bytes(16), length)])
    answer = probe(written(image(16)), flags=['--metadata-only', '--info', '--extensions'])
    assert answer.info['backing_file'] == 'base.raw'
    assert len(answer.extensions) == 1
    refused(written(image(17)), 'CORRUPT', 'extension')


def test_thousands_of_empty_extensions_are_skipped(written):
    """A header cluster of 2 MiB holds 262,130 of them; work and memory stay small."""
    image = Image(cluster_bits=21, l2={0: Normal(b'x')},
                  extensions=[Extension(UNKNOWN)] * 262000)
    answer = probe(written(image), reads=[(0, 1)], flags=['--extensions'])
    assert answer.reads == [b'x']
    assert len(answer.extensions) == 262000


def test_file_that_ends_inside_its_extensions_reads_zeros_there(written):
    """A zero is an end marker, so nothing is missing."""
    image = Image(size=0, length=120, extensions=[Extension(UNKNOWN, bytes(64))],
                  header={'l1_size': 0, 'l1_table_offset': 0})
    path = written(image)
    assert probe(path, flags=['--extensions']).code == 'OK'
    assert qemu_opens(path)


def test_duplicate_known_extension_the_last_one_wins(written):
    """As in QEMU."""
    image = Image(backing_file=b'base', extensions=[Extension(EXT_BACKING_FORMAT, b'qcow2'),
                                                    Extension(EXT_BACKING_FORMAT, b'raw'),
                                                    Extension(EXT_DATA_FILE, b'one'),
                                                    Extension(EXT_DATA_FILE, b'two')])
    info = probe(written(image), flags=['--metadata-only', '--info']).info
    assert (info['backing_format'], info['data_file']) == ('raw', 'two')


@pytest.mark.parametrize('length', [16, 100, 1000])
def test_backing_format_longer_than_15_bytes_is_refused(written, length):
    image = Image(backing_file=b'base', extensions=[Extension(EXT_BACKING_FORMAT, b'f' * length)])
    refused(written(image), 'CORRUPT', 'backing', qemu='not asked',
            flags=['--metadata-only'])


def test_names_end_at_an_embedded_nul(written):
    image = Image(backing_file=b'ba\0se', extensions=[Extension(EXT_BACKING_FORMAT, b'ra\0w'),
                                                      Extension(EXT_DATA_FILE, b'da\0ta')])
    info = probe(written(image), flags=['--metadata-only', '--info']).info
    assert (info['backing_file'], info['backing_format'], info['data_file']) == ('ba', 'ra', 'da')


def test_backing_name_that_begins_with_a_nul_is_none(written):
    image = Image(l2={0: Normal(b'data')}, backing_file=b'\0base',
                  extensions=[Extension(EXT_BACKING_FORMAT, b'\0raw')])
    path = written(image)
    assert probe(path, reads=[(0, 4)]).reads == [b'data']
    info = probe(path, flags=['--metadata-only', '--info']).info
    assert info['backing_file'] is None and info['backing_format'] is None


def test_data_file_name_without_the_feature_bit_is_only_a_name(written):
    """Ignored when reading."""
    image = Image(l2={0: Normal(b'data')}, extensions=[Extension(EXT_DATA_FILE, b'/etc/passwd')])
    reads_like_qemu(written(image), CS)


@pytest.mark.parametrize('data', [b'', bytes(16), bytes(24), b'\xff' * 24, bytes(25)],
                         ids=['empty', 'short', 'zeros', 'ones', 'long'])
@pytest.mark.parametrize('autoclear', [0, 1])
def test_broken_bitmaps_extension_never_costs_the_disk(written, data, autoclear):
    """QEMU refuses the whole image for most of these; bitmaps are not needed for reading."""
    image = Image(l2={0: Normal(b'data')}, header={'autoclear_features': autoclear},
                  extensions=[Extension(EXT_BITMAPS, data)])
    assert probe(written(image), reads=[(0, 4)]).reads == [b'data']


@pytest.mark.parametrize('fields', [
    (1, 0, 24, 1 << 40), (1, 0, 65535 * 1024 + 1, CS), (70000, 0, 24, CS), (1, 7, 24, CS),
    (1, 0, 24, 3), (1, 0, (1 << 64) - 1, (1 << 64) - CS)],
    ids=['past_eof', 'directory_too_long', 'too_many', 'reserved', 'unaligned', 'overflow'])
def test_bitmaps_extension_with_absurd_fields_never_costs_the_disk(written, fields):
    image = Image(l2={0: Normal(b'data')}, header={'autoclear_features': 1},
                  extensions=[Extension(EXT_BITMAPS, struct.pack('>IIQQ', *fields))])
    assert probe(written(image), reads=[(0, 4)]).reads == [b'data']


def test_luks_pointer_without_encryption_is_refused_or_ignored_but_never_followed(written):
    """QEMU refuses a pointer to a LUKS header in an image that is not encrypted."""
    image = Image(l2={0: Normal(b'data')},
                  extensions=[Extension(EXT_LUKS, struct.pack('>QQ', 1 << 63, (1 << 64) - 1))])
    path = written(image)
    assert not qemu_opens(path)
    refused(path, 'CORRUPT', qemu='refuses')


# -- backing names ----------------------------------------------------------------

@pytest.mark.parametrize('offset', [CS + 1, CS + 8, 1 << 32, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize('length', [0, 4])
def test_backing_name_outside_the_first_cluster_is_corrupt(written, offset, length):
    image = Image(header={'backing_file_offset': offset, 'backing_file_size': length})
    refused(written(image), 'CORRUPT', 'backing')


@pytest.mark.parametrize('length', [1024, 4000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_backing_name_longer_than_1023_bytes_is_corrupt(written, length):
    image = Image(backing_file=b'base', header={'backing_file_size': length})
    refused(written(image), 'CORRUPT', 'backing')


def test_backing_name_that_crosses_the_first_cluster_is_corrupt(written):
    image = Image(header={'backing_file_offset': CS - 10, 'backing_file_size': 11},
                  extensions=[filler(AREA - 10)], end_marker=False)
    refused(written(image), 'CORRUPT', 'backing')


@pytest.mark.parametrize('offset', [8, 72, 104, 111])
def test_backing_name_inside_the_header_is_corrupt(written, offset):
    """Header fields read as a file name; QEMU goes along with it."""
    image = Image(header={'backing_file_offset': offset, 'backing_file_size': 4})
    refused(written(image), 'CORRUPT', 'backing', qemu='not asked')


@pytest.mark.parametrize('offset', [CS, 120])
def test_backing_name_of_no_bytes_is_no_backing_file(written, offset):
    image = Image(l2={0: Normal(b'data')}, extensions=[],
                  header={'backing_file_offset': offset, 'backing_file_size': 0})
    path = written(image)
    reads_like_qemu(path, CS)
    assert probe(path, flags=['--info']).info['backing_file'] is None


def test_backing_size_without_offset_is_ignored(written):
    image = Image(l2={0: Normal(b'data')}, header={'backing_file_size': 0xFFFFFFFF})
    reads_like_qemu(written(image), CS)


def test_backing_name_of_1023_bytes_is_reported_whole(written):
    image = Image(backing_file=b'n' * 1023)
    info = probe(written(image), flags=['--metadata-only', '--info']).info
    assert info['backing_file'] == 'n' * 1023


@pytest.mark.parametrize('name', [b'/etc/passwd', b'json:{"driver":"file"}', b'nbd://host/x',
                                  b'image.qcow2', b'fat:/tmp', b'../base.raw', b'\x1b[31m\xff'])
def test_backing_file_is_never_opened_because_the_image_says_so(written, tmp_path, name):
    """Refused as a whole, whatever it names outside the image's directory, by a protocol, or in a
    circle: silent zeros would be wrong bytes, and a file of the host would be a leak."""
    (tmp_path.parent / 'base.raw').write_bytes(b'secret' * 1000)
    image = Image(l2={1: Normal(b'own')}, size=2 * CS, backing_file=name,
                  extensions=[Extension(EXT_BACKING_FORMAT, b'raw')])
    path = written(image)
    answer = refused(path, 'REFERENCE', 'backing', qemu='not asked')
    assert b'secret' not in str(answer.raw).encode()


def test_top_layer_alone_reads_zeros_where_it_has_nothing(written):
    """Asked for by the caller, the backing file is left aside."""
    image = Image(l2={1: Normal(b'own'), 2: Zero()}, size=4 * CS, backing_file=b'/etc/passwd')
    answer = probe(written(image), reads=[(0, 4 * CS)], flags=['--no-backing', '--extents'])
    assert answer.reads == [bytes(CS) + b'own'.ljust(CS, b'\0') + bytes(2 * CS)]
    assert answer.runs() == [(0, CS, 'hole'), (CS, CS, 'data'), (2 * CS, CS, 'zero'),
                             (3 * CS, CS, 'hole')]


def test_metadata_only_reports_the_name_and_reads_nothing(written):
    image = Image(l2={1: Normal(b'own')}, backing_file=b'/etc/passwd',
                  extensions=[Extension(EXT_BACKING_FORMAT, b'raw')])
    answer = probe(written(image), reads=[(0, 10)],
                   flags=['--metadata-only', '--info', '--extents'])
    assert (answer.reads, answer.extents_code) == (['ARGUMENT'], 'ARGUMENT')
    assert (answer.info['backing_file'], answer.info['backing_format']) == ('/etc/passwd', 'raw')


# -- snapshots ----------------------------------------------------------------------

@pytest.mark.parametrize('count', [1, 65536, 65537, 0x7FFFFFFF, 0xFFFFFFFF])
def test_snapshot_table_that_is_not_there_never_costs_the_disk(written, count):
    """QEMU refuses the image from 65537 on; the disk itself does not need the table."""
    image = Image(l2={0: Normal(b'data')}, header={'nb_snapshots': count,
                                                   'snapshots_offset': 1 << 30})
    answer = probe(written(image), reads=[(0, 4)], flags=['--info'])
    assert answer.reads == [b'data']
    assert answer.info['snapshot_count'] == count


@pytest.mark.parametrize('snapshot', [
    Snapshot(extra_size=1025), Snapshot(extra_size=0xFFFFFFFF), Snapshot(extra=b''),
    Snapshot(id_size=65535, name_size=65535), Snapshot(id=b'', name=b''),
    Snapshot(l1_offset=CS + 1), Snapshot(l1_entries=4194305), Snapshot(l1_offset=1 << 63)],
    ids=['extra_1025', 'extra_4g', 'no_extra', 'names_64k', 'empty_names', 'l1_unaligned',
         'l1_too_large', 'l1_offset_2_63'])
def test_broken_snapshot_never_costs_the_disk(written, snapshot):
    image = Image(l2={0: Normal(b'data')}, snapshots=[snapshot, Snapshot(id=b'2')])
    assert probe(written(image), reads=[(0, 4)]).reads == [b'data']


@pytest.mark.parametrize('offset', [8, 512, CS + 1])
@pytest.mark.parametrize('count', [0, 1])
def test_snapshot_table_unaligned_is_refused_even_if_empty(written, offset, count):
    """Alignment is a property of the header, whatever the count."""
    image = Image(header={'snapshots_offset': offset, 'nb_snapshots': count})
    refused(written(image), 'CORRUPT', 'snapshot')


def test_good_snapshots_change_nothing_for_the_disk(written):
    image = Image(l2={0: Normal(b'data'), 3: Zero()}, size=9 * CS,
                  snapshots=[Snapshot(), Snapshot(id=b'2', name=b'two', l1=[])])
    path = written(image)
    reads_like_qemu(path, CS)
