# SPDX-License-Identifier: MIT
"""crypto_ctypes.py - legacy AES and LUKS version 1, through OpenSSL's libcrypto. format.md 8.

Both classes answer one question: what are these sectors in clear text? Ciphers other than AES and
modes other than ecb, cbc and xts are refused as unsupported."""

import ctypes
import hashlib
import struct

from refused import Refused, require

SECTOR = 512
STRIPES = 4000
ITERATIONS_MAX = 20_000_000  # some ten seconds; QEMU has no limit
SLOT_ACTIVE, SLOT_INACTIVE = 0x00AC71F3, 0x0000DEAD

_lib = ctypes.CDLL("libcrypto.so.3")
_lib.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
_lib.EVP_CIPHER_CTX_free.argtypes = [ctypes.c_void_p]
_lib.EVP_CIPHER_CTX_set_padding.argtypes = [ctypes.c_void_p, ctypes.c_int]
_lib.EVP_get_cipherbyname.restype = ctypes.c_void_p
_lib.EVP_CipherInit_ex.argtypes = [
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p,
    ctypes.c_int]
_lib.EVP_CipherUpdate.argtypes = [
    ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int), ctypes.c_char_p, ctypes.c_int]


class Aes:
    """AES in one mode under one key, for whole blocks, any number of times."""

    def __init__(self, mode, key, encrypt=False):
        bits = len(key) * 8 // (2 if mode == "xts" else 1)
        cipher = _lib.EVP_get_cipherbyname(f"aes-{bits}-{mode}".encode())
        require(cipher, "unsupported", f"cipher aes-{bits} in mode {mode}")
        self.encrypt = int(encrypt)
        self.context = _lib.EVP_CIPHER_CTX_new()
        if not _lib.EVP_CipherInit_ex(self.context, cipher, None, key, None, self.encrypt):
            raise Refused("unsupported", f"aes-{bits}-{mode} rejects its key")
        _lib.EVP_CIPHER_CTX_set_padding(self.context, 0)

    def __del__(self):
        if hasattr(self, "context"):
            _lib.EVP_CIPHER_CTX_free(self.context)

    def run(self, data, iv=None):
        out, done = ctypes.create_string_buffer(len(data)), ctypes.c_int()
        _lib.EVP_CipherInit_ex(self.context, None, None, None, iv, self.encrypt)
        if not _lib.EVP_CipherUpdate(self.context, out, ctypes.byref(done), data, len(data)):
            raise Refused("unsupported", "libcrypto cannot decrypt this")
        return out.raw[:done.value]


