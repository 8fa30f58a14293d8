# SPDX-License-Identifier: MIT
"""Zstandard frames: what QEMU's loop over the streaming decoder takes and what it does not."""

import pytest

from clusters import CS, NOISE, TEXT, case, check, made_streams
from streams import Raw, Reserved, Rle, deflate, skippable_frame, zstd_frame
from tools import HAS_32_BITS, ROOT, probe

HALF = CS // 2
A, B = TEXT[:HALF], NOISE[:HALF]

GOOD_ZSTD = {
    'plain': zstd_frame(A + B),
    'content_size': zstd_frame(A + B, content_size=True),
    'single_segment': zstd_frame(A + B, single_segment=True),
    'checksum': zstd_frame(A + B, checksum=True),
    'both': zstd_frame(A + B, checksum=True, content_size=True),
    'content_size_all_ones': zstd_frame(A + B, content_size=(1 << 64) - 1),  # means "unknown"
    'many_blocks': zstd_frame([Raw(A), Raw(b''), Raw(B)]),
    'empty_last_block': zstd_frame([Raw(A), Raw(B), Raw(b'')]),
    'empty_last_block_and_checksum': zstd_frame([Raw(A), Raw(B), Raw(b'')], checksum=True),
    'rle': zstd_frame([Rle(7, CS)], checksum=True),
    'rle_and_raw': zstd_frame([Rle(7, 100), Raw(A), Rle(9, HALF - 100)]),
    'rle_of_nothing': zstd_frame([Rle(7, 0), Raw(A + B)]),
    'two_frames': zstd_frame(A) + zstd_frame(B),
    'two_frames_with_checksums': zstd_frame(A, checksum=True) + zstd_frame(B, checksum=True),
    'two_frames_of_known_size': (zstd_frame(A, content_size=True) +
                                 zstd_frame(B, single_segment=True)),
    'skippable_first': skippable_frame(b'skip me') + zstd_frame(A + B),
    'skippable_between': zstd_frame(A) + skippable_frame(b'x' * 700, 15) + zstd_frame(B),
    'skippable_empty': skippable_frame(b'') + zstd_frame(A + B),
    'empty_frame_first': zstd_frame(b'') + zstd_frame(A + B),
    'empty_frame_between': zstd_frame(A) + zstd_frame(b'', content_size=True) + zstd_frame(B),
    'zeros_after': zstd_frame(A + B) + bytes(700),
    'noise_after': zstd_frame(A + B) + NOISE[:700],
    'another_frame_after': zstd_frame(A + B) + zstd_frame(B),
    'half_a_frame_after': zstd_frame(A + B) + zstd_frame(B)[:20],
    'window_27': zstd_frame(A + B, window_log=27),
    'window_25_and_checksum': zstd_frame(A + B, window_log=25, checksum=True),
}

BAD_ZSTD = {
    'empty': bytes(512),
    'one_byte_longer': zstd_frame(A + B + b'x'),
    'one_byte_longer_of_known_size': zstd_frame(A + B + b'x', content_size=True),
    'twice_as_long': zstd_frame(A + B + A + B),
    'longer_in_an_own_block': zstd_frame([Raw(A), Raw(B), Raw(b'x')]),
    'second_frame_one_byte_longer': zstd_frame(A) + zstd_frame(B + b'x'),
    'one_byte_shorter': zstd_frame((A + B)[1:]),
    'one_byte_shorter_then_zeros': zstd_frame((A + B)[1:]) + bytes(600),
    'empty_frame_alone': zstd_frame(b''),
    'skippable_alone': skippable_frame(b'x' * 100),
    'skippable_longer_than_the_input': skippable_frame(b'')[:4] + b'\xff\xff\xff\xff' + bytes(900),
    'checksum_wrong': zstd_frame(A + B, checksum=0x12345678),
    'checksum_of_first_frame_wrong': zstd_frame(A, checksum=1) + zstd_frame(B),
    'no_last_block': zstd_frame(A + B, finished=False),
    'no_last_block_then_noise': zstd_frame(A + B, finished=False) + b'\xff' * 600,
    'content_size_too_small': zstd_frame(A + B, content_size=CS - 1),
    'content_size_too_large': zstd_frame(A + B, content_size=CS + 1),
    'content_size_2_to_63': zstd_frame(A + B, content_size=1 << 63),
    'content_size_all_ones_but_one': zstd_frame(A + B, content_size=(1 << 64) - 2),
    'content_size_zero': zstd_frame(A + B, content_size=0),
    'reserved_block': zstd_frame([Raw(A), Reserved(), Raw(B)]),
    'window_28': zstd_frame(A + B, window_log=28),
    'window_31': zstd_frame(A + B, window_log=31),
    'window_41': zstd_frame(A + B, window_log=41),
    'window_28_in_the_second_frame': zstd_frame(A) + zstd_frame(B, window_log=28),
    'block_larger_than_its_window': zstd_frame([Raw(A + B)], window_log=10),
    'rle_larger_than_its_window': zstd_frame([Rle(1, CS)], window_log=10),
    'deflate': deflate(A + B),
    'magic_of_an_old_version': b'\x27\xb5\x2f\xfd' + zstd_frame(A + B)[4:],
    'reserved_bit': zstd_frame(A + B)[:4] + b'\x08' + zstd_frame(A + B)[5:],
    'missing_dictionary': zstd_frame(A + B)[:4] + b'\x01' + zstd_frame(A + B)[5:6] + b'\x07' +
                          zstd_frame(A + B)[6:],
}


