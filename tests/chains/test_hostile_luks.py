# SPDX-License-Identifier: MIT
"""test_hostile_luks.py - encrypted images whose header points astray or contradicts itself, with the
right key at hand. What a LUKS header may not say is tested in tests/crypto/test_luks_header.c."""

import struct

import pytest

import luks_writer
import qemu_tools as qemu
from generate import Made
from refused import Refused

PASSPHRASE = b"correct horse"
POINTER_AT = 72  # the extension that luks_writer puts behind a version 2 header: type, length, data
SLOT_AT = 208


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_bytes(PASSPHRASE)
    made = Made(None, str(tmp_path), "key")
    qemu.img("create", "-q", "-f", "qcow2", "-o", "compat=0.10,cluster_size=4k", "disk.qcow2", "1M")
    qemu.io("disk.qcow2", ["write -P 1 0 9k", "write -P 2 300k 20k"])
    made.digest = qemu.digest("disk.qcow2")
    luks_writer.encrypt_image("disk.qcow2", PASSPHRASE, 64, "xts-plain64", "sha256")
    return made


def patch(at, code, value):
    with open("disk.qcow2", "r+b") as stream:
        stream.seek(at)
        stream.write(struct.pack(code, value))


def luks_at():
    with open("disk.qcow2", "rb") as stream:
        stream.seek(POINTER_AT + 8)
        return struct.unpack(">Q", stream.read(8))[0]


def with_qemu():
    return qemu.digest(qemu.Encrypted("disk.qcow2", "key"))


def both_refuse(here, reader, match):
    with pytest.raises(qemu.QemuError):
        with_qemu()
    with pytest.raises(Refused, match=match):
        reader.digest(here)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40])
def test_luks_header_may_say_any_length(here, reader, length):
    """Only what is read of it has to be inside; offset and length must not wrap when added."""
    patch(POINTER_AT + 16, ">Q", length)
    assert with_qemu() == here.digest
    assert reader.digest(here) == here.digest


@pytest.mark.parametrize("length", [0, 208, 591, 592])
def test_luks_header_too_short_for_itself_or_its_keys_is_refused(here, reader, length):
    patch(POINTER_AT + 16, ">Q", length)
    both_refuse(here, reader, "LUKS|key material")


@pytest.mark.parametrize("offset", [2**63, 2**64 - 4096, 2**62, 2**40, 0, 512, 4096])
def test_luks_header_that_is_not_where_it_should_be_is_refused(here, reader, offset):
    """Past 2^63, past the file, unaligned, or on other tables."""
    patch(POINTER_AT + 8, ">Q", offset)
    both_refuse(here, reader, "LUKS|encryption header")


def test_encrypted_image_without_a_pointer_to_its_header_is_refused(here, reader):
    """QEMU 7.2 refuses to read it (and its info dies of it)."""
    patch(POINTER_AT, ">I", 0)
    both_refuse(here, reader, "LUKS|encryption header")


@pytest.mark.parametrize("method", [0, 1])
def test_pointer_to_a_luks_header_in_an_image_that_has_none_is_refused(here, reader, method):
    """Legacy AES and no encryption at all."""
    patch(32, ">I", method)
    both_refuse(here, reader, "encryption header")


def test_encryption_method_3_is_refused(here, reader):
    patch(32, ">I", 3)
    both_refuse(here, reader, "3")


@pytest.mark.tool_only
def test_slot_of_2_to_32_iterations_is_a_limit_and_not_a_wait(here, reader):
    """Hours of work for whoever tries it. QEMU does, so it is not asked."""
    patch(luks_at() + SLOT_AT + 4, ">I", 2**32 - 1)
    with pytest.raises(Refused, match="iterations"):
        reader.digest(here)
