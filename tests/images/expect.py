# SPDX-License-Identifier: MIT
"""The three things a hostile image may meet: a refusal, QEMU's bytes, or an error where QEMU has
an error or makes bytes up. Each function returns the library's answer for a closer look."""

from tools import probe, qemu_opens, qemu_reads


def refused(path, code, *words, qemu='refuses', flags=()):
    """Open fails with `code` and a message that has all `words`. qemu: 'refuses', 'opens' (we are
    stricter) or 'not asked'."""
    answer = probe(path, reads=[(0, 512)], flags=flags)
    assert answer.code == code, f'{answer.code}: {answer.message}'
    for word in words:
        assert word in answer.message, f'{word!r} is not in {answer.message!r}'
    if qemu != 'not asked':
        assert qemu_opens(path) == (qemu == 'opens'), f'QEMU no longer {qemu} this'
    return answer


def reads_like_qemu(path, step, *, size=None, errors=(), stricter=(), flags=()):
    """Reads the disk in pieces of `step` bytes. Every piece must be QEMU's bytes, except the
    pieces numbered in `errors` ({piece: code} or a collection), where both must fail, and those in
    `stricter`, where only we fail."""
    size = probe(path).size if size is None else size
    pieces = [(offset, min(step, size - offset)) for offset in range(0, size, step)]
    answer = probe(path, reads=pieces, flags=('--extents', '--stats', *flags))
    assert answer.code == 'OK', answer.message
    theirs = qemu_reads(path, pieces)
    for number, (ours, qemu) in enumerate(zip(answer.reads, theirs)):
        failed = isinstance(ours, str)
        if number in errors or number in stricter:
            which = errors if number in errors else stricter
            assert failed, f'piece {number}: bytes instead of an error'
            if isinstance(which, dict):
                assert ours == which[number], f'piece {number}: {ours} {answer.messages[number]}'
            assert (qemu is None) == (number in errors), f'piece {number}: QEMU {qemu!r:.60}'
            place = answer.read_errors[number]['guest_offset']
            assert place // step == number, f'piece {number}: guest offset {place}'
        else:
            assert not failed, f'piece {number}: {ours}: {answer.messages[number]}'
            assert ours == qemu, f'piece {number} differs from QEMU'
    return answer
