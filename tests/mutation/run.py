#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""run.py - mutates good images and compares the library with QEMU on each.

    run.py [--variants 20000] [--seed 1] [--jobs 2] [--base NAME]... [--table FILE]
    run.py --base NAME --variant N [--seed 1] [--keep DIRECTORY]     one again, with its files

Prints the differences that have no reason, and counts the rest; --table puts the counts into a file.
The exit status is 1 if there was such a difference. QCOW2_BUILD names the build, as in the tests."""

import argparse
import collections
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOMS = [os.path.join(os.path.dirname(HERE), room) for room in ("chains", "reference")]
sys.path[:0] = [HERE, *ROOMS]

import judge
from bases import BASES
from lab import Lab, Stuck, TooLarge
from mutate import mutation

DEFAULT_SEED = 1
SAME_ANSWERS = (judge.SAME, judge.SAME_ERRORS, judge.BOTH_REFUSE)
OTHER_ANSWERS = (judge.OTHER_DISK, judge.WE_FAIL, judge.WE_REFUSE, judge.THEY_REFUSE)
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


def report(counts, variants, seed, names):
    """The counts as Markdown."""
    qemu = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=True)
    lines = [
        "# Mutated images and what came of them", "",
        f"{variants} variants of {len(names)} good images; {qemu.stdout.splitlines()[0]}.",
        f"Written by `tests/mutation/run.py --variants {variants} --seed {seed} --table FILE`.", "",
        "| | variants |", "|---|---:|",
        f"| the same answer as QEMU | {total(counts, SAME_ANSWERS)} |",
        f"| another answer, for a reason | {total(counts, OTHER_ANSWERS)} |",
        f"| another answer without a reason | {variants - total(counts)} |",
        f"| not compared | {total(counts, (judge.UNKNOWN,))} |", "",
        "In detail; the reasons are those of [docs/errata.md](../../docs/errata.md):", "",
        "| outcome | reason | variants |", "|---|---|---:|"]
    for (outcome, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        lines.append(f"| {outcome} | {reason or '-'} | {count} |")
    return "\n".join(lines) + "\n"


def total(counts, outcomes=SAME_ANSWERS + OTHER_ANSWERS + (judge.UNKNOWN,)):
    return sum(count for (outcome, _), count in counts.items() if outcome in outcomes)


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
            except (Stuck, TooLarge) as no_answer:
                print(f"{who}: {no_answer!r}")
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
    text = report(counts, variants, wishes.seed, names)
    print(text)
    if wishes.table:
        with open(wishes.table, "w", encoding="utf-8") as stream:
            stream.write(text)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
