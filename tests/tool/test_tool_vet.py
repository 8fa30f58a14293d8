# SPDX-License-Identifier: MIT
"""qcow2 vet: good images are let in, the policy is the user's, output and errors, and no second file is
opened; table, listing and manual agree."""

import os
import re
import subprocess
import sys

import pytest

import toolrun
from chainrun import encrypted, number_at, overlay, patch
from conftest import NAMES
from toolrun import fails_in_one_line, good, run
from vetting import build, luks, of_bytes, rules, streams, vet

MANUAL = toolrun.ROOT / 'man' / 'qcow2-vet.1.scd'

# ---------------------------------------------------------------------------
# Good images

# The free space that discarding leaves in a file, and nothing else.
@pytest.mark.parametrize('name', NAMES)
def test_images_that_qemu_writes_are_let_in(images, name):
    code, found, _ = vet(images[name])
    assert code == 0 and set(found) <= {'unused'}, found


@pytest.mark.parametrize('options', ['extended_l2=on', 'extended_l2=on,cluster_size=2M',
                                     'extended_l2=on,compression_type=zstd'])
def test_images_with_subclusters_are_let_in(tmp_path, options):
    path = toolrun.create(tmp_path / 'image.qcow2', '8M', 'write -P 1 0 300k', 'write -z 1M 128k',
                          'write -P 2 3M 2k', 'write -c -P 3 4M 64k' if '2M' not in options else
                          'write -P 3 4M 64k', options=options)
    code, found, value = vet(path)
    assert (code, found) == (0, {})
    assert value['bounds']['stored-bytes'] >= 300 * 1024


@pytest.mark.parametrize('compat', ['0.10', '1.1'])
def test_header_that_qemu_has_rewritten_has_no_stray_bytes(tmp_path, compat):
    """A shorter name, no name, another version, fewer extensions: nothing stays behind of what was there."""
    long, short, path = (tmp_path / name for name in ('base' * 40, 'b', 'image.qcow2'))
    for base in (long, short):
        toolrun.create(base, '8M')
    toolrun.create(path, '8M', 'write -P 1 0 1M', options=f'compat={compat},backing_file={long},'
                   'backing_fmt=qcow2')
    for words in (['rebase', '-u', '-b', short, '-F', 'qcow2'], ['amend', '-o', 'compat=1.1'],
                  ['bitmap', '--add'], ['snapshot', '-c', 'one'], ['bitmap', '--remove'],
                  ['rebase', '-b', ''], ['resize', '-q'], ['amend', '-o', 'lazy_refcounts=on']):
        behind = {'bitmap': ['one'], 'resize': ['16M']}.get(words[0], [])
        toolrun.qemu_img(*words, path, *behind)
        assert 'stray-bytes' not in vet(path)[1], words


def test_a_snapshot_is_warned_of_and_a_shared_table_is_not_an_overlap(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '8M', 'write -P 1 0 1M')
    toolrun.qemu_img('snapshot', '-c', 'one', path)
    toolrun.qemu_img('snapshot', '-c', 'two', path)
    toolrun.qemu_io(path, 'write -P 2 0 128k')
    assert vet(path)[:2] == (0, {'snapshots': 'warn'})
    assert vet(path, '--strict')[0] == 1
    assert vet(path, '--strict', '--note', 'snapshots')[:2] == (0, {'snapshots': 'note'})


def test_what_a_snapshot_alone_keeps_is_no_fault(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '8M', 'write -P 1 0 1M', 'write -c -P 3 4M 64k')
    toolrun.qemu_img('snapshot', '-c', 'one', path)
    toolrun.qemu_io(path, 'write -P 2 0 128k')
    toolrun.qemu_io(path, 'write -P 4 4M 64k')
    code, found, value = vet(path)
    assert (code, found) == (0, {'snapshots': 'warn'})
    assert value['bounds']['compressed-bytes'] == 0


@pytest.mark.parametrize('options', ['', 'compat=0.10', 'cluster_size=512', 'extended_l2=on',
                                     'compression_type=zstd'])
