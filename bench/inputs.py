# SPDX-License-Identifier: MIT
"""Builds the disk images that are measured, and keeps them for the next run.

One raw disk is made from real files: an ext4 file system filled with a
deterministic choice of this system's /usr. Everything else is that disk in
another form. An input is made under another name and renamed when complete,
so an interrupted run leaves nothing that looks finished.

Knows how to make inputs; knows nothing of rows, peers or clocks.
"""

import concurrent.futures
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess

import qcow2_writer

# Raised whenever an input changes its content, so that kept ones are made anew.
RECIPE = 1

CLUSTER = 65536
PASSPHRASE = 'benchmark'
SOURCE_TREE = '/usr'
FIXED_UUID = '6b1f3a0e-5c0f-4a52-9a55-0d6c1d1b7a10'
FIXED_TIME = '1700000000'

# name -> (size as a multiple of the data, inputs it is made from)
NEEDS = {
    'disk.raw': (2.1, []),
    'plain.qcow2': (1.05, ['disk.raw']),
    'deflate.qcow2': (0.6, ['disk.raw']),
    'zstd.qcow2': (0.6, ['disk.raw']),
    'deflate-2m.qcow2': (0.6, ['disk.raw']),
    'extended-l2.qcow2': (1.05, ['disk.raw']),
    'luks.qcow2': (1.05, ['disk.raw']),
    'fragmented.qcow2': (1.05, ['disk.raw']),
    'chain': (1.05, ['disk.raw']),
    'data.ranges': (0, ['disk.raw', 'plain.qcow2']),
    'compressed.ranges': (0, ['deflate.qcow2']),
    'large-l1.qcow2': (0, []),
    'passphrase': (0, []),
}


def data_of(file):
    """The ranges of a file that are not holes."""
    end = os.fstat(file.fileno()).st_size
    at = 0
    while at < end:
        try:
            start = os.lseek(file.fileno(), at, os.SEEK_DATA)
        except OSError:  # there is no more
            return
        at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        yield start, at


def read_through(file, start, end):
    buffer = memoryview(bytearray(1 << 20))
    file.seek(start)
    while start < end:
        start += file.readinto(buffer[:end - start]) or end


def tool(name):
    """Full path of a program; mke2fs lives where an ordinary user's PATH does not look."""
    found = shutil.which(name) or shutil.which(name, path='/usr/sbin:/sbin')
    if found is None:
        raise RuntimeError(f'{name} is not installed')
    return found


def call(*argv, **kwargs):
    """Runs a program; its complaint becomes the exception's text."""
    done = subprocess.run([str(arg) for arg in argv], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace',
                          check=False, **kwargs)
    if done.returncode != 0:
        raise RuntimeError(f'{argv[0]} failed: {done.stdout.strip()[-400:]}')
    return done.stdout


def choose_files(limit_bytes):
    """A mix of real files of about limit_bytes in all: every readable file of the tree has the
    same chance, decided by a hash of its name, so that one system always gives one choice. The
    few files that alone would fill a good part of the disk are left out."""
    found = []
    for directory, names, files in os.walk(SOURCE_TREE):
        names.sort()
        for name in files:
            path = os.path.join(directory, name)
            facts = os.lstat(path)
            if stat.S_ISREG(facts.st_mode) and facts.st_size <= limit_bytes // 16 \
                    and os.access(path, os.R_OK):
                found.append((hashlib.sha256(os.fsencode(path)).digest(), path, facts.st_size))
    found.sort()
    chosen = []
    total = 0
    for _, path, size in found:
        if total + size > limit_bytes:
            break
        chosen.append(path)
        total += size
    if total < limit_bytes * 0.9:
        raise RuntimeError(f'{SOURCE_TREE} holds only {total >> 20} MiB of files; '
                           'ask for less with --size')
    return sorted(chosen)


