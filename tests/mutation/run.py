#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""run.py - mutates good images and compares the library with QEMU on each.

    run.py [--variants 20000] [--seed 1] [--jobs 2] [--base NAME]... [--table FILE]
    run.py --base NAME --variant N [--keep DIRECTORY]     one variant again, with its files

Prints what came of it, difference by difference; with --table the counts go to a file, as Markdown. The exit
status is 1 if there was a difference without a reason."""

import argparse
import collections
import concurrent.futures
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, *(os.path.join(os.path.dirname(HERE), room) for room in ("chains", "reference"))]

import judge
from bases import BASES
from lab import Lab, Stuck
from mutate import mutation

DEFAULT_SEED = 1
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


def share(variants, name):
    """How many of the variants fall to a base: the first ones get one more."""
    each, rest = divmod(variants, len(BASES))
    return each + (list(BASES).index(name) < rest)


def try_one(lab, seed, number):
    """(outcome, reason) of one variant; outcome None: a difference, told by the reason."""
    made = mutation(lab.image, f"{seed} {lab.base.name} {number}")
    with lab.changed(made):
        try:
            return judge.verdict(lab)
        except (judge.Difference, Stuck) as difference:
            return None, f"--base {lab.base.name} --variant {number}: {made.words}: {difference}"


def campaign(name, numbers, seed=DEFAULT_SEED):
    """Counter of (outcome, reason), and the differences, over some variants of one base."""
    counts, differences = collections.Counter(), []
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        lab = Lab(BASES[name], directory)
        if judge.verdict(lab)[0] not in (judge.SAME, judge.OTHER_DISK):
            differences.append(f"{name}: the image differs before it is changed")
        for number in numbers:
            outcome, reason = try_one(lab, seed, number)
            if outcome is None:
                differences.append(reason)
            else:
                counts[outcome, reason] += 1
        lab.close()
    return counts, differences


def table(counts, variants, seed, names):
    total = sum(counts.values())
    lines = [f"{total} of {variants} variants of {len(names)} images (seed {seed}) agree with QEMU or "
             "differ for a stated reason.", "", "| outcome | reason | variants |", "|---|---|---:|"]
    for (outcome, reason), count in sorted(counts.items(), key=lambda item: -item[1]):
        lines.append(f"| {outcome} | {reason or '-'} | {count} |")
    return "\n".join(lines) + "\n"


def one_again(name, number, seed, keep):
    directory = keep or tempfile.mkdtemp(dir=MEMORY)
    os.makedirs(directory, exist_ok=True)
    lab = Lab(BASES[name], directory)
    made = mutation(lab.image, f"{seed} {name} {number}")
    print("\n".join(made.words))
    with lab.changed(made):
        if keep:
            shutil.copy(lab.path, lab.path + ".mutated")
        for who, ask in (("ours", lab.ours), ("QEMU", lab.qemu)):
            try:
                print(f"{who}: {ask()}")
            except Stuck as stuck:
                print(stuck)
    outcome, reason = try_one(lab, seed, number)
    print(outcome, reason)
    if not keep:
        shutil.rmtree(directory)
    return outcome is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--base", action="append", choices=sorted(BASES))
    parser.add_argument("--variant", type=int)
    parser.add_argument("--keep")
    parser.add_argument("--table")
    wishes = parser.parse_args()
    names = wishes.base or list(BASES)
    if wishes.variant is not None:
        return 0 if one_again(names[0], wishes.variant, wishes.seed, wishes.keep) else 1
    counts, differences, variants = collections.Counter(), [], 0
    with concurrent.futures.ProcessPoolExecutor(wishes.jobs) as pool:
        jobs = []
        for name in names:
            numbers = range(share(wishes.variants, name))
            variants += len(numbers)
            for start in range(0, len(numbers), 50):
                jobs.append(pool.submit(campaign, name, numbers[start:start + 50], wishes.seed))
        for job in concurrent.futures.as_completed(jobs):
            some, more = job.result()
            counts += some
            differences += more
            for line in more:
                print(line, flush=True)
    text = table(counts, variants, wishes.seed, names)
    print(text)
    if wishes.table:
        with open(wishes.table, "w", encoding="utf-8") as stream:
            stream.write(text)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
