# SPDX-License-Identifier: MIT
"""conftest.py - the images of corpus.py, made once, and how the programs of this directory are run.

    QCOW2_FAULT_SECONDS     how long threads use all images together, with sources that work and then
                            again with sources that fail (default 30 seconds each)
    QCOW2_FAULT_STACK_KIB   the stack that test_bounded.py allows (default 64; sanitizers need 1024)"""

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [HERE, *(os.path.join(TESTS, name) for name in ("chains", "reference", "images"))]

import pytest

import corpus

BUILD = os.path.abspath(os.environ.get("QCOW2_BUILD", "build"))
PROGRAMS = os.path.join(BUILD, "tests", "faults")


def fixed_layout():
    """Sanitizers cannot place their shadow memory under every layout a kernel may pick."""
    words = ["setarch", "-R"]
    try:
        return words if subprocess.run([*words, "true"], check=False).returncode == 0 else []
    except OSError:
        return []


def pytest_sessionstart(session):
    if not os.access(os.path.join(PROGRAMS, "every_fault"), os.X_OK):
        if not session.config.option.collectonly:
            pytest.exit(f"not built: {PROGRAMS} (set QCOW2_BUILD)", returncode=2)


@pytest.fixture(scope="session")
def subjects():
    """What corpus.make() makes, in memory where there is room for that."""
    root = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    yield corpus.make(root)
    shutil.rmtree(root)


@pytest.fixture(params=corpus.NAMES)
def subject(request, subjects):
    return subjects[request.param]


@pytest.fixture(scope="session")
def run():
    """Runs a program and returns what it printed; fails the test with what it said, if it failed."""
    prefix = fixed_layout()

    def run_program(name, *arguments):
        done = subprocess.run([*prefix, os.path.join(PROGRAMS, name), *map(str, arguments)],
                              text=True, capture_output=True, check=False)
        if done.returncode:
            pytest.fail(f"{name} {' '.join(map(str, arguments))}: status {done.returncode}\n"
                        f"{done.stderr[-6000:]}", pytrace=False)
        return done.stdout
    return run_program
