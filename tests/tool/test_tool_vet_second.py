# SPDX-License-Identifier: MIT
"""qcow2 vet on files that are something else besides: what other programs know by bytes at other places than
the first, or by the end of the file; and images of such disks, which are not."""

import shutil
import struct
import subprocess
import zipfile

import pytest

import toolrun
from vetting import build, of_bytes, vet

DATA = b'some data that is not zero'


def image(path, *writes, cluster_bits=16, behind=b'', **more):
    build.Image(cluster_bits=cluster_bits, size=1 << 20, l2={0: build.Normal(DATA)}, writes=list(writes),
                **more).write(path)
    with open(path, 'ab') as file:
        file.write(behind)
    return path


def said(path):
    """(where, what) the tool says the file may be taken for."""
    code, found, value = vet(path)
    places = [(f['offset'], f['message']) for f in value['findings'] if f['rule'] == 'disguised']
    assert bool(places) == (found.get('disguised') == 'deny') and (code == 1 or not places)
    return places[0] if places else None


EXT = bytes(24) + b'\2\0\0\0' + bytes(28) + b'\x53\xef' + bytes(18) + b'\1\0\0\0'
PLACES = {
    'vdi': (64, b'\x7f\x10\xda\xbe', 'VDI image'),
    'tar': (257, b'ustar\x0000', 'tar archive'),
    'boot_sector': (510, b'\x55\xaa', 'boot sector'),
    'gpt': (512, b'EFI PART', 'GPT'),
    'gpt_of_4096': (4096, b'EFI PART', 'GPT'),
    'lvm': (512, b'LABELONE', 'LVM'),
    'pdf': (900, b'%PDF-1.7', 'PDF'),
    'hfs': (1024, b'H+\0\4', 'HFS+'),
    'f2fs': (1024, b'\x10\x20\xf5\xf2', 'F2FS'),
    'ext': (1024, EXT, 'ext4'),
    'swap': (4086, b'SWAPSPACE2', 'swap'),
    'raid': (4096, b'\xfc\x4e\x2b\xa9\1\0\0\0', 'RAID'),
    'luks2': (0x4000, b'SKUL\xba\xbe', 'LUKS'),
    'iso9660': (0x8000, b'\1CD001\1', 'ISO 9660'),
    'udf': (0x8000, b'\0BEA01\1', 'UDF'),
    'jfs': (0x8000, b'JFS1', 'JFS'),
}


@pytest.mark.parametrize('name', PLACES)
def test_image_with_the_bytes_of_another_format_at_their_place_is_disguised(tmp_path, name):
    at, content, what = PLACES[name]
    offset, message = said(image(tmp_path / 'image.qcow2', (at, content)))
    assert what in message and at <= offset < at + len(content)


@pytest.mark.parametrize('name', PLACES)
def test_the_same_bytes_one_byte_further_are_none(tmp_path, name):
    at, content, _ = PLACES[name]
    if name != 'pdf':  # which may begin anywhere
        assert said(image(tmp_path / 'image.qcow2', (at + 1, content))) is None


@pytest.mark.parametrize('at, content, what', [
    (0x10000 + 64, b'_BHRfS_M', 'Btrfs'), (0x10034, b'ReIsEr', 'ReiserFS'),
    (0x8000, b'\1CD001\1', 'ISO 9660')])
def test_bytes_in_data_of_the_guest_count_too(tmp_path, at, content, what):
    """Clusters of 4 KiB, all of them data from the sixth on."""
    data = bytes((i * 7 + 1) % 251 for i in range(4096))
    path = build.Image(cluster_bits=12, size=1 << 20, l2={i: build.Normal(data) for i in range(40)},
                       writes=[(at, content)]).write(tmp_path / 'image.qcow2')
    assert what in said(path)[1]


def footer(magic, rest=504):
    return magic.ljust(8, b'\0') + b'f' * rest


KOLY = b'koly' + struct.pack('>II', 4, 512)
ENDS = {
    'vhd': (footer(b'conectix'), 'VHD'),
    'vhd_of_511': (footer(b'conectix', 503), 'VHD'),
    'vhd_in_a_sector_that_is_cut': (footer(b'conectix', 200), 'VHD'),
    'dmg': (KOLY + bytes(500), 'DMG'),
    'zip': (b'x' * 99 + b'PK\5\6' + bytes(18), 'ZIP'),
    'zip_with_a_comment': (b'PK\5\6' + bytes(16) + b'\3\0abc', 'ZIP'),
    'longest_comment': (b'PK\5\6' + bytes(16) + b'\xff\xff' + bytes(65535), 'ZIP'),
}


@pytest.mark.parametrize('name', ENDS)
def test_image_that_ends_as_another_format_does_is_disguised(tmp_path, name):
    content, what = ENDS[name]
    assert what in said(image(tmp_path / 'image.qcow2', behind=content))[1]


@pytest.mark.parametrize('content', [
    footer(b'conectix') + bytes(512), footer(b'conectiy'), b'koly' + bytes(508),
    b'PK\5\6' + bytes(18) + b'x', b'PK\5\6' + bytes(16) + b'\3\0ab', b'PK\5\6' + bytes(17)])
def test_other_ends_are_none(tmp_path, content):
    assert said(image(tmp_path / 'image.qcow2', behind=content)) is None


