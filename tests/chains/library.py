# SPDX-License-Identifier: MIT
"""library.py - as much of qcow2.h, through ctypes, as those tests need that no tool could serve:
reads into a buffer that is looked at afterwards, counters, sources that wait."""

import ctypes
import os

import pytest

import readers

PATH = os.path.abspath(os.environ.get("QCOW2_LIBRARY",
                                      os.path.join(readers.BUILD, "src", "libqcow2.so")))

READ_AT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t,
                           ctypes.c_uint64)
GET_SIZE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint64))
GET_FD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
CLOSE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Source(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("ctx", ctypes.c_void_p), ("name", ctypes.c_char_p),
                ("read_at", READ_AT), ("get_size", GET_SIZE), ("get_fd", GET_FD), ("close", CLOSE)]


class Error(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("code", ctypes.c_int), ("sys_errno", ctypes.c_int),
                ("depth", ctypes.c_int), ("reserved", ctypes.c_int),
                ("host_offset", ctypes.c_uint64), ("guest_offset", ctypes.c_uint64),
                ("message", ctypes.c_char * 256)]


class Stats(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t)] + [(name, ctypes.c_uint64) for name in (
        "reads", "bytes_read", "cluster_reads", "cluster_holes", "cluster_standard",
        "cluster_compressed", "l2_cache_hits", "l2_cache_misses", "l2_cache_evictions",
        "comp_cache_hits", "comp_cache_misses", "comp_cache_evictions", "source_reads",
        "source_bytes")]


def load():
    """The shared library, or a skip where it can only be loaded by a sanitized program."""
    with open(PATH, "rb") as stream:
        content = stream.read()
    if b"__asan_init" in content or b"__tsan_init" in content:
        pytest.skip("the library is built with sanitizers, Python is not")
    library = ctypes.CDLL(PATH)
    library.qcow2_pread.restype = ctypes.c_ssize_t
    library.qcow2_size.restype = ctypes.c_uint64
    return library


class Image:
    """An open image: from a path, or from a Python object with `size` and `read(offset, count)`."""

    def __init__(self, origin):
        self.library, self.handle = load(), ctypes.c_void_p()
        error = Error(ctypes.sizeof(Error))
        if isinstance(origin, (str, bytes, os.PathLike)):
            status = self.library.qcow2_open(os.fsencode(origin), None, ctypes.byref(self.handle),
                                             ctypes.byref(error))
        else:
            self.source = self.make_source(origin)
            status = self.library.qcow2_open_source(
                ctypes.byref(self.source), None, ctypes.byref(self.handle), ctypes.byref(error))
        assert status == 0, error.message.decode(errors="replace")

    @staticmethod
    def make_source(origin):
        def read_at(_, target, count, offset):
            ctypes.memmove(target, origin.read(offset, count), count)
            return 0

        def get_size(_, size_ret):
            size_ret[0] = origin.size
            return 0
        return Source(ctypes.sizeof(Source), None, b"python", READ_AT(read_at), GET_SIZE(get_size))

    def read_into(self, target, count, offset):
        """What qcow2_pread returns."""
        return self.library.qcow2_pread(self.handle, target, ctypes.c_size_t(count),
                                        ctypes.c_uint64(offset), None)

    def read(self, offset, count):
        target = ctypes.create_string_buffer(count)
        found = self.read_into(target, count, offset)
        assert found >= 0, f"code {found}"
        return target.raw[:found]

    def stats(self):
        stats = Stats(ctypes.sizeof(Stats))
        self.library.qcow2_get_stats(self.handle, ctypes.byref(stats))
        return stats

    def close(self):
        self.library.qcow2_close(self.handle)
