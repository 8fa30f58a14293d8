# SPDX-License-Identifier: MIT
"""What images can make calls cost: the bounds that qcow2.h states, on images of each kind and on those of
hostile.py, with caches and without, on a stack of 64 KiB."""

import json
import os
import shutil
import tempfile

import pytest

import hostile

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 4 * KIB
E_LIMIT = -8
LIMIT = 4 * MIB  # of what subject.c reads
STACK_KIB = int(os.environ.get("QCOW2_FAULT_STACK_KIB", "64"))
CACHES = {"cached": (), "uncached": ("--table-cache", 1, "--cluster-cache", 1)}


@pytest.fixture(params=CACHES)
def caches(request):
    return CACHES[request.param]


@pytest.fixture(scope="module", params=hostile.ALL, ids=lambda make: make.__name__)
def hostile_image(request):
    directory = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    request.param(directory)
    yield ["--directory", directory, "--image", hostile.IMAGE]
    shutil.rmtree(directory)


def measured(run, arguments, caches):
    return json.loads(run("bounded", STACK_KIB, *caches, *arguments))


def data_bytes(found):
    """The most that one read of data asks for."""
    return max(256 * KIB, 2 * found["cluster"] + 1024)


def hold_bounds(found):
    assert found["stack"] < STACK_KIB * KIB
    assert found["cpu_seconds"] < 10
    if found["sees_all"]:
        opening = 40 * MIB + 32 * KIB * found["files"]
        assert found["open"]["memory"] <= min(found["file_bytes"] + 4 * MIB * found["files"], opening)
        assert found["kept"] <= opening + (24 + 64) * MIB
    assert found["open"]["reads"] <= 15 * found["files"]
    if found["open"]["code"] < 0:
        return
    layers, unit = found["layers"], found["unit"]
    # A raw part of the chain has no clusters, and what is asked for may end inside one.
    clusters = -(-min(LIMIT, found["size"]) // unit) + 1
    assert found["byte"]["reads"] <= 7 * layers
    assert found["byte"]["bytes"] <= layers * (6 * BLOCK + data_bytes(found))
    assert found["range"]["reads"] <= 7 * layers * clusters
    assert found["range"]["bytes"] <= clusters * (layers * 6 * BLOCK + data_bytes(found))
    if found["sees_all"]:
        # A lane with its decoders, and a block of either cache for each file.
        assert found["byte"]["memory"] <= (4 * data_bytes(found) + 512 * KIB +
                                           layers * (BLOCK + found["cluster"]))
        assert found["extent"]["memory"] <= layers * 2 * MIB
    entries = max(65536, found["cluster"] // 8)
    assert found["extent"]["reads"] <= layers * (entries // 32 + 2)
    assert found["explanation"]["reads"] <= 5
    assert found["explanation"]["bytes"] <= 5 * BLOCK
    assert found["snapshot"]["reads"] <= 2
    assert found["snapshot"]["bytes"] <= 133 * KIB
    assert found["bitmap"]["reads"] <= 1
    assert found["bitmap"]["bytes"] <= 2 * KIB
    assert found["dirty"]["reads"] <= 2 * 512 * MIB // BLOCK
    assert found["extension"]["reads"] == 0
    # Its own bound, of entries and memory; pieces of tables are 64 KiB.
    assert found["check"]["bytes"] <= 8 * (2 ** 25 + found["file_bytes"])


def test_image_keeps_to_the_bounds(run, subject, caches):
    hold_bounds(measured(run, subject.arguments(), caches))


def test_hostile_image_keeps_to_the_bounds(run, hostile_image, caches):
    hold_bounds(measured(run, hostile_image, caches))


def test_walk_over_empty_tables_does_not_begin_again_with_each_piece_below(run, tmp_path):
    """It used to walk the whole L1 or L2 table above for each extent below: seconds for kilobytes."""
    for make in (hostile.empty_tables_over_pieces, hostile.empty_l1_over_pieces):
        directory = tmp_path / make.__name__
        directory.mkdir()
        make(directory)
        found = measured(run, ["--directory", directory, "--image", hostile.IMAGE],
                         CACHES["uncached"])
        assert found["extent"]["calls"] > 4096
        assert found["extent"]["reads"] < 300


def test_work_on_keys_is_bounded_for_all_files_of_a_chain_together(run, tmp_path):
    """The limit was one for each file: 256 files could take an hour and a half. Each file takes 41,000 of the
    100,000 iterations that subject.c allows."""
    for files, code in ((2, 0), (3, E_LIMIT)):
        directory = tmp_path / str(files)
        directory.mkdir()
        hostile.encrypted_chain(directory, files, 3000, b"a key")
        found = measured(run, ["--directory", directory, "--image", hostile.IMAGE, "--key", "a key"], ())
        assert found["open"]["code"] == code


def test_l1_tables_that_are_kept_are_bounded_for_all_files_of_a_chain_together(run, tmp_path):
    """Each file kept up to 1 MiB: a chain of 256 took 256 MiB."""
    hostile.chain_of_large_l1_tables(tmp_path)
    found = measured(run, ["--directory", tmp_path, "--image", hostile.IMAGE], ())
    assert found["open"]["code"] == 0 and found["layers"] == 40
    assert found["open"]["bytes"] < 18 * MIB
    if found["sees_all"]:
        assert found["open"]["memory"] < 20 * MIB


@pytest.mark.parametrize("files, code", [(4, 0), (5, E_LIMIT), (12, E_LIMIT)])
def test_header_extensions_are_bounded_for_all_files_of_a_chain_together(run, tmp_path, files, code):
    """Each file kept up to 2 MiB: a chain of 256 took 512 MiB, and many seconds for their feature names."""
    hostile.chain_of_extensions(tmp_path, files)
    found = measured(run, ["--directory", tmp_path, "--image", hostile.IMAGE], ())
    assert found["open"]["code"] == code
    assert found["open"]["bytes"] <= 11 * MIB
    if found["sees_all"]:
        assert found["open"]["memory"] < 11 * MIB
