# SPDX-License-Identifier: MIT
"""Images that qemu-img encrypts, decrypted by src/crypto alone (decrypt_image.c): every method that
this qemu-img can write and libcrypto can read, byte for byte, and what must be refused.

decrypt_image comes from the build directory named by QCOW2_BUILD (default: build at the root of the
project), or from QCOW2_DECRYPT_IMAGE.
"""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('QCOW2_BUILD', ROOT / 'build')).absolute()
PROGRAM = os.environ.get('QCOW2_DECRYPT_IMAGE', str(BUILD / 'tests/crypto/decrypt_image'))

PASSPHRASE = 'correct horse'
SIZE = 1 << 20

# (cipher, mode, IV generator, its hash, header hash). qemu-img 7.2 dies of an assertion when it
# creates keys of 24 bytes; test_luks_unlock.c has those.
METHODS = [
    ('aes-256', 'xts', 'plain64', None, 'sha256'),
    ('aes-256', 'xts', 'plain64', None, 'sha1'),
    ('aes-256', 'xts', 'plain64', None, 'sha512'),
    ('aes-256', 'xts', 'plain', None, 'sha224'),
    ('aes-256', 'xts', 'essiv', 'sha256', 'sha384'),
    ('aes-256', 'xts', 'essiv', 'md5', 'sha256'),
    ('aes-256', 'cbc', 'plain64', None, 'sha512'),
    ('aes-256', 'cbc', 'plain', None, 'sha1'),
    ('aes-256', 'cbc', 'essiv', 'sha256', 'sha256'),
    ('aes-256', 'ecb', 'plain64', None, 'sha256'),
    ('aes-256', 'ctr', 'plain64', None, 'sha256'),
    ('aes-192', 'xts', 'plain64', None, 'sha256'),
    ('aes-192', 'xts', 'essiv', 'sha256', 'sha512'),
    ('aes-128', 'xts', 'plain64', None, 'ripemd160'),
    ('aes-128', 'xts', 'plain', None, 'sha1'),
    ('aes-128', 'cbc', 'essiv', 'sha256', 'md5'),
    ('aes-128', 'cbc', 'essiv', 'md5', 'sha1'),
    ('aes-128', 'cbc', 'plain64', None, 'sha512'),
    ('aes-128', 'ecb', 'plain', None, 'sha1'),
    ('aes-128', 'ctr', 'essiv', 'sha256', 'sha256'),
]


def run(*command, **more):
    return subprocess.run([str(part) for part in command], capture_output=True, timeout=120, **more)


def must(*command):
    result = run(*command)
    assert result.returncode == 0, (command, result.stderr)
    return result.stdout


def qemu_img(*arguments):
    """qemu-img cannot measure its own speed in the shortest of times, every so often."""
    for _ in range(50):
        result = run('qemu-img', *arguments)
        if b'accurate CPU usage' not in result.stderr:
            break
    assert result.returncode == 0, (arguments, result.stderr)
    return result.stdout


def secret(passphrase=PASSPHRASE, name='key'):
    return ['--object', f'secret,id={name},data={passphrase}']


def create(path, options, *, passphrase=PASSPHRASE, size=SIZE, encryption='luks'):
    speed = ',encrypt.iter-time=10' if encryption == 'luks' else ''
    qemu_img('create', '-q', '-f', 'qcow2', *secret(passphrase), '-o',
             f'encrypt.format={encryption},encrypt.key-secret=key{speed}{options}', path, size)


def fill(path, node='', passphrase=PASSPHRASE):
    """Writes random data here and there, so that host and guest addresses differ."""
    pattern = path.with_suffix('.pattern')
    commands = []
    for number, (at, length) in enumerate([(700 << 10, 68 << 10), (64 << 10, 130 << 10), (0, 4096),
                                           (SIZE - 512, 512)]):
        source = pattern.with_suffix(f'.{number}')
        source.write_bytes(os.urandom(length))
        commands += ['-c', f'write -q -s {source} {at} {length}']
    must('qemu-io', *secret(passphrase), *commands, '--image-opts',
         f'driver=qcow2,file.filename={path},encrypt.key-secret=key{node}')


def by_qemu(path, passphrase=PASSPHRASE, node=''):
    raw = path.with_suffix('.raw')
    qemu_img('convert', *secret(passphrase), '--image-opts',
             f'driver=qcow2,file.filename={path},encrypt.key-secret=key{node}', '-O', 'raw', raw)
    return raw.read_bytes()


def key_file(path, passphrase=PASSPHRASE):
    file = path.with_suffix('.key')
    file.write_bytes(passphrase.encode())
    return file


def expect_same(path, passphrase=PASSPHRASE, **more):
    expected = by_qemu(path, passphrase, **more)
    assert any(expected)
    got = must(PROGRAM, path, key_file(path, passphrase))
    assert got == expected


def expect_refused(path, code, message, passphrase=PASSPHRASE):
    result = run(PROGRAM, path, key_file(path, passphrase))
    assert result.returncode == 1, result.stderr
    assert result.stderr.decode().startswith(code + ':')
    assert message in result.stderr.decode()
    assert result.stdout == b''


