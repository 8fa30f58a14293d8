# SPDX-License-Identifier: MIT
"""readers.py - the two that can answer: the tool that is under test, and the reference reader.

Both refuse with Refused; the tool's code is the word "tool", for it prints a sentence, no code."""

import json
import os
import subprocess

import reader as reference
from refused import Refused

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("QCOW2_BUILD", os.path.join(ROOT, "build")))
TOOL = os.path.abspath(os.environ.get("QCOW2_TOOL", os.path.join(BUILD, "qcow2")))
TIMEOUT_SECONDS = 60


class Tool:
    """The qcow2 tool. Runs where the image is, so that it sees the names that QEMU saw."""

    def run(self, command, made, *options, expect=(0,)):
        """(exit status, standard output); a refusal is one line on standard error, and status 1."""
        key = ["--key-file", made.key_file] if made.key_file and command != "info" else []
        done = subprocess.run([TOOL, command, *options, *key, os.path.basename(made.path)],
                              cwd=made.directory, capture_output=True, stdin=subprocess.DEVNULL,
                              timeout=TIMEOUT_SECONDS, check=False)
        said = done.stderr.decode(errors="replace").strip()
        assert done.returncode in {1, *expect}, f"status {done.returncode}: {said}"
        if done.returncode == 1 and 1 not in expect:
            assert len(said.splitlines()) == 1, f"one line for an error, not: {said}"
            raise Refused("tool", said)
        return done.returncode, done.stdout

    def json(self, command, made, *options):
        return json.loads(self.run(command, made, "--output=json", *options)[1])

    def digest(self, made, snapshot=None):
        options = ["--snapshot", snapshot] if snapshot is not None else []
        return self.run("digest", made, *options)[1].split()[0].decode()

    def vm_state(self, made, snapshot):
        return self.run("cat", made, "--vm-state", "--snapshot", snapshot)[1]

    def bitmap(self, made, name):
        """The dirty ranges: extents that are not marked otherwise, joined where they touch."""
        ranges = []
        for extent in self.json("map", made, "--bitmap", name):
            if not extent.get("dirty", True):
                continue
            if ranges and sum(ranges[-1]) == extent["start"]:
                ranges[-1][1] += extent["length"]
            else:
                ranges.append([extent["start"], extent["length"]])
        return ranges


class Reference:
    """The reference reader, in this process."""

    def open(self, made):
        key = None
        if made.key_file:
            with open(os.path.join(made.directory, made.key_file), "rb") as stream:
                key = stream.read()
        return reference.open_image(made.path, key)

    def digest(self, made, snapshot=None):
        image = self.open(made)
        return (image.disk if snapshot is None else image.open_snapshot(snapshot)).digest()

    def vm_state(self, made, snapshot):
        state = self.open(made).open_snapshot(snapshot, vm_state=True)
        return state.read(0, state.size)

    def bitmap(self, made, name):
        found, = [bitmap for bitmap in self.open(made).bitmaps if bitmap["name"] == name]
        return found["ranges"]
