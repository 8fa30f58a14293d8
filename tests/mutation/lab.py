# SPDX-License-Identifier: MIT
"""lab.py - one image under mutation, and what the library and QEMU say about it.

A Lab keeps the files of a base in a directory of its own, changes the mutated one in place and puts
it back. Names that a mutation makes up lead nowhere but into that directory. Both sides have limits
of time, ours one of memory too."""

import contextlib
import dataclasses
import os
import pathlib
import re
import struct
import subprocess

from bases import DISK
from fields import BITMAPS, LUKS, extensions, header_number
from mutate import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("QCOW2_BUILD", ROOT / "build")).absolute()
SALVAGE = str(BUILD / "tests/mutation/salvage")

SECTOR = 512
# So much of a disk is compared: all of a base. A mutated size may be anything.
LIMIT_BYTES = 6 << 20
MEMORY_BYTES = 256 << 20
TIMEOUT_SECONDS = 60
# From here on what fails is told apart by clusters, not by sectors: reading 4096 sectors of a bad
# cluster that is compressed means to decompress it 4096 times.
LARGE_CLUSTER_BITS = 18
CHUNK_BYTES = 1 << 16
FAR_END_BITS = (62, 43)  # of a file in memory, and of one on the file systems that allow least


@dataclasses.dataclass
class Answer:
    """What one side says. bad: piece numbers that cannot be read -> code; bytes: zeros there."""

    opened: bool
    words: str = ""
    code: str = ""
    size: int = 0
    bytes: bytes = b""
    bad: dict = dataclasses.field(default_factory=dict)
    piece: int = SECTOR
    contradictions: list = dataclasses.field(default_factory=list)

    def same_as(self, other):
        if not (self.opened and other.opened):
            return self.opened == other.opened
        return (self.size == other.size and self.bad.keys() == other.bad.keys()
                and self.bytes == other.bytes)

    def clipped(self, size):
        """The same of a disk of at most so many bytes."""
        size = min(size, self.size)
        bad = {number: code for number, code in self.bad.items() if number * self.piece < size}
        return dataclasses.replace(self, size=size, bytes=self.bytes[:size], bad=bad)

    def __str__(self):
        if not self.opened:
            return f"refused: {self.code} {self.words}"
        return f"{self.size} bytes, {len(self.bad)} pieces unreadable {self.words}"


class TooLarge(Exception):
    """QEMU cannot be asked: it shows snapshots whole, and this disk is huge."""


class Stuck(Exception):
    """No answer in time, or a death instead of one."""


def is_sanitized():
    """Sanitizers reserve address space by the terabyte, so no memory limit can be set."""
    with open(SALVAGE, "rb") as stream:
        return re.search(rb"__[at]san_init", stream.read()) is not None


