# SPDX-License-Identifier: MIT
"""qcow2 check: counters and exit codes of qemu-img's check, on images healthy and damaged."""

import json
import os
import pathlib
import struct
import subprocess

import pytest

import toolrun
from chainrun import encrypted, number_at, overlay, patch
from conftest import NAMES
from toolrun import cheap, fails_in_one_line, good, run
from vetting import build

COPIED = 1 << 63


def qemu_check(path):
    done = subprocess.run(['qemu-img', 'check', '--output=json', path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    return done.returncode, json.loads(done.stdout)


def our_check(path):
    result = run('check', '--output=json', path)
    assert not result.stderr
    value = json.loads(result.stdout)
    own = value.pop('qcow2')
    return result.returncode, value, own


@pytest.mark.parametrize('name', NAMES)
def test_healthy_images_equal_qemu_img(images, name):
    code, value, own = our_check(images[name])
    assert (code, value) == qemu_check(images[name])
    assert code == 0 and own == {'findings': [], 'findings-not-listed': 0}


def tables(path):
    """Where the L2 table and the first refcount block of a small image are."""
    l2 = number_at(path, number_at(path, 40)) & 0x00fffffffffffe00
    return l2, number_at(path, number_at(path, 48))


def leak(path):
    _, block = tables(path)
    patch(path, block + 2 * 6, b'\0\1')
    with open(path, 'ab') as file:
        file.truncate(7 * 65536)


def refcount_too_low(path):
    _, block = tables(path)
    patch(path, block + 2 * 5, b'\0\0')


def reserved_bit(path):
    l2, _ = tables(path)
    patch(path, l2 + 7, b'\2')


def unaligned_l2_table(path):
    patch(path, number_at(path, 40) + 6, b'\2')


def data_past_the_end(path):
    l2, _ = tables(path)
    patch(path, l2, (COPIED | 1 << 40).to_bytes(8, 'big'))


DAMAGES = {leak: 3, refcount_too_low: 2, reserved_bit: 2, unaligned_l2_table: 2, data_past_the_end: 2}


@pytest.mark.parametrize('damage', DAMAGES)
def test_damage_is_counted_as_by_qemu_img(tmp_path, damage):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M', 'write -P 1 0 64k')
    damage(path)
    code, value, own = our_check(path)
    assert (code, value) == qemu_check(path)
    assert code == DAMAGES[damage]
    assert len(own['findings']) >= value.get('corruptions', 0) + value.get('leaks', 0) > 0
    assert {entry['kind'] for entry in own['findings']} <= {'corruption', 'leak'}


@pytest.mark.parametrize('damage', DAMAGES)
def test_findings_have_a_line_each(tmp_path, damage):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M', 'write -P 1 0 64k')
    damage(path)
    result = run('check', path)
    assert result.returncode == DAMAGES[damage] and not result.stderr
    lines = result.stdout.decode().splitlines()
    found = [line for line in lines if line.startswith(('corruption', 'leak at', 'leak:'))
             and not line.startswith('corruptions:')]
    _, _, own = our_check(path)
    assert len(found) == len(own['findings'])
    assert not any(line.startswith('clean') for line in lines)
    quiet = run('check', '-q', path).stdout.decode().splitlines()
    assert quiet == lines[len(found):]


def test_clean_image_says_so(images):
    assert good('check', images['v3']).stdout.startswith(b'clean')


def test_many_findings_are_counted_and_some_listed(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '2M', 'write -P 1 0 2M', options='cluster_size=512')
    for entry in range(number_at(path, 36, '>I')):
        table = number_at(path, number_at(path, 40) + 8 * entry) & 0x00fffffffffffe00
        for index in range(0, 64, 2):
            patch(path, table + 8 * index, bytes(8))
    code, value, own = our_check(path)
    assert (code, value) == qemu_check(path)
    assert code == 3 and value['leaks'] == 2048
    assert len(own['findings']) == 1000 and own['findings-not-listed'] == value['leaks'] - 1000
    lines = run('check', path).stdout.decode().splitlines()
    assert all(line.startswith('leak at') for line in lines[:1000])
    assert lines[1000:1002] == ['and 1048 more, which are not listed',
                                'leaked clusters:    2048 (1 MiB that nothing refers to; harmless)']
    assert run('check', '-q', path).stdout.decode().splitlines() == lines[1001:]


def test_snapshot_table_that_cannot_be_is_exit_1_as_in_qemu_img(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M', 'write -P 1 0 64k')
    patch(path, 60, (70000).to_bytes(4, 'big'))
    result = run('check', '--output=json', path)
    fails_in_one_line(result, 'image.qcow2: ', 'snapshot table', '70000')
    assert not result.stdout
    assert subprocess.run(['qemu-img', 'check', path], check=False, stderr=subprocess.PIPE,
                          stdout=subprocess.PIPE).returncode == 1


def test_needs_neither_backing_file_nor_key(tmp_path):
    path = overlay(tmp_path / 'overlay.qcow2', 'nowhere.qcow2')
    assert run('check', path).returncode == 0
    encrypted(tmp_path / 'secret.qcow2', '1M')
    assert run('check', tmp_path / 'secret.qcow2').returncode == 0


def test_formats_without_refcounts_are_exit_63(tmp_path):
    toolrun.qemu_img('create', '-q', '-f', 'qcow', tmp_path / 'one.qcow', '1M')
    fails_in_one_line(run('check', tmp_path / 'one.qcow'), 'one.qcow: ', 'no refcounts', code=63)
    (tmp_path / 'raw').write_bytes(bytes(1000))
    fails_in_one_line(run('check', '-f', 'raw', tmp_path / 'raw'), 'no refcounts', code=63)
    fails_in_one_line(run('check', tmp_path / 'raw'), 'not a qcow2 image')


def test_memory_has_a_limit(images):
    fails_in_one_line(run('check', '--max-memory', '16', images['v3']), '--max-memory')


# ---- what broken images cost ----

def crowd(path, count, step, l1, cluster_bits=12):
    """Snapshots of L1 tables with these entries: all at one place, or each `step` clusters after the one
    before."""
    at = 1 << 23
    snapshots = [build.Snapshot(id=b'%d' % number, l1=[], l1_entries=len(l1),
                                l1_offset=at + (number * step << cluster_bits)) for number in range(count)]
    table = struct.pack(f'>{len(l1)}Q', *l1) * (1 + step)
    image = build.Image(cluster_bits=cluster_bits, size=1 << 20, snapshots=snapshots,
                        writes=[(at, table)], length=at + (count * step << cluster_bits) + len(table))
    return image.write(path)


@pytest.mark.parametrize('step', [0, 1])
def test_l1_tables_that_snapshots_share_are_counted_for_each_as_by_qemu_img(tmp_path, step):
    """At one place, and at places a cluster apart, so that they overlap. Tables are read once, and counted for
    each snapshot that has them: their own clusters, L2 tables, and what those name."""
    l2 = 1 << 22
    l1 = [l2, l2 | 1 << 60, 0, l2 + 4096, 1 << 40] + [0] * 507 + [l2] * 512
    path = crowd(tmp_path / 'image.qcow2', 7, step, l1)
    patch(path, l2, struct.pack('>QQQ', 1 << 21, 1 << 21 | 2, COPIED | 3 << 20))
    code, value, _ = our_check(path)
    assert (code, value) == qemu_check(path)
    assert value['corruptions'] > 1000


def test_findings_of_an_l1_table_that_20000_snapshots_share_cost_little(tmp_path):
    """The text of each of 164 million findings was made, of which a thousand are shown: 31 s for 1.4 MB."""
    path = crowd(tmp_path / 'image.qcow2', 20000, 0, [1 << 60] * 8192)
    result = cheap('check', '--output=json', path)
    value = json.loads(result.stdout)
    assert result.returncode == 2 and value['corruptions'] >= 20000 * 8192
    assert len(value['qcow2']['findings']) == 1000


def test_l2_tables_that_overlap_reach_the_limit_on_entries(tmp_path):
    """4096 L2 tables of 2 MiB, each 512 bytes after the one before it: each of their entries has findings."""
    cluster = 1 << 21
    at = 16 * cluster
    image = build.Image(cluster_bits=21, size=1 << 30, l1_entries=4096,
                        l1={index: at + 512 * index for index in range(4096)},
                        writes=[(at, struct.pack('>Q', 1 << 40 | 514) * (2 * cluster // 8))])
    result = cheap('check', '-q', image.write(tmp_path / 'image.qcow2'), seconds=10)
    fails_in_one_line(result, 'entries that the check may read', '--no-limit')


def test_tables_in_holes_of_the_file_reach_the_limit_on_entries(tmp_path):
    """264 KiB on disk of a file of 2^36 bytes, whose L2 tables are all holes: 26 s."""
    path, cluster, count = tmp_path / 'image.qcow2', 1 << 21, 32000
    image = build.Image(cluster_bits=21, size=1 << 40, l1_entries=count,
                        l1={index: (8 + index) * cluster for index in range(count)}, length=1 << 36)
    with open(image.write(path), 'rb') as file:
        if os.fstat(file.fileno()).st_blocks > 1 << 16:
            pytest.skip('the file system does not make holes')
    fails_in_one_line(cheap('check', '-q', path), 'entries that the check may read', '--no-limit')


def test_file_that_is_mostly_hole_reaches_the_limit_on_memory(tmp_path):
    """8 KiB on disk of a file of 2^42 bytes took 4 GiB: 4 bytes for each cluster."""
    path = build.Image(cluster_bits=12, size=1 << 20).write(tmp_path / 'image.qcow2')
    os.truncate(path, 1 << 42)
    text = fails_in_one_line(cheap('check', '-q', path), 'bytes of memory that it may use', '--no-limit')
    assert int(text.split(' bytes of memory')[0].split()[-1]) < 65 << 20
    os.truncate(path, 1 << 35)
    assert run('check', '-q', path).returncode == 0
    os.truncate(path, 1 << 38)
    fails_in_one_line(run('check', '-q', path), '--no-limit')
    assert run('check', '-q', '--max-memory=512M', path).returncode == 0
    assert run('check', '-q', '--no-limit', path).returncode == 0


def test_image_with_preallocated_metadata_is_far_from_the_limits(tmp_path):
    """A disk of 64 GiB in a file that is mostly hole: the longest a sound file can be for what it stores."""
    path = toolrun.create(tmp_path / 'image.qcow2', '64G', options='preallocation=metadata,cluster_size=64k')
    assert pathlib.Path(path).stat().st_blocks * 512 < 16 << 20
    assert run('check', '-q', path).returncode == 0
