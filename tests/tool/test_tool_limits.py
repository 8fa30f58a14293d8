# SPDX-License-Identifier: MIT
"""Tables that overlap: kilobytes that describe petabytes. map, compare and explain --host stop at a limit that
follows what is stored, which --no-limit lifts and a sound image does not reach."""

import json
import struct

import pytest

import toolrun
from chainrun import number_at
from toolrun import cheap, fails_in_one_line, good, run, write_alternating, write_one_table
from vetting import build

LIMIT = 1 << 20  # extents, and 4 for each byte stored


@pytest.fixture(scope='module')
def endless_rows(tmp_path_factory):
    """A file of 164 KiB in which 4096 L1 entries name one L2 table: 33 million extents."""
    return write_alternating(tmp_path_factory.mktemp('limits') / 'rows.qcow2', 4096)


# ---- map ----

@pytest.mark.parametrize('output', ['human', 'json', 'html'])
def test_map_of_an_l2_table_that_all_l1_entries_name_stops_at_the_limit(endless_rows, tmp_path, output):
    with open(tmp_path / 'out', 'wb') as out:
        result = cheap('map', f'--output={output}', endless_rows, stdout=out)
    text = fails_in_one_line(result, 'rows.qcow2: more than', 'extents', '--no-limit')
    limit = int(text.split('more than ')[1].split()[0])
    assert LIMIT < limit < 2 * LIMIT
    rows = (tmp_path / 'out').read_bytes().count(b'\n')
    if output == 'json':
        assert limit - 4 < rows <= limit and not (tmp_path / 'out').read_bytes().endswith(b']\n')


def test_map_below_the_limit_and_without_it_is_whole(endless_rows, tmp_path):
    rows = toolrun.tool_json('map', '--output=json', '-s', '1T', '-l', '1G', endless_rows)
    assert len(rows) == 1 << 14
    path = write_alternating(tmp_path / 'image.qcow2', 230)
    with open(tmp_path / 'out', 'wb') as out:
        fails_in_one_line(run('map', '--output=json', path, stdout=out), '--no-limit')
        out.truncate(0)
        out.seek(0)
        good('map', '--output=json', '--no-limit', path, stdout=out)
    assert (tmp_path / 'out').read_bytes().count(b'start') == 230 << 13


def test_map_of_a_bitmap_whose_table_names_one_cluster_stops_at_the_limit(tmp_path):
    """A table of 128 entries for one cluster of 64 KiB: 33 million ranges."""
    cluster, entries = 1 << 16, 128
    directory, table, bits = 8 * cluster, 9 * cluster, 10 * cluster
    extension = build.Extension(build.EXT_BITMAPS, struct.pack('>IIQQ', 1, 0, 32, directory))
    entry = struct.pack('>QIIBBHI', table, entries, 0, 1, 16, 1, 0) + b'x' + bytes(7)
    path = build.Image(cluster_bits=16, size=entries * cluster * 8 << 16, extensions=[extension],
                       header={'autoclear_features': 1},
                       writes=[(directory, entry), (table, struct.pack('>Q', bits) * entries),
                               (bits, b'\x55' * cluster)]).write(tmp_path / 'image.qcow2')
    with open(tmp_path / 'out', 'wb') as out:
        result = cheap('map', '--bitmap=x', '--output=json', path, stdout=out, seconds=40)
    fails_in_one_line(result, 'ranges in the bitmap', '--no-limit')


def test_map_of_preallocated_and_of_fragmented_images_is_far_from_the_limit(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '4G', options='preallocation=metadata,cluster_size=4k')
    good('map', '--output=json', path)
    path = tmp_path / 'chess.qcow2'
    image = build.Image(cluster_bits=9, extended_l2=False, size=1 << 20,
                        l2={cluster: build.Zero() for cluster in range(0, 2048, 2)})
    assert len(toolrun.tool_json('map', '--output=json', image.write(path))) == 2048


# ---- compare ----

def test_compare_of_l2_tables_that_all_l1_entries_name_stops_at_the_limit(endless_rows, tmp_path):
    other = write_alternating(tmp_path / 'other.qcow2', 4096)
    fails_in_one_line(cheap('compare', endless_rows, other, seconds=60), 'rows.qcow2: ', 'bytes to read',
                      '--no-limit', code=2)
    fails_in_one_line(cheap('compare', endless_rows, endless_rows), 'rows.qcow2: ', 'extents', '--no-limit',
                      code=2)


