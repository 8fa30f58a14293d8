#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""count.py FILE - prints how many tests passed, failed and were skipped.

FILE is meson's testlog.json (one line for each test program; a program that printed TAP counts as the
tests it named, another as one) or a JUnit XML file as pytest writes it.
"""
import json
import re
import sys
import xml.etree.ElementTree

TAP = re.compile(r"^(ok|not ok) \d+(.*)$", re.MULTILINE)


def of_program(entry):
    passed = failed = skipped = 0
    for verdict, rest in TAP.findall(entry.get("stdout", "")):
        if re.search(r"# *skip", rest, re.IGNORECASE):
            skipped += 1
        elif verdict == "ok":
            passed += 1
        else:
            failed += 1
    if entry["result"] == "SKIP":
        return 0, 0, max(1, skipped)
    good = entry["result"] in ("OK", "EXPECTEDFAIL")
    if passed + failed + skipped == 0 and good:
        passed = 1
    if not good:  # crashed, timed out or reported by a sanitizer, perhaps after its last test
        failed = max(1, failed)
    return passed, failed, skipped


def of_meson(path):
    totals = [0, 0, 0]
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            for index, number in enumerate(of_program(json.loads(line))):
                totals[index] += number
    return totals


def of_junit(path):
    passed = failed = skipped = 0
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main():
    path = sys.argv[1]
    try:
        numbers = of_junit(path) if path.endswith(".xml") else of_meson(path)
    except (OSError, ValueError, KeyError, xml.etree.ElementTree.ParseError) as error:
        print(f"count.py: {path}: {error}", file=sys.stderr)
        numbers = 0, 1, 0  # tests whose outcome cannot be read have not passed
    print(*numbers)


if __name__ == "__main__":
    main()
