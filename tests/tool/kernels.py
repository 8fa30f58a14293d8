# SPDX-License-Identifier: MIT
"""Kernels that have not all that this one has, as far as a program can tell: for preexec_fn."""

import ctypes
import errno
import struct

# A kernel without Landlock and seccomp, as far as a program can tell: their calls give ENOSYS.
CALLS = {'x86_64': (317, (444, 445, 446)), 'aarch64': (277, (444, 445, 446))}


def without(*numbers):
    """For preexec_fn: makes these system calls fail with ENOSYS."""
    code = [(0x20, 0, 0, 0)]  # load the number of the call
    for i, number in enumerate(numbers):
        code.append((0x15, len(numbers) - i, 0, number))
    code += [(0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x00050000 | errno.ENOSYS)]
    return under(code)


def without_low_memory():
    """For preexec_fn: nothing can be mapped at an address that is asked for below 16 MiB."""
    return under([(0x20, 0, 0, 0), (0x15, 0, 5, 9),     # mmap
                  (0x20, 0, 0, 20), (0x15, 0, 3, 0),    # the upper half of the address
                  (0x20, 0, 0, 16), (0x15, 1, 0, 0),    # and the lower: 0 is "anywhere"
                  (0x35, 0, 1, 1 << 24), (0x06, 0, 0, 0x7fff0000),
                  (0x06, 0, 0, 0x00050000 | errno.EPERM)])


def under(code):
    """For preexec_fn: puts the process under a filter of seccomp."""
    program = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *each) for each in code))
    head = ctypes.create_string_buffer(struct.pack('@HP', len(code), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)

    def install():
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        assert libc.prctl(22, 2, head, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        assert program is not None
    return install
