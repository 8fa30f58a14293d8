# SPDX-License-Identifier: MIT
"""zstd_ctypes.py - zstd data into exactly one cluster, through libzstd's streaming decoder.

The contract is that of format.md 3.6: one frame or several, skippable and empty ones included,
until the cluster is full; then the last frame must be finished, and what follows it is padding."""

import ctypes

from refused import require

WINDOW_LOG_MAX_PARAMETER = 100  # ZSTD_d_windowLogMax
WINDOW_LOG_MAX = 27  # larger windows are refused, so memory stays below 128 MiB


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer, which look alike."""

    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t)]


_lib = ctypes.CDLL("libzstd.so.1")
_lib.ZSTD_createDCtx.restype = ctypes.c_void_p
_lib.ZSTD_freeDCtx.argtypes = [ctypes.c_void_p]
_lib.ZSTD_DCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
_lib.ZSTD_decompressStream.argtypes = [ctypes.c_void_p] + [ctypes.POINTER(_Buffer)] * 2
_lib.ZSTD_decompressStream.restype = ctypes.c_size_t
_lib.ZSTD_isError.argtypes = [ctypes.c_size_t]


def decompress(data, cluster_size):
    """The cluster that `data` holds; Refused("corrupt") if it does not hold exactly one."""
    context = _lib.ZSTD_createDCtx()
    try:
        _lib.ZSTD_DCtx_setParameter(context, WINDOW_LOG_MAX_PARAMETER, WINDOW_LOG_MAX)
        cluster = ctypes.create_string_buffer(cluster_size)
        source = _Buffer(data, len(data), 0)
        target = _Buffer(ctypes.cast(cluster, ctypes.c_char_p), cluster_size, 0)
        unfinished = 1
        while target.pos < cluster_size:
            before = source.pos, target.pos
            unfinished = _lib.ZSTD_decompressStream(
                context, ctypes.byref(target), ctypes.byref(source))
            require(not _lib.ZSTD_isError(unfinished), "corrupt", "not a zstd stream")
            require((source.pos, target.pos) != before, "corrupt", "zstd data ends too early")
        require(unfinished == 0, "corrupt", "zstd frame goes on past the cluster")
        return cluster.raw
    finally:
        _lib.ZSTD_freeDCtx(context)
