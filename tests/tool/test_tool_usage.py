# SPDX-License-Identifier: MIT
"""What holds for every command: help, options in both lengths, one line for wrong usage and for bad
images, output that cannot be written; and manual and completions that know every option."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

import toolrun
from toolrun import COMMANDS, fails_in_one_line, good, run

ROOT = toolrun.ROOT


# The exit code of what cannot be done.
ERROR = {'compare': 2, 'vet': 2}


def arguments(command, image, tmp_path):
    """A good command line, but for the image."""
    more = {'convert': [tmp_path / 'out.raw'], 'compare': [image], 'explain': ['0']}
    return [command, image, *more.get(command, [])]


def test_version():
    assert re.fullmatch(rb'qcow2 (\d+\.\d+\.\d+) \(libqcow2 \1\)\n', good('--version').stdout)
    assert good('-V').stdout == good('--version').stdout


def test_without_arguments_usage_is_an_error():
    result = run()
    assert result.returncode == 1 and not result.stdout
    assert result.stderr.startswith(b'Usage: qcow2 ')


@pytest.mark.parametrize('spelling', [['help'], ['--help'], ['-h']])
def test_help_lists_every_command(spelling):
    text = good(*spelling).stdout.decode()
    for command in COMMANDS:
        assert re.search(rf'^  {command} +\S', text, re.M)


@pytest.mark.parametrize('command', COMMANDS)
def test_help_of_a_command(command):
    text = good(command, '--help').stdout.decode()
    assert text.startswith(f'Usage: qcow2 {command} ')
    assert re.search(rf'^Examples:\n  .*qcow2 {command} ', text, re.M)
    for spelling in ([command, '-h'], ['help', command], ['--help', command],
                     [command, 'no-such-image', '--help']):
        assert good(*spelling).stdout.decode() == text
    assert max(len(line) for line in text.splitlines()) < 80


def options_of(command):
    """[(letter or None, name)] as the help lists them."""
    text = good(command, '--help').stdout.decode()
    found = re.findall(r'^  (?:-(\w), |    )--([a-z-]+)', text, re.M)
    assert len(found) > 7
    return [(letter or None, name) for letter, name in found]


@pytest.mark.parametrize('command', COMMANDS)
def test_manual_page_has_every_option(command):
    page = (ROOT / 'man' / f'qcow2-{command}.1.scd').read_text()
    common = (ROOT / 'man' / 'qcow2.1.scd').read_text()
    for letter, name in options_of(command):
        entry = (rf'^\*-{letter}\*, ' if letter else '^') + rf'\*--{name}\*'
        assert re.search(entry, page, re.M) or re.search(entry, common, re.M), name


@pytest.mark.parametrize('command', COMMANDS)
def test_manual_page_has_no_other_option(command):
    page = (ROOT / 'man' / f'qcow2-{command}.1.scd').read_text()
    known = {name for _, name in options_of(command)}
    assert set(re.findall(r'^\*(?:-\w\*, \*)?--([a-z-]+)', page, re.M)) <= known


@pytest.mark.parametrize('command', COMMANDS)
def test_completions_have_every_option(command):
    script = ROOT / 'completions' / 'qcow2.bash'
    program = f'source {script}; COMP_WORDS=(qcow2 {command} --); COMP_CWORD=2; _qcow2; ' \
              'echo "${COMPREPLY[@]}"'
    offered = subprocess.run(['bash', '-c', program], stdout=subprocess.PIPE, check=True)
    assert set(offered.stdout.decode().split()) == {f'--{name}' for _, name in options_of(command)}
    for other in ('_qcow2', 'qcow2.fish'):
        text = (ROOT / 'completions' / other).read_text()
        for letter, name in options_of(command):
            assert re.search(rf'--{name}\b' if other == '_qcow2' else rf'-l {name}\b', text)
            assert letter is None or re.search(rf'-{letter}\b|-s {letter}\b', text)


@pytest.mark.parametrize('words, expected', [
    ('', 'info map convert cat digest check compare explain vet help --help --version'), ('ma', 'map'),
    ('map --output =', 'human json html'), ('map --output = j', 'json'),
    ('info --output ""', 'human json'), ('convert -O ""', 'raw'), ('digest --stats = h', 'human'),
    ('check --output =', 'human json'), ('vet --output =', 'human json'),
    ('vet --max-ratio ""', ''), ('compare -F ra', 'raw'), ('help con', 'convert'),
    ('nonsense --', '')])
def test_bash_completion(words, expected):
    program = f'source {ROOT}/completions/qcow2.bash; COMP_WORDS=(qcow2 {words or chr(34) * 2}); ' \
              'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _qcow2; echo "${COMPREPLY[@]}"'
    offered = subprocess.run(['bash', '-c', program], stdout=subprocess.PIPE, check=True)
    assert offered.stdout.decode().split() == expected.split()


def programs_run(tmp_path, shell, typed):
    """Completes what is typed at a prompt of an interactive shell, in a directory with programs of a stranger, which
    a PATH with relative entries finds first. The names of those that ran."""
    for name in ('qcow2', 'cut', 'command', 'string'):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} >>{tmp_path}/ran\n')
        (tmp_path / name).chmod(0o755)
    environment = {'PATH': f'.::{os.environ["PATH"]}', 'HOME': str(tmp_path), 'TERM': 'dumb',
                   'XDG_CONFIG_HOME': str(tmp_path)}
    master, slave = pty.openpty()
    with subprocess.Popen(shell, cwd=tmp_path, env=environment, stdin=slave, stdout=slave, stderr=slave,
                          start_new_session=True) as process:
        os.close(slave)
        output = b''
        for text, answer in ((f'source {COMPLETION[shell[0]]}; echo re""ady\n', b'ready\r'),
                             (f'{typed}\t\t', b'backing-file'), ('\x03', b''), ('\x15exit\n', None)):
            os.write(master, text.encode())
            end = time.monotonic() + 20
            while answer is not None and answer not in output and time.monotonic() < end:
                output += read_some(master)
        while process.poll() is None and read_some(master):
            pass
        process.kill()
    os.close(master)
    assert b'backing-file' in output, output
    return (tmp_path / 'ran').read_text() if (tmp_path / 'ran').exists() else ''


def read_some(terminal):
    try:
        return os.read(terminal, 65536) if select.select([terminal], [], [], 1)[0] else b''
    except OSError:  # the other end is closed
        return b''


COMPLETION = {'bash': ROOT / 'completions' / 'qcow2.bash', 'fish': ROOT / 'completions' / 'qcow2.fish'}


@pytest.mark.parametrize('typed', ['./qcow2 vet --deny ', 'qcow2 vet --deny ', './qcow2 vet --ignore b'])
@pytest.mark.parametrize('shell', [('bash', '--norc', '--noprofile', '-i'), ('fish', '--no-config', '-i')])
def test_completion_runs_no_program(tmp_path, shell, typed):
    """Seen: a tabulator after ./qcow2 in the directory of a stranger ran his program."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f'no {shell[0]}')
    assert programs_run(tmp_path, shell, typed) == ''


