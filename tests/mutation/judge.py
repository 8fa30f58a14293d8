# SPDX-License-Identifier: MIT
"""judge.py - whether two answers about one mutated image may stand beside each other.

verdict(lab) -> (outcome, reason). The outcome says who refused what; where the two differ, the reason
is one of those that docs/errata.md decides, and wherever it can be it is tried: with the option that
gives QEMU's answer, on a file that has the zeros behind its end that QEMU assumes, or with the broken
table that costs QEMU the whole image taken out of it. Difference is raised if no reason holds."""

from fields import LUKS_SLOT_BYTES, LUKS_SLOTS_AT, header_number
from lab import TooLarge

SAME = "same bytes"
SAME_ERRORS = "same bytes, the same places unreadable"
BOTH_REFUSE = "both refuse"
WE_REFUSE = "only we refuse the image"
WE_FAIL = "only we fail, at some places"
THEY_REFUSE = "only QEMU refuses the image"
OTHER_DISK = "same bytes as far as both go"
UNKNOWN = "not compared"

PAST_END = "tables or data past the end of the file: zeros in QEMU, and with --zeros-past-end"
CUT_STREAM = "compressed data cut by the end of the file: QEMU adds zeros to it"
CUT_HEADER = "file ends inside the fixed header: QEMU adds zeros to it"
DIES = "QEMU dies of a signal"
NAME_IN_HEADER = "backing file name inside the header: the same bytes cannot be both"
SNAPSHOTS = "broken snapshot table: the disk does not depend on it"
BITMAPS = "broken bitmaps: the disk does not depend on them"
BOTH_TABLES = "broken snapshot table and bitmaps"
SLOT_WRAPS = "LUKS key slot beyond 2^32 sectors: QEMU's sum wraps"

OTHER_SIZE = "snapshot of a disk of another size: QEMU shows it with the size of today"
NO_SIZE = "snapshot of a disk of 2^63 bytes or more: QEMU does not look at its size"
NOT_ASKED = "snapshot of a disk of more than 6 MiB today: QEMU is not asked"


class Difference(Exception):
    """Two answers, and no reason for it."""


def verdict(lab):
    ours = lab.ours()
    if ours.contradictions:
        raise Difference(f"ours contradicts itself: {ours.contradictions}")
    try:
        theirs = lab.qemu()
    except TooLarge:
        return UNKNOWN, NOT_ASKED
    if ours.same_as(theirs):
        if not ours.opened:
            return BOTH_REFUSE, DIES if theirs.code == "signal" else ""
        return (SAME_ERRORS if ours.bad else SAME), ""
    refused_by_qemu = not theirs.opened
    reasons = []
    if refused_by_qemu:
        reason, theirs = without_broken_tables(lab, theirs)
        reasons.append(reason)
    if lab.base.snapshot and ours.opened and ours.size != theirs.size:
        reasons.append(OTHER_SIZE)
        theirs = theirs.clipped(ours.size)
        ours = ours.clipped(theirs.size)
        if ours.same_as(theirs) and not refused_by_qemu:
            return OTHER_DISK, OTHER_SIZE
    if not ours.same_as(theirs):
        reasons.append(why_we_fail(lab, ours, theirs))
    if refused_by_qemu:
        return THEY_REFUSE, " + ".join(reasons)
    return (WE_FAIL if ours.opened else WE_REFUSE), " + ".join(reasons)


def alike(lab, ours, theirs):
    """The same answer, as far as both go if it is a snapshot."""
    if lab.base.snapshot and ours.opened and theirs.opened:
        theirs = theirs.clipped(ours.size)
        ours = ours.clipped(theirs.size)
    return ours.same_as(theirs)


def without_broken_tables(lab, theirs):
    """QEMU's answer once what it stumbles over is out of the way."""
    snapshots, bitmaps = lab.without_snapshots(), lab.without_bitmaps()
    for reason, edits in ((SNAPSHOTS, snapshots), (BITMAPS, bitmaps),
                          (BOTH_TABLES, snapshots + bitmaps)):
        if not edits or header_number(lab.head(), 4, ">I") == 1:
            continue
        with lab.patched(edits):
            again = lab.qemu()
        if again.opened:
            return reason, again
    raise Difference(f"QEMU refuses ({theirs.words}) what we read")


