# SPDX-License-Identifier: MIT
"""refused.py - the one exception of the reference reader.

The code words are those of qcow2_code_name(): "corrupt", "truncated", "unsupported" and so on."""


class Refused(Exception):
    """An image, or a part of it, that cannot be read right. Never a guess instead."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def require(holds, code, message):
    """States a rule: either it holds, or the image is refused with this code and sentence."""
    if not holds:
        raise Refused(code, message)
