# SPDX-License-Identifier: MIT
"""Which tests are put before a mutant, and in which order: a table from parts of src/ to tests that take
seconds. Knows the names of tests, nothing of what is in them."""
import json
from pathlib import Path

PYTEST = ["/usr/bin/python3", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]

# What begins like this is looked after by these programs, besides all unit tests.
PROGRAMS = {
    "src/audit/check": ["check_contract"],
    "src/audit/": ["copy_contract"],
    "src/base/": ["copy_zero", "crypto luks header"],
    "src/copy/": ["copy_contract", "copy_file", "copy_order", "copy_compare", "copy_device", "copy_zero",
                  "copy_system", "copy_faults"],
    "src/crypto/": ["crypto luks header", "crypto none", "crypto digest", "crypto cipher",
                    "crypto luks unlock", "crypto out of memory"],
    "src/format/refcount": ["check_contract"],
    "src/image/explain": ["check_contract"],
    "src/image/refcount": ["check_contract"],
    "src/source/": ["check_contract"],
}

# And by these files of pytest, the likeliest to notice first: the row that says most of a path counts.
IMAGES = {
    "src/audit/check": ["check/test_crafted.py", "tool/test_tool_check.py"],
    "src/audit/survey": ["tool/test_tool_vet.py", "tool/test_tool_vet_hostile.py"],
    "src/base/": ["images/test_hostile_header.py", "tool/test_tool_info.py"],
    "src/codec/deflate": ["images/test_hostile_deflate.py"],
    "src/codec/zstd": ["images/test_hostile_zstd.py"],
    "src/codec/": ["images/test_hostile_deflate.py", "images/test_hostile_zstd.py"],
    "src/copy/": ["tool/test_tool_digest.py"],
    "src/copy/compare": ["tool/test_tool_compare.py"],
    "src/copy/pairs": ["tool/test_tool_compare.py"],
    "src/crypto/": ["chains/test_hostile_luks.py", "chains/test_luks_by_hand.py"],
    "src/format/bitmap": ["images/test_hostile_extensions.py", "check/test_crafted.py"],
    "src/format/extension": ["images/test_hostile_extensions.py"],
    "src/format/header": ["images/test_hostile_header.py", "tool/test_tool_info.py"],
    "src/format/header_v1": ["images/test_hostile_version_1.py"],
    "src/format/": ["images/test_hostile_mapping.py", "images/test_extended_l2.py", "check/test_crafted.py"],
    "src/format/snapshot": ["tool/test_tool_snapshots.py", "images/test_hostile_snapshots.py"],
    "src/image/": ["images/test_hostile_mapping.py", "images/test_extended_l2.py",
                   "images/test_hostile_header.py"],
    "src/image/bitmap": ["tool/test_tool_snapshots.py", "images/test_hostile_extensions.py"],
    "src/image/chain": ["images/test_hostile_references.py", "tool/test_tool_grants.py",
                        "tool/test_tool_chain.py"],
    "src/image/compressed": ["images/test_hostile_deflate.py", "images/test_hostile_compressed.py"],
    "src/image/encrypted": ["chains/test_hostile_luks.py", "chains/test_luks_by_hand.py"],
    "src/image/explain": ["check/test_explain.py"],
    "src/image/head": ["images/test_hostile_header.py", "images/test_hostile_extensions.py"],
    "src/image/head_v1": ["images/test_hostile_version_1.py"],
    "src/image/info": ["tool/test_tool_info.py"],
    "src/image/open": ["images/test_hostile_header.py", "images/test_hostile_references.py",
                       "tool/test_tool_info.py"],
    "src/image/layer": ["images/test_hostile_header.py", "images/test_hostile_references.py",
                        "images/test_hostile_mapping.py"],
    "src/image/refcount": ["check/test_explain.py", "check/test_crafted.py"],
    "src/image/snapshot": ["tool/test_tool_snapshots.py", "images/test_hostile_snapshots.py"],
    "src/image/stats": ["tool/test_tool_info.py", "images/test_hostile_work.py"],
    "src/image/unlock": ["tool/test_tool_info.py", "chains/test_hostile_luks.py", "chains/test_luks_by_hand.py"],
    "src/source/": ["tool/test_tool_grants.py", "images/test_hostile_header.py"],
    "src/source/grant": ["tool/test_tool_grants.py", "images/test_hostile_references.py"],
    "src/source/window": ["images/test_hostile_mapping.py", "images/test_hostile_compressed.py"],
}

# Programs that stand in for functions of the system have the library in them, not beside them: linked
# again for each mutant, so they come last.
LINKED = ("allocation", "system", "faults", "crypto")


def programs(build):
    """Test programs by meson's name, from the build's own list."""
    listed = json.loads((Path(build) / "meson-info" / "intro-tests.json").read_text())
    return {test["name"]: test["cmd"] for test in listed}


def programs_used(build):
    """Those that may be put before some mutant: name and command."""
    named = {name for names in PROGRAMS.values() for name in names}
    return {name: command for name, command in programs(build).items()
            if name.startswith("unit_") or name in named}


def beside(path):
    """The programs and the files of pytest that the tables give to a file of src/."""
    mine = [name for start, names in PROGRAMS.items() if path.startswith(start) for name in names]
    rows = [start for start in IMAGES if path.startswith(start)]
    return mine, IMAGES[max(rows, key=len)] if rows else []


def tests_for(path, root, build, durations):
    """Tests for a mutant of this file, as (name, what to build before, command): programs named like the
    file, then other programs, the shortest first, then what is driven by pytest."""
    commands = programs_used(build)
    words = Path(path).stem.split("_")
    mine, images = beside(path)

    def order(name):
        alike = sum(word in name for word in words) if words[0] in name else 0
        return any(word in name for word in LINKED) and not alike, -alike, durations[name]

    chosen = sorted((name for name in commands if name.startswith("unit_") or name in mine), key=order)
    found = [(name, [str(Path(commands[name][0]).relative_to(build))], commands[name]) for name in chosen]
    return found + [(name, [], [*PYTEST, str(Path(root) / "tests" / name)]) for name in images]