@pytest.mark.parametrize('name', ['_qcow2', 'qcow2.bash', 'qcow2.fish'])
def test_completion_has_all_rules_and_no_command_to_get_them(name):
    """The shells that are not installed here run none either."""
    text = re.sub(r'\\\n', ' ', (ROOT / 'completions' / name).read_text())
    words = re.search(r'(?:rules=\(|rules="|set -l rules)\s*(all\b[a-z0-9\s-]*?)(?:[")]|\nset )', text).group(1)
    listed = good('vet', '--list-rules').stdout.decode().splitlines()
    assert words.split() == ['all', *(line.split()[0] for line in listed)]
    code = '\n'.join(line for line in text.splitlines() if not line.startswith('#')).replace('< <(compgen ', '')
    assert not re.search(r'\$\((?!\()|`|<\(|_call_program|\beval\b|COMP_WORDS\[0\]|\(command ', code)


@pytest.mark.parametrize('typed, meant', [('infp', 'info'), ('mpa', 'map'), ('convret', 'convert'),
                                          ('cta', 'cat'), ('digset', 'digest'), ('hepl', 'help'),
                                          ('chekc', 'check'), ('comapre', 'compare'),
                                          ('explian', 'explain'), ('vte', 'vet')])
def test_unknown_command_is_answered_with_the_nearest(typed, meant):
    fails_in_one_line(run(typed), f"'{typed}'", f"'{meant}'", 'qcow2 --help')