def test_image_that_qemu_opens_as_vhd_is_disguised(tmp_path):
    """A fixed VHD is its data and then the footer: here the data is the qcow2 image."""
    disk, path = tmp_path / 'disk.vhd', image(tmp_path / 'image.qcow2')
    size = -(-path.stat().st_size // 65536) * 65536
    toolrun.qemu_img('create', '-q', '-f', 'vpc', '-o', 'subformat=fixed,force_size=on', disk, str(size))
    assert said(path) is None
    path.write_bytes(path.read_bytes().ljust(size, b'\0') + disk.read_bytes()[-512:])
    assert toolrun.qemu_json('info', '--output=json', '-f', 'vpc', path)['virtual-size'] == size
    assert 'VHD' in said(path)[1]


def test_image_with_an_archive_behind_it_is_disguised(tmp_path):
    path = image(tmp_path / 'image.qcow2')
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('payload', b'x' * 1000)
    assert zipfile.ZipFile(path).namelist() == ['payload']
    assert 'ZIP' in said(path)[1]


# The ways in which such files passed: 40 KiB in the header's cluster, in an extension that means little.

def inside(kind):
    payload = bytearray(40000)
    for place, content in ((510, b'\x55\xaa'), (512, b'EFI PART'), (0x8001, b'CD001')):
        payload[place - 120:place - 120 + len(content)] = content
    return [build.Extension(kind, bytes(payload))]


@pytest.mark.parametrize('kind, also', [
    (build.EXT_FEATURE_NAMES, 'stray-bytes'), (build.EXT_BITMAPS, 'broken-bitmaps'),
    (build.EXT_DATA_FILE, 'stray-bytes'), (0x12345678, 'unknown-extension')])
def test_forty_kilobytes_in_an_extension_are_found(tmp_path, kind, also):
    found = vet(image(tmp_path / 'image.qcow2', extensions=inside(kind)))[1]
    assert {'disguised', also} <= set(found)


# No false positives: disks that are all this, in images that QEMU writes.

def pieces(size, *placed):
    content = bytearray(bytes((i * i + i) % 253 + 1 for i in range(4096)) * (size // 4096))
    for offset, piece in placed:
        content[offset:offset + len(piece)] = piece
    return bytes(content)


EVERYTHING = pieces(1 << 20, *((at, content) for at, content, _ in PLACES.values()),
                    (0x10040, b'_BHRfS_M'), ((1 << 20) - 512, b'EFI PART'),
                    ((1 << 20) - 3000, b'PK\5\6' + bytes(18)))
CLUSTERS = ['512', '1k', '2k', '4k', '8k', '16k', '32k', '64k', '128k', '256k', '512k', '1M', '2M']


@pytest.mark.parametrize('cluster', CLUSTERS)
@pytest.mark.parametrize('options', ['', 'compat=0.10', 'extended_l2=on', '-c'])
def test_image_of_a_disk_of_all_these_formats_is_not_disguised(tmp_path, cluster, options):
    if options == 'extended_l2=on' and cluster in CLUSTERS[:5]:
        pytest.skip('subclusters need clusters of 16 KiB')
    disk, path = of_bytes(tmp_path / 'disk.raw', EVERYTHING), tmp_path / 'image.qcow2'
    words = ['-c'] if options == '-c' else []
    created = ','.join(filter(None, [f'cluster_size={cluster}', options if options != '-c' else '']))
    toolrun.qemu_img('convert', *words, '-f', 'raw', '-O', 'qcow2', '-o', created, disk, path)
    assert vet(path)[:2] == (0, {})
    assert set(vet(path, '--strict')[1]) <= {'slack'}
    if cluster in ('512', '4k', '64k', '2M') and 'extended' not in options:
        toolrun.qemu_img('snapshot', '-c', 'one', path)
        if options != 'compat=0.10':
            toolrun.qemu_img('bitmap', '--add', path, 'bits')
        toolrun.qemu_io(path, 'write -P 1 3k 100k', 'discard 64k 128k')
        assert set(vet(path)[1]) <= {'snapshots', 'bitmaps', 'unused', 'leftover'}


def test_disk_that_contains_a_vhd_is_told_from_one_that_ends_as_it(tmp_path):
    """What decides is the end of the file, because QEMU opens it as VHD by that."""
    disk, path = tmp_path / 'disk.vhd', tmp_path / 'image.qcow2'
    content = bytes(range(1, 129)) * 508 + footer(b'conectix')
    for behind, expected in ((b'', True), (b'x' * 512, False)):
        disk.write_bytes(content + behind)
        toolrun.qemu_img('convert', '-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=512', disk, path)
        path.write_bytes(path.read_bytes().rstrip(b'\0').ljust(path.stat().st_size, b'\0'))
        assert (said(path) is not None) == expected


@pytest.mark.parametrize('words', [['mke2fs', '-q', '-F', '-t', 'ext4'], ['mkswap']])
def test_image_of_a_file_system_is_not_disguised(tmp_path, words):
    program = shutil.which(words[0], path='/sbin:/usr/sbin:/bin:/usr/bin')
    if program is None:
        pytest.skip(f'there is no {words[0]}')
    disk, path = of_bytes(tmp_path / 'disk', bytes(8 << 20)), tmp_path / 'image.qcow2'
    subprocess.run([program, *words[1:], disk], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    for cluster in CLUSTERS[:5]:
        toolrun.qemu_img('convert', '-f', 'raw', '-O', 'qcow2', '-o', f'cluster_size={cluster}', disk, path)
        assert said(path) is None