def why_we_fail(lab, ours, theirs):
    """The reason why we refuse or fail where QEMU has bytes."""
    if not ours.opened:
        if "lies inside the header" in ours.words and name_in_header(lab.head()):
            return NAME_IN_HEADER
        if "snapshot's sizes" in ours.words and has_absurd_sizes(lab):
            return NO_SIZE
        if ours.code == "corrupt" and "reaches past the payload" in ours.words:
            return slot_wraps(lab, ours, theirs)
        if ours.code != "truncated":
            raise Difference(f"we refuse ({ours.code}: {ours.words}), QEMU reads {theirs}")
    else:
        check_only_truncated(ours, theirs)
    zeros = lab.ours("--zeros-past-end")
    if alike(lab, zeros, theirs):
        return PAST_END
    with lab.extended():
        extended = lab.ours("--zeros-past-end")  # a place may lie behind the longest file there is
    if alike(lab, extended, theirs):
        return CUT_STREAM if zeros.opened else CUT_HEADER
    raise Difference(f"ours: {ours}; with zeros past the end: {zeros}; on an endless file: "
                     f"{extended}; QEMU: {theirs}")


def name_in_header(head):
    length = header_number(head, 100, ">I") if header_number(head, 4, ">I") == 3 else 72
    return 0 < header_number(head, 8, ">Q") < length and header_number(head, 16, ">I") > 0


def has_absurd_sizes(lab):
    """Whether the snapshot that is read says that its disk or state has 2^63 bytes or more."""
    with open(lab.path, "rb") as stream:
        data = stream.read()
    at = header_number(data, 64, ">Q")
    for _ in range(header_number(data, 60, ">I")):
        ids, names = header_number(data, at + 12, ">H"), header_number(data, at + 14, ">H")
        extra = header_number(data, at + 36, ">I")
        if data[at + 40 + extra:at + 40 + extra + ids] == lab.base.snapshot.encode():
            sizes = data[at + 40:at + 40 + min(extra, 16)]
            return any(sizes[place] >= 0x80 for place in range(0, len(sizes) - 7, 8))
        at += -(-(40 + extra + ids + names) // 8) * 8
    return False


def slot_wraps(lab, ours, theirs):
    """The reason, if nothing but slots whose end wraps is between us and QEMU's answer: they are put back
    where they were in the good image."""
    edits = wrapping_slots(lab)
    if edits:
        with lab.patched(edits):
            again = lab.ours()
            if alike(lab, again, theirs):
                return SLOT_WRAPS
            if again.words != ours.words:
                return f"{SLOT_WRAPS} + {why_we_fail(lab, again, theirs)}"
    raise Difference(f"we refuse ({ours.code}: {ours.words}), QEMU reads {theirs}")


def wrapping_slots(lab):
    """Edits that take back those of key slots which end behind 2^32 sectors where the lower 32 bits of the
    end are not past the payload."""
    header, edits = lab.luks_header(), []
    if header is None:
        return edits
    payload, key_bytes = lab.number(header + 104, 4), lab.number(header + 108, 4)
    for slot in range(8):
        at = header + LUKS_SLOTS_AT + slot * LUKS_SLOT_BYTES
        start, good = lab.number(at + 40, 4), lab.image.data[at + 40:at + 44]
        end = start + -(-key_bytes * lab.number(at + 44, 4) // 4096) * 8
        if end >> 32 and end & 0xFFFFFFFF <= payload and start.to_bytes(4, "big") != good:
            edits.append((at + 40, good))
    return edits


def check_only_truncated(ours, theirs):
    """All that we say is as QEMU says it, but for places that are cut off."""
    if ours.size != theirs.size:
        raise Difference(f"size {ours.size}, QEMU {theirs.size}")
    readable = theirs.bad.keys() - ours.bad.keys()
    if readable:
        raise Difference(f"we read pieces that QEMU cannot read: {sorted(readable)[:5]}")
    other = {ours.bad[number] for number in ours.bad.keys() - theirs.bad.keys()} - {"truncated"}
    if other:
        raise Difference(f"we fail with {other} where QEMU reads: {ours}")
    for number, start in enumerate(range(0, len(ours.bytes), ours.piece)):
        part = slice(start, start + ours.piece)
        if number not in ours.bad and ours.bytes[part] != theirs.bytes[part]:
            raise Difference(f"other bytes at {start}")
