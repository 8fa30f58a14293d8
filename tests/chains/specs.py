# SPDX-License-Identifier: MIT
"""specs.py - the images of the matrix, as a list to read. generate.py makes the files.

The full product of all factors would be some hundred thousand images. Here every combination of
version, cluster size, content, kind of L2 entry and parent is made once, with sizes, refcount
widths and snapshots going round beside them; the other factors have a paragraph each, over the
cluster sizes and parents that they could depend on."""

import dataclasses

import damage

KIB, MIB = 1 << 10, 1 << 20

# Enough clusters to fill several L2 tables where those are small, and some clusters where not.
DISK_SIZES = {512: 300 * KIB, 1024: 600 * KIB, 4096: 2560 * KIB, 16384: 2 * MIB, 65536: 2560 * KIB,
              1 << 20: 10 * MIB, 2 << 20: 18 * MIB}
CLUSTERS = (512, 1024, 4096, 65536, 1 << 20, 2 << 20)
CONTENTS = ("plain", "deflate", "zstd")
PARENTS = ("none", "raw", "qcow2", "three", "short", "long")
REFCOUNT_BITS = (16, 1, 8, 64, 2, 32, 4)
ODD = (0, 512, -512, 3 * 512, -7 * 512)  # added to the size: ends inside a cluster


@dataclasses.dataclass(frozen=True)
class Spec:
    """One image to make. Every field but the first two has the value of the plainest image."""

    name: str
    cluster: int
    version: int = 3  # 1 is the old qcow format
    content: str = "plain"  # deflate, zstd: some clusters are compressed
    extended: bool = False  # L2 entries with subclusters
    parent: str = "none"  # raw, qcow2; three: two below it; short, long: its size
    size: int = None  # None: that of DISK_SIZES
    refcount_bits: int = 16
    # Each snapshot is (size of the disk when it was taken, bytes of VM state kept with it).
    snapshots: tuple = ()
    data_file: str = ""  # "beside", or "raw" for the raw flag too
    encryption: str = ""  # a name of ENCRYPTIONS
    bitmaps: tuple = ()  # granularities
    damage: str = ""  # a name of damage.DAMAGES, done to the finished image
    options: tuple = ()  # more options for qemu-img create

    def __post_init__(self):
        if self.size is None:
            object.__setattr__(self, "size", DISK_SIZES[self.cluster])


# Options of qemu-img create, without "encrypt."; for LUKS the format is implied.
ENCRYPTIONS = {
    "aes": "format=aes",
    "luks": "",
    "luks-xts128-sha1": "cipher-alg=aes-128,hash-alg=sha1",
    "luks-xts256-plain-sha512": "ivgen-alg=plain,hash-alg=sha512",
    "luks-xts256-essiv": "ivgen-alg=essiv,ivgen-hash-alg=sha256",
    "luks-cbc128-plain-sha1": "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=plain,hash-alg=sha1",
    "luks-cbc256-plain64": "cipher-mode=cbc,ivgen-alg=plain64",
    "luks-cbc256-essiv": "cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
    "luks-cbc128-essiv-sha512":
        "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha512",
    "luks-second-slot": "",
    "luks-serpent": "cipher-alg=serpent-256",
    "luks-twofish-cbc": "cipher-alg=twofish-128,cipher-mode=cbc,ivgen-alg=plain64",
}
NEED_ANOTHER_CIPHER = ("luks-serpent", "luks-twofish-cbc")  # which OpenSSL does not have


def short(cluster):
    if cluster < KIB:
        return str(cluster)
    return f"{cluster >> 20}M" if cluster >= MIB else f"{cluster >> 10}K"


def every_combination():
    """Version, cluster size, content, kind of L2 entry, parent: each with each, where legal."""
    turn = 0
    for version, extended, content, cluster, parent in (
            (version, extended, content, cluster, parent)
            for version, extended in ((2, False), (3, False), (3, True))
            for content in CONTENTS if (version, content) != (2, "zstd")
            for cluster in CLUSTERS if not extended or cluster >= 65536
            for parent in PARENTS):
        size = DISK_SIZES[cluster] + ODD[turn % len(ODD)]
        width = REFCOUNT_BITS[turn % len(REFCOUNT_BITS)] if version == 3 else 16
        snapshots = ((), ((size, 0),), (), ((size, 0),) * 2)[turn % 4] if width > 2 else ()
        kind = "ext" if extended else f"v{version}"
        yield Spec(f"{kind}-{short(cluster)}-{content}-{parent}", cluster, version, content,
                   extended, parent, size, width, snapshots)
        turn += 1


def small_extended_clusters():
    """16 KiB is the least that subclusters allow: each is one sector."""
    for content in CONTENTS:
        for parent in PARENTS:
            yield Spec(f"ext-16K-{content}-{parent}", 16384, content=content, extended=True,
                       parent=parent, size=DISK_SIZES[16384] + 512)


def snapshots():
    """The disk kept its size, shrank, or grew since; with VM state or without."""
    for cluster in (512, 4096, 65536, 2 << 20):
        now = DISK_SIZES[cluster]
        smaller, larger = now * 2 // 3 // 512 * 512, now * 3 // 2 // 512 * 512
        histories = {
            "many": ((now, 0),) * 4,
            "shrunk-since": ((larger, 0),),
            "grown-since": ((smaller, 0),),
            "up-and-down": ((smaller, 0), (larger, 0), (now, 0)),
            "with-state": ((now, 77_777), (now, 0)),
            "with-state-grown-since": ((smaller, 40_000),),
        }
        for word, history in histories.items():
            for extended in (False, True)[:2 if cluster >= 65536 else 1]:
                yield Spec(f"snapshots-{word}-{short(cluster)}" + "-ext" * extended, cluster,
                           content="deflate", extended=extended, snapshots=history)
        yield Spec(f"snapshots-v2-with-state-{short(cluster)}", cluster, version=2,
                   parent="short", snapshots=((now, 0), (now, 12_345)))
        yield Spec(f"snapshots-of-an-overlay-{short(cluster)}", cluster, parent="long",
                   snapshots=((larger, 0), (smaller, 0)))