def test_snapshots_of_a_disk_that_grew_and_shrank_are_let_in(tmp_path, options):
    """Bounds of snapshots are those of the largest: of the disk as it was when most of it was there."""
    path = tmp_path / 'image.qcow2'
    plain = toolrun.create(tmp_path / 'plain.qcow2', '8M', 'write -P 1 0 1M', 'write -P 2 4M 100k')
    toolrun.compress(plain, path, options)
    toolrun.qemu_img('snapshot', '-c', 'packed', path)
    packed = vet(path)[2]['bounds']
    assert packed['snapshot-data-bytes'] == packed['stored-bytes'] + packed['compressed-bytes'] > 0
    assert packed['snapshot-virtual-size'] == 8 << 20
    # QEMU resizes images with snapshots in version 3 only.
    if options != 'compat=0.10':
        toolrun.qemu_img('resize', '-q', path, '64M')
    toolrun.qemu_io(path, 'write -P 3 2M 3M', 'discard 0 64k')
    toolrun.qemu_img('snapshot', '-c', 'full', path)
    full = vet(path)[2]['bounds']
    toolrun.qemu_io(path, 'discard 0 6M', 'write -P 4 1M 64k')
    if options != 'compat=0.10':
        toolrun.qemu_img('resize', '-q', '--shrink', path, '4M')
    toolrun.qemu_img('snapshot', '-c', 'empty', path)
    toolrun.qemu_img('snapshot', '-d', 'packed', path)
    code, found, value = vet(path)
    assert code == 0 and set(found) <= {'snapshots', 'unused'}, found
    assert value['bounds']['snapshot-virtual-size'] == \
        (8 << 20 if options == 'compat=0.10' else 64 << 20)
    assert value['bounds']['snapshot-state-size'] == 0
    assert value['bounds']['snapshot-data-bytes'] == \
        full['stored-bytes'] + full['compressed-bytes'] > 3 << 20
    assert re.search(r'^snapshot, read whole: (8|64) MiB, \d+ bytes, and a state of 0 B$',
                     run('vet', path).stdout.decode(), re.M)


def test_image_without_snapshots_has_bounds_of_none(images):
    bounds = vet(images['v3'])[2]['bounds']
    assert [bounds['snapshot-' + key] for key in ('virtual-size', 'state-size', 'data-bytes')] == [0] * 3
    assert b'snapshot' not in run('vet', images['v3']).stdout


def test_state_of_a_machine_is_counted_and_nothing_else_is_said_of_it(tmp_path):
    """As QEMU saves it: behind the end of the disk. The snapshot is told of it by hand."""
    path = toolrun.create(tmp_path / 'image.qcow2', '8M', 'write -P 1 0 1M', 'write -b -P 9 0 3M')
    toolrun.qemu_img('snapshot', '-c', 'with-state', path)
    table = number_at(path, 64)
    patch(path, table + 40, (3 << 20).to_bytes(8, 'big'))
    toolrun.qemu_io(path, 'write -P 2 0 128k')
    code, found, value = vet(path, '--ignore', 'vm-state')
    assert code == 0 and set(found) <= {'snapshots'}, found
    assert value['bounds']['snapshot-virtual-size'] == 8 << 20
    assert value['bounds']['snapshot-state-size'] == 3 << 20
    assert value['bounds']['snapshot-data-bytes'] == 4 << 20


def test_bitmaps_are_mentioned(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '8M', 'write -P 1 0 1M')
    toolrun.qemu_img('bitmap', '--add', path, 'one')
    toolrun.qemu_img('bitmap', '--add', '-g', '64k', path, 'two')
    assert vet(path)[:2] == (0, {'bitmaps': 'note', 'unused': 'note'})


def test_luks_image_has_nothing_but_encryption_to_complain_of(tmp_path):
    path = luks(tmp_path / 'secret.qcow2')
    assert vet(path)[:2] == (1, {'encryption': 'deny'})
    assert vet(path, '--ignore', 'encryption')[:2] == (0, {})


def test_aes_image_has_nothing_but_encryption_to_complain_of(tmp_path):
    encrypted(tmp_path / 'old.qcow2', '4M', form='aes')
    assert vet(tmp_path / 'old.qcow2')[:2] == (1, {'encryption': 'deny'})


# ---------------------------------------------------------------------------
# Policy

def marked_dirty(path):
    return build.Image(cluster_bits=12, l2={0: build.Normal(b'x')},
                       header={'incompatible_features': 1}).write(path)


