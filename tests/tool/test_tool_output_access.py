# SPDX-License-Identifier: MIT
"""Who may read what convert writes: never more users than the image, at no moment, and no other user's file."""

import os
import re
import shutil
import stat
import struct
import subprocess
import time

import pytest

import toolrun
from chainrun import encrypted, overlay
from toolrun import fails_in_one_line, good, run, run_as

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')

CONTENT = b'\5' * (512 << 10) + bytes(512 << 10)
USER, STRANGER, GROUP, OTHER_GROUP = 1500, 3000, 2500, 2600
ACCESS, DEFAULT = 'system.posix_acl_access', 'system.posix_acl_default'
OWNER, NAMED_USER, GROUP_ENTRY, MASK, OTHERS = 1, 2, 4, 16, 32


def acl(owner, user, permissions, group, mask, others):
    """An access control list with an entry for one user."""
    entries = [(OWNER, owner, 0xffffffff), (NAMED_USER, permissions, user), (GROUP_ENTRY, group, 0xffffffff),
               (MASK, mask, 0xffffffff), (OTHERS, others, 0xffffffff)]
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)


def set_acl(path, name, value):
    try:
        os.setxattr(path, name, value)
    except OSError:
        pytest.skip('the file system has no access control lists')


def has_acl(path):
    return ACCESS in os.listxattr(path)


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def unfinished(directory):
    return [name for name in os.listdir(directory) if re.fullmatch(r'\..*\.[0-9a-f]{16}\.part', name)]


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    image = tmp_path_factory.mktemp('original') / 'secret.qcow2'
    return image, encrypted(image, '1M', 'write -P 5 0 512k')


@pytest.fixture
def secret(original, tmp_path):
    """An encrypted image of mode 0640, and its key."""
    image = tmp_path / 'secret.qcow2'
    key = tmp_path / 'secret.key'
    shutil.copy(original[0], image)
    shutil.copy(original[1], key)
    image.chmod(0o640)
    return image, key


@pytest.fixture
def place(tmp_path):
    path = tmp_path / 'place'
    path.mkdir()
    return path


@pytest.fixture
def foreign(tmp_path):
    """A copy of the tool for other users."""
    path = tmp_path / 'qcow2'
    shutil.copy(toolrun.TOOL, path)
    return path


def convert(secret, out, umask=0o022):
    good('convert', '--key-file', secret[1], secret[0], out, preexec_fn=lambda: os.umask(umask))


@pytest.mark.skipif(shutil.which('strace') is None, reason='needs strace')
@pytest.mark.parametrize('exists', [False, True])
def test_new_file_of_an_encrypted_image_is_its_owners_alone_until_its_mode_is_set(secret, place, exists):
    """Seen: in a directory with a group of its own, that group could open the file before its permissions were taken
    away, and read the disk by that descriptor."""
    os.chown(place, 0, GROUP)
    place.chmod(0o2775)
    if exists:
        (place / 'out').write_bytes(b'old')
    words = ['convert', '--no-sandbox', '--key-file', secret[1], secret[0], place / 'out']
    process = subprocess.Popen(['strace', '-f', '-o', place.parent / 'log', '-e', 'trace=fchmod', '-e',
                                'inject=fchmod:delay_enter=1000000', toolrun.TOOL, *words],
                               stderr=subprocess.PIPE, preexec_fn=lambda: os.umask(0o022))
    modes = set()
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        for name in unfinished(place):
            try:
                modes.add(stat.S_IMODE(os.stat(place / name).st_mode))
            except FileNotFoundError:
                pass
        time.sleep(0.01)
    _, text = process.communicate(timeout=30)
    if b'ptrace' in text.lower():
        pytest.skip('strace may not trace')
    assert process.returncode == 0, text
    assert 0o600 in modes and modes <= {0o600, mode_of(place / 'out')}
    assert mode_of(place / 'out') == (0o644 if exists else 0o600)


def test_image_with_an_access_control_list_gives_its_new_file_to_the_owner_alone(secret, place):
    """Seen: the mask of the list, which stands for the group in the mode, was what the group got."""
    set_acl(secret[0], ACCESS, acl(6, 1000, 6, 0, 6, 4))
    convert(secret, place / 'out')
    assert mode_of(place / 'out') == 0o600 and not has_acl(place / 'out')
    assert (place / 'out').read_bytes() == CONTENT