def data_files():
    """Guest data in a file of its own, where host offset 0 is a place like any other."""
    for cluster in CLUSTERS:
        for extended in (False, True)[:2 if cluster >= 65536 else 1]:
            kind = f"{short(cluster)}" + "-ext" * extended
            yield Spec(f"data-file-raw-{kind}", cluster, extended=extended, data_file="raw")
            for parent in ("none", "qcow2", "short"):
                yield Spec(f"data-file-{kind}-{parent}", cluster, extended=extended, parent=parent,
                           data_file="beside", size=DISK_SIZES[cluster] + 512)


def encrypted():
    """LUKS in every mode that both QEMU and OpenSSL know, legacy AES over everything."""
    for number, name in enumerate(name for name in ENCRYPTIONS if name != "aes"):
        yield Spec(f"{name}", (65536, 4096, 512, 2 << 20)[number % 4], encryption=name,
                   parent=PARENTS[number % 6])
    yield Spec("luks-v2", 4096, version=2, encryption="luks", size=2 * MIB,
               snapshots=((2 * MIB, 0),) * 2)
    yield Spec("luks-ext", 65536, extended=True, encryption="luks", parent="short")
    yield Spec("luks-data-file", 65536, encryption="luks", data_file="beside")
    yield Spec("luks-snapshots-with-state", 65536, encryption="luks", snapshots=((2 * MIB, 5000),),
               size=2 * MIB)
    for cluster in (512, 4096, 65536, 2 << 20):
        for version in (2, 3):
            for parent in ("none", "three", "short"):
                size = DISK_SIZES[cluster] + 512
                yield Spec(f"aes-v{version}-{short(cluster)}-{parent}", cluster, version,
                           parent=parent, encryption="aes", size=size,
                           snapshots=((size, 0),) * (parent != "short"))


def refcount_widths():
    for width in sorted(REFCOUNT_BITS):
        for cluster in (512, 65536, 1 << 20):
            yield Spec(f"refcount-{width}-{short(cluster)}", cluster, content="deflate",
                       refcount_bits=width,
                       snapshots=((DISK_SIZES[cluster], 0),) * (3 if width > 2 else 0))


def odd_sizes():
    for cluster in (512, 4096, 65536):
        one_l1_entry = min(cluster * cluster // 8, 4 * MIB)
        for size in sorted({0, 512, cluster - 512, cluster, cluster + 512, 33 * cluster - 512,
                            one_l1_entry, one_l1_entry + 512}):
            yield Spec(f"size-{size}-{short(cluster)}", cluster, size=size, content="deflate",
                       parent="raw" if size else "none")


def bitmaps():
    for cluster in (512, 4096, 65536, 2 << 20):
        yield Spec(f"bitmaps-{short(cluster)}", cluster, bitmaps=(512, 65536, 1 << 20),
                   size=DISK_SIZES[cluster] + 512)
    yield Spec("bitmaps-over-parent", 65536, bitmaps=(4096,), parent="qcow2", content="deflate")
    yield Spec("bitmaps-and-data-file", 65536, bitmaps=(4096,), data_file="beside")
    yield Spec("bitmaps-and-snapshots", 4096, bitmaps=(4096,), snapshots=((2560 * KIB, 0),))


def preallocated():
    for mode in ("metadata", "falloc", "full"):
        options = (f"preallocation={mode}",)
        yield Spec(f"preallocated-{mode}", 65536, options=options)
        yield Spec(f"preallocated-{mode}-ext", 65536, extended=True, options=options)
    yield Spec("lazy-refcounts", 65536, options=("lazy_refcounts=on",))


def version_1():
    """It cannot state its parent's format, so that a parent with a parent is refused by us."""
    for parent in PARENTS:
        if parent == "three":
            continue
        for content in ("plain", "deflate"):
            yield Spec(f"v1-{content}-{parent}", 512 if parent != "none" else 4096, version=1,
                       content=content, parent=parent, size=MIB + 512)
    yield Spec("v1-aes", 4096, version=1, encryption="aes", size=MIB)


def damaged():
    """Broken on purpose after they were made: what check counts, and what still can be read."""
    bases = {
        "v2": {"cluster": 4096, "version": 2, "snapshots": ((2560 * KIB, 0),), "parent": "qcow2"},
        "v3": {"cluster": 65536, "content": "deflate", "snapshots": ((2560 * KIB, 0),)},
        "ext": {"cluster": 65536, "content": "deflate", "extended": True},
        "narrow": {"cluster": 512, "refcount_bits": 1},
    }
    for name, (_, afflicts) in damage.DAMAGES.items():
        for base, fields in bases.items():
            if base in afflicts:
                yield Spec(f"damaged-{name}-{base}", damage=name, **fields)


FAMILIES = (every_combination, small_extended_clusters, snapshots, data_files, encrypted,
            refcount_widths, odd_sizes, bitmaps, preallocated, version_1, damaged)
SPECS = [spec for family in FAMILIES for spec in family()]