def test_unknown_command_far_from_any_gets_no_suggestion():
    assert 'did you mean' not in fails_in_one_line(run('frobnicate'))
    fails_in_one_line(run('--frobnicate'), "option '--frobnicate'")
    fails_in_one_line(run('help', 'frobnicate'), 'frobnicate')


@pytest.mark.parametrize('command', COMMANDS)
def test_unknown_options(command, images, tmp_path):
    words = arguments(command, images['v3'], tmp_path)
    hint = f"try 'qcow2 {command} --help'"
    for options, *said in ((['--quite'], "'--quite'", "'--quiet'"),
                           (['--xyzzy-plugh'], "'--xyzzy-plugh'"), (['-z'], "'-z'"),
                           (['--stats', '-zq'], "'-z'"), (['--quiet=1'], "'--quiet' takes no value"),
                           (['--format'], "'--format' needs a value"),
                           (['-\x1b'], "'-\\x1b'")):
        fails_in_one_line(run(*words, *options), *said, hint, code=ERROR.get(command, 1))
    assert not (tmp_path / 'out.raw').exists()


@pytest.mark.parametrize('command', COMMANDS)
def test_missing_and_surplus_operands(command, images, tmp_path):
    code = ERROR.get(command, 1)
    fails_in_one_line(run(command), command, '--help', code=code)
    if command != 'digest':
        fails_in_one_line(run(*arguments(command, images['v3'], tmp_path), 'more'), "'more'",
                          code=code)
    if command == 'convert':
        fails_in_one_line(run(command, images['v3']), 'output')
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('command', COMMANDS)
def test_common_options(command, images, tmp_path):
    def output(*options):
        result = good(*arguments(command, images['deflate'], tmp_path), *options)
        return result.stdout

    plain = output()
    for options in (['--no-backing'], ['--zeros-past-end'], ['--cache-size=1M'],
                    ['--cache-size', '0'], ['--cache-size=0x10000'], ['-q'], ['--quiet'], ['-U'],
                    ['--force-share'], ['-f', 'qcow2'], ['--format=qcow2'], ['-qUfqcow2'],
                    ['--allow', '/'], ['--no-back'], ['--']):
        if options[0].startswith('--') and len(options[0]) > 2 and not any(
                name.startswith(options[0][2:].split('=')[0]) for _, name in options_of(command)):
            continue  # one that makes no sense for this command
        # The one word of a comparison goes with -q, and all but one word of a vetting.
        quiet = command == 'compare' and options[0] in ('-q', '--quiet', '-qUfqcow2')
        if command == 'vet' and options[0] in ('-q', '--quiet', '-qUfqcow2'):
            assert output(*options) == plain.splitlines(True)[0].split(b'\n')[0] + b'\n'
            continue
        assert output(*options) == (b'' if quiet else plain), options


@pytest.mark.parametrize('command', COMMANDS)
def test_other_formats_are_refused(command, images, tmp_path):
    words = arguments(command, images['v3'], tmp_path)
    fails_in_one_line(run(*words, '--format=vmdk'), "'vmdk'", code=ERROR.get(command, 1))