def test_layer_with_an_access_control_list_bounds_the_new_file(secret, place):
    """The list is seen within the sandbox, too."""
    top = overlay(place / 'top.qcow2', '../secret.qcow2', size='1M')
    top.chmod(0o640)
    words = ['convert', '--allow', place.parent, '--key-file', secret[1], top, place / 'out']
    good(*words, preexec_fn=lambda: os.umask(0o022))
    (place / 'out').unlink()
    set_acl(secret[0], ACCESS, acl(6, 1000, 6, 0, 6, 0))
    fails_in_one_line(run(*words, preexec_fn=lambda: os.umask(0o022)), 'layer 1', 'umask of 077')
    assert os.listdir(place) == ['top.qcow2']
    good(*words, preexec_fn=lambda: os.umask(0o077))


def test_new_file_of_an_encrypted_image_has_no_access_control_list_of_its_directory(secret, place):
    """Seen: who had nothing to do with the image could read the disk."""
    set_acl(place, DEFAULT, acl(7, 1001, 7, 5, 7, 0))
    convert(secret, place / 'out')
    assert mode_of(place / 'out') == 0o640 and not has_acl(place / 'out')


def test_new_file_of_an_image_without_encryption_has_the_access_control_list_of_its_directory(images, place):
    set_acl(place, DEFAULT, acl(7, 1001, 7, 5, 7, 0))
    good('convert', images['sector'], place / 'out')
    (place / 'other').touch(0o666)
    assert os.getxattr(place / 'out', ACCESS) == os.getxattr(place / 'other', ACCESS)


def test_file_that_is_replaced_keeps_its_access_control_list_and_gets_no_other(images, place):
    """Seen: the mask became the permission of the group, and the directory's list came in."""
    out = place / 'out'
    out.write_bytes(b'old')
    before = acl(6, 1000, 6, 0, 6, 0)
    set_acl(out, ACCESS, before)
    good('convert', images['sector'], out)
    assert os.getxattr(out, ACCESS) == before and mode_of(out) == 0o660
    os.removexattr(out, ACCESS)
    out.chmod(0o640)
    set_acl(place, DEFAULT, acl(7, 1001, 7, 5, 7, 0))
    good('convert', images['sector'], out)
    assert not has_acl(out) and mode_of(out) == 0o640


@pytest.mark.parametrize('mode, egid, expected', [(0o604, OTHER_GROUP, 0o600), (0o604, GROUP, 0o604),
                                                  (0o646, OTHER_GROUP, 0o644), (0o044, GROUP, 0)])
def test_users_whom_the_mode_of_the_image_denies_are_denied_by_the_new_file(secret, place, mode, egid, expected):
    """Seen: members of the image's group, who could not read it, were others for the new file."""
    os.chown(secret[0], USER, GROUP)
    secret[0].chmod(mode)
    good('convert', '--key-file', secret[1], secret[0], place / 'out', group=egid, umask=0)
    assert mode_of(place / 'out') == expected


@pytest.mark.parametrize('with_acl', [False, True])
@pytest.mark.parametrize('groups, group, mode', [([OTHER_GROUP], OTHER_GROUP, 0o640), ([], 100, 0o600)])
def test_replaced_file_keeps_its_group_or_gives_no_other_its_permissions(images, place, foreign, with_acl, groups,
                                                                        group, mode):
    """Seen: the new file had the mode of the old one and the group of its maker."""
    shutil.copy(images['sector'], place / 'disk.qcow2')
    out = place / 'out'
    out.write_bytes(b'old')
    os.chown(out, USER, OTHER_GROUP)
    out.chmod(0o640)
    if with_acl:
        set_acl(out, ACCESS, acl(6, STRANGER, 4, 0, 4, 0))
    place.chmod(0o777)
    result = run_as(USER, 100, groups, foreign, place, 'convert', 'disk.qcow2', 'out')
    assert result.returncode == 0, result.stderr
    assert (out.stat().st_uid, out.stat().st_gid, mode_of(out)) == (USER, group, mode)
    assert has_acl(out) == (with_acl and groups != [])


