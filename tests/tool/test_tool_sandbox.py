# SPDX-License-Identifier: MIT
"""The sandbox: what an attacker in the program would find shut, that the program itself misses nothing,
and that it is there. (All other tests of the tool run within it, as it is the default.)"""

import errno
import os
import platform
import re
import subprocess
import time

import pytest

import toolrun
from chainrun import PASSPHRASE, encrypted
from kernels import CALLS, without, without_low_memory
from toolrun import COMMANDS, fails_in_one_line, good, run

BUILD = os.path.abspath(os.environ.get('QCOW2_BUILD', toolrun.ROOT / 'build'))
ATTEMPTS = os.path.join(BUILD, 'tests', 'sandbox', 'attempts')
STOPPED = 'stopped by the sandbox'
NO_SUCH_CALL, DENIED, DONE = 'ENOSYS', 'EACCES', 'done'
STAGES = ('none', 'files', 'calls', 'entered', 'sealed')


@pytest.fixture(scope='module')
def sandbox(images):
    """Skips where there is none: another system, an old kernel, a build with a sanitizer."""
    result = run('info', '--require-sandbox', images['fresh'])
    if b'--require-sandbox: ' in result.stderr:
        pytest.skip(result.stderr.decode().strip())
    assert result.returncode == 0, result.stderr


