# SPDX-License-Identifier: MIT
"""qcow2 vet on images made to keep it busy: what its manual page promises of time and memory; and that
reading keeps to the memory that it states."""

import json
import os
import random
import resource
import struct

import pytest

import toolrun
from chainrun import patch
from toolrun import BASE_MEMORY, is_measurable, limited
from vetting import build, vet

def answered(path, *options, memory=0):
    """The rules found in an image that is denied within two seconds of processor time and in that much
    memory, beside what the program itself takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, output = limited(BASE_MEMORY + memory if is_measurable() else None, 'vet', '--output=json',
                           *options, path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code == 1
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 2 or not is_measurable()
    return {finding['rule'] for finding in json.loads(output)['findings']}


def header(path, size, cluster_bits=16, l1=(0, 0), refcounts=None, snapshots=(0, 0), length=None,
           autoclear=0, extensions=b''):
    """A header in a file of zeros; l1 and snapshots: offset and number."""
    cluster = 1 << cluster_bits
    with open(path, 'wb') as file:
        file.write(struct.pack('>4sIQIIQIIQQIIQQQQII', b'QFI\xfb', 3, 0, 0, cluster_bits, size, 0,
                               l1[1], l1[0], cluster if refcounts is None else refcounts, 1,
                               snapshots[1], snapshots[0], 0, 0, autoclear, 4, 104))
        file.write(extensions)
        file.truncate(length)
    return path


def test_two_exbibytes_on_one_table_are_answered_at_once(tmp_path):
    path = toolrun.write_endless(tmp_path / 'image.qcow2', (2 << 30) - 1, 21)
    found = answered(path, memory=262144 * 32)  # the one table is full of streams
    assert found >= {'virtual-size', 'overlap', 'shared-data', 'expansion'}


ENTRIES = {'outside': lambda i: (1 << 40) + (i << 16), 'overlap': lambda i: i % 500 << 16,
           'unaligned': lambda i: i << 9 | 512}


@pytest.mark.parametrize('rule', ENTRIES)
def test_largest_l1_table_is_answered_at_once(tmp_path, rule):
    """4194304 entries, each another table, in a file of 33 MiB."""
    count, at = 1 << 22, 1 << 20
    path = header(tmp_path / 'image.qcow2', 1 << 40, l1=(at, count), length=at + 8 * count)
    patch(path, at, b''.join(ENTRIES[rule](i).to_bytes(8, 'big') for i in range(count)))
    found = answered(path)
    assert rule in found


def test_65536_snapshots_with_the_same_32_mib_are_answered_at_once(tmp_path):
    table, l1, count = 1 << 16, 8 << 20, 65536
    path = header(tmp_path / 'image.qcow2', 1 << 20, l1=(6 << 20, 1), refcounts=7 << 20,
                  snapshots=(table, count), length=l1 + (32 << 20))
    entry = struct.pack('>QIHHIIQIIQQ', l1, 1 << 22, 0, 0, 0, 0, 0, 0, 16, 0, 1 << 20)
    patch(path, table, entry * count)
    patch(path, l1, struct.pack('>Q', l1) * (1 << 22))
    found = answered(path)
    assert found >= {'snapshots', 'overlap', 'expansion'}


def test_65536_snapshots_with_the_same_32_mib_that_cannot_be_summed_up_are_answered_at_once(tmp_path):
    """The last of the table's 65536 clusters is an L2 table too."""
    table, l1, count = 1 << 16, 8 << 20, 65536
    path = header(tmp_path / 'image.qcow2', 1 << 15, cluster_bits=9, l1=(6 << 20, 1), refcounts=7 << 20,
                  snapshots=(table, count), length=l1 + (32 << 20))
    entry = struct.pack('>QIHHIIQIIQQ', l1, 1 << 22, 0, 0, 0, 0, 0, 0, 16, 0, 1 << 20)
    patch(path, table, entry * count)
    patch(path, l1, struct.pack('>Q', l1 + (32 << 20) - 512))
    found = answered(path)
    assert found >= {'snapshots', 'overlap', 'expansion'}