def test_raw_disks_are_read_when_asked_for(images, tmp_path):
    path = tmp_path / 'disk.raw'
    path.write_bytes(images['v3'].read_bytes() + b'tail')
    size = -(-path.stat().st_size // 512) * 512
    content = path.read_bytes().ljust(size, b'\0')
    assert good('cat', '-f', 'raw', path).stdout == content
    assert good('cat', '-f', 'qcow2', path).stdout != content
    good('convert', '-q', '-f', 'raw', path, tmp_path / 'out')
    assert (tmp_path / 'out').read_bytes() == content
    assert toolrun.tool_json('info', '-f', 'raw', '--output=json', path) == \
        toolrun.qemu_json('info', '-f', 'raw', '--output=json', path)
    assert toolrun.tool_json('explain', '-f', 'raw', '--output=json', path, '0')['byte'] == ord('Q')


@pytest.mark.parametrize('size', ['', '-1', '1.5', '1.', '.5', '.5K', '1.K', '1.5B', '1.5e3', '1.5E3',
                                  '0x1.5K', '0x1.5', '1.-5K', '1. 5K', '1.5.5K', '9.5E', '7.99999999999999999999E',
                                  'x', '1X', '12KB', '1K1', '0x', '0x1K', '8E',
                                  '18446744073709551616', '9223372036854775808', ' 1', '1 ', '+1'])
@pytest.mark.parametrize('option', ['--cache-size', '--start-offset', '--max-length'])
def test_sizes_that_are_none(images, option, size):
    fails_in_one_line(run('cat', option, size, images['v3']), option, f"'{size}'")


@pytest.mark.parametrize('text, value', [
    ('7', 7), ('0x10', 16), ('0XfF', 255), ('3K', 3072), ('3k', 3072), ('3KiB', 3072), ('2M', 2 << 20),
    ('1G', 1 << 30), ('1T', 1 << 40), ('1P', 1 << 50), ('7E', 7 << 60), ('5B', 5),
    ('1.5K', 1536), ('0.5M', 1 << 19), ('0.1k', 102), ('1.1G', 1181116006), ('0.0005K', 1),
    ('0.0004K', 0), ('2.25KiB', 2304), ('1.0T', 1 << 40), ('1.0009765625K', 1025),
    ('9223372036854775807', (1 << 63) - 1)])
def test_sizes(images, text, value):
    rows = toolrun.tool_json('map', '--output=json', '-s', text, images['fresh'])
    assert rows[0]['start'] == value


@pytest.mark.parametrize('text', ['1.5K', '0.1k', '1.1G', '7.3M', '0.33T', '1.999999P', '3.1415926535G',
                                  '0.5k', '1.00048828125K', '0.00048828125K'])
def test_fractions_are_rounded_as_qemu_img_does_it(images, tmp_path, text):
    # It tells the size before it finds that the file system has not so much.
    told = subprocess.run(['qemu-img', 'create', '-f', 'raw', tmp_path / 'disk', text],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
    rows = toolrun.tool_json('map', '--output=json', '-s', text, images['fresh'])
    assert rows[0]['start'] == int(re.search(r'size=(\d+)', told).group(1))


COUNTERS = ['reads', 'bytes_read', 'cluster_reads', 'cluster_holes', 'cluster_standard',
            'cluster_compressed', 'l2_cache_hits', 'l2_cache_misses', 'l2_cache_evictions',
            'comp_cache_hits', 'comp_cache_misses', 'comp_cache_evictions']


@pytest.mark.parametrize('command', COMMANDS)
def test_stats(command, images, tmp_path):
    words = arguments(command, images['deflate'], tmp_path)
    plain = good(*words).stdout
    text = run(*words, '--stats')
    assert text.returncode == 0 and text.stdout == plain
    lines = text.stderr.decode().splitlines()
    assert 'deflate.qcow2' in lines[0]
    assert [line.split()[0] for line in lines[1:13]] == COUNTERS
    result = run(*words, '--stats=json')
    assert result.stdout == plain and result.stderr.count(b'\n') == (2 if command == 'compare' else 1)
    counters = json.loads(result.stderr.splitlines()[0])
    assert counters.pop('filename') == str(images['deflate'])
    assert list(counters)[:12] == COUNTERS
    if command in ('info', 'map', 'check', 'vet'):
        assert counters['bytes_read'] == 0
    elif command != 'compare':  # of an image with itself: nothing needs to be read
        assert counters['cluster_compressed'] > 0
    fails_in_one_line(run(*words, '--stats=html'), "'html'", code=ERROR.get(command, 1))


@pytest.mark.parametrize('command', ['info', 'map', 'digest'])
def test_stats_follow_json_output(command, images):
    result = run(command, '--output=json', '--stats', images['v3'])
    json.loads(result.stdout)
    json.loads(result.stderr)
    result = run(command, '--output=json', '--stats=human', images['v3'])
    assert result.stderr.startswith(b'counters of ')


def bad_images(tmp_path, images):
    directory = tmp_path / 'bad'
    directory.mkdir()
    good_bytes = images['v3'].read_bytes()
    made = {
        'missing': None,
        'empty': b'',
        'text': b'This is not a disk image.\n' * 100,
        'short': good_bytes[:50],
        'cut_header': good_bytes[:104 - 1],
        'cut_tables': good_bytes[:65536],
        'version_1': good_bytes[:4] + b'\0\0\0\1' + good_bytes[8:],
        'version_4': good_bytes[:4] + b'\0\0\0\4' + good_bytes[8:],
        'cluster_bits': good_bytes[:20] + b'\0\0\0\x3f' + good_bytes[24:],
        'huge': good_bytes[:24] + b'\xff' * 8 + good_bytes[32:],
        'unknown_feature': good_bytes[:72] + b'\x80' + good_bytes[73:],
        'line\nbreak': b'x' * 512,
    }
    for name, content in made.items():
        if content is not None:
            (directory / name).write_bytes(content)
    (directory / 'directory').mkdir()
    os.mkfifo(directory / 'fifo')
    return [directory / name for name in [*made, 'directory', 'fifo']] + ['/dev/null', '']


@pytest.mark.parametrize('command', COMMANDS)
def test_bad_images_get_one_line_and_write_nothing(command, images, tmp_path):
    for path in bad_images(tmp_path, images):
        if command == 'info' and os.path.basename(path) == 'cut_tables':
            continue  # the headers are whole, so it can be told about
        result = run(*arguments(command, path, tmp_path))
        if command == 'check' and os.path.basename(path) in ('cut_tables', 'version_1', 'huge'):
            assert result.returncode in (1, 2, 3, 63)
            continue  # there is something to say about these
        if command == 'vet' and result.returncode == 1:
            assert result.stdout.startswith(b'deny') and not result.stderr
            continue  # a verdict, not a failure
        text = fails_in_one_line(result, code=ERROR.get(command, 1))
        shown = os.fspath(path).replace('\n', '\\n')
        assert text.startswith(f'qcow2: {shown}: '), text
        assert not result.stdout
        assert os.listdir(tmp_path) == ['bad']


@pytest.mark.parametrize('command', ['map', 'convert', 'cat', 'digest'])
def test_data_past_the_end_needs_asking_for(command, tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '1M', 'write -P 1 0 1M')
    os.truncate(path, os.path.getsize(path) - 512 * 1024)
    words = arguments(command, path, tmp_path)
    if command != 'map':  # the tables are whole, so the map is too
        result = run(*words)
        fails_in_one_line(result, 'image.qcow2')
        assert os.listdir(tmp_path) == ['image.qcow2']
    result = good(*words, '--zeros-past-end')
    expected = b'\1' * (512 * 1024) + bytes(512 * 1024)
    if command == 'cat':
        assert result.stdout == expected
    if command == 'convert':
        assert (tmp_path / 'out.raw').read_bytes() == expected


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize('full', [True, False])
def test_output_that_cannot_be_written(command, full, images):
    """A full device, and a pipe whose reader has gone."""
    words = [command, images['v3']] + {'convert': ['-'], 'explain': ['0'],
                                       'compare': [images['v3']]}.get(command, [])
    if full:
        with open('/dev/full', 'wb') as out:
            result = run(*words, stdout=out)
        fails_in_one_line(result, 'standard output', 'o space left on device',
                          code=ERROR.get(command, 1))
        return
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = run(*words, stdout=writer)
    finally:
        os.close(writer)
    fails_in_one_line(result, 'standard output', 'closed by its reader', code=ERROR.get(command, 1))


@pytest.mark.parametrize('spelling', [['--help'], ['--version'], ['map', '--help']])
def test_help_that_cannot_be_written(spelling):
    with open('/dev/full', 'wb') as out:
        fails_in_one_line(run(*spelling, stdout=out), 'standard output', 'No space left on device')


def test_closed_standard_output_is_an_error(images, tmp_path):
    """And nothing that is opened meanwhile takes its place."""
    for words in (['info', images['v3']], ['cat', images['v3']], ['convert', images['v3'], '-']):
        result = run(*words, stdout=None, preexec_fn=lambda: os.close(1))
        fails_in_one_line(result, 'standard output')
    out = tmp_path / 'out.raw'
    assert run('convert', images['v3'], out, preexec_fn=lambda: os.closerange(0, 3)).returncode == 0
    assert out.read_bytes() == good('cat', images['v3']).stdout


@pytest.mark.parametrize('command', ['map', 'convert', 'cat', 'digest'])
def test_top_layer_alone_needs_asking_for_when_the_backing_file_is_missing(command, tmp_path):
    path = tmp_path / 'overlay.qcow2'
    toolrun.qemu_img('create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', 'nowhere.raw', path, '1M')
    fails_in_one_line(run(*arguments(command, path, tmp_path)), 'overlay.qcow2: ', 'nowhere.raw')
    assert os.listdir(tmp_path) == ['overlay.qcow2']
    result = good(*arguments(command, path, tmp_path), '--no-backing')
    if command == 'cat':
        assert result.stdout == bytes(1 << 20)
