# SPDX-License-Identifier: MIT
"""A file system that shares blocks between files, for as long as one row needs it.

XFS in a loop file: it takes root, mkfs.xfs and a free loop device, and where
one of them is missing the row that asks for it is skipped.
"""

import contextlib
import os
import sys
import tempfile

import inputs as inputs_module


def _mount(inputs, volume, mount):
    with open(volume, 'wb') as file:
        file.truncate(int(3.5 * inputs.data_bytes) + (1 << 30))
    inputs_module.call(inputs_module.tool('mkfs.xfs'), '-q', volume)
    os.mkdir(mount)
    inputs_module.call('mount', '-o', 'loop', volume, mount)


@contextlib.contextmanager
def mounted(inputs):
    """The mount point, with the raw disk and the plain image copied to it; or None."""
    if os.geteuid() != 0:
        yield None
        return
    with tempfile.TemporaryDirectory(dir=inputs.root) as directory:
        mount = os.path.join(directory, 'mount')
        try:
            _mount(inputs, os.path.join(directory, 'volume'), mount)
        except RuntimeError as problem:
            print(f'no reflink file system: {problem}', file=sys.stderr)
            yield None
            return
        try:
            for name in ('disk.raw', 'plain.qcow2'):
                inputs_module.call('cp', '--sparse=always', inputs.path(name), mount)
            yield mount
        finally:
            inputs_module.call('umount', mount)