def attempt(place, stage, name):
    """What came of it."""
    for file in ('file', 'image', 'temporary'):
        (place / file).write_bytes(b'content')
    for file in ('new', 'link', 'final'):
        path = place / file
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    result = subprocess.run([ATTEMPTS, place, stage, name], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if result.returncode == 99:
        assert re.fullmatch(rb'qcow2: stopped by its own sandbox before it made system call number '
                            rb'\d+, .*\n', result.stderr)
        return STOPPED
    assert result.returncode == 0, (result.returncode, result.stderr)
    text = result.stdout.decode().strip()
    return text if text == DONE else errno.errorcode[int(text)]


# attempt: what comes of it before anything is opened, and when all is open. None of it is stopped
# by anything else.
SHUT = {
    'reading_outside': (DENIED, DENIED),
    'listing_outside': (DENIED, DENIED),
    'reopening_for_writing': (NO_SUCH_CALL, NO_SUCH_CALL),
    'writing_to_a_file': (NO_SUCH_CALL, NO_SUCH_CALL),
    'creating_a_file': (NO_SUCH_CALL, NO_SUCH_CALL),
    'emptying_a_file': (NO_SUCH_CALL, NO_SUCH_CALL),
    'an_unnamed_file': (NO_SUCH_CALL, NO_SUCH_CALL),
    'writing_the_new_way': (DENIED, DENIED),
    'linking': (NO_SUCH_CALL, NO_SUCH_CALL),
    'a_symbolic_link': (NO_SUCH_CALL, NO_SUCH_CALL),
    'a_directory': (NO_SUCH_CALL, NO_SUCH_CALL),
    'removing_a_file': (NO_SUCH_CALL, NO_SUCH_CALL),
    'renaming_a_file': (NO_SUCH_CALL, NO_SUCH_CALL),
    'renaming_by_other_words': (NO_SUCH_CALL, NO_SUCH_CALL),
    'renaming_to_another_name': (NO_SUCH_CALL, NO_SUCH_CALL),
    'unprotecting_names': (NO_SUCH_CALL, NO_SUCH_CALL),
    'unmapping_names': (NO_SUCH_CALL, NO_SUCH_CALL),
    'forgetting_names': (NO_SUCH_CALL, NO_SUCH_CALL),
    'mapping_over_names': (NO_SUCH_CALL, NO_SUCH_CALL),
    'moving_memory_onto_names': (NO_SUCH_CALL, NO_SUCH_CALL),
    'changing_a_mode': (NO_SUCH_CALL, NO_SUCH_CALL),
    'a_new_descriptor': (NO_SUCH_CALL, NO_SUCH_CALL),
    'a_signal_to_anothers_thread': (NO_SUCH_CALL, NO_SUCH_CALL),
    'owning_a_descriptor': (NO_SUCH_CALL, NO_SUCH_CALL),
    'raising_a_limit': (NO_SUCH_CALL, NO_SUCH_CALL),
    'an_unknown_call': (NO_SUCH_CALL, NO_SUCH_CALL),
    'a_new_process': (STOPPED, STOPPED),
    'a_socket': (STOPPED, STOPPED),
    'a_signal_to_another': (STOPPED, STOPPED),
    'tracing': (STOPPED, STOPPED),
    'reading_inside': (DONE, DENIED),
    'executable_memory': (DONE, DENIED),
    'making_memory_executable': (DONE, DENIED),
}
OPEN = ['reopening_the_image', 'finishing', 'giving_up', 'a_thread', 'looking_at_names']


@pytest.mark.parametrize('name', SHUT)
def test_what_reading_does_not_need_is_shut(sandbox, tmp_path, name):
    assert attempt(tmp_path, 'none', name) == DONE, 'it must be possible without a sandbox'
    assert (attempt(tmp_path, 'entered', name), attempt(tmp_path, 'sealed', name)) == SHUT[name]


def test_no_program_can_be_run(sandbox, tmp_path):
    # Without a sandbox there is a program where this one was, which says nothing.
    result = subprocess.run([ATTEMPTS, tmp_path, 'none', 'running_a_program'], stdout=subprocess.PIPE)
    assert result.returncode in (0, 77) and not result.stdout
    for stage in ('entered', 'sealed'):
        assert attempt(tmp_path, stage, 'running_a_program') == STOPPED


def test_nothing_can_be_typed_for_the_user(sandbox, tmp_path):
    for stage in ('entered', 'sealed'):
        assert attempt(tmp_path, stage, 'typing_for_the_user') == NO_SUCH_CALL


@pytest.mark.parametrize('name', OPEN)
def test_what_reading_needs_is_open(sandbox, tmp_path, name):
    for stage in STAGES:
        assert attempt(tmp_path, stage, name) == DONE
        if name == 'finishing':
            assert sorted(os.listdir(tmp_path)) == ['file', 'final', 'image']
            assert (tmp_path / 'final').stat().st_mode & 0o777 == 0o640
        elif name == 'giving_up':
            assert sorted(os.listdir(tmp_path)) == ['file', 'image']


@pytest.mark.parametrize('name', ['writing_to_a_file', 'emptying_a_file', 'an_unnamed_file',
                                  'writing_the_new_way', 'reading_outside'])
def test_each_half_holds_alone(sandbox, tmp_path, name):
    """On kernels that have only one of the two."""
    assert attempt(tmp_path, 'files', name) == DENIED
    # seccomp sees no names, so where files are read it cannot say.
    assert attempt(tmp_path, 'calls', name) == (DONE if name == 'reading_outside' else NO_SUCH_CALL)


def status(process, thread=None):
    """What the kernel says: fields of /proc/PID/status."""
    path = f'/proc/{process.pid}/' + (f'task/{thread}/' if thread else '') + 'status'
    with open(path) as file:
        return dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)


def filters(process):
    fields = status(process)
    return fields.get('Seccomp_filters', '').strip(), fields['Seccomp'].strip(), \
        fields['NoNewPrivs'].strip()


def start(*words, **options):
    return subprocess.Popen([toolrun.TOOL, *[os.fspath(word) for word in words]],
                            stderr=subprocess.PIPE, **options)


