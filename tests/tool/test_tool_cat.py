# SPDX-License-Identifier: MIT
"""qcow2 cat: ranges of the disk, to the byte."""

import random

import pytest

import toolrun
from toolrun import fails_in_one_line, good, run


@pytest.fixture(scope='session')
def disks(images):
    made = {}

    def disk(name):
        if name not in made:
            made[name] = toolrun.good('convert', images[name], '-').stdout
        return made[name]
    return disk


IMAGES = ['v3', 'cs512', 'cs2m', 'deflate_2m', 'half_compressed', 'odd_sector', 'zstd_odd', 'sector',
          'empty']


@pytest.mark.parametrize('name', IMAGES)
def test_whole_disk(images, disks, name):
    assert good('cat', images[name]).stdout == disks(name)


@pytest.mark.parametrize('name', IMAGES)
def test_ranges(images, disks, name):
    disk = disks(name)
    chance = random.Random(name)
    ranges = [(0, 1), (0, 0), (511, 2), (len(disk), 1), (len(disk) + 1, 5), (2**62, 2**62),
              (max(len(disk) - 1, 0), 100)]
    ranges += [(chance.randrange(len(disk) + 1), chance.randrange(1, 3 << 20)) for _ in range(8)]
    for start, length in ranges:
        expected = disk[start:start + length]
        assert good('cat', '-s', str(start), '-l', str(length), images[name]).stdout == expected
        assert good('cat', f'--start-offset={start}', f'--max-length={length}', '-m', '3',
                    images[name]).stdout == expected
    assert good('cat', '-s', str(len(disk) // 2), images[name]).stdout == disk[len(disk) // 2:]
    assert good('cat', '-l', '7', images[name]).stdout == disk[:7]


def test_far_into_a_terabyte(images):
    assert good('cat', '-s', '300G', '-l', '65537', images['sparse_1t']).stdout == \
        b'\1' * 65536 + b'\0'
    assert good('cat', '-s', '1048575M', '-l', '2M', images['sparse_1t']).stdout == bytes(1 << 20)


@pytest.mark.parametrize('option', ['-s', '-l'])
def test_numbers_below_zero_and_garbage_are_refused(images, option):
    for value in ('-1', 'one', '1..2', ''):
        result = run('cat', option, value, images['v3'])
        fails_in_one_line(result, f"'{value}'")
        assert not result.stdout


def test_error_in_the_middle_is_told(tmp_path):
    path = toolrun.create(tmp_path / 'image', '2G', 'write -P 1 0 64k', 'write 1G 64k')
    l1 = toolrun.tool_json('info', '--output=json', path)['qcow2']['l1-table']['offset']
    with open(path, 'r+b') as file:
        file.seek(l1 + 16 + 6)  # third L1 entry: no longer aligned
        file.write(b'\x02')
    assert good('cat', '-l', '64k', path).stdout == b'\1' * 65536
    result = run('cat', '-s', '1073741000', '-l', '4096', path)
    fails_in_one_line(result, 'image: ')
    assert len(result.stdout) < 4096
