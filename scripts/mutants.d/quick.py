# SPDX-License-Identifier: MIT
"""Which tests are put before a mutant, and in which order: a table from parts of src/ to tests that take
seconds. Knows the names of tests, nothing of what is in them."""
import json
from pathlib import Path

PYTEST = ["/usr/bin/python3", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]

HOSTILE = ["images/test_hostile_header.py", "images/test_hostile_mapping.py", "images/test_hostile_extensions.py"]
CHECK = ["check/test_crafted.py", "check/test_explain.py"]

# What begins like this is looked after by these, besides all unit tests.
PROGRAMS = {
    "src/base/": ["copy_zero", "crypto luks header"],
    "src/copy/": ["copy_contract", "copy_file", "copy_order", "copy_compare", "copy_device", "copy_zero"],
    "src/crypto/": ["crypto luks header", "crypto none", "crypto digest", "crypto cipher",
                    "crypto luks unlock"],
    "src/image/check": ["check_contract"],
    "src/image/explain": ["check_contract"],
    "src/image/refcount": ["check_contract"],
    "src/format/refcount": ["check_contract"],
}
IMAGES = {
    "src/base/": HOSTILE[:1],
    "src/codec/": ["images/test_hostile_deflate.py", "images/test_hostile_zstd.py"],
    "src/copy/": ["tool/test_tool_digest.py", "tool/test_tool_compare.py"],
    "src/crypto/": [],
    "src/format/": [*HOSTILE, "images/test_extended_l2.py", *CHECK, "tool/test_tool_snapshots.py"],
    "src/image/": [*HOSTILE, "images/test_extended_l2.py", *CHECK, "tool/test_tool_snapshots.py",
                   "tool/test_tool_grants.py", "tool/test_tool_info.py"],
    "src/image/compressed": ["images/test_hostile_deflate.py"],
    "src/source/": ["tool/test_tool_grants.py", *HOSTILE[:1]],
}


def programs(build):
    """Test programs by meson's name, from the build's own list."""
    listed = json.loads((Path(build) / "meson-info" / "intro-tests.json").read_text())
    return {test["name"]: test["cmd"] for test in listed}


def every_test(root, build):
    """All that may be put before some mutant: name and command."""
    named = {name for names in PROGRAMS.values() for name in names}
    tests = {name: command for name, command in programs(build).items()
             if name.startswith("unit_") or name in named}
    for name in sorted({name for names in IMAGES.values() for name in names}):
        tests[name] = [*PYTEST, str(Path(root) / "tests" / name)]
    return tests


def beginning(table, path):
    return {name for start, names in table.items() if path.startswith(start) for name in names}


def groups_for(path, root, build, durations):
    """Tests for a mutant of this file, in groups of (what to build, tests): those named like the file, then
    other programs, then what needs the tool; the shortest first."""
    commands = every_test(root, build)
    stem = Path(path).stem.split("_")[0]
    chosen = sorted((name for name in commands if name.startswith("unit_") or name in beginning(PROGRAMS, path)),
                    key=durations.get)
    near = [name for name in chosen if stem in name]
    far = [name for name in chosen if name not in near]
    images = sorted(beginning(IMAGES, path), key=durations.get)
    groups = []
    for names in (near, far):
        targets = [str(Path(commands[name][0]).relative_to(build)) for name in names]
        groups.append((targets, [(name, commands[name]) for name in names]))
    groups.append(([], [(name, commands[name]) for name in images]))
    return [group for group in groups if group[1]]
