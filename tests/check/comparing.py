# SPDX-License-Identifier: MIT
"""The check of the library beside that of qemu-img, as objects.

Ours is tests/check/check, from the build directory named by QCOW2_BUILD (default: build at the root
of the project), or the program named by QCOW2_CHECK.
"""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('QCOW2_BUILD', ROOT / 'build')).absolute()
CHECK = os.environ.get('QCOW2_CHECK', str(BUILD / 'tests/check/check'))
EXPLAIN = os.environ.get('QCOW2_EXPLAIN', str(BUILD / 'tests/check/explain'))

# The keys of qemu-img's answer that are counts. It leaves out those that are 0.
COUNTS = ('check-errors', 'corruptions', 'leaks', 'image-end-offset', 'total-clusters',
          'allocated-clusters', 'fragmented-clusters', 'compressed-clusters')

TIMEOUT_SECONDS = 120


def run(*command, check=True):
    """Runs a program; returns the finished process with text output."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors='replace',
                          timeout=TIMEOUT_SECONDS)
    assert not check or done.returncode == 0, f'{command}: {done.stdout}{done.stderr}'
    return done


class Answer:
    """counts: by qemu-img's names, None if the check did not come to its end; status: of the
    process; text: what it said about that; findings: ours only, [kind, host offset, sentence]."""

    def __init__(self, counts, status, text, findings=None):
        self.counts, self.status, self.text, self.findings = counts, status, text, findings

    def __repr__(self):
        return f'{self.counts} status {self.status} {self.text} {self.findings}'


def qemu(image, *options):
    """qemu-img's answer; None if it crashed, which some images make it do."""
    done = run('qemu-img', 'check', '--output=json', *options, image, check=False)
    if done.returncode < 0:
        return None
    counts = None
    if done.stdout.startswith('{'):
        raw = json.loads(done.stdout)
        counts = {key: raw.get(key, 0) for key in COUNTS}
    return Answer(counts, done.returncode, done.stderr)


def ours(image, *options):
    """The library's answer. A crash, or anything on standard error, fails the test."""
    done = run(CHECK, '--findings', *options, image, check=False)
    assert done.returncode in (0, 1, 2, 3, 63), f'{image}: {done.returncode} {done.stderr}'
    assert not done.stderr, f'the library printed: {done.stderr}'
    raw = json.loads(done.stdout)
    findings = raw.get('findings', [])
    for kind, _, message in findings:
        assert kind in (0, 1, 2)
        assert 0 < len(message) < 256 and all(0x20 <= ord(c) < 0x7F for c in message)
    if 'error' in raw:
        assert raw['message']
        return Answer(None, done.returncode, f'{raw["error"]}: {raw["message"]}', findings)
    counts = {key: raw[key] for key in COUNTS}
    for kind, key in enumerate(('corruptions', 'leaks', 'check-errors')):
        told = sum(1 for finding in findings if finding[0] == kind)
        assert (told > 0) == (counts[key] > 0) and told <= counts[key], f'{key}: {raw}'
    return Answer(counts, done.returncode, '', findings)


def assert_interruptible(image):
    """Wherever the check is stopped, cannot read or has too little memory, it ends with that."""
    done = run(CHECK, '--interrupted', image, check=False)
    assert done.returncode == 0, f'{image}: {done.returncode} {done.stdout}{done.stderr}'


def assert_same(image, qemu_options=(), our_options=()):
    """Ours counts as qemu-img does and ends with its status. Returns our answer."""
    theirs, mine = qemu(image, *qemu_options), ours(image, *our_options)
    assert theirs is not None and theirs.counts is not None, f'{image}: qemu-img: {theirs}'
    assert mine.counts == theirs.counts, f'{image}: qemu-img said {theirs.text}, we {mine}'
    assert mine.status == theirs.status
    return mine
