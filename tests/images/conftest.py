# SPDX-License-Identifier: MIT
"""What the image tests share: a place to write images, and a word if nothing has been built."""

import os

import pytest

import tools


def pytest_sessionstart(session):
    missing = [p for p in (tools.PROBE, tools.RANDOM_READS) if not os.access(p, os.X_OK)]
    if missing and not session.config.option.collectonly:
        pytest.exit(f'not built: {", ".join(missing)} (set QCOW2_BUILD)', returncode=2)


@pytest.fixture
def written(tmp_path):
    """Writes a build.Image and returns its path."""
    def write(image, name='image.qcow2'):
        return image.write(tmp_path / name)
    return write
