# SPDX-License-Identifier: MIT
"""Characters that a terminal obeys, that turn the text around or that show nothing: none of them is printed as it is,
wherever a name from an image or of a file is printed."""

import json
import os
import pty
import subprocess
import sys
import unicodedata

import pytest

import toolrun
from chainrun import overlay
from toolrun import COMMANDS, good, run

# What is ignored where a font does not know it, of other categories than those below, and what is blank.
IGNORED = {0x16fe4, 0x1d159, 0x34f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x2065, 0x2800, 0x3164, 0xffa0, *range(0x180b, 0x1810),
           *range(0xfe00, 0xfe10), *range(0xfff0, 0xfff9), *range(0xe0000, 0xe1000)}
NONCHARACTERS = {*range(0xfdd0, 0xfdf0), *(plane << 16 | last for plane in range(17) for last in (0xfffe, 0xffff))}
SURROGATES = range(0xd800, 0xe000)
# A few of every kind: controls, joiners, overrides, fillers, separators, private use, tags, selectors.
SAMPLE = ('\x01\x1b[31m\n\r\t\x7f\x85\x9b\x9d\xad\u034f\u061c\u115f\u180e\u200d\u202e\u2028\u2066\u2800\u3164\ue000'
          '\ufe0f\ufeff\uffa0\ufff9\ufffe\U000e0041\U000e0100\U000f0000\U0010fffd')
PLAIN = 'a\u00e9\u4e2d\U0001f600 '


def is_hidden(code):
    return (unicodedata.category(chr(code)) in ('Cc', 'Cf', 'Zl', 'Zp', 'Co') or code in IGNORED
            or code in NONCHARACTERS)


def shown(code):
    if chr(code) in '\n\r\t':
        return {'\n': '\\n', '\r': '\\r', '\t': '\\t'}[chr(code)]
    return f'\\x{code:02x}' if code < 0x80 else f'\\u{{{code:x}}}'


def assert_nothing_hidden(output):
    """But the line ends of the output itself, and what progress bars are made of."""
    text = output.decode('utf-8')
    assert not [hex(ord(char)) for char in text if char != '\n' and is_hidden(ord(char))], text


def test_all_characters_are_printed_or_escaped_as_unicode_classifies_them():
    codes = [code for code in [*range(1, 0x32000), *range(0xdff00, 0xe2000), *range(0xefff0, 0xf0010),
                               *range(0x10fff0, 0x110000), *NONCHARACTERS]
             # What a newer Unicode assigns may be of any class.
             if code not in SURROGATES and (unicodedata.category(chr(code)) != 'Cn' or code in NONCHARACTERS
                                            or code in IGNORED)]
    for start in range(0, len(codes), 20000):
        part = codes[start:start + 20000]
        result = run('info', 'x' + ''.join(map(chr, part)))
        text = result.stderr.decode('utf-8')
        expected = ''.join(shown(code) if is_hidden(code) else chr(code) for code in part)
        assert text.startswith('qcow2: x' + expected + ': ')


@pytest.fixture(scope='module')
def stranger(tmp_path_factory):
    """An image whose own name, backing name, snapshot and key file are such text."""
    place = tmp_path_factory.mktemp('hidden')
    base = toolrun.create(place / (SAMPLE + PLAIN), '1M', 'write -P 1 0 64k')
    path = overlay(place / (PLAIN + SAMPLE), base.name, 'write -P 2 64k 64k', size='1M')
    toolrun.qemu_img('snapshot', '-c', SAMPLE.replace('\n', '') + PLAIN, path)
    return path


def words_of(command, path, tmp_path):
    return {'convert': [path, tmp_path / SAMPLE], 'compare': [path, path.with_name(SAMPLE + PLAIN)],
            'explain': [path, '0'], 'vet': [path]}.get(command, [path])


@pytest.mark.parametrize('options', [[], ['--no-backing'], ['--output=json'], ['--output=html'], ['--stats'],
                                     ['--stats=json'], ['--output=json', '--no-backing'], ['--bitmap', SAMPLE],
                                     ['--snapshot', SAMPLE], ['--key-file', SAMPLE], ['--allow', SAMPLE],
                                     ['--deny', SAMPLE], ['-' + SAMPLE], ['-p'], ['--backing-chain']])
@pytest.mark.parametrize('command', COMMANDS)
def test_no_hidden_character_is_printed(stranger, tmp_path, command, options):
    """Seen: in JSON, C1 controls, DEL and overrides stood as they are, and terminals obey them there as well."""
    if command == 'cat':
        options = [*options, '-l', '0']
    result = run(command, *options, *words_of(command, stranger, tmp_path))
    if command != 'digest' or '--output=json' in options:
        assert_nothing_hidden(result.stdout)
    assert_nothing_hidden(result.stderr.replace(b'\r', b''))


@pytest.mark.parametrize('words', [['info'], ['info', '--backing-chain'], ['check'], ['digest'], ['vet'],
                                   ['explain', '0']])
def test_names_in_json_are_whole(stranger, words):
    """Escaped, above U+FFFF by two surrogates, they are the same names."""
    result = run(words[0], '--output=json', stranger, *words[1:])
    values = []

    def collect(value):
        if isinstance(value, dict):
            for part in value.values():
                collect(part)
        elif isinstance(value, list):
            for part in value:
                collect(part)
        else:
            values.append(value)

    collect(json.loads(result.stdout))
    assert any(isinstance(value, str) and PLAIN + SAMPLE in value for value in values), values
    if words[0] == 'info':
        assert SAMPLE + PLAIN in values and SAMPLE.replace('\n', '') + PLAIN in values
    assert PLAIN.strip() in result.stdout.decode()
    statistics = run('digest', '--stats=json', stranger).stderr
    assert json.loads(statistics)['filename'] == str(stranger)


def on_terminal(directory, *words):
    """What comes out of a terminal that standard output is."""
    master, slave = pty.openpty()
    with subprocess.Popen([toolrun.TOOL, *words], cwd=directory, stdin=subprocess.DEVNULL, stdout=slave,
                          stderr=subprocess.PIPE) as process:
        os.close(slave)
        output = b''
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            output += part
        assert process.wait(60) == 0, process.stderr.read()
    os.close(master)
    return output.replace(b'\r\n', b'\n')


def test_digest_on_a_terminal_escapes_what_the_terminal_obeys(stranger):
    """Seen: the escape sequence in the name of a file reached the terminal, as sha256sum lets it."""
    place = stranger.parent
    digest = good('digest', stranger).stdout.lstrip(b'\\')[:64]
    line = on_terminal(place, 'digest', stranger.name)
    assert line == b'\\' + digest + b'  ' + ''.join(
        shown(ord(char)) if is_hidden(ord(char)) else char for char in stranger.name).encode() + b'\n'
    # Names without any are as sha256sum has them, and so are all that do not go to a terminal.
    for name in ('plain', 'back\\slash', PLAIN.strip()):
        (place / name).unlink(missing_ok=True)
        (place / name).hardlink_to(stranger)
        assert on_terminal(place, 'digest', name) == good('digest', name, cwd=place).stdout
    checked = subprocess.run(['sha256sum', '-c', '--strict'], input=line, cwd=place, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert checked.returncode != 0 and b'OK' not in checked.stdout


def test_digest_on_a_terminal_escapes_bytes_that_are_no_characters(stranger):
    name = b'\x9b31m\\x9b'
    os.link(stranger, os.fsencode(stranger.parent) + b'/' + name)
    assert on_terminal(stranger.parent, b'digest', name).endswith(b'  \\x9b31m\\\\x9b\n')
    assert sys.getfilesystemencoding() == 'utf-8'
