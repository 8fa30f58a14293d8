# SPDX-License-Identifier: MIT
"""files.py - the bytes of a file, and what counts as its end."""

import os
import stat

from layouts import divide_up
from refused import Refused, require


class File:
    """One regular file, only ever read. A disk of its own where it is a raw parent."""

    def __init__(self, path):
        self.path = os.fsencode(path)
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise Refused("reference", f"{os.fsdecode(path)}: {error.strerror}") from None
        facts = os.fstat(self.fd)
        regular = stat.S_ISREG(facts.st_mode)
        require(regular, "reference", f"{os.fsdecode(path)}: not a regular file")
        self.size, self.identity = facts.st_size, (facts.st_dev, facts.st_ino)

    def __del__(self):
        if hasattr(self, "fd"):
            os.close(self.fd)

    def read(self, offset, count):
        """Those of the bytes [offset, offset + count) that exist."""
        count = min(count, self.size - offset)
        return os.pread(self.fd, count, offset) if count > 0 else b""

    def read_all(self, offset, count, cluster_size, what):
        """All of them, where the file counts as filled with zeros to a whole cluster."""
        reach = divide_up(self.size, cluster_size) * cluster_size
        require(offset + count <= reach, "truncated",
                f"{what} at {offset:#x} reaches past the end of the file")
        return self.read(offset, count).ljust(count, b"\0")