def test_compare_without_limit_goes_on(tmp_path):
    paths = [write_alternating(tmp_path / name, 230) for name in ('a.qcow2', 'b.qcow2')]
    empty = toolrun.create(tmp_path / 'empty.qcow2', str(230 << 29))
    assert run('compare', paths[0], empty).returncode == 1
    result = run('compare', paths[0], paths[0])
    fails_in_one_line(result, '--no-limit', code=2)
    good('compare', '--no-limit', paths[0], paths[0])


# ---- explain --host ----

def uses(path, offset, *words):
    result = cheap('explain', '--output=json', '--host', str(offset), path, *words)
    assert result.returncode == 0 and not result.stderr, result.stderr
    return json.loads(result.stdout)


def test_way_back_names_a_table_that_all_l1_entries_name_once(endless_rows):
    table = number_at(endless_rows, number_at(endless_rows, 40))
    value = uses(endless_rows, table + 16)
    assert [use['what'] for use in value['uses']] == ['l2-table', 'shared-table']
    assert value['uses'][0]['guest-offset'] == 2 << 16
    assert 'named by 4096 L1 entries' in value['uses'][1]['text']
    assert value['limit-reached'] is False


def test_way_back_walks_a_shared_table_once_and_reports_its_places_once(tmp_path):
    """Every L1 entry names the table, and one of its entries the byte: 4096 places, in one line."""
    cluster = 1 << 16
    path = write_one_table(tmp_path / 'image.qcow2', 16, 4096 << 29, 4096, lambda at: struct.pack(
        '>QQQ', at, at + cluster, 0) + struct.pack('>Q', at) * 100 + bytes(cluster - 824) + b'x' * 2 * cluster)
    host = number_at(path, number_at(path, 40)) + 2 * cluster
    value = uses(path, host)
    assert [use['what'] for use in value['uses']] == ['data', 'shared-table']
    assert value['uses'][0]['guest-offset'] == cluster
    assert 'named by 4096 L1 entries' in value['uses'][1]['text']
    text = good('explain', '--host', str(host + 10 * cluster), path).stdout.decode()
    assert 'past the end of the file' in text


def test_way_back_through_snapshots_of_one_l1_table_stops_at_the_limit_and_reports_it(tmp_path):
    """1024 snapshots of one L1 table of 8192 entries, each of which names the same L2 table."""
    at, l2 = 1 << 23, 1 << 22
    snapshots = [build.Snapshot(id=b'%d' % number, l1=[], l1_entries=8192, l1_offset=at, disk_size=1 << 50)
                 for number in range(1024)]
    path = build.Image(cluster_bits=16, size=1 << 20, snapshots=snapshots,
                       writes=[(l2, struct.pack('>Q', l2 + 65536) * 8192),
                               (at, struct.pack('>Q', l2) * 8192)]).write(tmp_path / 'image.qcow2')
    value = uses(path, l2 + 2 * 65536)
    assert value['uses'] == [] and value['limit-reached'] is True
    assert 0 < value['snapshots-not-looked-at'] < 1024
    lines = good('explain', '--host', str(l2 + 2 * 65536), path).stdout.decode().splitlines()
    assert lines[1] == 'nothing that was looked at refers to it'
    assert '--no-limit' in lines[2] and lines[3].startswith('not looked at: ')


def test_no_limit_of_explain_is_for_host():
    fails_in_one_line(run('explain', '--no-limit', 'image', '0'), '--host')


# ---- table entries ----

@pytest.fixture(scope='module')
def empty_tables(tmp_path_factory):
    """20,000 L1 entries for one L2 table of 2 MiB, all but the last word of which is a hole of the file: one extent, and
    5,000 million entries to be examined."""
    entries, cluster = 20000, 1 << 21
    return write_one_table(tmp_path_factory.mktemp('limits') / 'empty.qcow2', 21, entries * (cluster // 8) * cluster,
                           entries, lambda _: b'')


@pytest.mark.parametrize('words', [['map'], ['compare']])
def test_table_entries_that_are_examined_are_limited_too(empty_tables, words):
    """Seen: extents alone were counted, and one extent took ten minutes."""
    operands = [empty_tables] * (2 if words == ['compare'] else 1)
    fails_in_one_line(cheap(*words, *operands), 'table entries', '--no-limit', code=len(operands))
