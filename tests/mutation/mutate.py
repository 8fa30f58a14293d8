# SPDX-License-Identifier: MIT
"""mutate.py - one to four changes to a good image, decided by a seed.

mutation(image, seed) -> Mutation: the edits [(place, bytes)], the length of the file if that is
changed, and words on each for the report. New values are mostly nearly right: a neighbour, one bit, a
place that exists, a limit and one more. Iteration counts of LUKS never grow to what takes minutes:
that is a case of its own (tests/images)."""

import dataclasses
import random

from fields import fields_of, pack

# How often a structure is hit, where an image has it.
WEIGHTS = {"header": 6, "extension": 3, "L1": 3, "L2": 8, "refcount table": 1, "refcount block": 1,
           "snapshot table": 3, "snapshot L1": 2, "bitmap directory": 3, "bitmap table": 2,
           "LUKS header": 4, "LUKS key material": 1, "compressed data": 4, "backing name": 1,
           "length": 2}

# Values that mean something to a field of that name.
TELLING = {
    "version": (0, 1, 2, 3, 4), "cluster_bits": (8, 9, 10, 12, 14, 16, 21, 22, 31, 32, 63, 64),
    "cluster_bits_v1": (8, 9, 10, 12, 16, 17), "l2_bits_v1": (5, 6, 9, 12, 13, 14),
    "crypt_method": (0, 1, 2, 3), "refcount_order": tuple(range(8)), "compression_type": (0, 1, 2),
    "header_length": (0, 72, 103, 104, 105, 108, 112, 113, 120, 512, 4096, 65536),
    "backing_size": (0, 1, 1023, 1024), "refcount_clusters": (0, 1, 2, 1 << 31),
    "l1_size": (0, 1, 2, 4194304, 4194305), "snapshot_count": (0, 1, 2, 4, 65536, 65537),
    "l1_entries": (0, 1, 4194304, 4194305), "type": (0, 1, 2, 0xE2792ACA, 0x6803F857, 0x23852875,
                                                     0x0537BE77, 0x44415441),
    "length": (0, 1, 7, 8, 15, 16, 24, 48), "granularity": (0, 8, 9, 16, 31, 32, 63, 64),
    "flags": (0, 1, 2, 3, 4), "extra_size": (0, 1, 8, 15, 16, 20, 24, 1024, 1025),
    "key_bytes": (0, 16, 24, 32, 33, 48, 64, 65), "state": (0xDEAD, 0x00AC71F3, 0),
    "stripes": (0, 1, 3999, 4001), "bitmap_count": (0, 1, 2, 3, 65535, 65536),
}
STRINGS = {
    "cipher": (b"aes", b"AES", b"serpent", b"twofish", b"aes\0x", b"x" * 32, b""),
    "mode": (b"xts-plain64", b"xts-plain", b"cbc-essiv:sha256", b"cbc-plain64", b"ecb-plain",
             b"cbc-plain:sha1", b"ctr-plain64", b"xts", b"cbc-null", b"y" * 32),
    "hash": (b"sha1", b"sha256", b"sha512", b"md5", b"ripemd160", b"SHA256", b"sha3", b"z" * 32),
}
CALM = ("iterations", "digest_iterations")
FLAGS = (0, 1, 1 << 63, 1 << 62, 3 << 62, 1 << 63 | 1, 2, 1 << 56, 1 << 8)


@dataclasses.dataclass
class Mutation:
    edits: list = dataclasses.field(default_factory=list)
    length: int = None
    words: list = dataclasses.field(default_factory=list)