def options_of(method):
    cipher, mode, ivgen, ivgen_hash, header_hash = method
    text = (f',encrypt.cipher-alg={cipher},encrypt.cipher-mode={mode},encrypt.ivgen-alg={ivgen}'
            f',encrypt.hash-alg={header_hash}')
    return text + (f',encrypt.ivgen-hash-alg={ivgen_hash}' if ivgen_hash else '')


@pytest.mark.parametrize('method', METHODS, ids=lambda m: '-'.join(part for part in m if part))
def test_every_method_decrypts_as_in_qemu(tmp_path, method):
    path = tmp_path / 'image.qcow2'
    create(path, options_of(method))
    fill(path)
    expect_same(path)
    expect_refused(path, 'key', 'wrong passphrase', 'incorrect horse')
    info = json.loads(qemu_img('info', '--output=json', path))['format-specific']['data']['encrypt']
    info.pop('detached-header', None)  # newer than 7.2, and not the header's to say
    assert json.loads(must(PROGRAM, '--info', path)) == info


# Creating a LUKS image takes qemu-img two seconds of measuring, so not all combinations are tried.
@pytest.mark.parametrize('encryption, compat, cluster_size', [
    ('luks', '0.10', 512), ('luks', '1.1', 4096), ('luks', '0.10', 2 << 20),
    ('aes', '0.10', 512), ('aes', '1.1', 512), ('aes', '1.1', 4096), ('aes', '1.1', 65536),
    ('aes', '0.10', 2 << 20)])
def test_cluster_sizes_and_versions(tmp_path, encryption, compat, cluster_size):
    path = tmp_path / 'image.qcow2'
    create(path, f',compat={compat},cluster_size={cluster_size}', encryption=encryption)
    fill(path)
    expect_same(path)


@pytest.mark.parametrize('encryption, passphrase', [
    ('luks', 'é€'), ('luks', 140 * 'x'), ('aes', 'short'),
    ('aes', 'exactly 16 bytes'), ('aes', 'longer than sixteen bytes'), ('aes', 'é€')])
def test_passphrases_are_taken_as_bytes(tmp_path, encryption, passphrase):
    path = tmp_path / 'image.qcow2'
    create(path, '', passphrase=passphrase, encryption=encryption)
    fill(path, passphrase=passphrase)
    expect_same(path, passphrase)


def test_legacy_aes_with_a_wrong_passphrase_is_noise_as_in_qemu(tmp_path):
    path = tmp_path / 'image.qcow2'
    create(path, '', encryption='aes')
    fill(path)
    assert by_qemu(path, 'wrong') != by_qemu(path)
    expect_same(path, 'wrong')


def test_external_data_file_counts_its_own_sectors(tmp_path):
    path, data = tmp_path / 'image.qcow2', tmp_path / 'data'
    create(path, f',data_file={data}')
    fill(path)
    expected = by_qemu(path)
    assert must(PROGRAM, path, key_file(path), data) == expected
    assert any(expected)


def amend(path, options, *secrets):
    qemu_img('amend', '--image-opts', *secrets, '-o', options,
             f'driver=qcow2,file.filename={path},encrypt.key-secret=key')


def test_keys_in_other_slots_open_and_erased_ones_do_not(tmp_path):
    path = tmp_path / 'image.qcow2'
    create(path, '')
    fill(path)
    for slot in (1, 5, 7):
        amend(path, f'encrypt.state=active,encrypt.new-secret=new,encrypt.keyslot={slot},'
              'encrypt.iter-time=10', *secret(), *secret(f'slot {slot}', 'new'))
    for passphrase in (PASSPHRASE, 'slot 1', 'slot 5', 'slot 7'):
        expect_same(path, passphrase)
    expect_refused(path, 'key', 'none of 4 active', 'slot 2')
    amend(path, 'encrypt.state=inactive,encrypt.keyslot=5', *secret())
    amend(path, 'encrypt.state=inactive,encrypt.keyslot=0', *secret('slot 7'))
    expect_refused(path, 'key', 'none of 2 active')
    expect_refused(path, 'key', 'none of 2 active', 'slot 5')
    expect_same(path, 'slot 1')
    expect_same(path, 'slot 7')


@pytest.mark.parametrize('cipher', ['serpent-256', 'twofish-128'])
def test_ciphers_that_libcrypto_lacks_are_named(tmp_path, cipher):
    path = tmp_path / 'image.qcow2'
    create(path, f',encrypt.cipher-alg={cipher}')
    expect_refused(path, 'unsupported', cipher.split('-')[0])
    assert json.loads(must(PROGRAM, '--info', path))['cipher-alg'] == cipher


@pytest.mark.parametrize('mode', ['cbc', 'ctr'])
def test_cast5_where_libcrypto_has_its_legacy_module(tmp_path, mode):
    path = tmp_path / 'image.qcow2'
    create(path, f',encrypt.cipher-alg=cast5-128,encrypt.cipher-mode={mode}')
    fill(path)
    result = run(PROGRAM, path, key_file(path))
    if result.returncode == 0:
        assert result.stdout == by_qemu(path)
    else:
        assert result.stderr.startswith(b'unsupported: the crypto library has no cipher cast5')