def stop(process):
    process.kill()
    process.communicate()


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize('words', [['cat'], ['convert', '-m', '3', '{image}', '-']])
def test_kernel_confirms_it_of_every_thread_that_reads(sandbox, endless, words):
    words = [word.format(image=endless) for word in words]
    process = start(*words, *([] if str(endless) in words else [endless]), stdout=subprocess.PIPE)
    try:
        process.stdout.read(1 << 20)
        least = 3 if 'convert' in words else 1
        wait_for(lambda: len(os.listdir(f'/proc/{process.pid}/task')) >= least)
        for thread in os.listdir(f'/proc/{process.pid}/task'):
            fields = status(process, thread)
            assert (fields['Seccomp'], fields['NoNewPrivs']) == ('2', '1')
            assert fields.get('Seccomp_filters', '2') == '2'
    finally:
        stop(process)


def test_first_stage_is_there_before_the_header_is_believed(sandbox, tmp_path):
    """The program stands still in the middle of opening: it waits for a key."""
    image = tmp_path / 'luks.qcow2'
    encrypted(image, '1M', 'write -P 5 0 512k')
    os.mkfifo(tmp_path / 'key-fifo')
    for words in (['digest', image], ['convert', image, tmp_path / 'out'], ['compare', image, image]):
        process = start(*words, '--key-file', tmp_path / 'key-fifo', stdout=subprocess.PIPE)
        try:
            # It has opened its end once ours can be.
            writer = os.open(tmp_path / 'key-fifo', os.O_WRONLY)
            assert filters(process) in (('1', '2', '1'), ('', '2', '1'))
            os.write(writer, PASSPHRASE)
            os.close(writer)
            _, text = process.communicate(timeout=60)
            assert process.returncode == 0, text
        finally:
            stop(process)
    assert (tmp_path / 'out').read_bytes() == b'\5' * (1 << 19) + bytes(1 << 19)


def test_signal_while_the_key_is_awaited_leaves_nothing_behind(tmp_path):
    image = tmp_path / 'luks.qcow2'
    encrypted(image, '1M', 'write -P 5 0 512k')
    place = tmp_path / 'place'
    place.mkdir()
    os.mkfifo(tmp_path / 'key-fifo')
    process = start('convert', '--key-file', tmp_path / 'key-fifo', image, place / 'out')
    try:
        wait_for(lambda: os.listdir(place))
        process.terminate()
        assert process.wait(30) == 143
    finally:
        stop(process)
    assert os.listdir(place) == []


def test_turned_off_it_is_off(endless):
    process = start('cat', '--no-sandbox', endless, stdout=subprocess.PIPE)
    try:
        process.stdout.read(1 << 20)
        fields = status(process)
        with open('/proc/self/status') as file:  # what this test itself runs under
            own = dict(line.split(':\t', 1) for line in file if ':\t' in line)
        assert [fields[name] for name in ('Seccomp', 'NoNewPrivs')] == \
            [own[name].strip() for name in ('Seccomp', 'NoNewPrivs')]
    finally:
        stop(process)


def words_of(command, image, tmp_path):
    return {'convert': [image, tmp_path / 'out'], 'compare': [image, image],
            'explain': [image, '1M']}.get(command, [image])


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize('name', ['v3', 'zstd', 'pre_metadata'])
def test_output_is_the_same_with_and_without(sandbox, images, tmp_path, command, name):
    words = words_of(command, images[name], tmp_path)
    assert good(command, '--require-sandbox', *words).stdout == \
        good(command, '--no-sandbox', *words).stdout


@pytest.mark.parametrize('cipher', ['cast5-128', 'aes-256'])
def test_ciphers_in_modules_of_libcrypto_are_found(tmp_path, cipher):
    """libcrypto loads the old ones when they are first asked for, which is within the sandbox."""
    image, key = tmp_path / 'image', tmp_path / 'key'
    key.write_bytes(PASSPHRASE)
    secret = f'secret,id=key,file={key}'
    options = f'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=100,' \
              f'encrypt.cipher-alg={cipher},encrypt.cipher-mode=cbc,encrypt.ivgen-alg=plain64'
    for _ in range(8):
        made = subprocess.run(['qemu-img', 'create', '-q', '--object', secret, '-f', 'qcow2', '-o',
                               options, image, '1M'], stderr=subprocess.PIPE)
        if b'CPU usage' not in made.stderr:  # it measures its speed, and fails on a busy machine
            break
    if made.returncode != 0:
        pytest.skip(made.stderr.decode())
    words = ['digest', '--key-file', key, image]
    outside = run(*words, '--no-sandbox')
    if b'libcrypto' in outside.stderr:
        pytest.skip(outside.stderr.decode())
    assert outside.returncode == 0, outside.stderr
    assert good(*words).stdout == outside.stdout


