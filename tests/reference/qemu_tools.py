# SPDX-License-Identifier: MIT
"""qemu_tools.py - qemu-img and qemu-io as functions, for tests that compare with them."""

import hashlib
import os
import subprocess
import tempfile


class QemuError(Exception):
    """A QEMU tool said no; the text is its own."""


def run(*command, cwd=None, expect=(0,), with_status=False):
    """The standard output of a command, after its exit status if wanted. Raises QemuError on an
    exit status that is not expected."""
    done = subprocess.run([os.fspath(word) for word in command], cwd=cwd, capture_output=True,
                          stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in expect:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise QemuError(f"{command}: status {done.returncode}: {said}")
    return (done.returncode, done.stdout) if with_status else done.stdout


def img(*arguments, cwd=None, expect=(0,)):
    return run("qemu-img", *arguments, cwd=cwd, expect=expect)


def io(target, commands, cwd=None, flags=()):
    """Runs qemu-io commands on an image in one process; its status is bad if one of them failed."""
    words = [word for command in commands for word in ("-c", command)]
    run("qemu-io", "-d", "unmap", *flags, *words, *as_target(target), cwd=cwd)


class Encrypted:
    """A file together with what QEMU needs to decrypt it (and, maybe, its parents)."""

    def __init__(self, path, key_file, options=None):
        self.path, self.key_file = path, key_file
        self.options = options or f"driver=qcow2,file.filename={path},encrypt.key-secret=key"


def as_target(target):
    if isinstance(target, Encrypted):
        return ["--object", f"secret,id=key,file={target.key_file}", "--image-opts", target.options]
    return [target]


def digest(target, *options, cwd=None):
    """SHA-256 of the disk as QEMU reads it; `options` go to qemu-img convert."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as scratch:
        raw = os.path.join(scratch, "disk")
        img("convert", "-O", "raw", *options, *as_target(target), raw, cwd=cwd)
        with open(raw, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
