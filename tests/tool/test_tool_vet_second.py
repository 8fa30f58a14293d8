# SPDX-License-Identifier: MIT
"""qcow2 vet on files that are something else besides: what other programs know by bytes at other places than
the first, or by the end of the file; and images of such disks, which are not."""

import shutil
import struct
import subprocess
import tarfile
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


def ext(block_size=2, revision=1):
    return struct.pack('<24xI28xH18xI', block_size, 0xef53, revision)


PLACES = {
    'vdi': (64, b'\x7f\x10\xda\xbe', 'VDI image'),
    'tar': (257, b'ustar\x0000', 'tar archive'),
    'boot_sector': (510, b'\x55\xaa', 'boot sector'),
    'gpt': (512, b'EFI PART', 'GPT'),
    'gpt_of_4096': (4096, b'EFI PART', 'GPT'),
    'lvm': (512, b'LABELONE', 'LVM'),
    'pdf': (900, b'%PDF-1.7', 'PDF'),
    'hfs': (1024, b'BD', 'HFS'),
    'mfs': (1024, b'\xd2\xd7', 'MFS'),
    'hfs_plus': (1024, b'H+\0\4', 'HFS+'),
    'hfs_plus_5': (1024, b'H+\0\5', 'HFS+'),
    'hfsx': (1024, b'HX\0\5', 'HFS+'),
    'hfsx_4': (1024, b'HX\0\4', 'HFS+'),
    'vxfs': (1024, b'\xf5\xfc\x01\xa5', 'VxFS'),
    'f2fs': (1024, b'\x10\x20\xf5\xf2', 'F2FS'),
    'second_superblock_of_f2fs': (0x1400, b'\x10\x20\xf5\xf2', 'F2FS'),
    'ext': (1024, ext(), 'ext4'),
    'ext_of_a_later_revision': (1024, ext(revision=5), 'ext4'),
    'ext_of_any_block_size': (1024, ext(block_size=100), 'ext4'),
    'ocfs2': (4096, b'OCFSV2', 'OCFS2'),
    'bcache': (4120, b'\xc6\x85\x73\xf6\x4e\x1a\x45\xca', 'bcache'),
    'hpfs': (0x2000, b'\x49\xe8\x95\xf9\xc5\xe9\x53\xfa', 'HPFS'),
    'reiserfs_at_8_kib': (0x2034, b'ReIsErFs', 'ReiserFS'),
    'reiserfs_at_8_kib_of_old': (0x2014, b'ReIsErFs', 'ReiserFS'),
    'swap': (4086, b'SWAPSPACE2', 'swap'),
    'raid': (4096, b'\xfc\x4e\x2b\xa9\1\0\0\0', 'RAID'),
    'luks2': (0x4000, b'SKUL\xba\xbe', 'LUKS'),
    'iso9660': (0x8000, b'\1CD001\1', 'ISO 9660'),
    'udf': (0x8000, b'\0BEA01\1', 'UDF'),
    'udf_that_boots': (0x8000, b'\0BOOT2\1', 'UDF'),
    'udf_on_a_cd': (0x8000, b'\0CDW02\1', 'UDF'),
    'udf_with_an_end_first': (0x8000, b'\0TEA01\1', 'UDF'),
    'jfs': (0x8000, b'JFS1', 'JFS'),
    'second_superblock_of_jfs': (0xf000, b'JFS1', 'JFS'),
    'gfs2': (0x10000, b'\1\x16\x19\x70\0\0\0\1', 'GFS2'),
    'reiser4': (0x10000, b'ReIsEr4', 'Reiser4'),
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


ENDS = {
    'vhd': (footer(b'conectix'), 'VHD'),
    'vhd_of_511': (footer(b'conectix', 503), 'VHD'),
    'vhd_in_a_sector_that_is_cut': (footer(b'conectix', 200), 'VHD'),
    **{f'dmg_{n}': (b'koly'.ljust(n, b'\0'), 'DMG') for n in (4, 509, 512, 513, 700, 1023, 1534)},
    'zip': (b'x' * 99 + b'PK\5\6' + bytes(18), 'ZIP'),
    'zip_with_a_comment': (b'PK\5\6' + bytes(16) + b'\3\0abc', 'ZIP'),
    'longest_comment': (b'PK\5\6' + bytes(16) + b'\xff\xff' + bytes(65535), 'ZIP'),
}


@pytest.mark.parametrize('name', ENDS)
def test_image_that_ends_as_another_format_does_is_disguised(tmp_path, name):
    content, what = ENDS[name]
    assert what in said(image(tmp_path / 'image.qcow2', behind=content))[1]


@pytest.mark.parametrize('content', [
    footer(b'conectix') + bytes(512), footer(b'conectiy'), b'koly' + bytes(1531),
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


def test_image_that_qemu_opens_as_dmg_is_disguised(tmp_path):
    """Of the footer QEMU reads the name, at any place in 515 bytes, and where the resource fork is: which
    says here that the disk is the first sector of the file."""
    path = image(tmp_path / 'image.qcow2')
    blocks = b'mish'.ljust(204, b'\0') + struct.pack('>II4Q', 1, 0, 0, 1, 0, 512) + struct.pack(
        '>II4Q', 0xffffffff, 0, 1, 0, 0, 0)
    fork = struct.pack('>5I', 16, 0, 4 + len(blocks), 0, len(blocks)) + blocks
    end = b'koly'.ljust(0x28, b'\0') + struct.pack('>QQ', path.stat().st_size, len(fork))
    end = end.ljust(0x1ec, b'\0') + struct.pack('>Q', 1)
    path.write_bytes(path.read_bytes() + fork.ljust(1024 - 700 + 512, b'\0') + end.ljust(700, b'\0'))
    assert toolrun.qemu_json('info', '--output=json', '-f', 'dmg', path)['virtual-size'] == 512
    assert 'DMG' in said(path)[1]


def with_sum(path, form, difference=0, signed=False):
    """An image with the checksum of its first 512 bytes where an old header of tar has it."""
    head = bytearray(image(path).read_bytes())
    head[148:156] = b' ' * 8
    total = sum(head[:512]) - 256 * sum(byte > 127 for byte in head[:512]) * signed + difference
    head[148:156] = form(total)
    return of_bytes(path, bytes(head))


SUMS = [lambda n: b'%06o\0 ' % n, lambda n: b'%07o\0' % n, lambda n: b' %5o  ' % n,
        lambda n: b'\0%6o ' % n, lambda n: b'%o' % n + b' 7777777'[:8 - len(b'%o' % n)],
        lambda n: (b'0o%o' % n).ljust(8), lambda n: b'+%7o' % n, lambda n: b'_'.join(
            [b'%o' % (n >> 9), b'%03o' % (n & 511)]).ljust(8), lambda n: b'\x80' + n.to_bytes(7, 'big')]


@pytest.mark.parametrize('form', SUMS)
@pytest.mark.parametrize('signed', [False, True])
def test_image_whose_first_sector_has_its_own_sum_as_in_old_tar_is_disguised(tmp_path, form, signed):
    path = tmp_path / 'image.qcow2'
    assert said(with_sum(path, form, signed=signed)) == (
        148, 'may be taken for a tar archive: a program that looks here reads something else')
    for difference in (-1, 1, 64):
        assert said(with_sum(path, form, difference, signed)) is None


def test_image_that_tar_extracts_is_disguised(tmp_path):
    """Size and checksum lie in the name of a feature; the header has no magic number."""
    path, member = tmp_path / 'image.qcow2', tmp_path / 'payload'
    member.write_bytes(b'payload')
    text = b'..' + b'%011o 00000000000 ' % (0x60000 - 512) + b' ' * 8 + b'0'
    image(path, extensions=[build.feature_names((2, 63, text.ljust(46, b'.')))], behind=bytes(65536))
    head = bytearray(path.read_bytes())
    head[148:156] = b'%06o  ' % sum(head[:512])
    path.write_bytes(head[:0x60000])
    with tarfile.open(tmp_path / 'archive.tar', 'w') as archive:
        archive.add(member, 'payload')
    with open(path, 'ab') as file:
        file.write((tmp_path / 'archive.tar').read_bytes())
    with tarfile.open(path) as archive:
        assert archive.extractfile('payload').read() == b'payload'
    assert 'tar' in said(path)[1]


# A CD that does not begin at sector 16.

def cd_of(sector, kind=1, block=2048, root=40, flags=2, itself=None, name=b'CD001'):
    """Writes for a descriptor at a sector, and for the directory that it names."""
    old = name == b'CDROM'
    descriptor = bytearray(256)
    start = 8 if old else 0
    descriptor[start:start + 6] = bytes([kind]) + name
    struct.pack_into('<H', descriptor, 136 if old else 128, block)
    struct.pack_into('<I', descriptor, (180 if old else 156) + 2, root)
    record = bytearray(34)
    struct.pack_into('<I4xI', record, 2, root if itself is None else itself, 2048)
    record[0], record[24 if old else 25], record[32] = 34, flags, 1
    return [(sector * 2048, bytes(descriptor)), (root * block, bytes(record))]


@pytest.mark.parametrize('options', [
    {'sector': 17}, {'sector': 115}, {'sector': 20, 'block': 512, 'root': 161}, {'sector': 20, 'itself': 33},
    {'sector': 20, 'kind': 2}, {'sector': 19, 'name': b'CDROM'}])
def test_image_with_a_cd_whose_descriptor_is_at_a_later_sector_is_disguised(tmp_path, options):
    assert 'CD (' in said(image(tmp_path / 'image.qcow2', *cd_of(**options)))[1]


@pytest.mark.parametrize('options', [
    {'sector': 116}, {'sector': 20, 'block': 4096}, {'sector': 20, 'flags': 0}, {'sector': 20, 'kind': 3},
    {'sector': 20, 'itself': 0}, {'sector': 20, 'itself': 1 << 20}, {'sector': 20, 'kind': 2, 'itself': 33},
    {'sector': 20, 'root': 1 << 30}])
def test_descriptor_at_a_later_sector_that_leads_nowhere_is_none(tmp_path, options):
    writes = [(at, content) for at, content in cd_of(**options) if at < 0x60000]
    assert said(image(tmp_path / 'image.qcow2', *writes)) is None


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


@pytest.mark.parametrize('cluster', CLUSTERS)
def test_image_of_a_cd_is_not_disguised(tmp_path, cluster):
    """Descriptors at sectors 16 and 17, tables of paths, and directories from their roots on."""
    cd = bytearray(1 << 20)
    cd[18 * 2048:30 * 2048] = (struct.pack('<BBIH', 8, 0, 30, 1) + b'DIR_NAME') * (12 * 128)
    for kind, sector, root in ((1, 16, 30), (2, 17, 130)):
        (at, descriptor), _ = cd_of(sector, kind, root=root)
        cd[at:at + len(descriptor)] = descriptor
    for sector in range(30, 200):
        at, record = cd_of(16, root=sector)[1]
        cd[at:at + len(record)] = record
        cd[at + 34:at + 36] = b'\x22\0'
    disk, path = of_bytes(tmp_path / 'disk.iso', bytes(cd)), tmp_path / 'image.qcow2'
    toolrun.qemu_img('convert', '-f', 'raw', '-O', 'qcow2', '-o', f'cluster_size={cluster}', disk, path)
    assert said(path) is None


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
