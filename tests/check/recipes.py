# SPDX-License-Identifier: MIT
"""Healthy images, made by qemu-img and qemu-io, each for one thing that a check must know.

RECIPES: name -> function(path) that makes the image there.
"""

import random

from comparing import run

RECIPES = {}


def recipe(name):
    def keep(function):
        RECIPES[name] = function
        return function
    return keep


def create(path, size, **options):
    text = ','.join(f'{key}={value}' for key, value in options.items())
    run('qemu-img', 'create', '-q', '-f', 'qcow2', *(['-o', text] if text else []), path, size)


def io(path, *commands):
    arguments = []
    for command in commands:
        arguments += ['-c', command]
    run('qemu-io', '-f', 'qcow2', *arguments, path)


def scatter(path, size, count, seed=0, unit=512, length=4096, also=()):
    """Writes in random order, so that clusters and tables come to lie out of it."""
    order = random.Random(seed)
    commands = []
    for _ in range(count):
        offset = order.randrange(0, size - length, unit)
        kind = order.choice(['write', 'write', 'write', 'write -z', 'write -z -u', 'discard'])
        commands.append(f'{kind} {offset} {length}')
    io(path, *commands, *also)


def _standard(cluster, width, version):
    def make(path):
        size = max(4 << 20, 40 * cluster)
        options = {'cluster_size': cluster, 'compat': version}
        if version == '1.1':
            options['refcount_bits'] = width
        create(path, size, **options)
        scatter(path, size, 30, seed=cluster + width, length=cluster * 3 // 2 // 512 * 512 or 512)
    return make


for _cluster in (512, 1024, 4096, 65536, 2 << 20):
    for _width in (1, 2, 4, 8, 16, 32, 64):
        recipe(f'cluster_{_cluster}_refcount_{_width}')(_standard(_cluster, _width, '1.1'))
    recipe(f'cluster_{_cluster}_version_2')(_standard(_cluster, 16, '0.10'))


@recipe('empty')
def _(path):
    create(path, 0)


@recipe('odd_size')
def _(path):
    create(path, (10 << 20) + 1536)
    io(path, 'write 10485760 1536')


@recipe('large_and_sparse')
def _(path):
    create(path, 8 << 40)
    io(path, 'write 0 64k', 'write 4T 1M', 'write 8796093020000 1000')


@recipe('preallocated')
def _(path):
    create(path, 16 << 20, preallocation='metadata', cluster_size=4096)


@recipe('extended_l2')
def _(path):
    create(path, 8 << 20, extended_l2='on', cluster_size=16384)
    scatter(path, 8 << 20, 60, seed=5, length=1536)


@recipe('extended_l2_preallocated')
def _(path):
    create(path, 4 << 20, extended_l2='on', preallocation='metadata')


def _compressed(kind, cluster):
    def make(path):
        raw = f'{path}.raw'
        noise = random.Random(cluster)
        with open(raw, 'wb') as file:
            for _ in range(200):
                file.write(noise.choice([bytes(5000), noise.randbytes(300) * 20,
                                         noise.randbytes(6000)]))
            file.truncate(4 << 20)
        run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-c',
            '-o', f'compression_type={kind},cluster_size={cluster}', raw, path)
        io(path, 'write 300k 100k')
    return make


for _cluster in (512, 4096, 65536, 2 << 20):
    recipe(f'deflate_{_cluster}')(_compressed('zlib', _cluster))
recipe('zstd_4096')(_compressed('zstd', 4096))
recipe('zstd_65536')(_compressed('zstd', 65536))


def _snapshots(cluster, width, version='1.1'):
    def make(path):
        options = {'cluster_size': cluster, 'compat': version}
        if version == '1.1':
            options['refcount_bits'] = width
        create(path, 4 << 20, **options)
        for i in range(4):
            scatter(path, 4 << 20, 15, seed=i)
            run('qemu-img', 'snapshot', '-c', f'snapshot {"x" * i}', path)
        run('qemu-img', 'snapshot', '-d', 'snapshot x', path)
        scatter(path, 4 << 20, 5, seed=9)
    return make


recipe('snapshots')(_snapshots(65536, 16))
recipe('snapshots_512')(_snapshots(512, 16))
recipe('snapshots_4096_wide')(_snapshots(4096, 64))
recipe('snapshots_4096_narrow')(_snapshots(4096, 4))
recipe('snapshots_version_2')(_snapshots(4096, 16, '0.10'))


@recipe('snapshot_extended_l2')
def _(path):
    create(path, 4 << 20, cluster_size=16384, extended_l2='on')
    scatter(path, 4 << 20, 20, seed=1, length=1024)
    run('qemu-img', 'snapshot', '-c', 'one', path)
    scatter(path, 4 << 20, 20, seed=2, length=1024)


def _bitmaps(cluster):
    def make(path):
        create(path, 6 << 20, cluster_size=cluster)
        run('qemu-img', 'bitmap', '--add', '-g', '512', path, 'fine')
        run('qemu-img', 'bitmap', '--add', '--disable', '-g', '64k', path, 'a coarse one')
        run('qemu-img', 'bitmap', '--add', '--enable', path, 'b')
        scatter(path, 6 << 20, 12, seed=cluster)
    return make


for _cluster in (512, 4096, 65536):
    recipe(f'bitmaps_{_cluster}')(_bitmaps(_cluster))


@recipe('bitmaps_and_snapshots')
def _(path):
    _bitmaps(4096)(path)
    run('qemu-img', 'snapshot', '-c', 'one', path)
    scatter(path, 6 << 20, 12, seed=3)


def _data_file(raw):
    def make(path):
        create(path, 4 << 20, data_file=f'{path}.data', data_file_raw=raw)
        scatter(path, 4 << 20, 20, seed=7, also=('write 0 64k',))
    return make


recipe('data_file')(_data_file('off'))
recipe('data_file_raw')(_data_file('on'))


@recipe('lazy_refcounts')
def _(path):
    create(path, 4 << 20, lazy_refcounts='on')
    scatter(path, 4 << 20, 10, seed=4)


@recipe('backed')
def _(path):
    base = f'{path}.base'
    run('qemu-img', 'create', '-q', '-f', 'raw', base, '3M')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', path, '4M')
    io(path, 'write 1M 100k')


@recipe('resized')
def _(path):
    create(path, 1 << 20, cluster_size=512)
    io(path, 'write 0 1M')
    run('qemu-img', 'snapshot', '-c', 'small', path)
    run('qemu-img', 'resize', '-q', path, '64M')
    io(path, 'write 40M 100k')
    run('qemu-img', 'resize', '-q', '--shrink', path, '50M')


def luks(path, secret):
    keeper = ('--object', f'secret,id=s,data={secret}')
    # qemu-img measures how fast it is, and gives up where it is too fast to tell.
    for milliseconds in (10, 100, 1000):
        done = run('qemu-img', 'create', '-q', '-f', 'qcow2', *keeper, '-o',
                   f'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time={milliseconds}',
                   path, '4M', check=milliseconds == 1000)
        if done.returncode == 0:
            break
    run('qemu-io', *keeper, '--image-opts',
        f'driver=qcow2,file.filename={path},encrypt.key-secret=s', '-c', 'write 1M 300k')
