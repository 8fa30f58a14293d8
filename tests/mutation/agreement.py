#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""agreement.py - edits sound images and requires that QEMU accepts what `qcow2 vet` lets in.

    agreement.py [--variants 20000] [--seed 1] [--jobs 2] [--base NAME]...
    agreement.py --base NAME --variant N [--seed 1] [--keep FILE]     one again; keeps the edited image

For an image with the verdict "yes", `qemu-img info` must open it, `qemu-img check` must find it free of
errors (leaks only if vet noted them, by the rule leaks), and `qemu-img compare` must read from it the bytes
that `qcow2 convert` writes. Vet decompresses nothing: a compressed cluster that does not decode is counted
and is no disagreement. An image with "no" needs no agreement: vet denies more than what is broken.
QCOW2_BUILD names the build, as in the tests. The exit status is 1 if there was a disagreement."""

import argparse
import collections
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOMS = [os.path.join(os.path.dirname(HERE), room) for room in ("chains", "reference")]
sys.path[:0] = [HERE, *ROOMS]

from bases import BASES, MIB, base
from edits import edit
from lab import BUILD, Lab

TOOL = str(BUILD / "qcow2")
DEFAULT_SEED = 1
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
LARGEST_DISK = 64 << 20  # whose bytes are compared
TIMEOUT_SECONDS = 120
# Rules deny what these have by themselves: other files, keys, version 1.
OTHER_KINDS = ("backing", "middle", "data-file", "luks", "aes", "v1")
NOT_DECODED = ("does not decode to one cluster", "is cut short by the end of the file")
UNDECODED = "a compressed cluster does not decode"
NO_LEAKS, LEAKS = 0, 3  # exit statuses of qemu-img check


@base("bitmaps-of-equal-length-64k")
def _(box):
    box.create(MIB, cluster_size=65536)
    for name in ("one", "two", "six"):
        box.run("qemu-img", "bitmap", "--add", "-g", "64k", "disk.qcow2", name)
    box.fill(MIB, 65536)


NAMES = [name for name in BASES if not any(kind in name for kind in OTHER_KINDS)
         and BASES[name].snapshot is None]


def run(*words):
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=TIMEOUT_SECONDS, check=False)


def vet(path):
    """(verdict, rules found, size of the disk or None)"""
    done = run(TOOL, "vet", "--output=json", path)
    if done.returncode not in (0, 1) or done.stderr:
        raise RuntimeError(f"vet ended with status {done.returncode}: {done.stderr}")
    value = json.loads(done.stdout)
    return (value["verdict"], {finding["rule"] for finding in value["findings"]},
            value["bounds"]["virtual-size"])


def disagreement(path, found, size):
    """What QEMU, or this project itself, has against an image with the verdict "yes"; None: nothing."""
    done = run("qemu-img", "info", "-f", "qcow2", path)
    if done.returncode:
        return f"qemu-img info: {done.stderr.strip()}"
    done = run("qemu-img", "check", "-f", "qcow2", path)
    if done.returncode not in ((NO_LEAKS, LEAKS) if "leaks" in found else (NO_LEAKS,)):
        return f"qemu-img check, status {done.returncode}: {(done.stderr + done.stdout).strip()[:500]}"
    if size > LARGEST_DISK:
        return None
    raw = path + ".raw"
    try:
        done = run(TOOL, "convert", path, raw)
        if done.returncode and any(words in done.stderr for words in NOT_DECODED):
            return UNDECODED
        if done.returncode:
            return f"qcow2 convert: {done.stderr.strip()}"
        done = run("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", path, raw)
        return f"qemu-img compare: {(done.stderr + done.stdout).strip()}" if done.returncode else None
    finally:
        if os.path.exists(raw):
            os.unlink(raw)


def try_one(lab, seed, number):
    """("yes", "no", UNDECODED or None, words): None is a disagreement."""
    made = edit(lab.image, f"{seed} {lab.base.name} {number}")
    with lab.changed(made):
        verdict, found, size = vet(lab.path)
        words = disagreement(lab.path, found, size) if verdict == "yes" else None
    if words in (None, UNDECODED):
        return words or verdict, ""
    return None, f"--base {lab.base.name} --variant {number}: {made.words}: {words}"


def campaign(name, numbers, seed=DEFAULT_SEED):
    """Counter of verdicts, and the disagreements, over some variants of one base."""
    verdicts, words = collections.Counter(), []
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        lab = Lab(BASES[name], directory)
        verdict, found, size = vet(lab.path)
        trouble = disagreement(lab.path, found, size)
        if verdict != "yes" or trouble:
            words.append(f"{name}: the image is not accepted before it is edited: {found} {trouble}")
        for number in numbers:
            verdict, more = try_one(lab, seed, number)
            verdicts[verdict] += 1
            if verdict is None:
                words.append(more)
        lab.close()
    return verdicts, words


def share(variants, names, name):
    """How many of the variants fall to a base: the first ones get one more."""
    each, rest = divmod(variants, len(names))
    return each + (names.index(name) < rest)


def one_again(name, number, seed, keep):
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        lab = Lab(BASES[name], directory)
        made = edit(lab.image, f"{seed} {name} {number}")
        print("\n".join(made.words))
        with lab.changed(made):
            if keep:
                shutil.copy(lab.path, keep)
            print(run(TOOL, "vet", lab.path).stdout)
        verdict, words = try_one(lab, seed, number)
        print(verdict, words)
        lab.close()
    return verdict is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--base", action="append", choices=sorted(NAMES))
    parser.add_argument("--variant", type=int)
    parser.add_argument("--keep")
    wishes = parser.parse_args()
    names = wishes.base or NAMES
    if wishes.variant is not None:
        return 0 if one_again(names[0], wishes.variant, wishes.seed, wishes.keep) else 1
    verdicts, disagreements = collections.Counter(), 0
    with concurrent.futures.ProcessPoolExecutor(wishes.jobs) as pool:
        jobs = []
        for name in names:
            numbers = range(share(wishes.variants, names, name))
            for start in range(0, len(numbers), 100):
                jobs.append(pool.submit(campaign, name, numbers[start:start + 100], wishes.seed))
        for job in concurrent.futures.as_completed(jobs):
            some, words = job.result()
            verdicts += some
            disagreements += len(words)
            for line in words:
                print(line, flush=True)
    print(f"{sum(verdicts.values())} edited images: {verdicts['yes']} let in and accepted by QEMU "
          f"({verdicts[UNDECODED]} more but for a compressed cluster), {verdicts['no']} denied, "
          f"{disagreements} disagreements")
    return 1 if disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