@pytest.mark.parametrize('name', GOOD_ZSTD)
def test_zstd_stream_is_read(written, name):
    check(written(case(GOOD_ZSTD[name], zstd=True)), good=True)


@pytest.mark.parametrize('name', BAD_ZSTD)
def test_zstd_stream_is_corrupt(written, name):
    check(written(case(BAD_ZSTD[name], zstd=True)), good=False)


@pytest.mark.parametrize('window_log', [28, 31])
def test_zstd_window_does_not_matter_where_the_size_is_known(written, window_log):
    """A decoder that knows the size needs no window of its own; QEMU's takes it, so do we."""
    if window_log > 30 and HAS_32_BITS:
        pytest.skip('on 32 bits libzstd refuses a window of 2 GiB before it asks for the size')
    payload = zstd_frame(A + B, window_log=window_log, content_size=True)
    check(written(case(payload, zstd=True)), good=True)


@pytest.mark.parametrize('keep', [1, 3, 4, 5, 6, 8, 9, 10, 512, 4000])
def test_zstd_stream_without_its_end_is_corrupt(written, keep):
    payload = zstd_frame(A + B, checksum=True)[:keep]
    check(written(case(payload, zstd=True, ends_on_sector=True)), good=False)


@pytest.mark.parametrize('lost', [1, 2, 3, 4])
def test_zstd_checksum_cut_off_is_corrupt(written, lost):
    payload = zstd_frame(A + B, checksum=True)[:-lost]
    check(written(case(payload, zstd=True, ends_on_sector=True)), good=False)


def test_zstd_sector_count_one_too_small_is_corrupt(written):
    payload = zstd_frame(A + B)
    check(written(case(payload, zstd=True, at_mod=0, more_sectors=-1)), good=False)
    check(written(case(payload, zstd=True, at_mod=0, more_sectors=3)), good=True)


def test_zstd_data_in_a_deflate_image_is_corrupt(written):
    check(written(case(zstd_frame(A + B))), good=False)


@pytest.mark.parametrize('cs', [512, 65536, 2 << 20])
def test_zstd_frames_in_other_cluster_sizes(written, cs):
    """Blocks of 128 KiB at most, so a large cluster has several."""
    data = (NOISE * 16)[:cs]
    for payload in (zstd_frame(data), zstd_frame(data, checksum=True, content_size=True),
                    zstd_frame(data[:100]) + zstd_frame(data[100:])):
        path = written(case(payload[:], cs=cs, zstd=True))
        answer = probe(path, reads=[(cs, cs)])
        assert answer.reads == [data]
    if cs < 1 << 20:
        check(path, good=True, cs=cs)


def test_zstd_compressed_block_larger_than_its_window_is_corrupt(written, tmp_path):
    """The format lets no block exceed the window. A frame made by qemu-img (content size known, no
    window) is given a window of 3840 bytes instead, and holds one block of 4096."""
    stream, = made_streams(tmp_path, 'zstd', [TEXT[:CS]])
    assert stream[4:7] == b'\x60\x00\x0f', 'not the kind of frame that was expected'
    check(written(case(stream, zstd=True), 'good.qcow2'), good=True)
    stream = stream[:4] + b'\x00\x0f' + stream[7:]
    check(written(case(stream, zstd=True), 'bad.qcow2'), good=False)


def test_zstd_is_left_out_of_no_build():
    """A reader without it would find out at the first read; here it is part of every build, and the
    compression types that are not known are refused when the image is opened."""
    with open(ROOT / 'meson.build', encoding='utf-8') as file:
        wanted, = [line for line in file if "dependency('libzstd'" in line]
    assert 'required' not in wanted
    with open(ROOT / 'meson_options.txt', encoding='utf-8') as file:
        assert 'zstd' not in file.read()