def test_chain_over_several_directories_is_read(tmp_path, monkeypatch):
    """Links, "..", and absolute names, all of them granted: the kernel has to let them through too."""
    for name in ('top', 'allowed', 'top/below', 'elsewhere'):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / 'elsewhere' / 'base.raw'
    raw.write_bytes(b'\7' * (1 << 20))
    (tmp_path / 'allowed' / 'middle.qcow2').touch()
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '-b', raw, '-F', 'raw',
                     tmp_path / 'allowed' / 'middle.qcow2')
    toolrun.qemu_img('create', '-q', '-f', 'qcow2', '-b', '../allowed/middle.qcow2', '-F', 'qcow2',
                     'top/disk.qcow2')
    (tmp_path / 'link.qcow2').symlink_to('top/disk.qcow2')
    for image in ('top/disk.qcow2', tmp_path / 'top' / 'disk.qcow2', 'top/below/../disk.qcow2'):
        assert good('cat', '-l', '1', '--allow', 'allowed', '--allow', tmp_path / 'elsewhere',
                    image).stdout == b'\7'
    # By a link in another directory: the file is what the user named, its directory is not.
    assert good('cat', '-l', '1', '--no-backing', 'link.qcow2').stdout == b'\0'
    fails_in_one_line(run('cat', '-l', '1', 'top/disk.qcow2'), 'lies outside')


def test_nothing_is_read_if_the_name_of_the_output_cannot_be_kept(sandbox, images, tmp_path):
    """Seen: where no low page was free, the one rename that is allowed could have had any name, and
    --require-sandbox did not mind."""
    if platform.machine() != 'x86_64':
        pytest.skip('the number of mmap is not known')

    good('convert', images['v3'], tmp_path / 'out', preexec_fn=without_low_memory())
    (tmp_path / 'out').unlink()
    result = run('convert', '--require-sandbox', images['v3'], tmp_path / 'out',
                 preexec_fn=without_low_memory())
    fails_in_one_line(result, '--require-sandbox: ', 'names of the output', 'nothing was read')
    assert not os.listdir(tmp_path)
    good('convert', '--require-sandbox', images['v3'], tmp_path / 'out')


@pytest.mark.skipif(platform.machine() not in CALLS, reason='numbers of system calls are not known')
@pytest.mark.parametrize('missing, word', [('seccomp', 'seccomp'), ('landlock', 'Landlock'),
                                           ('both', 'Landlock')])
def test_old_kernel_is_used_as_far_as_it_goes_unless_more_is_required(sandbox, images, tmp_path,
                                                                      missing, word):
    seccomp, landlock = CALLS[platform.machine()]
    numbers = {'seccomp': (seccomp,), 'landlock': landlock, 'both': (seccomp, *landlock)}[missing]
    for command in COMMANDS:
        words = words_of(command, images['v3'], tmp_path)
        good(command, *words, preexec_fn=without(*numbers))
        (tmp_path / 'out').unlink(missing_ok=True)
        result = run(command, '--require-sandbox', *words, preexec_fn=without(*numbers))
        fails_in_one_line(result, '--require-sandbox: ', f'has no {word}', 'nothing was read',
                          code=2 if command in ('compare', 'vet') else 1)
        assert not result.stdout and os.listdir(tmp_path) == []