class Lab:
    def __init__(self, base, directory):
        self.base, self.directory = base, directory
        base.build(directory)
        self.path = os.path.join(directory, base.mutated)
        self.file = open(self.path, "r+b", buffering=0)
        self.image = Image(self.file.read())
        self.limits = [] if is_sanitized() else ["--memory", str(MEMORY_BYTES)]

    def close(self):
        self.file.close()

    # -- the file

    @contextlib.contextmanager
    def changed(self, made):
        try:
            for at, data in made.edits:
                os.pwrite(self.file.fileno(), data, at)
            if made.length is not None:
                self.file.truncate(made.length)
            yield
        finally:
            self.restore(made)

    def restore(self, made):
        data, descriptor = self.image.data, self.file.fileno()
        if made.length is not None:
            kept = min(made.length, len(data)) // CHUNK_BYTES * CHUNK_BYTES
            self.file.truncate(kept)
            for at in range(kept, len(data), CHUNK_BYTES):
                chunk = data[at:at + CHUNK_BYTES]
                if any(chunk):  # what was a hole may stay one: memory is dear
                    os.pwrite(descriptor, chunk, at)
            self.file.truncate(len(data))
        for at, edit in made.edits:
            os.pwrite(descriptor, data[at:at + len(edit)], at)

    @contextlib.contextmanager
    def extended(self):
        """The file as QEMU sees it: zeros for ever behind its end."""
        length = os.fstat(self.file.fileno()).st_size
        try:
            self.far_end()
            yield
        finally:
            self.file.truncate(length)

    def far_end(self):
        for bits in FAR_END_BITS:
            with contextlib.suppress(OSError):
                return self.file.truncate(1 << bits)
        raise Stuck("no file may be long enough")

    @contextlib.contextmanager
    def patched(self, edits):
        length = os.fstat(self.file.fileno()).st_size
        old = [(at, os.pread(self.file.fileno(), len(data), at)) for at, data in edits]
        try:
            for at, data in edits:
                os.pwrite(self.file.fileno(), data, at)
            yield
        finally:
            for at, data in old:
                os.pwrite(self.file.fileno(), data, at)
            self.file.truncate(length)

    def head(self, path=None):
        with open(path or self.path, "rb") as stream:
            return stream.read(1 << 16)

    def without_snapshots(self):
        """None is left, but for the one that is read and those before it."""
        return [(60, struct.pack(">I", int(self.base.snapshot or 0)))]

    def without_bitmaps(self):
        """The bitmaps extension under a name that nobody knows."""
        return [(at, b"none") for at, kind in extensions(self.head()) if kind == BITMAPS]

    def luks_header(self):
        """Where it is, or None."""
        head = self.head()
        places = [header_number(head, at + 8, ">Q") for at, kind in extensions(head) if kind == LUKS]
        return places[0] if places else None

    def number(self, at, width):
        return int.from_bytes(os.pread(self.file.fileno(), width, at), "big")

    # -- what it is

    def disk(self):
        return self.facts(os.path.join(self.directory, DISK))

    def facts(self, path):
        """(version, cluster_bits, size, crypt_method) of a file as it stands."""
        head = self.head(path)
        version = header_number(head, 4, ">I")
        bits, crypt = (32, 36) if version == 1 else (20, 32)
        return (version, header_number(head, bits, ">B" if version == 1 else ">I"),
                header_number(head, 24, ">Q"), header_number(head, crypt, ">I"))

    def piece(self):
        bits = self.disk()[1]
        if self.base.snapshot:
            return SECTOR
        return 1 << bits if LARGE_CLUSTER_BITS <= bits <= 21 else SECTOR

    # -- answers

    def ours(self, *options):
        piece = self.piece()
        out = os.path.join(self.directory, "ours.raw")
        command = [SALVAGE, *options, *self.limits, "--key-file", "key", "--limit", str(LIMIT_BYTES),
                   "--piece", str(piece), DISK, out]
        if self.base.snapshot:
            command[1:1] = ["--snapshot", self.base.snapshot]
        try:
            done = subprocess.run(command, cwd=self.directory, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise Stuck(f"ours gave no answer in {TIMEOUT_SECONDS} seconds") from None
        said = done.stdout.decode(errors="replace").splitlines()
        if done.returncode or done.stderr or not said:
            raise Stuck(f"ours ended with status {done.returncode}: {done.stderr[-2000:]}")
        word, _, rest = said[0].partition(" ")
        if word == "refused":
            code, _, words = rest.partition(" ")
            return Answer(False, words, code)
        answer = Answer(True, size=int(rest), piece=piece)
        for line in said[1:]:
            word, _, rest = line.partition(" ")
            if word == "contradiction":
                answer.contradictions.append(rest)
                continue
            offset, length, code, words = rest.split(" ", 3)
            first, last = int(offset) // piece, (int(offset) + int(length) - 1) // piece
            answer.bad.update((number, code) for number in range(first, last + 1))
            answer.words = answer.words or f"({code}: {words})"
        with open(out, "rb") as stream:
            answer.bytes = stream.read()
        return answer

    def qemu(self):
        if self.piece() == SECTOR:
            return self._qemu_by_sectors()
        return self._qemu_by_clusters()

    def _options(self, window=None):
        version, _, size, crypt = self.disk()
        driver = "qcow" if version == 1 else "qcow2"
        inner = [("driver", driver), ("file.filename", DISK)]
        if crypt in (1, 2):
            inner.append(("encrypt.key-secret", "key"))
        if self.path != os.path.join(self.directory, DISK) and self.facts(self.path)[3] in (1, 2):
            inner.append(("backing.encrypt.key-secret", "key"))
        if window is None and size > LIMIT_BYTES:
            if self.base.snapshot:
                raise TooLarge
            window = (0, LIMIT_BYTES)
        if window is None:
            return ",".join(f"{key}={value}" for key, value in inner)
        outer = [("driver", "raw"), ("offset", window[0]), ("size", window[1])]
        outer += [(f"file.{key}", value) for key, value in inner]
        return ",".join(f"{key}={value}" for key, value in outer)

    def _convert(self, *flags, window=None):
        """(exit status, standard error, bytes) of qemu-img convert."""
        out = os.path.join(self.directory, "theirs.raw")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(out)
        if self.base.snapshot:
            flags = (*flags, "-l", f"snapshot.id={self.base.snapshot}")
        command = ["qemu-img", "convert", *flags, "-O", "raw", "--object",
                   "secret,id=key,file=key", "--image-opts", self._options(window), out]
        try:
            done = subprocess.run(command, cwd=self.directory, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise Stuck(f"QEMU gave no answer in {TIMEOUT_SECONDS} seconds") from None
        said = done.stderr.decode(errors="replace")
        data = b""
        if done.returncode == 0:
            with open(out, "rb") as stream:
                data = stream.read()
        return done.returncode, said, data

    def _shown_size(self):
        return self.disk()[2] // SECTOR * SECTOR

    def _refusal(self, status, said):
        last = (said.strip().splitlines() or [""])[-1]
        if status < 0:
            return Answer(False, f"killed by signal {-status}: {last}", "signal")
        if "ould not open" not in said and "Failed to load snapshot" not in said:
            raise Stuck(f"QEMU ended with status {status}: {said}")
        return Answer(False, last, "refused")

    def _qemu_by_sectors(self):
        status, said, data = self._convert("--salvage")
        if status:
            return self._refusal(status, said)
        bad = {int(offset) // SECTOR: "EIO"
               for offset in re.findall(r"error while reading.* offset (\d+):", said)}
        return Answer(True, size=self._shown_size(), bytes=data, bad=bad)

    def _qemu_by_clusters(self):
        status, said, data = self._convert()
        if status == 0:
            return Answer(True, size=self._shown_size(), bytes=data)
        if "ould not open" in said or status < 0:
            return self._refusal(status, said)
        answer, size = Answer(True, size=self._shown_size()), min(self._shown_size(), LIMIT_BYTES)
        piece, parts = self.piece(), []
        for offset in range(0, size, piece):
            length = min(piece, size - offset)
            status, said, data = self._convert(window=(offset, length))
            if status:
                answer.bad[offset // piece] = "EIO"
            parts.append(data if status == 0 else bytes(length))
        answer.bytes = b"".join(parts)
        return answer