class Inputs:
    """The directory of inputs for one data size."""

    def __init__(self, directory, data_bytes, say=print):
        self.root = os.path.join(directory, f'{data_bytes >> 20}M')
        self.data_bytes = data_bytes
        self.virtual_size = 2 * data_bytes
        self.say = say
        self.facts = {}

    def path(self, name):
        return os.path.join(self.root, name)

    def chain_top(self):
        return self.path('chain/3.qcow2')

    def _facts_path(self):
        return self.path('facts.json')

    def _load_facts(self):
        try:
            with open(self._facts_path(), encoding='utf-8') as file:
                self.facts = json.load(file)
        except (OSError, ValueError):
            self.facts = {}
        if self.facts.get('recipe') != RECIPE:
            shutil.rmtree(self.root, ignore_errors=True)
            self.facts = {'recipe': RECIPE}
        os.makedirs(self.root, exist_ok=True)

    def _save_facts(self):
        part = self._facts_path() + '.part'
        with open(part, 'w', encoding='utf-8') as file:
            json.dump(self.facts, file, indent=1)
        os.rename(part, self._facts_path())

    def build(self, names):
        """Makes those of the named inputs that are missing, and what they are made from."""
        self._load_facts()
        missing = []

        def want(name):
            for needed in NEEDS[name][1]:
                want(needed)
            if not os.path.exists(self.path(name)) and name not in missing:
                missing.append(name)

        for name in names:
            want(name)
        self._check_room(missing)
        # The raw disk first; then whatever only needs what is there, two at a time.
        while missing:
            ready = [name for name in missing
                     if not any(needed in missing for needed in NEEDS[name][1])]
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
                for _ in pool.map(self._make, ready):
                    pass
            missing = [name for name in missing if name not in ready]
        self._save_facts()

    def _check_room(self, missing):
        needed = sum(NEEDS[name][0] for name in missing) * self.data_bytes
        # One output of the disk's data is written while measuring.
        needed += 1.1 * self.data_bytes
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise RuntimeError(f'{self.root}: {int(needed) >> 20} MiB of room needed, '
                               f'{free >> 20} MiB free; use --inputs or --size')

    def _make(self, name):
        self.say(f'making {self.path(name)}')
        part = self.path(name) + '.part'
        if os.path.isdir(part):
            shutil.rmtree(part)
        elif os.path.exists(part):
            os.remove(part)
        getattr(self, '_make_' + name.split('.')[0].replace('-', '_'))(part, name)
        os.rename(part, self.path(name))

    def _make_disk(self, part, _name):
        stage = self.path('stage')
        shutil.rmtree(stage, ignore_errors=True)
        files = choose_files(self.data_bytes)
        for source in files:
            target = stage + source
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copystat(source, target)
        environment = dict(os.environ, E2FSPROGS_FAKE_TIME=FIXED_TIME)
        call(tool('mke2fs'), '-q', '-t', 'ext4', '-U', FIXED_UUID, '-m', '0',
             '-E', f'hash_seed={FIXED_UUID},lazy_itable_init=0,root_owner=0:0',
             '-d', stage, part, f'{self.virtual_size >> 10}k', env=environment)
        shutil.rmtree(stage)
        digest = hashlib.sha256()
        with open(part, 'rb') as raw:
            while block := raw.read(1 << 20):
                digest.update(block)
        self.facts['files'] = len(files)
        self.facts['sha256'] = digest.hexdigest()
        self._save_facts()

    def _convert(self, part, *options):
        call('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', *options,
             self.path('disk.raw'), part)

    def _make_plain(self, part, _name):
        self._convert(part)

    def _make_deflate(self, part, _name):
        self._convert(part, '-c')

    def _make_zstd(self, part, _name):
        self._convert(part, '-c', '-o', 'compression_type=zstd')

    def _make_deflate_2m(self, part, _name):
        self._convert(part, '-c', '-o', 'cluster_size=2M')

    def _make_extended_l2(self, part, _name):
        self._convert(part, '-o', 'extended_l2=on')

    def _make_luks(self, part, _name):
        """qemu-img times its key derivation first and gives up when the system's clock of CPU time
        has not moved meanwhile, which happens on busy machines; it succeeds soon after."""
        for attempt in range(5):
            try:
                self._convert(part, '--object', f'secret,id=key,data={PASSPHRASE}', '-o',
                              'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10')
                return
            except RuntimeError as problem:
                if 'CPU usage' not in str(problem) or attempt == 4:
                    raise

    def _make_passphrase(self, part, _name):
        with open(part, 'w', encoding='ascii') as file:
            file.write(PASSPHRASE)

    def _make_large_l1(self, part, _name):
        """An empty disk whose L1 table has the largest size that QEMU opens, 32 MiB."""
        call('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', part, '128G')

    def _make_fragmented(self, part, _name):
        """The plain disk with its clusters in random order: no two neighbours stay together."""
        numbers = qcow2_writer.data_clusters(self.path('disk.raw'), CLUSTER)
        writer = qcow2_writer.Writer(part, self.virtual_size, numbers)
        random.Random(1).shuffle(numbers)
        self._copy_clusters([(number, writer) for number in numbers])
        writer.finish()

    def _make_chain(self, part, _name):
        """Four layers; each cluster of the disk lies in one of them, decided at random."""
        os.makedirs(part)
        numbers = qcow2_writer.data_clusters(self.path('disk.raw'), CLUSTER)
        choice = random.Random(2)
        layer_of = {number: choice.randrange(4) for number in numbers}
        writers = []
        for layer in range(4):
            own = [number for number in numbers if layer_of[number] == layer]
            backing = None if layer == 0 else (f'{layer - 1}.qcow2', 'qcow2')
            writers.append(qcow2_writer.Writer(os.path.join(part, f'{layer}.qcow2'),
                                               self.virtual_size, own, backing=backing))
        self._copy_clusters([(number, writers[layer_of[number]]) for number in numbers])
        for writer in writers:
            writer.finish()

    def _copy_clusters(self, plan):
        with open(self.path('disk.raw'), 'rb', buffering=0) as raw:
            for number, writer in plan:
                writer.add_plain(number, os.pread(raw.fileno(), CLUSTER, number * CLUSTER))

    def _map_ranges(self, image, keep):
        extents = json.loads(call('qemu-img', 'map', '--output=json', self.path(image)))
        return [(extent['start'], extent['length']) for extent in extents
                if extent['data'] and keep(extent)]

    def _write_ranges(self, part, ranges):
        with open(part, 'w', encoding='ascii') as file:
            for start, length in ranges:
                file.write(f'{start} {length}\n')

    def _make_data(self, part, _name):
        """Where the disk has data, for reads that shall not meet holes."""
        self._write_ranges(part, self._map_ranges('plain.qcow2', lambda extent: True))

    def _make_compressed(self, part, _name):
        """Where the deflate image is compressed: qemu-img's map gives no offset for such data."""
        self._write_ranges(part, self._map_ranges('deflate.qcow2',
                                                  lambda extent: 'offset' not in extent))

    def files(self, names):
        """Paths of the files behind some inputs: a chain is several."""
        paths = []
        for name in names:
            path = self.path(name)
            if os.path.isdir(path):
                paths += [os.path.join(path, entry) for entry in sorted(os.listdir(path))]
            else:
                paths.append(path)
        return paths

    def warm(self, names):
        """Brings the data of the inputs into the page cache."""
        for path in self.files(names):
            with open(path, 'rb', buffering=0) as file:
                for start, end in data_of(file):
                    read_through(file, start, end)

    def warm_alike(self, names):
        """The same, for files whose small reads are compared. The kernel caches a file in pieces of the
        size in which it was written or read, and a read of 4 KiB takes up to a fifth longer where they
        are small; so the files leave the cache and are all read back in one way."""
        for path in self.files(names):
            with open(path, 'rb', buffering=0) as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.warm(names)
