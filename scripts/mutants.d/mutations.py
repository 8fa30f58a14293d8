# SPDX-License-Identifier: MIT
"""Every small change of a C file that could be a programmer's slip. Text in, text out: knows the layout
that clang-format gives (a binary operator has a space on both sides), and nothing of building."""
import re
from dataclasses import dataclass

TOKEN = re.compile(r"""
    (?P<blank>\s+)
  | (?P<comment>/\*.*?\*/|//[^\n]*)
  | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<directive>^[ \t]*\#(?:\\\n|[^\n])*)
  | (?P<number>0[xX][0-9a-fA-F]+[uUlL]*|[0-9]+[uUlL]*(?![.\w]))
  | (?P<word>[A-Za-z_]\w*)
  | (?P<operator>->|\+\+|--|<<=|>>=|<<|>>|[-+*/%&|^<>=!]=|&&|\|\||.)
""", re.X | re.S | re.M)

BINARY = {
    "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"], "==": ["!="], "!=": ["=="],
    "+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "%": ["/"],
    "&&": ["||"], "||": ["&&"],
    "&": ["|"], "|": ["&"], "^": ["|"], "<<": [">>"], ">>": ["<<"],
    "+=": ["-="], "-=": ["+="], "|=": ["&="], "&=": ["|="],
}
WORDS = {"true": "false", "false": "true", "break": "continue"}
# A code must be the right one: whose problem it is.
CODES = {"QCOW2_E_CORRUPT": "QCOW2_E_LIMIT", "QCOW2_E_TRUNCATED": "QCOW2_E_CORRUPT",
         "QCOW2_E_UNSUPPORTED": "QCOW2_E_CORRUPT", "QCOW2_E_LIMIT": "QCOW2_E_CORRUPT",
         "QCOW2_E_IO": "QCOW2_E_CORRUPT", "QCOW2_E_REFERENCE": "QCOW2_E_IO", "QCOW2_E_KEY": "QCOW2_E_IO",
         "QCOW2_E_ARGUMENT": "QCOW2_E_IO", "QCOW2_E_NOT_FOUND": "QCOW2_E_IO", "QCOW2_E_NOT_QCOW": "QCOW2_E_CORRUPT"}
# A whole statement on its line, not a declaration, that can be left out.
STATEMENT = re.compile(r"^ +(?!return\b|goto\b|break\b|continue\b|case\b|static\b|const\b|struct\b|enum\b)"
                       r"(?:[\w.>\[\]*+-]+ (?:[-+|&]|<<|>>)?= [^;{}]*|[a-z_0-9]+\([^;{}]*\)|[\w.>\[\]-]+(?:\+\+|--));$")


@dataclass(frozen=True)
class Mutant:
    path: str
    text: str      # the whole file, changed
    identity: str  # does not move when other lines do


def tokens(text):
    return [(match.lastgroup, match.group(), match.start()) for match in TOKEN.finditer(text)]


def other_numbers(literal):
    digits = literal.rstrip("uUlL")
    value = int(digits, 0) if not (digits.startswith("0") and digits.isdigit() and digits != "0") else int(digits, 8)
    shown = (lambda n: hex(n)) if digits.lower().startswith("0x") else str
    tail = literal[len(digits):]
    return [shown(value + 1) + tail] + ([shown(value - 1) + tail] if value > 0 else [])


def replacements(text, kind, token, at):
    if kind == "operator" and token in BINARY:
        spaced = text[at - 1:at] == " " and text[at + len(token):at + len(token) + 1] in (" ", "\n")
        return BINARY[token] if spaced else []
    if kind == "operator" and token == "!":
        return [""]
    if kind == "operator" and token in ("++", "--"):
        return ["--" if token == "++" else "++"]
    if kind == "number":
        return other_numbers(token)
    if kind == "word":
        if token in WORDS:
            return [WORDS[token]]
        if token in CODES:
            return [CODES[token]]
    return []


def of_file(path, text):
    """All mutants of the file, in the order of its text. Two equal changes on equal lines are told apart
    by a number."""
    found, seen = [], {}

    def add(changed, at, what):
        begin = text.rfind("\n", 0, at) + 1
        line = text[begin:text.find("\n", at)].strip()
        identity = f"{path}: {line} [{what}]"
        seen[identity] = seen.get(identity, 0) + 1
        if seen[identity] > 1:
            identity += f" #{seen[identity]}"
        found.append(Mutant(path, changed, identity))

    for kind, token, at in tokens(text):
        for other in replacements(text, kind, token, at):
            begin = text.rfind("\n", 0, at) + 1
            add(text[:at] + other + text[at + len(token):], at, f"{token}@{at - begin} -> {other or 'nothing'}")
    at = 0
    for line in text.split("\n"):
        if STATEMENT.match(line):
            indent = len(line) - len(line.lstrip())
            add(text[:at + indent] + "(void)0;" + text[at + len(line):], at + indent, "left out")
        at += len(line) + 1
    return found
