# SPDX-License-Identifier: MIT
"""generate.py - makes the files of a Spec with qemu-img and qemu-io, and asks QEMU about them.

Everything follows from the spec's name: the same name gives the same commands and the same bytes
(salts and identifiers of encryption headers aside). Each image has a directory of its own, and
every command runs in there, since QEMU looks for data files in the current directory."""

import concurrent.futures
import dataclasses
import json
import os
import random
import struct
import zlib

import damage
import qemu_tools as qemu
import reader
from refused import Refused
from specs import ENCRYPTIONS, KIB

DISK = "disk.qcow2"
REFUSED = "refused"  # in the place of a digest: not to be read, for no reader
POOL_FILES = 8
LUKS_ATTEMPTS = 20


@dataclasses.dataclass
class Made:
    """The files of a spec and what QEMU says about them."""

    spec: object
    directory: str
    key_file: str = None
    digest: str = None
    snapshots: dict = dataclasses.field(default_factory=dict)  # id: digest
    vm_states: dict = dataclasses.field(default_factory=dict)  # id: bytes
    bitmaps: dict = dataclasses.field(default_factory=dict)  # name: [[offset, length], ...]
    map: list = None
    check: tuple = None  # exit status, object or None
    in_place: dict = dataclasses.field(default_factory=dict)  # file: [(offset, length), ...]

    @property
    def path(self):
        return os.path.join(self.directory, DISK)

    def qemu(self):
        """The disk as an argument for QEMU's tools."""
        if not self.spec.encryption:
            return DISK
        options = f"driver={driver(self.spec)},file.filename={DISK},encrypt.key-secret=key"
        if self.spec.encryption == "aes" and self.spec.parent == "three":
            options += ",backing.encrypt.key-secret=key"
        return qemu.Encrypted(DISK, self.key_file, options)


def driver(spec):
    return "qcow" if spec.version == 1 else "qcow2"


def make_pool(directory):
    """Files to write from: noise and runs by turns, so that any part of them can be compressed."""
    os.makedirs(directory)
    for number in range(POOL_FILES):
        rng, data = random.Random(f"pool {number}"), bytearray()
        while len(data) < 150_000:
            data += rng.randbytes(rng.randrange(10, 200))
            data += bytes([rng.randrange(256)]) * rng.randrange(10, 400)
        with open(os.path.join(directory, str(number)), "wb") as stream:
            stream.write(data)


# ---------------------------------------------------------------------------------------------
# Content


