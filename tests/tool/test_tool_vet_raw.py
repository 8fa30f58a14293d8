# SPDX-License-Identifier: MIT
"""qcow2 vet -f raw: disks that may be taken for images of another format, and disks that may not."""

import json
import shutil
import struct
import subprocess

import pytest

import toolrun
from vetting import of_bytes, vet


def guessed(path):
    """What QEMU takes the file for; "broken" for an image that does not open."""
    result = subprocess.run(['qemu-img', 'info', '--output=json', path], check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(result.stdout)['format'] if result.returncode == 0 else 'broken'


def disguise(path):
    """What the tool says that the disk may be taken for, or None."""
    code, found, value = vet(path, '-f', 'raw')
    assert (code, found) in ((0, {}), (1, {'disguised': 'deny'}))
    return value['findings'][0]['message'] if found else None


@pytest.mark.parametrize('content, code', [
    (b'QFI\xfb\0\0\0\x03' + bytes(600), 1), (b'QFI\xfb\0\0\0\x09' + bytes(600), 1),
    (b'QFI\xfb\0\0\0\x01', 1), (b'QFI\xfa' + bytes(600), 0), (b'', 0)])
def test_raw_disk_that_begins_as_an_image_is_disguised(tmp_path, content, code):
    found = vet(of_bytes(tmp_path / 'disk.raw', content), '-f', 'raw')
    assert found[:2] == (code, {'disguised': 'deny'} if code else {})


def test_image_called_raw_is_disguised(images):
    assert vet(images['v3'], '-f', 'raw')[:2] == (1, {'disguised': 'deny'})


# What the tool calls it, what QEMU calls it, how QEMU makes one.
MADE = {
    'vmdk': ('VMDK', 'vmdk', ['-f', 'vmdk']),
    'vmdk_flat': ('VMDK', 'vmdk', ['-f', 'vmdk', '-o', 'subformat=monolithicFlat']),
    'vmdk_stream': ('VMDK', 'vmdk', ['-f', 'vmdk', '-o', 'subformat=streamOptimized']),
    'qed': ('QED', 'qed', ['-f', 'qed']),
    'vdi': ('VDI', 'vdi', ['-f', 'vdi']),
    'vhdx': ('VHDX', 'vhdx', ['-f', 'vhdx']),
    'vhd': ('VHD', 'vpc', ['-f', 'vpc']),
    'vhd_fixed': ('VHD', 'raw', ['-f', 'vpc', '-o', 'subformat=fixed']),
    'parallels': ('Parallels', 'parallels', ['-f', 'parallels']),
    'luks': ('LUKS', 'luks', ['-f', 'luks', '--object', 'secret,id=key,data=abc', '-o',
                              'key-secret=key,iter-time=10']),
}


@pytest.mark.parametrize('name', MADE)
def test_image_of_another_format_called_raw_is_disguised(tmp_path, name):
    called, qemu, options = MADE[name]
    path = tmp_path / 'image'
    toolrun.qemu_img('create', '-q', *options, path, '4M')
    assert guessed(path) == qemu
    assert f'may be taken for a {called} image' in disguise(path)


VMDK = (b'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n'
        b'createType="monolithicFlat"\nRW 2048 FLAT "/etc/passwd" 0\n')
# What the tool calls it, the bytes, whether QEMU takes it for that by its bytes alone.
CRAFTED = {
    'vmdk4': ('VMDK', b'KDMV' + bytes(1020), True),
    'vmdk3': ('VMDK', b'COWD' + bytes(1020), True),
    'descriptor': ('VMDK', VMDK, True),
    'descriptor_padded': ('VMDK', VMDK + bytes(4096), True),
    'descriptor_crlf': ('VMDK', VMDK.replace(b'\n', b'\r\n'), True),
    'descriptor_2': ('VMDK', VMDK.replace(b'version=1', b'version=2'), True),
    'descriptor_3': ('VMDK', VMDK.replace(b'version=1', b'version=3'), True),
    'descriptor_without_title': ('VMDK', VMDK.split(b'\n', 1)[1], True),
    'descriptor_below_comments': ('VMDK', b'  \n# harmless\n#\n' + VMDK, True),
    'descriptor_below_empty_lines': ('VMDK', b'\n\r\n' + VMDK, False),
    'descriptor_below_tabs': ('VMDK', b'\t\n' + VMDK, False),
    'descriptor_below_many_comments': ('VMDK', b'# harmless\n' * 100 + VMDK, False),
    'descriptor_with_spaces': ('VMDK', b'#Disk Descriptor File\n\n version = 1\n', False),
    'title_alone': ('VMDK', b'# disk descriptorfile', False),
    'version_alone': ('VMDK', b'version=1\n', True),
    'qed': ('QED', b'QED\0' + bytes(1020), True),
    'vhd': ('VHD', b'conectix' + bytes(1016), True),
    'vhd_footer': ('VHD', bytes(8192) + b'conectix' + bytes(504), False),
    'vhd_short_footer': ('VHD', bytes(8192) + b'conectix' + bytes(503), False),
    'vhdx': ('VHDX', b'vhdxfile' + bytes(1016), True),
    'vdi': ('VDI', bytes(64) + struct.pack('<I', 0xbeda107f) + bytes(956), True),
    'parallels': ('Parallels', b'WithoutFreeSpace' + struct.pack('<I', 2) + bytes(1004), True),
    'parallels_ext': ('Parallels', b'WithouFreSpacExt' + struct.pack('<I', 2) + bytes(1004), True),
    'bochs': ('Bochs', b'Bochs Virtual HD Image'.ljust(32, b'\0') + b'Redolog'.ljust(16, b'\0') +
              b'Growing'.ljust(16, b'\0') + struct.pack('<II', 0x20000, 512) + bytes(952), True),
    'cloop': ('cloop', b'#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 '
              b'/dev/cloop $1\n'.ljust(1024, b'\0'), True),
    'dmg': ('DMG', bytes(8192) + b'koly' + bytes(508), False),
    'dmg_of_odd_length': ('DMG', bytes(8193) + b'koly' + bytes(508), False),
    'luks': ('LUKS', b'LUKS\xba\xbe\0\x01' + bytes(1016), True),
    'luks2': ('LUKS', b'LUKS\xba\xbe\0\x02' + bytes(1016), False),
}


@pytest.mark.parametrize('name', CRAFTED)
def test_raw_disk_that_may_be_taken_for_another_format_is_disguised(tmp_path, name):
    called, content, qemu = CRAFTED[name]
    path = of_bytes(tmp_path / 'disk', content)
    assert (guessed(path) != 'raw') == qemu
    assert f'may be taken for a {called} image' in disguise(path)


def test_place_of_what_disguises_a_disk_is_told(tmp_path):
    for content, offset in ((CRAFTED['vdi'][1], 64), (CRAFTED['vhd_footer'][1], 8192), (VMDK, 0),
                            (CRAFTED['dmg_of_odd_length'][1], 8193)):
        finding, = vet(of_bytes(tmp_path / 'disk', content), '-f', 'raw')[2]['findings']
        assert finding['offset'] == offset


def test_disk_that_is_disguised_has_the_bounds_of_a_raw_disk(tmp_path):
    bounds = vet(of_bytes(tmp_path / 'disk', b'KDMV' + bytes(1020)), '-f', 'raw')[2]['bounds']
    assert bounds['virtual-size'] == bounds['file-size'] == 1024


def at(size, *pieces):
    content = bytearray(size)
    for offset, piece in pieces:
        content[offset:offset + len(piece)] = piece
    return bytes(content)


BOOT = b'\xeb\x3c\x90MSDOS5.0'
ORDINARY = {
    'zeros': bytes(1 << 20),
    'one_sector': b'\xfa' * 512,
    'short': b'KDM',
    'mbr': at(1 << 20, (0, b'\xfa\x31\xc0'), (446, b'\x80\x01\x01\0\x83'), (510, b'\x55\xaa')),
    'gpt': at(1 << 20, (446, b'\0\0\2\0\xee'), (510, b'\x55\xaa'), (512, b'EFI PART'),
              (1024, 'VHD koly'.encode('utf-16-le')), ((1 << 20) - 512, b'EFI PART')),
    'fat': at(1 << 20, (0, BOOT), (510, b'\x55\xaa')),
    'iso9660': at(1 << 20, (0x8000, b'\1CD001\1\0LINUX'), (0x8800, b'\xffCD001\1')),
    'script': b'#!/bin/sh\necho version=1\n',
    'comments': b'# a disk\n# with a descriptor file\n\n' * 20,
    'comment_that_does_not_end': b'#' * 4096,
    'version_without_a_sign': b'version 1\n',
    'ends_in_version': b'\n' * 4089 + b'version',
    'magic_elsewhere': at(1 << 20, (512, b'KDMV'), (1024, b'conectix'), (8192, b'koly'),
                          (60, b'\x7f\x10\xda\xbe')),
    'almost': at(4096, (0, b'KDMW')),
}


@pytest.mark.parametrize('name', ORDINARY)
def test_ordinary_disk_is_not_disguised(tmp_path, name):
    path = of_bytes(tmp_path / 'disk', ORDINARY[name])
    assert guessed(path) == 'raw'
    assert disguise(path) is None


@pytest.mark.parametrize('command, words', [
    ('mke2fs', ['-q', '-F', '-t', 'ext4']), ('mke2fs', ['-q', '-F', '-t', 'ext2']),
    ('sfdisk', ['-q', '--label', 'dos']), ('sfdisk', ['-q', '--label', 'gpt'])])
def test_disk_of_a_file_system_or_with_partitions_is_not_disguised(tmp_path, command, words):
    program = shutil.which(command, path='/sbin:/usr/sbin:/bin:/usr/bin')
    if program is None:
        pytest.skip(f'there is no {command}')
    path = of_bytes(tmp_path / 'disk', bytes(8 << 20))
    subprocess.run([program, *words, path], input=b',,L\n', check=True, stdout=subprocess.DEVNULL)
    assert disguise(path) is None
