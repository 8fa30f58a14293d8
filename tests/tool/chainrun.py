# SPDX-License-Identifier: MIT
"""Making chains, encrypted images and other things of several files for the tests of the tool."""

import os
import struct
import subprocess

import toolrun

LUKS_ATTEMPTS = 20
PASSPHRASE = b'the secret'


def overlay(path, backing, *commands, form='qcow2', size=None, options=''):
    """An image over `backing`, a name as it stands in the image."""
    words = ['create', '-q', '-u', '-f', 'qcow2', '-F', form, '-b', backing]
    if options:
        words += ['-o', options]
    toolrun.qemu_img(*words, path, size or '8M')
    if commands:
        toolrun.qemu_io(path, *commands)
    return path


def qemu_img_patiently(*args):
    """LUKS measures the processor to choose its iterations, and now and then fails at that."""
    for _ in range(LUKS_ATTEMPTS):
        done = subprocess.run(['qemu-img', *[os.fspath(a) for a in args]], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode == 0 or b'accurate CPU' not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    return done.stdout


def encrypted(path, size, *commands, form='luks', passphrase=PASSPHRASE, options='', driver='qcow2'):
    """An encrypted image, and its passphrase in a file beside it, whose name is returned."""
    key = path.with_suffix('.key')
    key.write_bytes(passphrase)
    words = f'encrypt.format={form},encrypt.key-secret=key' + (f',{options}' if options else '')
    if form == 'luks':
        words += ',encrypt.iter-time=10'
    secret = ['--object', f'secret,id=key,file={key}']
    qemu_img_patiently('create', '-q', '-f', driver, *secret, '-o', words, path, size)
    if commands:
        arguments = [word for command in commands for word in ('-c', command)]
        subprocess.run(['qemu-io', *secret, *arguments, '--image-opts', opened(path, driver)],
                       check=True, stdout=subprocess.PIPE)
    return key


def opened(path, driver='qcow2'):
    return f'driver={driver},file.filename={path},encrypt.key-secret=key'


def patch(path, offset, content):
    with open(path, 'r+b') as file:
        file.seek(offset)
        file.write(content)


def number_at(path, offset, form='>Q'):
    with open(path, 'rb') as file:
        file.seek(offset)
        return struct.unpack(form, file.read(struct.calcsize(form)))[0]