def plain_writes(rng, size, cluster, zeros, compressed):
    """(verb, offset, length) of writes, some of zeros and some discards, all on whole sectors. They
    touch about a third of the disk, so that a parent shows through, and about half of what is
    compressed already."""
    clusters = -(-size // cluster)
    longest = 5 * cluster if clusters > 30 else cluster // 2
    for _ in range(min(max(clusters // 4, 3), 25)):
        offset = rng.randrange(0, size, 512)
        length = min(rng.randrange(512, longest + 512, 512), size - offset)
        if touches(offset, length, compressed) and rng.random() < 0.6:
            continue
        verb = f"write -s ../pool/{rng.randrange(POOL_FILES)}"
        if zeros and rng.random() < 0.35:
            verb = rng.choice(("write -z", "write -z -u", "discard"))
        yield verb, offset, length


def touches(offset, length, ranges):
    return any(offset < there + extent and there < offset + length for there, extent in ranges)


def compressed_writes(rng, size, cluster, at_once, taken):
    """Whole clusters, `at_once` of them at a time, which no range in `taken` touches: QEMU does not
    compress over what is in place."""
    starts = [offset for offset in range(0, size, cluster * at_once)
              if not touches(offset, cluster * at_once, taken)]
    for offset in rng.sample(starts, min(-(-len(starts) // 3), 8)):
        length = min(cluster * at_once, size - offset)
        yield f"write -c -s ../pool/{rng.randrange(POOL_FILES)}", offset, length


def write(made, target, rng, size, cluster, compressed, zeros=True):
    """One round of writes, in one qemu-io. Returns the ranges it touched."""
    if size == 0:
        return []
    at_once = 1 if made.spec.version == 1 or rng.random() < 0.5 else 2
    taken = made.in_place.setdefault(str(target), [])
    writes = list(compressed_writes(rng, size, cluster, at_once, taken)) if compressed else []
    writes += plain_writes(rng, size, cluster, zeros, [(at, length) for _, at, length in writes])
    taken += [(offset // cluster * cluster, length + cluster) for _, offset, length in writes]
    qemu.io(target, [f"{verb} {offset} {length}" for verb, offset, length in writes],
            cwd=made.directory)
    return [(offset, length) for _, offset, length in writes]


# ---------------------------------------------------------------------------------------------
# Files


def create(made, name, size, options, parent=None, form="qcow2"):
    words = ["-f", form]
    if "encrypt.format" in options:
        words = ["--object", f"secret,id=key,file={made.key_file}"] + words
    if options:
        words += ["-o", options]
    if parent:
        words += ["-b", parent, "-F", "raw" if parent.endswith(".raw") else "qcow2"]
    insist(lambda: qemu.img("create", "-q", *words, name, str(size), cwd=made.directory))


def insist(command):
    """LUKS measures the processor to choose its iterations, and now and then fails at that."""
    for _ in range(LUKS_ATTEMPTS):
        try:
            return command()
        except qemu.QemuError as error:
            if "accurate CPU" not in str(error):
                raise
    return command()


def make_raw_parent(made, rng, size):
    """Data and holes, and a length that no sector divides."""
    with open(os.path.join(made.directory, "parent.raw"), "wb") as stream:
        for _ in range(8):
            offset = rng.randrange(size)
            stream.seek(offset)
            stream.write(rng.randbytes(min(rng.randrange(1, size // 4 + 2), size - offset)))
        stream.truncate(max(size - rng.randrange(512), 1))
    return "parent.raw"


def make_qcow2_parent(made, rng, name, size, cluster, options="", parent=None, compressed=True):
    words = ",".join(word for word in (f"cluster_size={cluster}", options) if word)
    create(made, name, size, words, parent)
    target = name if "encrypt" not in options else qemu.Encrypted(
        name, made.key_file, f"driver=qcow2,file.filename={name},encrypt.key-secret=key")
    write(made, target, rng, size, cluster, compressed)
    return name


def make_parents(made, rng):
    """The name of the disk's parent. Parents differ from the disk in all they can differ in."""
    spec, size = made.spec, made.spec.size
    other = rng.choice([c for c in (512, 4096, 65536) if c != spec.cluster])
    if spec.parent == "none":
        return None
    if spec.parent == "raw":
        return make_raw_parent(made, rng, size)
    if spec.parent == "three":
        make_qcow2_parent(made, rng, "base.qcow2", size * 5 // 4 // 512 * 512, other, "compat=0.10")
        options, compressed = "compression_type=zstd,extended_l2=on", True
        if spec.encryption == "aes":
            options, compressed = "encrypt.format=aes,encrypt.key-secret=key", False
        return make_qcow2_parent(made, rng, "middle.qcow2", size * 3 // 4 // 512 * 512, 16 * KIB,
                                 options, "base.qcow2", compressed)
    parent_size = {"qcow2": size, "short": size // 2, "long": size * 2}[spec.parent] // 512 * 512
    return make_qcow2_parent(made, rng, "parent.qcow2", max(parent_size, 512), other,
                             rng.choice(("compat=0.10", "compression_type=zstd", "")))


def disk_options(spec):
    if spec.version == 1:
        return "encrypt.format=aes,encrypt.key-secret=key" if spec.encryption else ""
    words = [f"cluster_size={spec.cluster}", "compat=" + ("0.10" if spec.version == 2 else "1.1")]
    if spec.version == 3:
        words.append(f"refcount_bits={spec.refcount_bits}")
    if spec.content == "zstd":
        words.append("compression_type=zstd")
    if spec.extended:
        words.append("extended_l2=on")
    if spec.data_file:
        words.append("data_file=disk.data")
    if spec.data_file == "raw":
        words.append("data_file_raw=on")
    if spec.encryption:
        words.append("encrypt.key-secret=key")
        stated = [word for word in ENCRYPTIONS[spec.encryption].split(",") if word]
        if spec.encryption != "aes":
            stated += ["format=luks", "iter-time=10"]
        words += ["encrypt." + word for word in stated]
    return ",".join(words + list(spec.options))


def move_to_second_slot(made):
    """A new passphrase in slot 1, and slot 0 given up."""
    with open(os.path.join(made.directory, "second"), "wb") as stream:
        stream.write(b"the second passphrase")
    secrets = ["--object", f"secret,id=key,file={made.key_file}",
               "--object", "secret,id=new,file=second"]
    for options, unlocked_by in (
            ("encrypt.state=active,encrypt.new-secret=new,encrypt.iter-time=10", "key"),
            ("encrypt.state=inactive,encrypt.old-secret=key", "new")):
        insist(lambda options=options, unlocked_by=unlocked_by: qemu.img(
            "amend", *secrets, "-o", options, "--image-opts",
            f"driver=qcow2,file.filename={DISK},encrypt.key-secret={unlocked_by}",
            cwd=made.directory))
    made.key_file = "second"


def take_snapshots(made, rng):
    """The history of the spec; each snapshot's truth is the disk's digest when it was taken."""
    spec, target = made.spec, made.qemu()
    before = spec.snapshots[0][0]
    for number, (size, state_size) in enumerate(spec.snapshots, start=1):
        resize(made, before, size)
        before = size
        write(made, target, rng, size, spec.cluster, spec.content != "plain")
        if state_size:
            source = f"../pool/{number % POOL_FILES}"
            whole_sectors = -(-state_size // 512) * 512
            qemu.io(target, [f"write -b -s {source} 0 {whole_sectors}"], cwd=made.directory)
            # Where the disk grows over it later, the VM state is in place there.
            reach = spec.cluster * spec.cluster // 8 + whole_sectors
            made.in_place.setdefault(str(target), []).append((size, reach))
            with open(os.path.join(made.directory, source), "rb") as pool:
                made.vm_states[str(number)] = pool.read()[:state_size]
        made.snapshots[str(number)] = qemu.digest(target, cwd=made.directory)
        qemu.img("snapshot", "-q", "-c", f"snapshot {number}", *qemu.as_target(target),
                 cwd=made.directory)
    resize(made, before, spec.size)
    state_sizes_into_table(made)


def resize(made, before, size):
    if size != before:
        qemu.img("resize", "-q", "--shrink", *qemu.as_target(made.qemu()), str(size),
                 cwd=made.directory)


def state_sizes_into_table(made):
    """qemu-img, which has no machine, takes snapshots with a VM state of 0 bytes; the bytes are
    there though, so only the size is missing."""
    with open(made.path, "r+b") as stream:
        stream.seek(64)
        at, = struct.unpack(">Q", stream.read(8))
        for number in range(1, len(made.spec.snapshots) + 1):
            stream.seek(at)
            (_, _, id_size, name_size, _, _, _, _, extra_size) = struct.unpack(
                ">QIHHIIQII", stream.read(40))
            assert stream.read(extra_size + id_size)[extra_size:] == str(number).encode()
            state_size = len(made.vm_states.get(str(number), b""))
            stream.seek(at + 32)
            stream.write(struct.pack(">IIQ", state_size, extra_size, state_size))
            at += -(-(40 + extra_size + id_size + name_size) // 8) * 8


def granules(touched, granularity, size):
    """The dirty ranges that a bitmap has after writes to these places."""
    dirty = sorted({granule for offset, length in touched for granule in range(
        offset // granularity, (offset + length - 1) // granularity + 1)})
    ranges = []
    for granule in dirty:
        start, end = granule * granularity, min((granule + 1) * granularity, size)
        if ranges and sum(ranges[-1]) == start:
            ranges[-1][1] += end - start
        else:
            ranges.append([start, end - start])
    return ranges


# ---------------------------------------------------------------------------------------------
# All of it


def build(spec, root):
    """Makes the files of a spec beneath `root` (which holds the pool) and asks QEMU about them."""
    made = Made(spec, os.path.join(root, spec.name))
    rng = random.Random(zlib.crc32(spec.name.encode()))
    os.makedirs(made.directory)
    if spec.encryption:
        made.key_file = "key"
        with open(os.path.join(made.directory, "key"), "wb") as stream:
            stream.write(b"passphrase of " + spec.name.encode())
    create(made, DISK, spec.snapshots[0][0] if spec.snapshots else spec.size, disk_options(spec),
           make_parents(made, rng), driver(spec))
    for granularity in spec.bitmaps:
        qemu.img("bitmap", "--add", "-g", str(granularity), DISK, f"every {granularity}",
                 cwd=made.directory)
    if spec.encryption == "luks-second-slot":
        move_to_second_slot(made)
    if spec.snapshots:
        take_snapshots(made, rng)
    cluster = 512 if spec.version == 1 and spec.parent != "none" else spec.cluster
    touched = write(made, made.qemu(), rng, spec.size, cluster, spec.content != "plain",
                    zeros=spec.version > 1)
    if not spec.snapshots:
        made.bitmaps = {f"every {granularity}": granules(touched, granularity, spec.size)
                        for granularity in spec.bitmaps}
    if spec.damage:
        damage.apply(spec.damage, made.path)
    ask(made)
    return made


def ask(made):
    """What QEMU makes of the finished files."""
    target, here = qemu.as_target(made.qemu()), made.directory
    checked = qemu.run("qemu-img", "check", "--output=json", *target, cwd=here,
                       expect=(0, 1, 2, 3, 63), with_status=True)
    made.check = checked[0], json.loads(checked[1]) if checked[1].strip() else None
    if made.spec.damage:
        made.digest = digest_of_damaged(made)
        made.snapshots = {}
        return
    made.digest = qemu.digest(made.qemu(), cwd=here)
    made.map = json.loads(qemu.img("map", "--output=json", *target, cwd=here))
    for number, (size, state_size) in enumerate(made.spec.snapshots, start=1):
        if size == made.spec.size and not state_size:  # else format.md 5.4: QEMU shows another disk
            shown = qemu.digest(made.qemu(), "-l", f"snapshot.id={number}", cwd=here)
            assert shown == made.snapshots[str(number)]


def digest_of_damaged(made):
    """QEMU's digest or refusal, but for what it invents past the end of the file."""
    try:
        with_reference = reader.open_image(made.path).disk.digest()
    except Refused as refused:
        if refused.code == "truncated":
            return REFUSED
        with_reference = REFUSED
    try:
        with_qemu = qemu.digest(DISK, cwd=made.directory)
    except qemu.QemuError:
        with_qemu = REFUSED
    assert with_reference == with_qemu, "the reference reader and QEMU differ"
    return with_qemu


class Builders:
    """Two threads that build ahead of the tests, in the order in which those will ask; or none, where
    another process may be the one that asks."""

    AHEAD = 12

    def __init__(self, root, specs, ahead=True):
        make_pool(os.path.join(root, "pool"))
        self.root, self.waiting, self.running, self.ahead = root, list(specs), {}, ahead
        self.pool = concurrent.futures.ThreadPoolExecutor(max_workers=2)

    def get(self, spec):
        if not self.ahead:
            return build(spec, self.root)
        while spec.name not in self.running or self.waiting and len(self.running) < self.AHEAD:
            following = self.waiting.pop(0)
            self.running[following.name] = self.pool.submit(build, following, self.root)
        return self.running.pop(spec.name).result()

    def stop(self):
        self.pool.shutdown(cancel_futures=True)
