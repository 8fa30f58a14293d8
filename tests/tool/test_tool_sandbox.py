# SPDX-License-Identifier: MIT
"""The sandbox: what an attacker in the program would find shut, that the program itself misses nothing,
and that it is there. (All other tests of the tool run within it, as it is the default.)"""

import errno
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import time

import pytest

import toolrun
from chainrun import PASSPHRASE, encrypted
from kernels import CALLS, without, without_low_memory
from toolrun import COMMANDS, fails_in_one_line, good, run

BUILD = os.path.abspath(os.environ.get('QCOW2_BUILD', toolrun.ROOT / 'build'))
PROGRAM = os.path.join(BUILD, 'tests', 'sandbox', 'attempts')
INSIDE = os.path.join(BUILD, 'tests', 'sandbox', 'libinside.so')
KERNEL = os.path.join(BUILD, 'tests', 'sandbox', 'libkernel.so')
STOPPED = 'stopped by the sandbox'
NO_SUCH_CALL, DENIED, DONE = 'ENOSYS', 'EACCES', 'done'
STAGES = ('none', 'files', 'calls', 'entered', 'sealed')
VERSIONS = (1, 2, 3, 4, None)  # of Landlock; None: this kernel's own


@pytest.fixture(scope='module')
def sandbox(images):
    """Skips where there is none: another system, an old kernel, a build with a sanitizer."""
    result = run('info', '--require-sandbox', images['fresh'])
    if b'--require-sandbox: ' in result.stderr:
        pytest.skip(result.stderr.decode().strip())
    assert result.returncode == 0, result.stderr


def kernel(**settings):
    """The environment of a program that finds a kernel which has less, or fails: tests/sandbox/kernel.c."""
    words = ','.join(f'{name}={value}' for name, value in settings.items() if value is not None)
    return {**os.environ, 'LD_PRELOAD': KERNEL, 'QCOW2_TEST_KERNEL': words} if words else None


