# SPDX-License-Identifier: MIT
"""The parts of the benchmark that decide what it says, tested without measuring anything.

Run with: /usr/bin/python3 -m pytest bench
"""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import chart  # noqa: E402
import qcow2_writer  # noqa: E402
import report  # noqa: E402
from rows import ROWS, Goal  # noqa: E402

CLUSTER = 65536


def _row(goals, pairs, metric='wall', **more):
    return {'name': 'row', 'title': 'a & b', 'metric': metric, 'skipped': None, 'pairs': pairs,
            'goals': [vars(goal) for goal in goals], **more}


def _pairs(family, theirs, ours, metric='wall', name='peer'):
    return {'name': name, 'family': family, 'theirs': [{metric: value} for value in theirs],
            'ours': [{metric: value} for value in ours]}


def _results(rows):
    return {'rows': rows, 'settings': {'data_bytes': 1 << 30}, 'environment': {'cores': 2}}


def _verdict(goal, pairs, metric='wall'):
    return report.judge(_row([goal], pairs, metric), vars(goal))


def test_ratio_is_taken_of_pairs_not_of_medians():
    # The machine became four times slower half way: each pair still says 2.
    pairs = _pairs('qemu-img', [2, 2, 8, 8], [1, 1, 4, 4])
    assert report.ratios(pairs, 'wall') == [2, 2, 2, 2]


def test_ratio_of_rates_is_ours_over_theirs():
    assert report.ratios(_pairs('pread', [100], [95], 'ops'), 'ops') == [0.95]


@pytest.mark.parametrize('ours, met', [(0.9, True), (1.1, False)])
def test_times_goal_is_judged_against_the_best_setting(ours, met):
    pairs = [_pairs('qemu-img', [9], [ours], name='slow'),
             _pairs('qemu-img', [4], [ours], name='fast')]
    chosen, _, _, verdict = _verdict(Goal('wall', 'times', 4, 'qemu-img'), pairs)
    assert chosen['name'] == 'fast'
    assert verdict is met


@pytest.mark.parametrize('ours, met', [(0.39, True), (0.41, False)])
def test_share_goal_is_met_at_or_below_its_bound(ours, met):
    goal = Goal('cpu', 'share', 0.4, 'qemu-img')
    assert _verdict(goal, [_pairs('qemu-img', [1], [ours], 'cpu')], 'cpu')[3] is met


@pytest.mark.parametrize('ours, met', [(31.9, True), (32.1, False)])
def test_memory_goal_is_met_below_its_bound(ours, met):
    goal = Goal('memory', 'under', 32)
    assert _verdict(goal, [_pairs('qemu-img', [9], [ours], 'memory')], 'memory')[3] is met


def test_missed_goal_tells_of_the_first_goal():
    row = _row([Goal('wall', 'times', 4, 'qemu-img', 2.5)], [_pairs('qemu-img', [3], [1])])
    assert 'MISSED (first goal 2.5: met)' in report.table(_results([row]))


def test_skipped_row_shows_the_refusal():
    row = _row([], [], skipped='LUKS is not supported')
    assert 'skipped: LUKS is not supported' in report.table(_results([row]))


def test_goal_of_a_peer_that_is_missing_is_not_judged():
    assert _verdict(Goal('ops', 'times', 4, 'libqcow'), [_pairs('pread', [1], [1])]) is None


def test_chart_is_well_formed_and_shows_every_peer_and_the_limit():
    row = _row([], [_pairs('qemu-img', [4.0], [1.0], name='qemu <img>'),
                    _pairs('limit', [0.8], [1.0], name='decoder')])
    root = xml.etree.ElementTree.fromstring(chart.draw(_results([row])))
    words = [element.text for element in root.iter() if element.text]
    assert {'a & b', 'qcow2', 'qemu <img>', 'limit: decoder', '4.00 s'} <= set(words)


def test_names_of_rows_are_unique():
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))


@pytest.mark.skipif(shutil.which('qemu-img') is None, reason='qemu-img is not installed')
@pytest.mark.parametrize('cluster_bits', [12, 16])
@pytest.mark.parametrize('packed', [False, True])
def test_written_image_is_clean_and_reads_back(tmp_path, cluster_bits, packed):
    cluster = 1 << cluster_bits
    numbers = [7, 0, 600, 3, 4]
    content = {number: os.urandom(64) * (cluster // 64) for number in numbers}
    content[3] = os.urandom(cluster)  # saves nothing when compressed
    image, raw = tmp_path / 'image.qcow2', tmp_path / 'image.raw'
    writer = qcow2_writer.Writer(image, 1024 * cluster, numbers, cluster_bits)
    with open(raw, 'wb') as file:
        file.truncate(1024 * cluster)
        for number in numbers:
            (writer.add_deflate if packed else writer.add_plain)(number, content[number])
            file.seek(number * cluster)
            file.write(content[number])
    writer.finish()
    subprocess.run(['qemu-img', 'check', '-q', image], check=True)
    subprocess.run(['qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'raw', image, raw],
                   check=True)


def test_data_clusters_leaves_out_zeros_and_holes(tmp_path):
    raw = tmp_path / 'disk.raw'
    with open(raw, 'wb') as file:
        file.truncate(8 * CLUSTER + 512)
        for number, data in ((1, b'x'), (2, bytes(CLUSTER)), (5, bytes(CLUSTER - 1) + b'y'),
                             (8, b'z')):
            file.seek(number * CLUSTER)
            file.write(data)
    assert qcow2_writer.data_clusters(raw, CLUSTER) == [1, 5, 8]