def test_snapshot_of_128_tebibytes_in_a_small_file_is_answered_at_once(tmp_path):
    """Two mebibytes of L1 table, each entry naming the same L2 table, full of the same cluster."""
    cluster, count = 1 << 16, 1 << 18
    l1, l2 = 5 * cluster, 5 * cluster + count * 8
    path = header(tmp_path / 'image.qcow2', 1 << 20, l1=(2 * cluster, 1), snapshots=(4 * cluster, 1),
                  length=l2 + 2 * cluster)
    patch(path, 4 * cluster, struct.pack('>QIHHIIQIIQQ', l1, count, 0, 0, 0, 0, 0, 0, 16, 0, 1 << 62))
    patch(path, l1, struct.pack('>Q', l2) * count)
    patch(path, l2, struct.pack('>Q', l2 + cluster) * (cluster // 8))
    found = answered(path, '--ignore', 'refcounts,unused')
    assert found == {'snapshots', 'virtual-size', 'expansion'}
    assert vet(path)[2]['bounds']['snapshot-data-bytes'] == count << 29


def test_65535_bitmaps_with_the_same_table_are_answered_at_once(tmp_path):
    directory, table, count = 1 << 16, 8 << 20, 65535
    path = header(tmp_path / 'image.qcow2', 1 << 20, l1=(6 << 20, 1), refcounts=7 << 20,
                  length=table + (32 << 20), autoclear=1,
                  extensions=struct.pack('>IIIIQQQ', build.EXT_BITMAPS, 24, count, 0, 32 * count,
                                         directory, 0))
    # In use, so that the table may be of any length.
    patch(path, directory, (struct.pack('>QIIBBHI', table, 1 << 13, 1, 1, 16, 1, 0) + b'x' +
                            bytes(7)) * count)
    found = answered(path)
    assert found >= {'bitmaps', 'overlap'}


def write_streams(path, tables):
    """8192 compressed clusters in each table, every one at another place, in descending order."""
    cluster = 1 << 16
    header(path, tables << 29, l1=(2 * cluster, tables), length=(3 + tables) * cluster)
    patch(path, 2 * cluster, b''.join(struct.pack('>Q', (3 + i) * cluster) for i in range(tables)))
    for i in range(tables):
        first = 3 * cluster + (tables - i) * 8192
        patch(path, (3 + i) * cluster, b''.join(
            struct.pack('>Q', 1 << 62 | (first - k)) for k in range(8192)))
    return path


def test_file_of_nothing_but_streams_keeps_to_its_memory(tmp_path):
    tables = 64
    path = write_streams(tmp_path / 'image.qcow2', tables)
    memory = tables * 8192 * 32
    found = answered(path, memory=memory)
    assert found >= {'overlap', 'expansion'} and 'shared-data' not in found
    assert answered(path, '--max-memory', '1M', memory=1 << 20) >= {'unchecked'}
    # So the limit is one: with less, there is no answer.
    assert not is_measurable() or limited(BASE_MEMORY + memory // 8, 'vet', path)[0] == 2


def test_file_that_is_too_large_for_the_memory_is_unchecked(tmp_path):
    path = header(tmp_path / 'image.qcow2', 1 << 20, cluster_bits=9, l1=(1024, 32), length=1 << 40)
    found = answered(path, memory=5 << 20)
    assert found == {'unchecked', 'leftover'}
    assert b'--max-memory allows more' in toolrun.run('vet', path).stdout


# Sparse files: what they store is a few kilobytes, what their tables name are holes.

def many_tables(path, cluster_bits, tables):
    """Each entry of the L1 table names another L2 table, all of them in a hole."""
    cluster, l1 = 1 << cluster_bits, 2 << cluster_bits
    first = -(-(l1 + 8 * tables) // cluster) * cluster
    path = header(path, 1 << 40, cluster_bits=cluster_bits, l1=(l1, tables),
                  length=first + tables * cluster)
    patch(path, l1, b''.join(struct.pack('>Q', first + i * cluster) for i in range(tables)))
    return path


@pytest.mark.parametrize('cluster_bits, tables', [(21, 32768), (16, 32768), (12, 1 << 20)])
def test_tables_in_holes_are_unchecked_beyond_256_mebibytes(tmp_path, cluster_bits, tables):
    """The first is a file of 64 GiB that stores 264 KiB."""
    path = many_tables(tmp_path / 'image.qcow2', cluster_bits, tables)
    assert 'unchecked' in answered(path, '--max-virtual-size', '2E', memory=24 << 20)
    assert b'the tables lie in holes of the file' in toolrun.run('vet', path).stdout


def test_tables_in_holes_are_looked_at_below_256_mebibytes(tmp_path):
    """Of 256 MiB, 4096 clusters, a few are other tables."""
    assert 'unchecked' not in vet(many_tables(tmp_path / 'near.qcow2', 16, 4090))[1]
    assert 'unchecked' in vet(many_tables(tmp_path / 'image.qcow2', 16, 4200))[1]


@pytest.mark.parametrize('words', [['snapshot', '-c'], ['bitmap', '--add']])
def test_image_of_qemu_with_many_short_tables_in_large_clusters_is_looked_at(tmp_path, words):
    """QEMU writes a table only as far as it is used: the rest of its cluster is a hole."""
    path = tmp_path / 'image.qcow2'
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=2M', path, '1G')
    for i in range(150):
        operands = [f'name{i}', path] if words[0] == 'snapshot' else [path, f'name{i}']
        toolrun.qemu_img(*words, *operands)
    code, found, _ = vet(path)
    assert code == 0 and 'unchecked' not in found


def test_short_tables_in_large_clusters_are_unchecked_beyond_one_gibibyte(tmp_path):
    """1000 snapshots, each with an L1 table of one entry in a cluster of 2 MiB."""
    count, cluster = 1000, 1 << 21
    table, first = 4 * cluster, 5 * cluster
    path = header(tmp_path / 'image.qcow2', 1 << 30, cluster_bits=21, l1=(3 * cluster, 1),
                  snapshots=(table, count), length=first + count * cluster)
    entries = (struct.pack('>QIHHIIQIIQQ', first + i * cluster, 1, 0, 0, 0, 0, 0, 0, 16, 0, 1 << 30)
               for i in range(count))
    patch(path, table, b''.join(entries))
    assert 'unchecked' in answered(path, memory=4 << 20)
    assert b'what follows them there' in toolrun.run('vet', path).stdout
    assert b'allows more' not in toolrun.run('vet', path).stdout


def sparse(path, what, length):
    """A table, or a header of keys, that takes the most that there is of a file of holes."""
    cluster, most = 1 << 16, length - (4 << 16)
    words = {}
    if what == 'keys':
        words['extensions'] = struct.pack('>IIQQQ', build.EXT_LUKS, 16, 4 * cluster, most, 0)
    path = header(path, 1 << 20, l1=(2 * cluster, 1), length=length, **words)
    if what == 'keys':
        patch(path, 32, struct.pack('>I', 2))
    if what == 'blocks':
        patch(path, cluster, b''.join(struct.pack('>Q', (4 + i) * cluster) for i in range(8192)))
    return path


@pytest.mark.parametrize('what', ['keys', 'blocks'])
def test_memory_for_a_file_of_holes_follows_what_is_stored(tmp_path, what):
    """Four bytes for each of its clusters would be 128 MiB."""
    path = sparse(tmp_path / 'image.qcow2', what, 1 << 41)
    assert 'unchecked' in answered(path, memory=8 << 20)


def test_survey_of_a_long_sparse_file_in_order_takes_little_memory(tmp_path):
    """2^39 bytes in clusters of 2 MiB. Counting refcounts takes 4 bytes for each cluster, here 1 MiB."""
    path = toolrun.create(tmp_path / 'image.qcow2', '1T', 'write -P 1 0 2M', options='cluster_size=2M')
    os.truncate(path, 1 << 39)
    assert vet(path)[:2] == (0, {'leftover': 'note'})
    if is_measurable():
        assert limited(BASE_MEMORY + (4 << 20), 'vet', path)[0] == 0


@pytest.mark.parametrize('name', ['v3', 'cs512', 'cs2m', 'deflate_2m', 'zstd'])
def test_reading_keeps_to_the_memory_that_was_stated(images, name):
    bounds = vet(images[name])[2]['bounds']
    stated = bounds['open-memory'] + bounds['cache-memory'] + bounds['thread-memory']
    cluster = toolrun.tool_json('info', '--output=json', images[name])['cluster-size']
    # What is read is put into buffers that are not the image's: a mebibyte and two clusters.
    if not is_measurable():
        pytest.skip('a sanitizer needs more memory than the program')
    code, output = limited(BASE_MEMORY + stated + (1 << 20) + 2 * cluster, 'cat', '-m', '1', images[name])
    assert code == 0 and len(output) == bounds['virtual-size']


MUTATED = ['v3', 'cs512', 'cs4k', 'refcount1', 'deflate_4k', 'zstd', 'half_compressed', 'lazy']
VARIANTS = int(os.environ.get('QCOW2_VET_VARIANTS', '30'))


def mutate(chance, content):
    """One to four fields, mostly of the header and of tables, become something else."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        width = chance.choice([1, 2, 4, 8])
        # Tables are mostly zeros, so a byte that is not is mostly worth changing.
        at = chance.choice([chance.randrange(112), chance.randrange(len(content) - 8)])
        at = next((i for i in range(at, min(at + 65536, len(content) - 8)) if content[i] != 0), at)
        at -= at % width
        value = chance.choice([0, 1, 1 << 62, (1 << 64) - 1, chance.getrandbits(64),
                               int.from_bytes(content[at:at + width], 'big') ^ 1 << chance.randrange(64),
                               chance.randrange(len(content)) & ~511])
        content[at:at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, 'big')
    if chance.random() < 0.1:
        del content[chance.randrange(len(content)):]
    return bytes(content)


@pytest.mark.parametrize('name', MUTATED)
def test_damaged_images_get_a_verdict_and_what_is_let_in_can_be_mapped(images, tmp_path, name):
    """QCOW2_VET_VARIANTS says how many are made of each image."""
    chance, original = random.Random(name), images[name].read_bytes()
    path = tmp_path / 'image.qcow2'
    verdicts = set()
    for number in range(VARIANTS):
        path.write_bytes(mutate(chance, original))
        code, found, value = vet(path)
        verdicts.add(code)
        if code == 1:
            continue
        rows = toolrun.run('map', '--output=json', path)
        assert rows.returncode == 0, (number, found, rows.stderr)
        stored = sum(row['length'] for row in json.loads(rows.stdout) if row['data'])
        assert stored <= value['bounds']['stored-bytes'] + value['bounds']['compressed-bytes']
    assert verdicts == {0, 1} or VARIANTS < 30
