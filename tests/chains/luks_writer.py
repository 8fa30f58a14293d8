# SPDX-License-Identifier: MIT
"""luks_writer.py - turns a plain version 2 image into one that is encrypted with LUKS.

For headers that qemu-img does not write: keys of 24 bytes, on which it aborts, any slot, and any
mixture of hashes, at once instead of after seconds of measuring. format.md 8.2, the other way
round."""

import hashlib
import os
import random
import struct

import crypto_ctypes
from crypto_ctypes import SECTOR, SLOT_ACTIVE, SLOT_INACTIVE, STRIPES
from layouts import HEADER_V2, LUKS_POINTER, OFFSET, fields

ITERATIONS = 1000


def encrypt(mode, generator, suffix, key, data, first_sector):
    cipher = crypto_ctypes.Aes(mode, key, encrypt=True)
    make_iv = crypto_ctypes.iv_maker(generator, suffix, key)
    return crypto_ctypes.decrypt_sectors(cipher, make_iv, data, first_sector)


def split(rng, key, hash_name):
    """Stripes of noise and one that makes them merge to the key: merging noise and zeros gives what
    that one has to be exclusive-ored with."""
    stripes = rng.randbytes(len(key) * (STRIPES - 1))
    merged = crypto_ctypes.merge_stripes(stripes + bytes(len(key)), len(key), hash_name)
    return stripes + bytes(a ^ b for a, b in zip(merged, key))


def header(rng, passphrase, key, mode_string, hash_name, slot):
    """A LUKS header with its key material, `slot` being the only one in use."""
    mode, _, generator = mode_string.partition("-")
    generator, _, suffix = generator.partition(":")
    slot_sectors = -(-len(key) * STRIPES // SECTOR // 8) * 8
    payload = 8 + 8 * slot_sectors
    salt, slot_salt = rng.randbytes(32), rng.randbytes(32)
    digest = hashlib.pbkdf2_hmac(hash_name, key, salt, ITERATIONS, 20)
    head = struct.pack(">6sH32s32s32sII20s32sI40s", b"LUKS\xba\xbe", 1, b"aes",
                       mode_string.encode(), hash_name.encode(), payload, len(key), digest, salt,
                       ITERATIONS, b"01234567-89ab-cdef-0123-456789abcdef")
    for number in range(8):
        used = number == slot
        head += struct.pack(">II32sII", SLOT_ACTIVE if used else SLOT_INACTIVE,
                            ITERATIONS if used else 0, slot_salt if used else b"",
                            8 + number * slot_sectors, STRIPES)
    slot_key = hashlib.pbkdf2_hmac(hash_name, passphrase, slot_salt, ITERATIONS, len(key))
    material = split(rng, key, hash_name)
    material += bytes(-len(material) % SECTOR)
    material = encrypt(mode, generator, suffix, slot_key, material, 0)
    head = head.ljust((8 + slot * slot_sectors) * SECTOR, b"\0") + material
    return head.ljust(payload * SECTOR, b"\0")


def encrypt_image(path, passphrase, key_bytes, mode_string, hash_name, slot=0):
    """Encrypts the data clusters of the image in place, and appends the header."""
    rng = random.Random(f"{key_bytes} {mode_string} {hash_name} {slot}")
    key = rng.randbytes(key_bytes)
    mode, _, generator = mode_string.partition("-")
    generator, _, suffix = generator.partition(":")
    with open(path, "r+b") as image:
        h = fields(HEADER_V2, image.read(72))
        assert h.version == 2 and not h.name_offset, "a plain image of version 2"
        cluster = 1 << h.cluster_bits

        def table(offset, count):
            image.seek(offset)
            return [entry & OFFSET for entry in struct.unpack(f">{count}Q", image.read(count * 8))]
        for l2 in table(h.l1_offset, h.l1_entries):
            for host in table(l2, cluster // 8) if l2 else ():
                if host:
                    image.seek(host)
                    data = image.read(cluster).ljust(cluster, b"\0")
                    image.seek(host)
                    image.write(encrypt(mode, generator, suffix, key, data, host // SECTOR))
        head = header(rng, passphrase, key, mode_string, hash_name, slot)
        at = -(-image.seek(0, os.SEEK_END) // cluster) * cluster
        image.seek(at)
        image.write(head)
        image.seek(32)
        image.write(struct.pack(">I", 2))
        image.seek(72)
        image.write(struct.pack(">IIQQ", LUKS_POINTER, 16, at, len(head)))
