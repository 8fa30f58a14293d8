# SPDX-License-Identifier: MIT
"""The rows of the table: what is measured, against whom, and what is aimed at.

A row names its inputs, makes its contenders and carries its goals. A goal
compares ours with the best setting of one family of peers, or bounds a value
of ours alone. Where the project set itself a lower mark first, that is kept
as `first`, so that the table shows both.
"""

import dataclasses
import os
import subprocess
from typing import Callable, Optional

KIB4 = 4096
CLUSTER = 65536  # of all images but one
MIB = 1 << 20

# The default budget of the cluster cache is 16 MiB; a working set of half of it stays inside.
WORKING_SET = 8 * MIB


@dataclasses.dataclass
class Goal:
    """metric 'wall', 'cpu', 'ops' or 'memory'. kind 'times': ours is at least `bound` times as
    fast as the family's best; 'share': ours takes at most `bound` of the family's least; 'under':
    ours stays below `bound` MiB."""
    metric: str
    kind: str
    bound: float
    family: Optional[str] = None
    first: Optional[float] = None


@dataclasses.dataclass
class Row:
    """One kind of work. `contenders(bench)` returns ours and the list of peers."""
    name: str
    title: str
    metric: str  # what the chart and the main ratio show: 'wall' or 'ops'
    inputs: list
    contenders: Callable
    goals: list
    rounds: int = 1  # multiple of --repeat: short runs need more of them


@dataclasses.dataclass
class Bench:
    """What the contenders of a row may need to know."""
    inputs: object
    peers: object
    quick: bool
    cores: int
    mount: Optional[str] = None  # a reflink file system, if one could be made


def _settings(bench, plain_to_file=False):
    """qemu-img's settings worth running: the quick run leaves out those that never win."""
    settings = ['qemu-img -m 16 -W']
    if plain_to_file:
        settings.append('qemu-img -C')
    if not bench.quick:
        settings.insert(0, 'qemu-img')
    return settings


def _same_as_raw(bench):
    """A conversion that is fast and wrong must not enter the table."""
    def check(_output):
        raw = bench.inputs.path('disk.raw')
        if subprocess.run(['cmp', raw, bench.peers.target], check=False).returncode != 0:
            raise AssertionError(f'{bench.peers.target} differs from {raw}')
    return check


def _convert(image, *, nowhere, limit=None, stream=False):
    """Contenders of a conversion. limit: 'decoder' or 'cat'; stream: libqcow can read it."""
    def contenders(bench):
        path = bench.inputs.chain_top() if image == 'chain' else bench.inputs.path(image)
        plain_to_file = image == 'plain.qcow2' and not nowhere
        luks = image == 'luks.qcow2'
        extra = ['--key-file', bench.inputs.path('passphrase')] if luks else []
        ours = bench.peers.ours_convert(path, nowhere, extra,
                                        None if nowhere else _same_as_raw(bench))
        peers = bench.peers.qemu_img(path, nowhere, _settings(bench, plain_to_file), luks)
        if not bench.quick and not luks:
            peers += bench.peers.nbdcopy(path, nowhere)
            if stream and nowhere:
                peers += bench.peers.libqcow_stream(path)
        if plain_to_file:
            peers += bench.peers.copy_raw()
        if limit == 'decoder':
            peers += bench.peers.decoders(path, bench.cores)
        if limit == 'cat':
            peers += bench.peers.read_files(bench.inputs.files([image]))
        return ours, peers
    return contenders


def _reflink(bench):
    """On a file system that shares blocks: ours against a copy that does not share."""
    if bench.mount is None:
        raise LookupError('needs root, mkfs.xfs and a loop device')
    image = os.path.join(bench.mount, 'plain.qcow2')
    raw = os.path.join(bench.mount, 'disk.raw')
    target = os.path.join(bench.mount, 'output.raw')

    def remove():
        if os.path.exists(target):
            os.remove(target)
        os.sync()

    def check(_output):
        if subprocess.run(['cmp', raw, target], check=False).returncode != 0:
            raise AssertionError(f'{target} differs from {raw}')

    ours = bench.peers.ours_convert(image, False, check=check)
    ours.argv[-1] = target
    ours.before = remove
    copy = bench.peers.copy_raw()[0]
    copy.name = 'cp --reflink=never of the raw file'
    copy.argv = ['cp', '--reflink=never', raw, target]
    copy.before = remove
    return ours, [copy]


def _digest(bench):
    expected = bench.inputs.facts['sha256']

    def check(output):
        if output.decode().split()[:1] != [expected]:
            raise AssertionError(f'digest {output!r} instead of {expected}')

    image = bench.inputs.path('deflate.qcow2')
    return (bench.peers.ours_digest(image, check),
            bench.peers.qemu_digest(image) + bench.peers.raw_digest())


