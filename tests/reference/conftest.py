# SPDX-License-Identifier: MIT
"""conftest.py - the reference reader on the path, and a directory of its own for each test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory that is also the current one: QEMU looks for data files there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
