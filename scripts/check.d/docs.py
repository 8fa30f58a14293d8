#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""docs.py ROOT TOOL - fails when what is written and what is built disagree.

Commands of the tool have a manual page and a place in the README; the version is the same wherever it
stands; links between pages lead somewhere; the README's C example is the one that is built and run.
"""
import glob
import os
import re
import subprocess
import sys

faults = []


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def search(pattern, text, what):
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        faults.append(f"{what}: not found")
        return None
    return match.group(1)


def check_commands(root, tool):
    readme = read(root, "README.md")
    overview = subprocess.run([tool, "--help"], text=True, capture_output=True, check=False)
    if overview.returncode != 0:
        faults.append(f"qcow2 --help: exit status {overview.returncode}")
    commands = [os.path.basename(path)[4:-2] for path in sorted(glob.glob(os.path.join(root, "tool/cmd_*.c")))]
    for command in commands:
        page = f"man/qcow2-{command}.1.scd"
        if not os.path.isfile(os.path.join(root, page)):
            faults.append(f"{command}: no {page}")
        if f"qcow2 {command}" not in readme:
            faults.append(f"{command}: README.md does not show it")
        if not re.search(rf"\b{command}\b", overview.stdout):
            faults.append(f"{command}: qcow2 --help does not name it")
        help_text = subprocess.run([tool, command, "--help"], text=True, capture_output=True, check=False)
        if help_text.returncode != 0 or f"qcow2 {command}" not in help_text.stdout:
            faults.append(f"{command}: qcow2 {command} --help fails or has no example")
        check_options(root, command, page, help_text.stdout)
    return len(commands)


def check_options(root, command, page, help_text):
    """Every long option that --help shows stands in the manual page."""
    if not os.path.isfile(os.path.join(root, page)):
        return
    manual = read(root, page).replace("\\-", "-").replace("\\_", "_")
    common = "man/qcow2.1.scd"
    if os.path.isfile(os.path.join(root, common)):
        manual += read(root, common).replace("\\-", "-").replace("\\_", "_")
    for option in sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_text))):
        if not re.search(re.escape(option) + r"(?![a-z-])", manual):
            faults.append(f"{command}: {option} is in --help and not in {page}")


def check_library_manual(root):
    """Every call that the library exports stands in its manual page."""
    manual = read(root, "man/libqcow2.3.scd")
    for call in re.findall(r"^ +(qcow2_\w+);$", read(root, "src/libqcow2.map"), re.M):
        if f"*{call}*" not in manual:
            faults.append(f"{call}: not in man/libqcow2.3.scd")


def check_versions(root, tool):
    header = read(root, "include/qcow2.h")
    versions = {
        "include/qcow2.h": ".".join(
            search(rf"^#define QCOW2_VERSION_{part} (\d+)$", header, f"QCOW2_VERSION_{part}") or "?"
            for part in ("MAJOR", "MINOR", "PATCH")
        ),
        "meson.build": search(r"^  version: '([^']*)'", read(root, "meson.build"), "meson.build's version"),
        "CHANGELOG.md": search(r"^## \[(\d[^\]]*)\]", read(root, "CHANGELOG.md"), "CHANGELOG.md's newest version"),
        "qcow2 --version": search(
            r"(\d+\.\d+\.\d+)",
            subprocess.run([tool, "--version"], text=True, capture_output=True, check=False).stdout,
            "a version in qcow2 --version",
        ),
    }
    if len(set(versions.values())) != 1:
        faults.append("versions differ: " + ", ".join(f"{place} {version}" for place, version in versions.items()))


def anchors(text):
    """The anchors that a page's headings get, as the usual forges make them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        heading = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-"))
    return found


def pages(root):
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "build")))
        for name in sorted(files):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(folder, name), root)


def check_links(root):
    count = 0
    for page in pages(root):
        text = re.sub(r"^```.*?^```", "", read(root, page), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            count += 1
            path, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
            if not os.path.exists(os.path.join(root, target)):
                faults.append(f"{page}: {link} leads nowhere")
            elif anchor and target.endswith(".md") and anchor not in anchors(read(root, target)):
                faults.append(f"{page}: {link}: no such heading")
    return count


def check_example(root):
    program = read(root, "docs/examples/first.c")
    program = program[program.index("#include") :]
    if program not in read(root, "README.md"):
        faults.append("README.md does not show docs/examples/first.c as it is")


def main():
    root, tool = sys.argv[1:]
    commands = check_commands(root, tool)
    check_versions(root, tool)
    check_library_manual(root)
    links = check_links(root)
    check_example(root)
    print("\n".join(faults))
    print(f"{commands} commands, {links} links, {len(faults)} faults")
    if commands == 0:
        sys.exit("no commands found in tool/")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