def _reads(image, ranges, *, threads=1, options=(), limit=None, libqcow=True):
    """Contenders of small reads at the same places of one disk. limit: for so many reads at least
    one cluster has to be decoded."""
    def contenders(bench):
        path = bench.inputs.path(image)
        common = ['--threads', threads, '--ms', 150 if bench.quick else 300, *options]
        common += ['--ranges', bench.inputs.path(ranges)]
        peers = bench.peers.raw_reads(common)
        # These two have no cache of clusters to warm, and are so slow that warming takes seconds and
        # the state of the page cache does not show.
        cold = [option for option in common if option not in ('--warm', '--settle')]
        if libqcow:
            peers += bench.peers.libqcow_reads(path, cold)
        peers += bench.peers.nbd_reads(path, cold)
        if limit is not None:
            peers += bench.peers.decoders(path, threads, 2000 if bench.quick else 4000, limit)
        return bench.peers.ours_reads(path, common), peers
    return contenders


def _many_threads(bench):
    """Ours with 64 threads against ours with as many threads as cores, all reads hits."""
    path = bench.inputs.path('deflate.qcow2')
    options = ['--ms', 300, '--warm', '--span', WORKING_SET,
               '--ranges', bench.inputs.path('compressed.ranges')]
    few = bench.peers.ours_reads(path, ['--threads', bench.cores, *options],
                                 f'qcow2, {bench.cores} threads')
    few.family = 'few'
    many = bench.peers.ours_reads(path, ['--threads', 64, *options], 'qcow2, 64 threads')
    return many, [few]


