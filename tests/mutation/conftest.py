# SPDX-License-Identifier: MIT
"""The rooms that the mutation tests borrow from, and a word if nothing has been built."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOMS = [os.path.join(os.path.dirname(HERE), room) for room in ("chains", "reference")]
sys.path[:0] = [HERE, *ROOMS]

import lab


def pytest_sessionstart(session):
    if not os.access(lab.SALVAGE, os.X_OK) and not session.config.option.collectonly:
        pytest.exit(f"not built: {lab.SALVAGE} (set QCOW2_BUILD)", returncode=2)
