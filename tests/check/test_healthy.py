# SPDX-License-Identifier: MIT
"""Healthy images: nothing found, and every counter as qemu-img has it."""

import pytest

import comparing
import recipes


@pytest.mark.parametrize('name', recipes.RECIPES)
def test_healthy_image_has_the_counters_of_qemu_img(healthy, name):
    mine = comparing.assert_same(healthy(name))
    assert mine.status == 0 and mine.findings == []


def test_image_opened_for_reading_has_the_same_counters(healthy):
    for name in ('cluster_65536_refcount_16', 'snapshots', 'extended_l2', 'deflate_4096'):
        assert comparing.ours(healthy(name), '--full').counts == \
            comparing.ours(healthy(name)).counts


def test_luks_header_is_counted(tmp_path):
    image = tmp_path / 'luks.qcow2'
    recipes.luks(image, 'abc')
    done = comparing.run('qemu-img', 'check', '--object', 'secret,id=s,data=abc', '--image-opts',
                         f'driver=qcow2,file.filename={image},encrypt.key-secret=s')
    mine = comparing.ours(image)
    assert 'No errors were found' in done.stdout
    assert mine.status == 0
    assert f'Image end offset: {mine.counts["image-end-offset"]}' in done.stdout