def _look(command, image, count, *, ours=None, ours_options=('--output=json',)):
    def contenders(bench):
        path = bench.inputs.path(image)
        times = max(1, count // (4 if bench.quick else 1))
        return (bench.peers.ours_look(ours or command, path, times, *ours_options),
                bench.peers.qemu_look(command, path, times))
    return contenders


def _conversion_goals(times, *, share, first_share=None, first=None, memory=32, limit=None):
    goals = [Goal('wall', 'times', times, 'qemu-img', first),
             Goal('cpu', 'share', share, 'qemu-img', first_share),
             Goal('memory', 'under', memory)]
    if limit is not None:
        goals.append(Goal('wall', 'share', limit, 'limit'))
    return goals


ROWS = [
    Row('deflate-null', 'deflate image to nowhere', 'wall', ['deflate.qcow2'],
        _convert('deflate.qcow2', nowhere=True, limit='decoder', stream=True),
        _conversion_goals(4, first=2.5, share=0.4, first_share=0.45, limit=1.25)),
    Row('deflate-raw', 'deflate image to a raw file', 'wall', ['deflate.qcow2'],
        _convert('deflate.qcow2', nowhere=False),
        _conversion_goals(2.5, share=0.4, first_share=0.45)),
    Row('zstd-null', 'zstd image to nowhere', 'wall', ['zstd.qcow2'],
        _convert('zstd.qcow2', nowhere=True, limit='decoder'),
        _conversion_goals(3.3, first=2, share=0.4, first_share=0.5)),
    Row('zstd-raw', 'zstd image to a raw file', 'wall', ['zstd.qcow2'],
        _convert('zstd.qcow2', nowhere=False),
        _conversion_goals(2.2, first=2, share=0.4, first_share=0.5)),
    Row('deflate2m-null', 'deflate, 2 MiB clusters, to nowhere', 'wall', ['deflate-2m.qcow2'],
        _convert('deflate-2m.qcow2', nowhere=True, limit='decoder', stream=True),
        _conversion_goals(4, share=0.4, memory=48, limit=1.25)),
    Row('plain-raw', 'uncompressed image to a raw file', 'wall', ['plain.qcow2'],
        _convert('plain.qcow2', nowhere=False),
        _conversion_goals(1.5, first=1, share=0.5) + [Goal('wall', 'times', 1, 'cp')]),
    Row('plain-null', 'uncompressed image to nowhere', 'wall', ['plain.qcow2'],
        _convert('plain.qcow2', nowhere=True, limit='cat', stream=True),
        [Goal('memory', 'under', 32)]),
    Row('reflink', 'uncompressed image to a raw file, reflinks', 'wall', ['plain.qcow2'],
        _reflink, [Goal('wall', 'times', 30, 'cp')]),
    Row('fragmented-null', 'fragmented image to nowhere', 'wall', ['fragmented.qcow2'],
        _convert('fragmented.qcow2', nowhere=True, limit='cat', stream=True),
        [Goal('wall', 'times', 4, 'qemu-img'), Goal('memory', 'under', 32)]),
    Row('extended-l2-null', 'extended L2 image to nowhere', 'wall', ['extended-l2.qcow2'],
        _convert('extended-l2.qcow2', nowhere=True, limit='cat'),
        [Goal('wall', 'times', 2, 'qemu-img'), Goal('memory', 'under', 32)]),
    Row('chain-null', 'chain of 4 images to nowhere', 'wall', ['chain'],
        _convert('chain', nowhere=True, limit='cat'),
        [Goal('wall', 'times', 4, 'qemu-img'), Goal('memory', 'under', 32)]),
    Row('luks-null', 'LUKS image to nowhere', 'wall', ['luks.qcow2', 'passphrase'],
        _convert('luks.qcow2', nowhere=True),
        [Goal('wall', 'times', 5, 'qemu-img'), Goal('memory', 'under', 32)]),
    Row('digest', 'SHA-256 of the disk in a deflate image', 'wall', ['deflate.qcow2'],
        _digest, [Goal('wall', 'times', 1.5, 'qemu-img'), Goal('memory', 'under', 32)]),
    Row('random-plain-1', 'random 4 KiB, uncompressed, 1 thread', 'ops',
        ['plain.qcow2', 'data.ranges'],
        _reads('plain.qcow2', 'data.ranges', options=['--settle']),
        [Goal('ops', 'times', 0.95, 'pread', 0.85), Goal('memory', 'under', 32)], rounds=5),
    Row('random-plain-2', 'random 4 KiB, uncompressed, 2 threads', 'ops',
        ['plain.qcow2', 'data.ranges'],
        _reads('plain.qcow2', 'data.ranges', threads=2, options=['--settle']),
        [Goal('ops', 'times', 0.95, 'pread', 0.85), Goal('memory', 'under', 32)], rounds=5),
    Row('random-deflate', 'random 4 KiB, deflate, uniform', 'ops',
        ['deflate.qcow2', 'compressed.ranges'],
        _reads('deflate.qcow2', 'compressed.ranges', limit=1),
        [Goal('ops', 'times', 4, 'libqcow'), Goal('ops', 'times', 4, 'qemu-nbd'),
         Goal('ops', 'times', 1 / 1.2, 'limit'), Goal('memory', 'under', 32)], rounds=2),
    Row('random-zstd', 'random 4 KiB, zstd, uniform', 'ops',
        ['zstd.qcow2', 'compressed.ranges'],
        _reads('zstd.qcow2', 'compressed.ranges', limit=1, libqcow=False),
        [Goal('memory', 'under', 32)], rounds=2),
    Row('cached-deflate', 'random 4 KiB, deflate, working set in the cache', 'ops',
        ['deflate.qcow2', 'compressed.ranges'],
        _reads('deflate.qcow2', 'compressed.ranges',
               options=['--warm', '--span', WORKING_SET]),
        [Goal('ops', 'times', 0.6, 'pread')], rounds=3),
    Row('cached-sequential', 'sequential 4 KiB, deflate, working set in the cache', 'ops',
        ['deflate.qcow2', 'compressed.ranges'],
        _reads('deflate.qcow2', 'compressed.ranges',
               options=['--sequential', '--warm', '--span', WORKING_SET]),
        [Goal('ops', 'times', 0.6, 'pread')], rounds=3),
    Row('sequential-deflate', 'sequential 4 KiB, deflate, whole disk', 'ops',
        ['deflate.qcow2', 'compressed.ranges'],
        _reads('deflate.qcow2', 'compressed.ranges', options=['--sequential', '--settle'],
               limit=CLUSTER // KIB4),
        [Goal('ops', 'times', 0.6, 'pread'), Goal('ops', 'times', 0.8, 'limit')], rounds=3),
    Row('many-threads', '64 threads on one image, all hits', 'ops',
        ['deflate.qcow2', 'compressed.ranges'],
        _many_threads, [Goal('ops', 'times', 0.9, 'few')], rounds=2),
    Row('info', 'info, whole process', 'wall', ['plain.qcow2'],
        _look('info', 'plain.qcow2', 50), [Goal('wall', 'share', 0.4, 'qemu-img')], rounds=2),
    Row('map', 'map of a fragmented image, whole process', 'wall', ['fragmented.qcow2'],
        _look('map', 'fragmented.qcow2', 10), [Goal('wall', 'share', 0.2, 'qemu-img')],
        rounds=2),
    # Ours opens the image for reading and reads from it, which is more than the peer is asked.
    Row('open-large-l1', 'open with a 32 MiB L1 table, whole process', 'wall',
        ['large-l1.qcow2'],
        _look('info', 'large-l1.qcow2', 20, ours='cat', ours_options=['-l', '512']),
        [Goal('wall', 'share', 0.4, 'qemu-img')], rounds=2),
]
