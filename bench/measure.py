# SPDX-License-Identifier: MIT
"""Runs commands and says what they cost, in rounds of peer, ours, peer, ours.

Machines are shared and their speed drifts, so two programs are only compared
within the same round: each peer's run is followed at once by one of ours, the
ratio is taken of such a pair, and what is reported is the median of the
ratios with the smallest and the largest. Knows nothing of qcow2.
"""

import json
import os
import statistics
import subprocess
import tempfile


class CommandFailed(Exception):
    """A command that did not end well. `refused`: it ended by itself with exit code 1 and said why."""

    def __init__(self, argv, status, complaint):
        self.refused = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 1 and complaint != ''
        self.argv = argv
        self.complaint = complaint
        how = f'exit {os.WEXITSTATUS(status)}' if os.WIFEXITED(status) \
            else f'signal {os.WTERMSIG(status)}'
        super().__init__(f'{" ".join(argv)}: {how}: {complaint or "(silent)"}')


class Contender:
    """One way to do the work of a row.

    name     as printed; `family` groups the settings of one program ('qemu-img', 'ours', ...)
    argv     what to run; count: how many times in a row make up one sample
    before   called before each sample, not measured
    check    called once with the standard output of an unmeasured first run; raises if wrong.
             Otherwise standard output goes to /dev/null: a pipe would slow its writer down
    reads    the command times itself and prints JSON (reads_main.c, pure_decode.c)
    worth    how many of the row's operations one of the command's is
    """

    def __init__(self, name, family, argv, *, count=1, before=None, check=None, reads=False,
                 worth=1):
        self.name = name
        self.family = family
        self.argv = [str(arg) for arg in argv]
        self.count = count
        self.before = before
        self.check = check
        self.reads = reads
        self.worth = worth


class Runner:
    """Runs contenders under the stopwatch program."""

    def __init__(self, stopwatch):
        self.stopwatch = stopwatch

    def run(self, contender, keep_output=False):
        """One sample: a dict of wall and cpu seconds and peak MiB of one run (means over count),
        for `reads` also operations a second; and the standard output if it was to be kept."""
        if contender.before is not None:
            contender.before()
        keep_output = keep_output or contender.reads
        with tempfile.NamedTemporaryFile('r', suffix='.stopwatch') as lines:
            done = subprocess.run([self.stopwatch, str(contender.count), lines.name,
                                   *contender.argv],
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE if keep_output else subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, check=False)
            costs = [[int(field) for field in line.split()] for line in lines]
        complaint = done.stderr.decode(errors='replace').strip().split('\n')[-1]
        for cost in costs:
            if cost[4] != 0:
                raise CommandFailed(contender.argv, cost[4], complaint)
        if done.returncode != 0 or len(costs) != contender.count:
            raise CommandFailed(contender.argv, done.returncode << 8, complaint or 'it could not be run')
        sample = {
            'wall': sum(cost[0] for cost in costs) / len(costs) / 1e9,
            'cpu': sum(cost[1] + cost[2] for cost in costs) / len(costs) / 1e6,
            'memory': max(cost[3] for cost in costs) / 1024,
        }
        if contender.reads:
            told = json.loads(done.stdout)
            if told['ops'] <= 0:
                raise CommandFailed(contender.argv, 0, 'not one read was finished in time')
            sample['wall'] = told['seconds']
            sample['ops'] = told['ops'] * contender.worth
            sample['checksum'] = told.get('checksum')
        return sample, done.stdout


class Pairs:
    """The samples of one peer and of ours, taken in turn."""

    def __init__(self, contender):
        self.contender = contender
        self.theirs = []
        self.ours = []


def compare(runner, ours, peers, rounds):
    """Measures every peer against ours and returns one Pairs for each. `ours` may be None."""
    if ours is not None:
        _, output = runner.run(ours, keep_output=ours.check is not None)
        if ours.check is not None:
            ours.check(output)
    table = [Pairs(peer) for peer in peers]
    if not table:
        alone = Pairs(ours)
        alone.ours = [runner.run(ours)[0] for _ in range(rounds)]
        return [alone]
    for _ in range(rounds):
        for pairs in table:
            pairs.theirs.append(runner.run(pairs.contender)[0])
            if ours is not None:
                pairs.ours.append(runner.run(ours)[0])
    return table


def spread(values):
    """Median, smallest, largest."""
    return {'median': statistics.median(values), 'min': min(values), 'max': max(values)}


def checksums_agree(table):
    """Whether all readers of a row saw the same bytes."""
    seen = {sample['checksum'] for pairs in table for sample in pairs.theirs + pairs.ours
            if sample.get('checksum') is not None}
    return len(seen) <= 1