@pytest.mark.parametrize('options, code, found', [
    ([], 0, {'dirty': 'warn'}), (['--strict'], 1, {'dirty': 'warn'}),
    (['--deny', 'dirty'], 1, {'dirty': 'deny'}), (['--note=dirty'], 0, {'dirty': 'note'}),
    (['--strict', '--note=dirty'], 0, {'dirty': 'note'}), (['--ignore', 'dirty'], 0, {}),
    (['--deny', 'dirty', '--warn', 'dirty'], 0, {'dirty': 'warn'}),
    (['--deny=all'], 1, {'dirty': 'deny'}),
    (['--ignore=all', '--deny=corrupt,dirty'], 1, {'dirty': 'deny'}),
    (['--deny', 'dirty', '--ignore', 'all'], 0, {})])
def test_severities_follow_the_options_and_the_last_one_counts(tmp_path, options, code, found):
    path = marked_dirty(tmp_path / 'image.qcow2')
    got = vet(path, *options)
    assert got[:2] == (code, found)
    assert [f['denies'] for f in got[2]['findings']] == [code == 1] * len(found)


def test_limits_are_the_users(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '1G')
    assert vet(path, '--max-virtual-size', '1G')[0] == 0
    assert vet(path, '--max-virtual-size', '1073741823')[1] == {'virtual-size': 'deny'}
    times = (1 << 30) // path.stat().st_size
    assert vet(path, '--max-ratio', str(times + 1))[1] == {}
    assert vet(path, '--max-ratio', str(times))[1] == {'ratio': 'note'}
    path = build.Image(cluster_bits=12, l2={
        i: build.Compressed(streams.deflate(bytes([i % 251]) * 4096, window=12))
        for i in range(400)}).write(tmp_path / 'packed.qcow2')
    times = 400 * 4096 // path.stat().st_size
    assert vet(path, '--max-expansion', str(times + 1))[1] == {}
    assert vet(path, '--max-expansion', str(times - 1))[1] == {'expansion': 'deny'}


@pytest.mark.parametrize('rule, said', [
    ('dirt', "did you mean 'dirty'?"), ('nonsense', '--list-rules'), ('', "'' for '--deny'"),
    ('dirty,', "'' for '--deny'"), ('dirty,corupt', "'corupt' for '--deny' is no rule; did you mean"),
    ('alle', "'alle'"), ('/srv/base', '--list-rules'), ('\x1b[2J', '\\x1b')])
def test_rules_that_are_none_are_refused(images, rule, said):
    fails_in_one_line(run('vet', '--deny', rule, images['v3']), said, code=2)


@pytest.mark.parametrize('option', ['--max-ratio', '--max-expansion', '--max-virtual-size',
                                    '--max-memory'])
def test_limits_that_are_none_are_refused(images, option):
    for value in ('', '-1', 'x', '99999999999999999999'):
        fails_in_one_line(run('vet', option, value, images['v3']), option, code=2)


def test_listing_table_and_manual_agree():
    known = rules()
    lines = good('vet', '--list-rules').stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines] == [[r['rule'], r['default']] for r in known.values()]
    assert all(line.endswith(' ' + r['text']) for line, r in zip(lines, known.values()))
    assert max(map(len, lines)) < 100
    section = MANUAL.read_text().split('\n# RULES\n')[1].split('\n# ')[0]
    documented = re.findall(r'^\*([a-z0-9-]+)\* \((\w+)\)$', section, re.M)
    assert documented == [(r['rule'], r['default']) for r in known.values()]
    changed = toolrun.tool_json('vet', '--list-rules', '--output=json', '--note', 'dirty')
    assert [(r['rule'], r['severity']) for r in changed if r['severity'] != r['default']] == \
        [('dirty', 'note')]
    fails_in_one_line(run('vet', '--list-rules', 'image'), 'one argument too many', code=2)


# ---------------------------------------------------------------------------
# Output

def test_output_for_people(tmp_path):
    path = overlay(tmp_path / 'image.qcow2', 'evil\x1b[2J\u202e', form='raw')
    patch(path, 79, b'\1')
    result = run('vet', path)
    text = result.stdout.decode()
    lines = text.splitlines()
    assert result.returncode == 1 and not result.stderr
    assert '\x1b' not in text and '\u202e' not in text and '\\x1b[2J' in text
    assert lines[0].split()[:2] == ['deny', 'backing-file']
    assert lines[1].split()[:2] == ['warn', 'dirty']
    assert lines[2] == 'no: 1 deny, 1 warn, 0 note'
    assert re.match(r'disk, read whole: +8 MiB, 8388608 bytes', lines[3])
    assert run('vet', '-q', path).stdout.decode().splitlines() == [lines[2]]
    assert run('vet', '--strict', path).stdout.decode().splitlines()[2].endswith('(warnings deny too)')