def decrypt_sectors(cipher, make_iv, data, first_sector):
    """Every sector stands alone, under an IV made from its number."""
    return b"".join(
        cipher.run(data[at:at + SECTOR], make_iv(first_sector + at // SECTOR))
        for at in range(0, len(data), SECTOR))


def plain64(sector):
    return struct.pack("<QQ", sector, 0)


class LegacyAes:
    """Method 1: AES-128-CBC, the key is the passphrase itself, IVs follow guest addresses."""

    def __init__(self, passphrase):
        self.cipher = Aes("cbc", passphrase[:16].ljust(16, b"\0"))

    def decrypt(self, data, guest, host):
        return decrypt_sectors(self.cipher, plain64, data, guest // SECTOR)


def text(field):
    require(b"\0" in field, "corrupt", "LUKS header: a name is not terminated")
    return field.split(b"\0")[0].decode("ascii", "replace")


def new_hash(name):
    try:
        return hashlib.new(name)
    except ValueError:
        raise Refused("unsupported", f"hash {name}") from None


def iv_maker(generator, suffix, key):
    """The function from a sector number to its IV."""
    if generator == "plain64":
        return plain64
    if generator == "plain":
        return lambda sector: struct.pack("<QQ", sector & 0xFFFFFFFF, 0)
    require(generator == "essiv", "unsupported", f"IV generator {generator}")
    digest = new_hash(suffix)
    digest.update(key)
    essiv = Aes("ecb", digest.digest(), encrypt=True)
    return lambda sector: essiv.run(plain64(sector))


def merge_stripes(material, key_bytes, hash_name):
    """Undoes the anti-forensic split: every stripe is needed to get the key back."""
    width = new_hash(hash_name).digest_size

    def diffuse(block):
        chunks = [block[at:at + width] for at in range(0, len(block), width)]
        return b"".join(
            hashlib.new(hash_name, struct.pack(">I", j) + chunk).digest()[:len(chunk)]
            for j, chunk in enumerate(chunks))

    def xor(a, b):
        return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")

    stripes = [material[at:at + key_bytes] for at in range(0, key_bytes * STRIPES, key_bytes)]
    key = bytes(key_bytes)
    for stripe in stripes[:-1]:
        key = diffuse(xor(key, stripe))
    return xor(key, stripes[-1])


class Luks:
    """Method 2. `read(offset, count)` gives header bytes, counted from the LUKS magic."""

    def __init__(self, read, passphrase):
        (magic, version, cipher, mode, hash_name, payload, key_bytes, digest, salt,
         iterations) = struct.unpack(">6sH32s32s32sII20s32sI", read(0, 168))
        self.cipher_name, self.mode_name, self.hash = text(cipher), text(mode), text(hash_name)
        self.mode, _, generator = self.mode_name.partition("-")
        self.generator, _, self.iv_hash = generator.partition(":")
        require(magic == b"LUKS\xba\xbe" and version == 1, "corrupt", "no LUKS version 1 header")
        require(payload >= 8 and iterations > 0, "corrupt", "LUKS header: payload or iterations")
        require(self.cipher_name == "aes", "unsupported", f"cipher {self.cipher_name}")
        require(self.mode in ("ecb", "cbc", "xts"), "unsupported", f"cipher mode {self.mode}")
        sizes = (32, 64) if self.mode == "xts" else (16, 24, 32)
        require(key_bytes in sizes, "corrupt", f"LUKS key of {key_bytes} bytes")
        new_hash(self.hash)

        slots = [struct.unpack(">II32sII", read(208 + 48 * i, 48)) for i in range(8)]
        taken = -(-key_bytes * STRIPES // SECTOR // 8) * 8
        starts = sorted(slot[3] for slot in slots)
        require(all(s[0] in (SLOT_ACTIVE, SLOT_INACTIVE) and s[4] == STRIPES for s in slots)
                and not any(s[0] == SLOT_ACTIVE and s[1] == 0 for s in slots)
                and starts[0] >= 8 and starts[-1] + taken <= payload
                and all(b - a >= taken for a, b in zip(starts, starts[1:])),
                "corrupt", "LUKS header: key slots")

        for state, slot_iterations, slot_salt, sector, _ in slots:
            if state != SLOT_ACTIVE:
                continue
            material = read(sector * SECTOR, -(-key_bytes * STRIPES // SECTOR) * SECTOR)
            slot_key = self.derive(passphrase, slot_salt, slot_iterations, key_bytes)
            self.use(slot_key)
            key = merge_stripes(self.decrypt(material, None, 0), key_bytes, self.hash)
            if self.derive(key, salt, iterations, 20) == digest:
                self.use(key)
                return
        raise Refused("key", "no key slot opens with this key")

    def derive(self, secret, salt, iterations, count):
        require(iterations <= ITERATIONS_MAX, "limit", f"{iterations} key iterations")
        return hashlib.pbkdf2_hmac(self.hash, secret, salt, iterations, count)

    def use(self, key):
        self.cipher = Aes(self.mode, key)
        self.make_iv = iv_maker(self.generator, self.iv_hash, key)

    def decrypt(self, data, guest, host):
        return decrypt_sectors(self.cipher, self.make_iv, data, host // SECTOR)


def unlock(method, key, load, pointer, cluster_size):
    """What decrypts an image of this crypt_method, or None. `load(offset, count, what)` reads the
    image; `pointer` is the data of its encryption header extension, or None."""
    require(method <= 2, "unsupported", f"encryption method {method}")
    require((pointer is not None) == (method == 2), "corrupt", "encryption header extension")
    if method == 0:
        return None
    require(key is not None, "key", "the image is encrypted")
    if method == 1:
        return LegacyAes(key)
    require(len(pointer) == 16, "corrupt", "encryption header extension")
    start, length = struct.unpack(">QQ", pointer)
    require(start % cluster_size == 0, "corrupt", "LUKS header is not cluster aligned")

    def read(offset, count):
        require(offset + count <= length, "corrupt", "key material outside the LUKS header")
        return load(start + offset, count, "LUKS header")
    return Luks(read, key)
