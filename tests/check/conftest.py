# SPDX-License-Identifier: MIT
"""One healthy image of each recipe for the whole session, and a word if nothing has been built.
Tests that break images copy them."""

import os

import pytest

import comparing
import recipes


def pytest_sessionstart(session):
    missing = [p for p in (comparing.CHECK, comparing.EXPLAIN) if not os.access(p, os.X_OK)]
    if missing and not session.config.option.collectonly:
        pytest.exit(f'not built: {", ".join(missing)} (set QCOW2_BUILD)', returncode=2)


@pytest.fixture(scope='session')
def healthy(tmp_path_factory):
    """name -> path of a healthy image, made when it is first asked for."""
    directory = tmp_path_factory.mktemp('healthy')
    made = {}

    def get(name):
        if name not in made:
            path = directory / f'{name}.qcow2'
            recipes.RECIPES[name](path)
            made[name] = path
        return made[name]

    return get