class Image:
    """A good image, looked at once for all its mutations."""

    def __init__(self, data):
        self.data, self.groups = data, fields_of(data)
        bits = data[32] if data[7] == 1 else int.from_bytes(data[20:24], "big")
        self.bits, self.cluster = bits, 1 << bits
        starts = {field.at // 512 * 512 for group in self.groups.values() for field in group}
        self.places = sorted(starts | {len(data) // 512 * 512})

    def old(self, field):
        return int.from_bytes(self.data[field.at:field.at + field.width], "big")


def mutation(image, seed):
    rng, made = random.Random(seed), Mutation()
    groups = [*image.groups, "length"]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        group = rng.choices(groups, [WEIGHTS[name] for name in groups])[0]
        if group == "length":
            made.length = new_length(rng, image)
            made.words.append(f"length {len(image.data)} -> {made.length}")
            continue
        field = pick(rng, image, image.groups[group])
        data = new_bytes(rng, image, field)
        made.edits.append((field.at, data))
        made.words.append(f"{group} {field.name} at {field.at:#x}: "
                          f"{image.old(field):#x} -> {data.hex()}")
    return made


def pick(rng, image, fields):
    """A field, rather one that is not 0 where most are."""
    field = rng.choice(fields)
    if field.width == 8 and image.old(field) == 0 and rng.random() < 0.7:
        field = rng.choice([other for other in fields if image.old(other)] or fields)
    return field


def new_length(rng, image):
    """Cut at any byte, at a structure, or near the end; or a little longer."""
    size = len(image.data)
    return max(0, rng.choice((
        rng.randrange(size), rng.choice(image.places), rng.choice(image.places) + rng.randrange(512),
        size - rng.randrange(1, 513), size - rng.randrange(1, 2 * image.cluster),
        size // image.cluster * image.cluster - image.cluster, rng.randrange(0, 130),
        size + rng.randrange(1, 2 * image.cluster))))


def new_bytes(rng, image, field):
    old = image.old(field)
    if field.name in STRINGS:
        return rng.choice(STRINGS[field.name]).ljust(field.width, b"\0")
    if field.name in CALM:
        return pack(rng.choice((0, 1, old - 1 if old else 1, old + 1, 2 * old)), field.width)
    while True:
        value = new_value(rng, image, field, old) & (1 << 8 * field.width) - 1
        if value != old:
            return pack(value, field.width)


def new_value(rng, image, field, old):
    bits = 8 * field.width
    if field.name in TELLING and rng.random() < 0.6:
        return rng.choice(TELLING[field.name])
    if field.name == "subclusters" and rng.random() < 0.6:
        return rng.choice((0, 1, 1 << 32, 0xFFFFFFFF, 0xFFFFFFFF << 32, (1 << 64) - 1,
                           old ^ old >> 32, rng.getrandbits(32), rng.getrandbits(32) << 32))
    if field.name == "size" and rng.random() < 0.7:
        return old + rng.choice((-1, 1, -512, 512, 1000, image.cluster, -image.cluster,
                                 10 * image.cluster))
    if field.width == 8 and rng.random() < 0.6:
        return new_word(rng, image, field, old)
    return rng.choice((0, 1, 2, (1 << bits) - 1, 1 << bits - 1, old + 1, old - 1, old * 2, old // 2,
                       old ^ 1 << rng.randrange(bits), old ^ 1 << rng.randrange(bits),
                       rng.getrandbits(bits), rng.randrange(1 << min(bits, 12))))


def new_word(rng, image, field, old):
    """A table entry or an offset: one that leads somewhere, or nearly."""
    size, cluster = len(image.data), image.cluster
    end = -(-size // cluster) * cluster
    other = image.old(rng.choice(image.groups[field.group]))
    place = rng.choice((0, cluster, end - cluster, end, end + cluster, rng.choice(image.places),
                        rng.randrange(0, end, cluster), rng.randrange(0, end, 512),
                        (1 << 56) - cluster))
    sectors = rng.randrange(4) << 70 - image.bits if image.data[7] != 1 else rng.getrandbits(62)
    return rng.choice((other, old ^ 1 << 63, old ^ 1 << 62, old ^ 1, old + cluster, old - cluster,
                       old + 512, place, place | 1 << 63, place | rng.choice(FLAGS),
                       1 << 62 | sectors | rng.randrange(size + cluster),
                       1 << 62 | rng.getrandbits(62)))
