# SPDX-License-Identifier: MIT
"""tests/hostile.md names a test for every hostile case and every advisory, and names none that is not
there."""

import re

import pytest

from tools import ROOT

INDEX = ROOT / 'tests' / 'hostile.md'
CASES = 105
ADVISORIES = ('CVE-2014-0143', 'CVE-2014-0144', 'CVE-2014-0145', 'CVE-2014-0146', 'CVE-2014-0147',
              'CVE-2014-0222', 'CVE-2014-0223', 'CVE-2015-5162', 'CVE-2015-5163', 'CVE-2024-32498',
              'CVE-2024-4467', 'CVE-2024-40767', 'CVE-2024-44082', 'CVE-2026-24708')


def rows(first):
    """The cells of the rows whose first cell is like this."""
    for line in INDEX.read_text(encoding='utf-8').splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('|') and re.fullmatch(first, cells[0]):
            yield cells


def exists(test):
    """Whether `file::name` is a test that is run: a function, and in C one that is listed too."""
    file, _, name = test.partition('::')
    path = ROOT / 'tests' / file
    if not path.is_file():
        return False
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.c':
        return (re.search(rf'^static void {name}\(void \*\*state\)', text, re.M) is not None
                and re.search(rf'cmocka_unit_test.*\b{name}\b', text, re.S) is not None)
    return path.name.startswith('test_') and re.search(rf'^def {name}\(', text, re.M) is not None


def test_every_case_has_a_row_with_tests():
    numbers = [int(cells[0]) for cells in rows(r'\d+')]
    assert numbers == list(range(1, CASES + 1))
    for number, case, answer, tests in rows(r'\d+'):
        assert case and answer, number
        assert re.findall(r'`([^`]+)`', tests), f'case {number} has no test'


def named_tests():
    return sorted({test for cells in rows(r'\d+') for test in re.findall(r'`([^`]+)`', cells[3])})


@pytest.mark.parametrize('test', named_tests())
def test_named_test_exists(test):
    assert exists(test), f'hostile.md names {test}'


@pytest.mark.parametrize('test', ['images/test_hostile_header.py::test_that_is_not_there',
                                  'images/nowhere.py::test_other_file_is_not_qcow2',
                                  'images/expect.py::refused', 'unit/test_open.c::make_sample',
                                  'unit/test_open.c::main', 'unit/test_open.c::close_accepts'])
def test_what_is_no_test_would_be_noticed(test):
    assert not exists(test)


def test_every_advisory_stands_for_cases():
    named = {cells[0]: [int(number) for number in cells[2].split(',')] for cells in rows(r'CVE-.*')}
    assert tuple(named) == ADVISORIES
    for advisory, cases in named.items():
        assert cases and all(1 <= case <= CASES for case in cases), advisory