def plant(place, what, owner=STRANGER):
    out = place / 'out'
    if what == 'file':
        out.write_bytes(b'old')
    elif what == 'fifo':
        os.mkfifo(out)
    elif what == 'link':
        out.symlink_to('target/planted')
    else:
        (place / 'target' / 'there').write_bytes(b'there')
        out.symlink_to('target/there')
    os.lchown(out, owner, owner)
    return out


@pytest.mark.parametrize('what', ['file', 'fifo', 'link', 'link to a file'])
@pytest.mark.parametrize('mode', [0o1777, 0o1775])
def test_what_another_user_has_put_into_a_sticky_directory_is_no_target(images, place, what, mode):
    """Seen: a link that was made between two looks led to a new file elsewhere, the disk went into another user's
    pipe, and a file became another user's, where Linux refuses the same to programs that create a file."""
    (place / 'target').mkdir()
    place.chmod(mode)
    out = plant(place, what)
    if mode == 0o1775 and 'link' in what:
        good('convert', images['sector'], out)  # links matter where everybody can write
        return
    fails_in_one_line(run('convert', images['sector'], out), f'{out}: ')
    assert os.lstat(out).st_uid == STRANGER and not unfinished(place) + unfinished(place / 'target')
    assert 'planted' not in os.listdir(place / 'target')
    if what == 'file':
        assert out.read_bytes() == b'old'


def test_link_that_comes_and_goes_in_a_sticky_directory_is_never_followed(images, place):
    (place / 'target').mkdir()
    place.chmod(0o1777)
    toggle = subprocess.Popen(['sh', '-c', 'while :; do ln -s target/planted out; rm -f out; done'], cwd=place,
                              user=STRANGER, group=STRANGER, extra_groups=[], stderr=subprocess.DEVNULL)
    try:
        for _ in range(40):
            run('convert', images['sector'], place / 'out')
            if (place / 'out').is_file() and not (place / 'out').is_symlink():
                (place / 'out').unlink()
    finally:
        toggle.kill()
        toggle.wait()
    assert os.listdir(place / 'target') == [] and not unfinished(place)


@pytest.mark.parametrize('what', ['file', 'link'])
@pytest.mark.parametrize('mode, owner', [(0o1777, 0), (0o1777, USER), (0o755, STRANGER), (0o777, STRANGER)])
def test_file_of_ones_own_or_of_the_directorys_owner_is_a_target(images, place, what, mode, owner):
    (place / 'target').mkdir()
    os.chown(place, USER, 0)
    place.chmod(mode)
    good('convert', images['sector'], plant(place, what, owner))
    assert (place / 'out').read_bytes() == b'\1' * 512


def test_pipe_without_a_name_is_a_target(images):
    reader, writer = os.pipe()
    good('convert', images['sector'], f'/dev/fd/{writer}', pass_fds=[writer])
    os.close(writer)
    assert os.read(reader, 1024) == b'\1' * 512
    os.close(reader)


@pytest.mark.skipif(shutil.which('strace') is None, reason='needs strace')
def test_unfinished_file_is_removed_when_it_cannot_be_looked_at(images, place):
    """Seen: every failure of the last look was reported as a file that had been exchanged, and it was left."""
    log = place.parent / 'log'
    seen = subprocess.run(['strace', '-f', '-o', log, '-e', 'trace=newfstatat', toolrun.TOOL, 'convert',
                           '--no-sandbox', images['sector'], place / 'out'], stderr=subprocess.PIPE)
    if seen.returncode != 0:
        pytest.skip('strace may not trace')
    calls = [line for line in log.read_text().splitlines() if 'newfstatat(' in line]
    numbers = [number for number, line in enumerate(calls, 1) if '.part"' in line]
    if not numbers:
        pytest.skip('another system call is used here')
    (place / 'out').unlink()
    result = subprocess.run(['strace', '-f', '-o', log, '-e', f'inject=newfstatat:error=EIO:when={numbers[-1]}',
                             toolrun.TOOL, 'convert', '--no-sandbox', images['sector'], place / 'out'],
                            stderr=subprocess.PIPE)
    text = fails_in_one_line(result, 'out: the finished file cannot be given its name: ')
    assert 'Input/output error' in text or 'I/O error' in text  # glibc, musl
    assert os.listdir(place) == []
