# SPDX-License-Identifier: MIT
"""Damaged images: whatever is broken, the counters are those of qemu-img wherever it has any."""

import os

import pytest

import comparing
import damage

# Small images, so that every seed costs little, which together have all tables there are.
VICTIMS = ['cluster_512_refcount_16', 'cluster_512_refcount_1', 'cluster_1024_refcount_2',
           'cluster_4096_refcount_64', 'cluster_4096_refcount_4', 'cluster_65536_refcount_8',
           'cluster_4096_refcount_32', 'cluster_4096_version_2', 'deflate_512', 'deflate_4096',
           'zstd_65536', 'extended_l2', 'snapshots', 'snapshots_512', 'snapshots_4096_narrow',
           'snapshots_version_2', 'snapshot_extended_l2', 'bitmaps_512', 'bitmaps_4096',
           'bitmaps_and_snapshots', 'resized']

SEEDS = int(os.environ.get('QCOW2_CHECK_SEEDS', '25'))


@pytest.mark.parametrize('name', VICTIMS)
def test_damaged_image_has_the_counters_of_qemu_img(healthy, tmp_path, name):
    whole = healthy(name).read_bytes()
    image = tmp_path / 'damaged.qcow2'
    completed = 0
    for seed in range(SEEDS):
        image.write_bytes(damage.damaged(whole, f'{name} {seed}'))
        theirs, mine = comparing.qemu(image), comparing.ours(image)
        if theirs is None or theirs.counts is None:
            # It could not open the image, gave up, or died. Ours must not claim health.
            assert mine.status in (1, 2), f'seed {seed}: qemu-img: {theirs}, we: {mine}'
            continue
        completed += 1
        assert mine.counts == theirs.counts, f'seed {seed}: qemu-img: {theirs}\nwe: {mine}'
        assert mine.status == theirs.status, f'seed {seed}'
    assert completed >= SEEDS // 2, 'most damage keeps qemu-img from checking: no comparison'


def test_damage_from_one_seed_is_always_the_same(healthy):
    whole = healthy('snapshots_512').read_bytes()
    assert damage.damaged(whole, 1) == damage.damaged(whole, 1)
    assert damage.damaged(whole, 1) != damage.damaged(whole, 2)
    assert damage.damaged(whole, 1) != whole
