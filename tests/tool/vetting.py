# SPDX-License-Identifier: MIT
"""Vetting an image and reading the answer; images that several tests of qcow2 vet need."""

import functools
import json
import os
import struct
import subprocess
import sys
import tempfile
import pathlib

import toolrun
from chainrun import encrypted

sys.path.insert(0, str(toolrun.ROOT / 'tests' / 'images'))
import build  # noqa: E402
import streams  # noqa: E402, F401


def vet(path, *options):
    """(exit code, {rule: severity}, all of the JSON)"""
    result = toolrun.run('vet', '--output=json', *options, path)
    assert not result.stderr, result.stderr
    value = json.loads(result.stdout)
    assert (result.returncode == 0) == (value['verdict'] == 'yes') and result.returncode in (0, 1)
    found = {finding['rule']: finding['severity'] for finding in value['findings']}
    assert len(found) == len(value['findings'])
    return result.returncode, found, value


def rules():
    return {rule['rule']: rule for rule in toolrun.tool_json('vet', '--list-rules', '--output=json')}


def of_bytes(path, content):
    path.write_bytes(content)
    return path


@functools.lru_cache(maxsize=None)
def luks_bytes():
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'secret.qcow2'
        encrypted(path, '4M', 'write -P 1 0 1M')
        return path.read_bytes()


def luks(path):
    """An image with LUKS. QEMU takes seconds to make one, so it is made once."""
    return of_bytes(path, luks_bytes())
