# SPDX-License-Identifier: MIT
"""Version 1 images with absurd fields. The format has no flags, no refcounts and no alignment; what
there is to get wrong are the sizes of its tables."""

import struct

import pytest

from streams import deflate
from tools import probe, run

CLUSTER_BITS, L2_BITS = 12, 9
CS = 1 << CLUSTER_BITS
TABLE_AT, FIRST_DATA = 8192, 16384


def image(path, entries=(), data=b'', size=4 * CS, cluster_bits=CLUSTER_BITS, l2_bits=L2_BITS,
          crypt_method=0, l1_at=48, name_at=0):
    """One L1 entry behind the header, one L2 table with `entries`, data behind it."""
    head = struct.pack('>4sIQIIQBBHIQ', b'QFI\xfb', 1, name_at, 0, 0, size, cluster_bits, l2_bits, 0,
                       crypt_method, l1_at)
    content = bytearray(FIRST_DATA + CS)
    content[:48] = head
    struct.pack_into('>Q', content, 48, TABLE_AT)
    struct.pack_into(f'>{len(entries)}Q', content, TABLE_AT, *entries)
    content[FIRST_DATA:FIRST_DATA + len(data)] = data
    path.write_bytes(content)
    return path


def compressed(offset, length):
    return 1 << 63 | length << 63 - CLUSTER_BITS | offset


def qemu_pieces(path, count):
    """For each cluster of the disk QEMU's bytes, or None."""
    answers = []
    for number in range(count):
        done = run('qemu-io', '-r', '-f', 'qcow', '-c', f'read -v {number * CS} {CS}', path, check=False)
        answers.append(None if 'failed' in done.stdout + done.stderr else done.stdout)
    return answers


def qemu_opens(path):
    return run('qemu-io', '-r', '-f', 'qcow', '-c', 'length', path, check=False).returncode == 0


def refused(path, code, *words):
    answer = probe(path)
    assert answer.code == code, answer.message
    for word in words:
        assert word in answer.message
    assert not qemu_opens(path)


def test_version_1_image_of_this_file_is_sound(tmp_path):
    """So that the others are wrong for what they say."""
    stream = deflate(b'c' * CS)
    path = image(tmp_path / 'good', [FIRST_DATA, 0, compressed(FIRST_DATA, len(stream))], stream)
    answer = probe(path, reads=[(0, CS), (CS, CS), (2 * CS, CS)])
    assert answer.reads == [stream.ljust(CS, b'\0'), bytes(CS), b'c' * CS]
    assert all(qemu_pieces(path, 4))


@pytest.mark.parametrize('l2_bits', [0, 5, 14, 27, 63, 64, 255])
def test_version_1_l2_table_size_is_bounded(tmp_path, l2_bits):
    """The count of entries is a shift away from the size of a buffer."""
    refused(image(tmp_path / 'bad', l2_bits=l2_bits), 'CORRUPT', 'l2_bits', str(l2_bits))


@pytest.mark.parametrize('size', [(1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - CS, 1 << 62])
def test_version_1_size_does_not_wrap_the_l1_table(tmp_path, size):
    """The length of the L1 table is not stored: it is computed from the size."""
    refused(image(tmp_path / 'bad', size=size), 'LIMIT', str(size))


@pytest.mark.parametrize('size', [0, 1])
def test_version_1_disk_of_no_size_is_refused(tmp_path, size):
    refused(image(tmp_path / 'bad', size=size), 'CORRUPT', 'size')


@pytest.mark.parametrize('cluster_bits', [0, 8, 17, 0x1F, 63, 0xFF])
def test_version_1_cluster_size_is_bounded(tmp_path, cluster_bits):
    refused(image(tmp_path / 'bad', cluster_bits=cluster_bits), 'CORRUPT', 'cluster_bits',
            str(cluster_bits))


@pytest.mark.parametrize('method', [2, 3, 0xFFFFFFFF])
def test_version_1_has_one_method_of_encryption(tmp_path, method):
    refused(image(tmp_path / 'bad', crypt_method=method), 'UNSUPPORTED', str(method))


@pytest.mark.parametrize('offset', [(1 << 64) - 1, 1 << 63, (1 << 63) - (1 << 30) + 1])
def test_version_1_backing_name_behind_any_file_is_corrupt(tmp_path, offset):
    """Even a name of no bytes, which elsewhere means that there is no backing file."""
    refused(image(tmp_path / 'bad', name_at=offset), 'CORRUPT', 'backing')


@pytest.mark.parametrize('offset', [1, 1 << 40, (1 << 63) - (1 << 30)])
def test_version_1_backing_name_of_no_bytes_is_no_backing_file(tmp_path, offset):
    path = image(tmp_path / 'good', [FIRST_DATA], b'data', name_at=offset)
    assert probe(path, reads=[(0, 4)]).reads == [b'data']
    assert qemu_opens(path)


@pytest.mark.parametrize('length', [0, 1, 3])
def test_version_1_compressed_length_that_is_too_small_is_corrupt(tmp_path, length):
    """Zero bytes are no stream, and one byte less than the stream is none either."""
    stream = deflate(b'c' * CS)
    path = image(tmp_path / 'bad', [FIRST_DATA, compressed(FIRST_DATA, length), FIRST_DATA], stream)
    answer = probe(path, reads=[(0, CS), (CS, CS), (2 * CS, CS)])
    assert (answer.reads[0], answer.reads[1]) == (answer.reads[2], 'CORRUPT')
    theirs = qemu_pieces(path, 3)
    assert theirs[0] and theirs[2] and theirs[1] is None


@pytest.mark.parametrize('offset', [FIRST_DATA + 1, FIRST_DATA + 511, 100])
def test_version_1_data_inside_a_sector_is_corrupt(tmp_path, offset):
    path = image(tmp_path / 'bad', [FIRST_DATA, offset])
    assert probe(path, reads=[(0, 8), (CS, 8)]).reads == [bytes(8), 'CORRUPT']
    assert qemu_pieces(path, 2)[1] is None