def test_image_that_does_not_open_has_a_finding_and_no_bounds(tmp_path):
    path = of_bytes(tmp_path / 'image', b'KDMV' + bytes(600))
    code, found, value = vet(path)
    assert (code, found) == (1, {'not-qcow2': 'deny'})
    assert set(value['bounds'].values()) == {None}
    assert run('vet', path).stdout.decode().splitlines()[1:] == ['no: 1 deny, 0 warn, 0 note']


def test_findings_say_where(tmp_path):
    image = build.Image(cluster_bits=12, l2={0: build.Normal(b'x')}).lay_out()
    entry = image.at['l2', 0] + 8
    path = build.Image(cluster_bits=12, size=8192, l2={0: build.Normal(b'x')},
                       writes=[(entry, (2).to_bytes(8, 'big'))]).write(tmp_path / 'image.qcow2')
    finding, = [f for f in vet(path)[2]['findings'] if f['rule'] == 'reserved-bits']
    assert finding['offset'] == entry
    assert f'(at 0x{entry:x})' in run('vet', path).stdout.decode()


@pytest.mark.parametrize('name', ['v3', 'cs4k', 'deflate', 'zstd', 'half_compressed',
                                  'pre_metadata_used', 'sparse_1t'])
def test_bounds_are_what_map_and_file_say(images, name):
    bounds = vet(images[name])[2]['bounds']
    rows = toolrun.tool_json('map', '--output=json', images[name])
    stored = sum(row['length'] for row in rows if row['data'] and 'offset' in row)
    packed = sum(row['length'] for row in rows if row['data'] and 'offset' not in row)
    # qemu-img's map takes clusters that were set aside, but not written, for zeros.
    assert stored <= bounds['stored-bytes'] <= bounds['virtual-size']
    assert bounds['stored-bytes'] == stored or name.startswith('pre_')
    assert bounds['compressed-bytes'] == packed
    size = images[name].stat().st_size
    assert bounds['file-size'] == size
    parts = sum(bounds[key] for key in ('data-bytes-of-file', 'table-bytes-of-file',
                                        'unused-bytes-of-file', 'leftover-bytes-of-file'))
    assert size <= parts < size + (1 << 16)
    assert bounds['virtual-size'] == toolrun.tool_json(
        'info', '--output=json', images[name])['virtual-size']


# ---------------------------------------------------------------------------
# Errors, other files

def test_what_cannot_be_looked_at_is_an_error_not_a_verdict(tmp_path):
    os.mkfifo(tmp_path / 'fifo')
    for path in (tmp_path / 'missing', tmp_path, tmp_path / 'fifo', '/dev/null', ''):
        for form in ('qcow2', 'raw'):
            result = run('vet', '-f', form, path)
            fails_in_one_line(result, code=2)
            assert not result.stdout


WATCH = r"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init1(os.O_NONBLOCK)
assert libc.inotify_add_watch(fd, os.fsencode(sys.argv[1]), 0x20) >= 0  # IN_OPEN
os.spawnv(os.P_WAIT, sys.argv[2], sys.argv[2:])
try:
    sys.exit(10 if os.read(fd, 4096) else 12)
except BlockingIOError:
    sys.exit(11)
"""


def is_opened(watched, *command):
    done = subprocess.run([sys.executable, '-c', WATCH, watched, toolrun.TOOL, *command],
                          check=False, stdout=subprocess.DEVNULL)
    assert done.returncode in (10, 11)
    return done.returncode == 10


def test_no_second_file_is_opened(tmp_path):
    base = of_bytes(tmp_path / 'base.raw', bytes(1 << 20))
    above = overlay(tmp_path / 'above.qcow2', 'base.raw', form='raw')
    external, data = tmp_path / 'external.qcow2', tmp_path / 'data.raw'
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '-o', f'data_file={data}', external, '1M')
    assert is_opened(base, 'cat', above) and is_opened(data, 'cat', external)  # the watch works
    assert is_opened(above, 'vet', above)
    for options in ([], ['--ignore', 'all'], ['--output=json']):
        assert not is_opened(base, 'vet', *options, above)
        assert not is_opened(data, 'vet', *options, external)
