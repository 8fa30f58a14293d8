# SPDX-License-Identifier: MIT
"""conftest.py - who answers in these tests, and the images they are about.

    pytest tests/chains                      the tool (QCOW2_TOOL, default build/qcow2)
    pytest tests/chains --reader=reference   the reference reader: proves images and expectations

The reference reader has no map, info or check; those tests are left out then. Images live in memory
and only as long as their tests; --keep-images DIR builds them beneath DIR and leaves them there."""

import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "reference")]

import pytest

import generate
import readers
from specs import NEED_ANOTHER_CIPHER, SPECS

# Which images each test of test_whole_format.py is about.
SUBJECTS = {
    "test_disk": lambda spec: True,
    "test_snapshots": lambda spec: spec.snapshots and not spec.damage,
    "test_vm_state": lambda spec: any(state for _, state in spec.snapshots),
    "test_bitmaps": lambda spec: spec.bitmaps,
    "test_map": lambda spec: not spec.damage and spec.encryption not in NEED_ANOTHER_CIPHER,
    "test_info": lambda spec: not spec.damage,
    "test_check": lambda spec: spec.encryption not in NEED_ANOTHER_CIPHER,
}
BEYOND_REFERENCE = ("test_map", "test_info", "test_check")


def pytest_addoption(parser):
    parser.addoption("--reader", choices=("tool", "reference"), default="tool",
                     help="who reads the images of tests/chains")
    parser.addoption("--keep-images", metavar="DIR", help="build the images of tests/chains here")


def reader_name(config):
    return config.getoption("--reader", "tool")


def in_parallel():
    """Whether this is one of several processes of pytest-xdist, each with a part of the tests."""
    return "PYTEST_XDIST_WORKER" in os.environ


def pytest_generate_tests(metafunc):
    if "made" in metafunc.fixturenames:
        metafunc.parametrize("made", SPECS, ids=lambda spec: spec.name, indirect=True,
                             scope="module")


def pytest_collection_modifyitems(config, items):
    def applies(item):
        name = getattr(item, "originalname", item.name)
        if reader_name(config) == "reference" and (
                name in BEYOND_REFERENCE or item.get_closest_marker("tool_only")):
            return False
        if name in SUBJECTS and "made" in item.fixturenames:
            return SUBJECTS[name](item.callspec.params["made"])
        return True
    kept = [item for item in items if applies(item)]
    for item in kept:
        if "made" in item.fixturenames:
            # One process has all tests of an image, so that it is built once (--dist loadgroup).
            item.add_marker(pytest.mark.xdist_group(item.callspec.params["made"].name))
    dropped = [item for item in items if not applies(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_configure(config):
    config.addinivalue_line("markers", "tool_only: about the tool or library, not about the format")
    config.addinivalue_line("markers", "xdist_group(name): tests for one process of pytest-xdist")


@pytest.fixture(scope="session")
def reader(request):
    """Reads disks, snapshots, VM states and bitmaps; see readers.py."""
    return readers.Tool() if reader_name(request.config) == "tool" else readers.Reference()


@pytest.fixture(scope="session")
def tool():
    return readers.Tool()


@pytest.fixture(scope="session")
def builders(request):
    wanted = []
    for item in request.session.items:
        spec = item.callspec.params.get("made") if hasattr(item, "callspec") else None
        if spec and spec not in wanted:
            wanted.append(spec)
    kept = request.config.getoption("--keep-images", None)
    root = kept or tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    ahead = generate.Builders(os.path.abspath(root), wanted, ahead=not in_parallel())
    yield ahead
    ahead.stop()
    if not kept:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def made(request, builders):
    """The files of one spec, with what QEMU says about them."""
    finished = builders.get(request.param)
    yield finished
    if not request.config.getoption("--keep-images", None):
        shutil.rmtree(finished.directory)
