#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""layers.py ROOT - fails when a file includes what its layer must not know, or uses a call that the
library promises not to use.

The order of the layers is docs/architecture.md's; the public header is everybody's vocabulary. Comments
are taken out by the C preprocessor first, so that text about a rule does not break it.
"""
import os
import re
import subprocess
import sys

# Layer -> layers whose headers it may include. A layer may always include its own.
MAY_INCLUDE = {
    "src/base": [],
    "src/format": ["src/base"],
    "src/codec": ["src/base"],
    "src/crypto": ["src/base"],
    "src/source": ["src/base"],
    "src/image": ["src/base", "src/format", "src/codec", "src/crypto", "src/source"],
    "src/audit": ["src/base", "src/format", "src/source", "src/image"],
    "src/copy": [],
    "src": ["src/base"],  # files that stand in src/ itself
    "tool": [],
    "bench": [],
    "nbdkit": [],
    "fuse": [],
    "python": [],
    "remote": [],
    "docs": [],
}

# Calls that break a promise of the library: where, pattern, which promise.
FORBIDDEN = [
    ("src", r"\b(v?f?printf|vdprintf|dprintf|putc|fputc|fputs|puts|putchar|perror|syslog)\s*\(", "the library prints nothing"),
    ("src", r"\b(secure_)?getenv\s*\(", "the library reads no environment"),
    ("src", r"\b(_?exit|_Exit|quick_exit|abort)\s*\(", "the library never ends the process"),
    ("src", r"\b(alloca|gets|strcpy|strcat|sprintf|vsprintf|strtok)\s*\(", "unbounded or unchecked by nature"),
    ("src", r"\bmmap\s*\(", "files are never mapped: a truncated file would kill the process"),
    ("src/base src/format src/codec src/crypto src/source src/image src/audit src/version.c",
     r"\b(pthread_create|thrd_create|fork|vfork|system|popen)\s*\(", "only the copy engine starts threads"),
    ("src/base src/format src/codec src/crypto src/source src/image src/audit src/version.c",
     r"\b(O_RDWR|O_WRONLY|O_CREAT|O_TRUNC|O_APPEND)\b", "files are opened read-only"),
    ("src/base src/format src/codec src/crypto src/source src/image src/audit src/version.c",
     r"\b(p?writev?|pwrite64|pwritev2?|ftruncate|fallocate|f?open64|fopen|unlink|rename)\s*\(", "nothing but the copy engine writes"),
    ("src/format", r"\b([mc]alloc|realloc|free|p?read|open)\s*\(", "format/ does no I/O and allocates nothing"),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def c_files(root):
    for top in sorted({layer.split("/")[0] for layer in MAY_INCLUDE}):
        for folder, folders, files in os.walk(os.path.join(root, top)):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "build")))
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def layer_of(path):
    """The longest layer name the path stands under, or None outside of all layers."""
    found = [layer for layer in MAY_INCLUDE if path.startswith(layer + "/")]
    return max(found, key=len, default=None)


def resolve(root, path, name):
    """Which file of ours an include means, or None for one of the system's."""
    for folder in (os.path.dirname(path), "src", "include", ""):
        candidate = os.path.normpath(os.path.join(folder, name))
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def without_comments(root, path):
    done = subprocess.run(["cc", "-fpreprocessed", "-dD", "-E", "-P", "-x", "c", path], cwd=root, text=True,
                          capture_output=True, check=True)
    return done.stdout


def includes(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1), match.group(2)


def main():
    root = sys.argv[1]
    faults, files = [], 0
    for path in c_files(root):
        files += 1
        layer = layer_of(path)
        for number, bracket, name in includes(root, path):
            target = resolve(root, path, name)
            if target is None:
                if bracket == '"':
                    faults.append(f'{path}:{number}: "{name}" is not a file of this project')
                continue
            if target == "include/qcow2.h":
                continue
            theirs = layer_of(target)
            if theirs != layer and theirs not in MAY_INCLUDE[layer]:
                faults.append(f"{path}:{number}: {layer} must not know {target}")
        text = None
        for where, pattern, promise in FORBIDDEN:
            if any(path == place or path.startswith(place + "/") for place in where.split()):
                text = without_comments(root, path) if text is None else text
                for match in re.finditer(pattern, text):
                    faults.append(f"{path}: {match.group(0).strip()}: {promise}")
    print("\n".join(faults))
    print(f"{files} files, {len(faults)} faults")
    if files == 0:
        sys.exit("no files found: wrong directory?")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
