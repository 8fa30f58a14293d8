# SPDX-License-Identifier: MIT
"""edits.py - changes to a sound image that keep most of it sound.

edit(image, seed) -> Mutation, as mutate.py makes them. Most changes of mutate.py break an image in a way that
every program sees. These aim at the rest: a field gets the value of its twin, the list of header extensions
gets another order, a member more or less, or other lengths, and unused parts of clusters get bytes."""

import random
import struct

from fields import BITMAPS, header_number
from mutate import Mutation, mutation

KINDS = (0xE2792ACA, 0x6803F857, BITMAPS, 0x0537BE77, 0x44415441, 0x12345678)
# Bits whose change by itself leaves a sound image: dirty, lazy refcounts, bitmaps, raw data file, unknown ones.
FLAGS_AT = ((79, 1), (87, 1), (87, 2), (95, 1), (95, 2), (95, 4), (72, 1))


def edit(image, seed):
    rng = random.Random(f"edit {seed}")
    choice = rng.random()
    if choice < 0.45:
        return mutation(image, seed)
    made = Mutation()
    if choice < 0.65:
        twins(rng, image, made)
    elif choice < 0.9:
        extensions(rng, image, made)
    else:
        slack(rng, image, made)
    if rng.random() < 0.25:
        flag(rng, image, made)
    return made


def put(image, made, at, data, word):
    data = data[:max(0, len(image.data) - at)]
    if data == image.data[at:at + len(data)]:
        return
    made.edits.append((at, data))
    made.words.append(f"{word} at {at:#x}: {data[:64].hex()}")


def flag(rng, image, made):
    at, bit = rng.choice(FLAGS_AT)
    if image.data[7] == 3:
        put(image, made, at, bytes([image.data[at] ^ bit]), "feature bit")


def twins(rng, image, made):
    """One or two fields become what another field of the same name is; or a byte of text becomes a NUL."""
    for _ in range(rng.choice((1, 1, 2))):
        group = rng.choice([name for name, fields in image.groups.items() if len(fields) > 1])
        fields = image.groups[group]
        field = rng.choice(fields)
        like = [other for other in fields if other.name == field.name and other.width == field.width]
        other = rng.choice(like)
        data = image.data[other.at:other.at + other.width]
        if field.width == 1 and rng.random() < 0.3:
            data = b"\0"
        put(image, made, field.at, data, f"{group} {field.name}")


def extension_list(image):
    """Where the list begins and ends, and [(type, data)]."""
    data = image.data
    at = begin = header_number(data, 100, ">I") if data[7] == 3 else 72
    found = []
    while True:
        kind, length = struct.unpack_from(">II", data, at)
        if kind == 0:
            return begin, at + 8, found
        found.append((kind, data[at + 8:at + 8 + length]))
        at += 8 + -(-length // 8) * 8


def extensions(rng, image, made):
    begin, end, found = extension_list(image)
    before = len(found)
    choice = rng.randrange(6)
    if choice == 0 and found:
        found.insert(rng.randrange(before + 1), rng.choice(found))
    elif choice == 1 and found:
        found.pop(rng.randrange(before))
    elif choice == 2 and found:
        index = rng.randrange(before)
        kind, data = found[index]
        length = max(0, rng.choice((0, len(data) - 8, len(data) - 1, len(data) + 1, len(data) + 8, 7, 16, 24)))
        found[index] = kind, data[:length].ljust(length, bytes([rng.randrange(256)]))
    elif choice == 3 and found:
        index = rng.randrange(before)
        found[index] = rng.choice(KINDS), found[index][1]
    elif choice == 4:
        rng.shuffle(found)
    else:
        length = rng.choice((0, 1, 8, 16, 24, 48, 96, 1024))
        found.insert(rng.randrange(before + 1), (rng.choice(KINDS), rng.randbytes(length)))
    area = b"".join(struct.pack(">II", kind, len(data)) + data.ljust(-(-len(data) // 8) * 8, b"\0")
                    for kind, data in found) + bytes(8)
    limit = header_number(image.data, 8, ">Q") or image.cluster
    if begin + len(area) <= limit:
        put(image, made, begin, area.ljust(end - begin, b"\0"), f"extensions, {before} to {len(found)}")


def slack(rng, image, made):
    """Bytes where there are none: somewhere in a run of zeros."""
    at = rng.randrange(len(image.data))
    for _ in range(100):
        if not any(image.data[at:at + 16]):
            break
        at = rng.randrange(len(image.data))
    put(image, made, at, rng.randbytes(rng.choice((1, 2, 8, 16))), "unused bytes")