def fresh(place):
    for entry in list(place.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            entry.rmdir()
        else:
            entry.unlink()
    for file in ('file', 'image', 'temporary'):
        (place / file).write_bytes(b'content')


def state(place):
    """All that an attempt could change, but the bytes of the output."""
    entries = []
    for entry in [place, *sorted(place.iterdir())]:
        info = entry.lstat()
        written = entry.name == 'temporary'
        entries.append((entry.name, info.st_mode, info.st_uid, info.st_gid, info.st_nlink,
                        None if written else info.st_mtime_ns,
                        entry.read_bytes() if entry.is_file() and not written else None))
    return entries


def attempt(place, stage, name, version=None):
    """What came of it."""
    fresh(place)
    before = state(place)
    result = subprocess.run([PROGRAM, place, stage, name], stdin=subprocess.DEVNULL,
                            env=kernel(landlock=version),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if result.returncode == 99:
        assert re.fullmatch(rb'qcow2: stopped by its own sandbox before it made system call number '
                            rb'\d+, .*\n', result.stderr)
        outcome = STOPPED
    else:
        assert result.returncode == 0, (result.returncode, result.stderr)
        text = result.stdout.decode().strip()
        outcome = text if text == DONE else errno.errorcode[int(text)]
    if outcome != DONE and stage in ('entered', 'sealed'):
        assert state(place) == before, 'it was told as impossible, but something changed'
    return outcome


# What comes of an attempt while images are opened, and when all is open.
NEVER = [*'''
    reading_outside_by_openat2 writing_by_openat2 writing_and_reading_by_openat2 creating_by_openat2
    creating_exclusively_by_openat2 creating_by_creat creating_by_mknod creating_by_mknodat
    creating_a_pipe creating_without_a_name_by_openat2 creating_a_directory emptying_by_openat2
    emptying_by_truncate linking linking_a_descriptor a_symbolic_link removing_a_file
    renaming_a_file renaming_by_other_words renaming_to_another_name exchanging_files
    changing_a_mode_by_chmod changing_a_mode_by_fchmodat changing_a_mode_by_fchmodat2
    changing_an_owner_by_lchown changing_an_owner_by_fchownat changing_times changing_attributes
    changing_attributes_by_number asking_for_a_handle going_elsewhere writing_to_the_stray
    writing_to_the_stray_by_writev writing_to_the_stray_by_pwrite writing_to_the_stray_by_pwritev
    writing_to_the_stray_by_pwritev2 writing_to_the_stray_by_copying writing_to_the_stray_by_sending
    writing_to_the_stray_as_memory writing_to_the_stray_as_memory_later
    writing_to_the_stray_as_valid_memory sharing_extents_with_the_stray sharing_all_with_the_stray
    cutting_the_stray allocating_the_stray punching_the_stray cutting_the_stray_after_dup
    cutting_the_stray_after_dup2 cutting_the_stray_after_dup3 cutting_the_stray_after_dupfd
    writing_to_the_stray_after_dup2 changing_the_mode_of_the_output changing_the_owner_of_the_output
    changing_the_mode_of_the_directory changing_the_mode_of_the_image
    changing_the_mode_of_the_image_after_dup2 changing_the_mode_of_the_image_after_dupfd
    a_new_descriptor changing_flags owning_a_descriptor leasing locking unprotecting_names
    unprotecting_names_by_key unmapping_names unmapping_names_from_below forgetting_names
    mapping_over_names moving_memory_onto_names moving_names_away unprotecting_names_by_a_tag
    unmapping_names_by_a_tag forgetting_names_by_a_tag moving_names_away_by_a_tag
    mapping_over_names_by_a_tag sharing_memory_with_others memory_that_no_child_has
    a_new_process_by_clone3 a_thread_with_mounts creating_in_a_thread a_pair_of_sockets
    sending_to_a_socket a_signal_to_anothers_thread a_signal_to_anothers_only_thread
    a_signal_by_descriptor a_signal_with_a_value a_descriptor_of_another advice_to_another
    typing_for_the_user raising_a_limit entering_a_ring a_file_in_memory faults_of_our_own
    what_is_about_the_process an_unknown_call'''.split()]
OPENING = [*'''
    writing_by_open writing_by_openat writing_and_reading_by_openat writing_with_a_bit_more
    opening_for_ioctl_alone writing_from_a_path writing_to_the_image_by_number
    writing_to_the_stray_by_number creating_by_open creating_by_openat
    creating_without_a_name_by_open creating_without_a_name_by_openat emptying_by_open
    emptying_by_openat emptying_the_image_by_number renaming_in_another_directory
    cutting_what_is_opened_instead'''.split()]  # of files, for more than reading
STOPS = [*'''
    running_a_program running_a_program_by_number a_new_process a_new_process_by_clone
    a_new_process_with_a_user other_mounts a_socket a_signal_to_another tracing memory_of_another
    memory_to_another a_ring creating_as_i386 asking_who_we_are_as_i386 creating_as_x32
    asking_who_we_are_as_x32'''.split()]
SHUT = {
    **{name: (NO_SUCH_CALL, NO_SUCH_CALL) for name in NEVER},
    **{name: (NO_SUCH_CALL, DENIED) for name in OPENING},
    **{name: (STOPPED, STOPPED) for name in STOPS},
    'reading_outside': (DENIED, DENIED),
    'reading_a_device': (DENIED, DENIED),
    'listing_inside': (NO_SUCH_CALL, DENIED),
    'listing_an_open_directory': (NO_SUCH_CALL, NO_SUCH_CALL),
    'renaming_in_a_directory_opened_instead': (DENIED, DENIED),
    'listing_outside': (DENIED, DENIED),
    'cutting_the_stray_after_dupfd_cloexec': (NO_SUCH_CALL, DENIED),
    'writing_to_the_stray_after_dupfd_cloexec': (NO_SUCH_CALL, DENIED),
    'changing_the_mode_of_the_image_after_dupfd_cloexec': (NO_SUCH_CALL, DENIED),
    'a_new_descriptor_by_fcntl': (NO_SUCH_CALL, DENIED),
    'cutting_a_duplicate_of_the_stray': (NO_SUCH_CALL, DENIED),
    'the_stray_at_standard_error': (NO_SUCH_CALL, DENIED),
    'the_stray_at_standard_error_itself': (NO_SUCH_CALL, DENIED),
    'cutting_what_is_opened_for_reading': ('EINVAL', DENIED),  # not open for writing; not opened
    'cutting_what_is_named_instead': ('EBADF', DENIED),
    'reading_into_names': ('EFAULT', 'EFAULT'),
    'changing_the_terminal': ('ENOTTY', 'ENOTTY'),  # tests/tool/test_tool_keys.py has a terminal
    'writing_to_the_terminal': ('ENXIO', 'ENXIO'),
    'the_stray_at_the_terminal': ('ENXIO', 'ENXIO'),
    'duplicating_standard_output': (DENIED, DENIED),
    'duplicating_standard_error': (DENIED, DENIED),
    'reading_standard_output': (DENIED, DENIED),
    'reading_standard_error': (DENIED, DENIED),
    'reading_standard_error_by_readv': (DENIED, DENIED),
    'reading_standard_error_by_pread': (DENIED, DENIED),
    'reading_standard_error_as_memory': (DENIED, DENIED),
    'going_back_in_standard_output': ('ESPIPE', 'ESPIPE'),
    'going_back_in_standard_error': ('ESPIPE', 'ESPIPE'),
}
SHUT_WHEN_SEALED = {
    'reopening_the_image': DENIED,
    'naming_a_file': DENIED,
    'naming_a_file_outside': DENIED,
    'opening_the_pipe_of_standard_output': DENIED,
    'opening_a_name_of_the_kernel': DENIED,
    'reading_inside': DENIED,
    'reading_inside_from_a_path': DENIED,
    'reading_a_link': NO_SUCH_CALL,
    'reading_a_link_at': NO_SUCH_CALL,
    'asking_for_access': NO_SUCH_CALL,
    'asking_for_access_at': NO_SUCH_CALL,
    'asking_where_we_are': NO_SUCH_CALL,
    'executable_memory': DENIED,
    'duplicating': DENIED,
    'making_memory_executable': DENIED,
}
OPEN = ['looking_at_names', 'finishing', 'finishing_where_nothing_is', 'giving_up',
        'writing_to_the_output', 'cutting_the_output', 'a_thread', 'freeing_memory']
# What this system does not let anybody do, or not with these arguments.
IMPOSSIBLE = [*'''
    exchanging_files renaming_in_another_directory cutting_what_is_opened_for_reading
    cutting_what_is_named_instead leasing reading_into_names a_thread_with_mounts
    sending_to_a_socket a_signal_with_a_value a_descriptor_of_another advice_to_another
    typing_for_the_user changing_the_terminal a_ring entering_a_ring
    unprotecting_names_by_a_tag unmapping_names_by_a_tag forgetting_names_by_a_tag
    moving_names_away_by_a_tag mapping_over_names_by_a_tag writing_to_the_terminal
    the_stray_at_the_terminal listing_an_open_directory
    renaming_in_a_directory_opened_instead reading_standard_output reading_standard_error
    reading_standard_error_by_readv reading_standard_error_by_pread
    reading_standard_error_as_memory going_back_in_standard_output
    going_back_in_standard_error'''.split()]
# What a machine may lack: other machines, old calls, attributes of files, users of their own.
PERHAPS = [*'''
    creating_as_i386 asking_who_we_are_as_i386 changing_attributes changing_attributes_by_number
    creating_without_a_name_by_open creating_without_a_name_by_openat
    creating_without_a_name_by_openat2 writing_to_the_stray_by_copying a_new_process_with_a_user
    other_mounts faults_of_our_own changing_a_mode_by_fchmodat2 unprotecting_names_by_key
    asking_for_a_handle a_signal_by_descriptor linking_a_descriptor memory_of_another
    memory_to_another tracing sharing_extents_with_the_stray sharing_all_with_the_stray
    changing_the_mode_of_the_directory sharing_memory_with_others creating_as_x32 asking_who_we_are_as_x32 writing_by_open
    creating_by_open creating_by_creat creating_by_mknod emptying_by_open'''.split()]
MACHINES = [name for name in STOPS if name.endswith(('i386', 'x32'))]


@pytest.fixture(scope='module')
def listed(sandbox):
    """What there is to try on this machine."""
    return subprocess.run([PROGRAM, 'list'], stdout=subprocess.PIPE, check=True).stdout.decode().split()


def test_every_attempt_has_its_outcome(listed):
    missing = [] if MACHINES[0] in listed else MACHINES  # another machine than x86-64
    assert sorted([*listed, *missing]) == sorted([*SHUT, *SHUT_WHEN_SEALED, *OPEN])


@pytest.mark.parametrize('name', [*SHUT, *SHUT_WHEN_SEALED])
def test_what_reading_does_not_need_is_shut(listed, tmp_path, name):
    """By every call that can do it, on every version of Landlock."""
    if name not in listed:
        pytest.skip('this machine stands in for no other')
    before_seal = SHUT[name][0] if name in SHUT else DONE
    when_sealed = SHUT[name][1] if name in SHUT else SHUT_WHEN_SEALED[name]
    if 'running_a_program' not in name:  # where this one was; it does not tell
        outside = attempt(tmp_path, 'none', name)
        if name in IMPOSSIBLE:
            assert outside != DONE
        elif name not in PERHAPS:
            assert outside == DONE, 'it must be possible without a sandbox'
    for version in VERSIONS:
        assert attempt(tmp_path, 'entered', name, version) == before_seal
        assert attempt(tmp_path, 'sealed', name, version) == when_sealed


@pytest.mark.parametrize('name', OPEN)
def test_what_reading_needs_is_open(sandbox, tmp_path, name):
    for stage in STAGES:
        assert attempt(tmp_path, stage, name) == DONE
        if name.startswith('finishing'):
            assert sorted(os.listdir(tmp_path)) == ['file', 'final', 'image']
        elif name == 'giving_up':
            assert sorted(os.listdir(tmp_path)) == ['file', 'image']


@pytest.mark.parametrize('name', ['writing_by_openat', 'emptying_by_openat', 'emptying_by_openat2',
                                  'creating_without_a_name_by_openat', 'writing_by_openat2',
                                  'reading_outside'])
def test_each_half_holds_alone(sandbox, tmp_path, name):
    """On kernels that have only one of the two."""
    assert attempt(tmp_path, 'files', name) == DENIED
    # seccomp sees no names, so where files are read it cannot say.
    assert attempt(tmp_path, 'calls', name) == (DONE if name == 'reading_outside' else NO_SUCH_CALL)


def attempt_within(place, words, name, read, stray, **options):
    """What comes of it in the middle of the tool, with "file" open at a standard descriptor as `<>` does."""
    before = state(place)
    # `convert` reads a field of the header first, before it shuts itself in: is the image encrypted?
    read += words[0] == 'convert'
    with open(place / 'file', 'r+b') as file:
        streams = {'stdin': subprocess.DEVNULL, 'stderr': subprocess.PIPE}
        streams['stdin' if stray == 0 else 'stderr'] = file
        result = run(*words, cwd=place, **streams, **options,
                     env={**os.environ, 'LD_PRELOAD': INSIDE, 'QCOW2_TEST_ATTEMPT': name,
                          'QCOW2_TEST_READ': str(read), 'QCOW2_TEST_STRAY': str(stray)})
    files = sorted(entry[0] for entry in before[1:])
    if result.returncode == 1:
        assert sorted(os.listdir(place)) == files, 'an unfinished file is left'
        assert stray == 2 or b'stopped by its own sandbox' in result.stderr
        (place / 'file').write_bytes(b'content')
        return STOPPED
    for part in place.glob('.out.*.part'):  # the tool did not come to its end
        part.unlink()
    assert result.returncode == 97, result.stderr
    outcome = result.stdout.decode().strip()
    if outcome != DONE:
        assert [entry[1:5] + entry[6:] for entry in state(place)] == \
            [entry[1:5] + entry[6:] for entry in before]
    return outcome if outcome == DONE else errno.errorcode[int(outcome)]


# Standard error is there to be written to. It is not there to be cut, and not to be written at any place.
WORDS_TO_PEOPLE = ('writing_to_the_stray', 'writing_to_the_stray_by_writev')


@pytest.mark.parametrize('words, stray', [(['convert', 'image', 'out'], 0), (['digest', 'image'], 0),
                                          (['convert', 'image', 'out'], 2), (['digest', 'image'], 2)])
@pytest.mark.parametrize('read', [1, 7])
def test_nothing_else_is_done_from_within_the_tool(listed, images, tmp_path, words, stray, read):
    """Seen: what an image got hold of could create files beside the output, give it, the image and standard
    input other modes, and cut a file that was open for writing."""
    fresh(tmp_path)
    shutil.copyfile(images['v3'], tmp_path / 'image')
    sealed = read > 1
    inside = attempt_within(tmp_path, words, 'reading_inside', read, stray)
    assert inside == (DENIED if sealed else DONE), 'the read is not in the stage that is meant'
    for name in [*SHUT, *(SHUT_WHEN_SEALED if sealed else [])]:
        if name not in listed:
            continue
        if (stray == 2 and name in WORDS_TO_PEOPLE) or (words[0] == 'digest' and 'names' in name):
            continue  # which it has none of
        outcome = attempt_within(tmp_path, words, name, read, stray)
        assert outcome != DONE, name
        if name in STOPS:
            assert outcome == STOPPED, name


@pytest.mark.parametrize('threads', ['1', '4'])
@pytest.mark.parametrize('held_back', [(), (signal.SIGSYS,)])
@pytest.mark.parametrize('read', [1, 7])
def test_attempt_that_is_stopped_leaves_no_unfinished_file(sandbox, images, tmp_path, threads, held_back,
                                                           read):
    """Seen: in a thread of a copy, or where the parent held the signal back, the kernel ended the program at
    once, without a word, and the file was left."""
    fresh(tmp_path)
    shutil.copyfile(images['v3'], tmp_path / 'image')
    words = ['convert', '-m', threads, 'image', 'out']
    assert attempt_within(tmp_path, words, 'a_socket', read, 0, preexec_fn=lambda: signal.pthread_sigmask(
        signal.SIG_BLOCK, held_back)) == STOPPED


# The calls of x86-64 that are made whatever their arguments are.
ALWAYS = {
    'read': 0, 'close': 3, 'stat': 4, 'fstat': 5, 'lstat': 6, 'poll': 7, 'lseek': 8, 'brk': 12,
    'rt_sigaction': 13, 'rt_sigprocmask': 14, 'rt_sigreturn': 15, 'pread64': 17, 'readv': 19,
    'select': 23, 'sched_yield': 24, 'nanosleep': 35, 'getpid': 39, 'exit': 60, 'uname': 63,
    'fsync': 74, 'fdatasync': 75, 'gettimeofday': 96, 'getrlimit': 97, 'sysinfo': 99, 'getuid': 102,
    'getgid': 104, 'geteuid': 107, 'getegid': 108, 'fstatfs': 138, 'gettid': 186, 'time': 201,
    'futex': 202, 'sched_getaffinity': 204, 'restart_syscall': 219, 'fadvise64': 221,
    'clock_gettime': 228, 'clock_getres': 229, 'clock_nanosleep': 230, 'exit_group': 231,
    'newfstatat': 262, 'pselect6': 270, 'ppoll': 271, 'set_robust_list': 273, 'getcpu': 309,
    'seccomp': 317, 'getrandom': 318, 'statx': 332, 'rseq': 334, 'landlock_create_ruleset': 444,
    'landlock_add_rule': 445, 'landlock_restrict_self': 446}
BEFORE_SEAL = {'access': 21, 'getcwd': 79, 'readlink': 89, 'readlinkat': 267,
               'faccessat': 269, 'faccessat2': 439}
# With arguments that pass, or that another rule looks at; and what the kernel itself lets through.
SOMETIMES = {'mmap': 9, 'mprotect': 10, 'munmap': 11, 'madvise': 28, 'uretprobe': 335, 'uprobe': 336}


@pytest.mark.parametrize('stage, allowed', [('entered', {**ALWAYS, **BEFORE_SEAL}), ('sealed', ALWAYS)])
def test_no_other_call_is_made(listed, tmp_path, stage, allowed):
    """All there are, with arguments that do nothing."""
    if MACHINES[0] not in listed:
        pytest.skip('the numbers are those of x86-64')
    fresh(tmp_path)
    result = subprocess.run([PROGRAM, tmp_path, stage, 'calls'], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    assert result.returncode == 0, result.stderr
    made = {int(number) for number in result.stdout.split()}
    assert made - set(SOMETIMES.values()) <= set(allowed.values())
    assert {'read', 'stat', 'close'} <= {name for name in allowed if allowed[name] in made}


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
            assert fields.get('Seccomp_filters', '3') == '3'
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
            assert filters(process) in (('2', '2', '1'), ('', '2', '1'))
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


def test_signal_of_another_process_is_not_taken_for_an_attack(sandbox, tmp_path):
    """Seen: after `kill -SYS` the message told of system call number 0 and an attack."""
    image = tmp_path / 'luks.qcow2'
    encrypted(image, '1M', 'write -P 5 0 512k')
    os.mkfifo(tmp_path / 'key-fifo')
    place = tmp_path / 'place'
    place.mkdir()
    process = start('convert', '--key-file', tmp_path / 'key-fifo', image, place / 'out')
    try:
        wait_for(lambda: os.listdir(place) and status(process)['Seccomp'] == '2')
        process.send_signal(signal.SIGSYS)
        _, text = process.communicate(timeout=30)
    finally:
        stop(process)
    assert process.returncode == -signal.SIGSYS and not text
    assert os.listdir(place) == []


def crash(*words):
    """Whether the kernel wrote the memory of a crash down, the program waiting for a key."""
    process = start(*words)
    wait_for(lambda: status(process).get('Seccomp') == '2' or '--no-sandbox' in words)
    time.sleep(0.1 if '--no-sandbox' in words else 0)
    os.kill(process.pid, signal.SIGABRT)
    _, state_of_end = os.waitpid(process.pid, 0)
    process.returncode = -signal.SIGABRT
    process.stderr.close()
    assert os.WTERMSIG(state_of_end) == signal.SIGABRT
    return os.WCOREDUMP(state_of_end)


def test_crash_leaves_no_core(sandbox, tmp_path, monkeypatch):
    """Seen: the kernel wrote the memory of a crash, passphrases in it, to a file that the process itself could
    not have made."""
    image = tmp_path / 'luks.qcow2'
    encrypted(image, '1M', 'write -P 5 0 512k')
    os.mkfifo(tmp_path / 'key-fifo')
    monkeypatch.chdir(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        outside = crash('digest', '--no-sandbox', '--key-file=key-fifo', 'luks.qcow2')
        for core in tmp_path.glob('core*'):
            core.unlink()
        assert not crash('digest', '--key-file=key-fifo', 'luks.qcow2')
        assert not crash('convert', '--key-file=key-fifo', 'luks.qcow2', 'out')
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert not list(tmp_path.glob('core*'))
    if not outside:
        pytest.skip('this system keeps no cores')


@pytest.mark.parametrize('words', [['--no-sandbox', '--require-sandbox'],
                                   ['--require-sandbox', '--no-sandbox']])
def test_sandbox_cannot_be_required_and_turned_off(images, words):
    """Seen: the last one won, so that what requires the sandbox ran without it."""
    fails_in_one_line(run('info', *words, images['fresh']), 'contradict each other')
    good('info', '--no-sandbox', '--no-sandbox', images['fresh'])


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
    fails_in_one_line(result, '--require-sandbox: ', 'names of the output', 'no image was parsed')
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
        # libseccomp finds an older call for the first step, which then is not there any more.
        told = (f'has no {word}', 'no image was parsed') if missing != 'seccomp' else \
            ('second step of seccomp', 'no data of the last image was read')
        fails_in_one_line(result, '--require-sandbox: ', *told,
                          code=2 if command in ('compare', 'vet') else 1)
        assert not result.stdout and os.listdir(tmp_path) == []


@pytest.mark.parametrize('version', [1, 2, 3, 4, 5, 6])
def test_every_version_of_landlock_is_used(sandbox, images, tmp_path, version):
    old = kernel(landlock=version)
    for command in COMMANDS:
        words = words_of(command, images['v3'], tmp_path)
        assert good(command, '--require-sandbox', *words, env=old).stdout == \
            good(command, '--no-sandbox', *words).stdout
    assert os.listdir(tmp_path) == ['out']


# What can fail, as often as it is tried; and what is told of it.
FAILURES = [
    *[(f'rule={n}', None) for n in range(1, 8)],
    ('restrict=1', ('has no Landlock', 'no image was parsed')),
    ('restrict=2', ('second step of Landlock', 'no data of the last image was read')),
    ('filter=1', ('has no seccomp', 'no image was parsed')),
    ('filter=2', ('has no seccomp', 'no image was parsed')),
    ('filter=3', ('second step of seccomp', 'no data of the last image was read')),
]


@pytest.mark.parametrize('failure, told', FAILURES)
def test_step_that_fails_leaves_no_unfinished_file(sandbox, images, tmp_path, failure, told):
    """Seen: without the rule for renaming, the part file of `convert` could be neither finished nor
    removed."""
    name, number = failure.split('=')
    failing = kernel(**{name: number})
    good('convert', images['v3'], tmp_path / 'out', env=failing)
    assert (tmp_path / 'out').read_bytes() == good('cat', images['v3']).stdout
    (tmp_path / 'out').unlink()
    result = run('convert', '--require-sandbox', images['v3'], tmp_path / 'out', env=failing)
    if result.returncode != 0 or told is not None:
        fails_in_one_line(result, '--require-sandbox: ', *(told or ('Landlock',)))
        assert os.listdir(tmp_path) == []
    else:
        assert int(number) > 4, 'there are so many rules'
        assert os.listdir(tmp_path) == ['out']


@pytest.mark.parametrize('failure', ['restrict=2', 'filter=3'])
def test_second_step_that_fails_is_told_as_what_it_is(sandbox, images, failure):
    """Seen: "nothing was read", below the digest of another image."""
    name, number = failure.split('=')
    for output in ('human', 'json'):
        words = ['digest', '--require-sandbox', f'--output={output}', images['v3'], images['zstd']]
        result = run(*words, env=kernel(**{name: number}))
        fails_in_one_line(result, '--require-sandbox: ', 'second step', 'no data of the last image')
        assert b'nothing was read' not in result.stderr
        assert result.stdout == good('digest', f'--output={output}', images['v3']).stdout
