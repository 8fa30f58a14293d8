# SPDX-License-Identifier: MIT
"""test_luks_by_hand.py - LUKS in every mixture of key length, mode and hash, in any key slot.

The images come from luks_writer.py. QEMU judges those too, but for keys of 24 bytes, on which it
fails an assertion; there the disk has to be what it was before it was encrypted."""

import pytest

import luks_writer
import qemu_tools as qemu
from generate import Made
from refused import Refused

PASSPHRASE = b"correct horse"
MODES = ([(key_bytes, f"cbc-{generator}") for key_bytes in (16, 24, 32)
          for generator in ("plain", "plain64", "essiv:sha256")]
         + [(key_bytes, f"xts-{generator}") for key_bytes in (32, 64)
            for generator in ("plain", "plain64", "essiv:sha256")])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_bytes(PASSPHRASE)
    made = Made(None, str(tmp_path), "key")
    qemu.img("create", "-q", "-f", "qcow2", "-o", "compat=0.10,cluster_size=4k", "disk.qcow2", "1M")
    qemu.io("disk.qcow2", ["write -P 1 0 9k", "write -P 2 300k 20k", "write -P 3 1000k 24k"])
    made.digest = qemu.digest("disk.qcow2")
    return made


def with_qemu():
    return qemu.digest(qemu.Encrypted("disk.qcow2", "key"))


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("key_bytes, mode", MODES, ids=lambda value: str(value))
def test_luks_is_read_in_every_mode(here, reader, key_bytes, mode, hash_name):
    luks_writer.encrypt_image("disk.qcow2", PASSPHRASE, key_bytes, mode, hash_name)
    assert key_bytes == 24 or with_qemu() == here.digest
    assert reader.digest(here) == here.digest


@pytest.mark.parametrize("slot", range(8))
def test_any_key_slot_opens(here, reader, slot):
    luks_writer.encrypt_image("disk.qcow2", PASSPHRASE, 64, "xts-plain64", "sha256", slot)
    assert with_qemu() == here.digest
    assert reader.digest(here) == here.digest


@pytest.mark.parametrize("start, length", [(0, 1300), (1, 1300), (8 << 10, 1025), (700, 1300), (511, 2), (100, 50), (9215, 2)])
def test_a_range_that_is_not_of_whole_sectors_is_read(here, tool, start, length):
    luks_writer.encrypt_image("disk.qcow2", PASSPHRASE, 64, "xts-plain64", "sha256")
    disk = b"\1" * (9 << 10) + bytes(3 << 10)
    assert tool.run("cat", here, "-s", str(start), "-l", str(length))[1] == disk[start:start + length]


def test_wrong_key_is_refused(here, reader):
    luks_writer.encrypt_image("disk.qcow2", PASSPHRASE + b"!", 64, "xts-plain64", "sha256")
    with pytest.raises(qemu.QemuError):
        with_qemu()
    with pytest.raises(Refused, match="key"):
        reader.digest(here)
