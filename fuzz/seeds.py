#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""seeds.py DIRECTORY - writes the inputs that fuzzing starts from to DIRECTORY/<target>/<name>.

Images come from the builders of tests/images and from qemu-img (7.2 made those that are in the
repository). An input for a whole image is laid out as fuzz/sparse.h says.
"""

import os
import random
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'images'))

import build  # noqa: E402
import streams  # noqa: E402
from build import Compressed, Extension, Image, Normal, Snapshot, Subclusters, Zero, ZeroAlloc  # noqa: E402

NOISE = random.Random(2)
TEXT = b'pack my box with five dozen liquor jugs; '

# sparse.h: wishes
OPEN_FLAGS, CACHES, SOURCE, GRANT_FORMAT, SIZES, SEED, ACTIONS, FAIL_AT, FAIL_RATE, SNAPSHOT = (
    0, 1, 2, 3, 4, 12, 16, 17, 18, 20)
NO_BACKING, METADATA_ONLY, ZEROS_PAST_END, VM_STATE, METADATA_CHAIN = 1, 2, 4, 8, 16
RAW, PROBE, NO_LENGTH = 1, 3, 4


def pieces(data):
    """(offset, bytes) of what is not zeros in data."""
    found, at = [], 0
    while at < len(data):
        if not any(data[at:at + 16]):
            at += 16
            continue
        end = at
        while end < len(data) and end - at < 60000 and any(data[end:end + 32]):
            end += 16
        found.append((at, data[at:end].rstrip(b'\0')))
        at = end
    return found


def sparse(image, other=b'', **wishes):
    """An input for a whole image. wishes: name of a constant above, in small letters -> value."""
    head = bytearray(24)
    struct.pack_into('>II', head, SIZES, len(image), len(other))
    struct.pack_into('>I', head, SEED, NOISE.getrandbits(32))
    head[GRANT_FORMAT] = 9
    head[FAIL_AT] = NOISE.randrange(8)
    head[FAIL_RATE + 1] = NOISE.randrange(64)
    for name, value in wishes.items():
        head[globals()[name.upper()]] = value
    body = b''
    for number, data in enumerate((image, other)):
        for offset, part in pieces(data):
            body += struct.pack('>BIH', number, offset, len(part)) + part
    return bytes(head) + body


class Writer:
    def __init__(self, directory):
        self.directory = directory
        self.work = tempfile.TemporaryDirectory()

    def put(self, target, name, data):
        folder = os.path.join(self.directory, target)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(data)

    def path(self, name='image'):
        return os.path.join(self.work.name, name)

    def read(self, name='image'):
        with open(self.path(name), 'rb') as file:
            return file.read()

    def build(self, image):
        image.write(self.path())
        return self.read()

    def qemu(self, *commands, name='image'):
        """Runs qemu commands, IMAGE standing for the image's path; its bytes."""
        if os.path.exists(self.path(name)):
            os.unlink(self.path(name))
        for command in commands:
            words = [self.path(name) if word == 'IMAGE' else word for word in command]
            subprocess.run(words, check=True, cwd=self.work.name, stdout=subprocess.DEVNULL)
        return self.read(name)


def create(size, **options):
    text = ','.join(f'{key}={value}' for key, value in options.items())
    return ['qemu-img', 'create', '-q', '-f', 'qcow2', *(['-o', text] if text else []), 'IMAGE', size]


def io(*commands):
    words = ['qemu-io', '-f', 'qcow2']
    for command in commands:
        words += ['-c', command]
    return words + ['IMAGE']


def version_1(cluster_bits=9, l2_bits=6, size=16 * 512, backing=b'', crypt=0):
    """A version 1 image: a stored cluster, a compressed one, nothing else."""
    cluster = 1 << cluster_bits
    l1, l2, data = 512, 1024, 2048
    stream = streams.deflate((TEXT * 99)[:cluster])
    table = struct.pack('>3Q', data, 1 << 63 | len(stream) << (63 - cluster_bits) | (data + cluster), 0)
    file = bytearray(data + 3 * cluster)
    struct.pack_into('>4sIQIIQBBHIQ', file, 0, b'QFI\xfb', 1, 48 if backing else 0, len(backing), 0, size,
                     cluster_bits, l2_bits, 0, crypt, l1)
    file[48:48 + len(backing)] = backing
    struct.pack_into('>Q', file, l1, l2)
    file[l2:l2 + len(table)] = table
    file[data:data + 40] = TEXT[:40]
    file[data + cluster:data + cluster + len(stream)] = stream
    return bytes(file)


def bitmap_entry(name, table, entries=1, flags=2, granularity=16, kind=1):
    entry = struct.pack('>QIIBBHI', table, entries, flags, kind, granularity, len(name), 0) + name
    return entry + bytes(-len(entry) % 8)


def luks_header(cipher=b'aes', mode=b'xts-plain64', digest=b'sha256', key_bytes=32, iterations=1,
                active=(0,)):
    sectors = -(-key_bytes * 4000 // 512 // 8) * 8
    head = struct.pack('>6sH32s32s32sII20s32sI40s', b'LUKS\xba\xbe', 1, cipher, mode, digest,
                       8 + 8 * sectors, key_bytes, NOISE.randbytes(20), NOISE.randbytes(32), iterations,
                       b'01234567-89ab-cdef-0123-456789abcdef')
    for slot in range(8):
        head += struct.pack('>II32sII', 0x00ac71f3 if slot in active else 0xdead, iterations,
                            NOISE.randbytes(32), 8 + slot * sectors, 4000)
    return head


def header_seeds(out):
    made = {
        'version-2': Image(version=2, l2={0: Zero()}),
        'version-2-backing': Image(version=2, l2={0: Normal(b'x')}, backing_file=b'base.raw'),
        'version-3': Image(cluster_bits=16, l2={0: Zero()}, end_marker=False),
        'version-3-short': Image(header={'header_length': 104}, l2={0: Zero()}),
        'extended-l2': Image(cluster_bits=14, extended_l2=True, l2={0: Zero()}),
        'zstd': Image(zstd=True, l2={0: Zero()}),
        'extensions': Image(cluster_bits=9, l2={0: Zero()}, backing_file=b'b', extensions=[
            Extension(build.EXT_BACKING_FORMAT, b'raw'),
            build.feature_names((0, 0, b'dirty'), (2, 63, b'q' * 46)),
            Extension(build.EXT_DATA_FILE, b'name'), Extension(0x12345678, b'unknown'),
            Extension(build.EXT_BITMAPS, struct.pack('>IIQQ', 1, 0, 32, 4096))]),
        'limits': Image(cluster_bits=21, l2={}, size=1 << 40),
    }
    for name, image in made.items():
        data = out.build(image)
        end = 112 + (data[112:1024].rstrip(b'\0')).__len__() + 8
        out.put('header', name, data[:end])
    out.put('header', 'version-1', version_1(backing=b'base')[:56])


def table_seeds(out):
    copied = 1 << 63
    words = {
        'stored': (copied | 0x50000, 0), 'zero': (1, 0), 'zero-allocated': (copied | 0x50001, 0),
        'compressed': (1 << 62 | 3 << 54 | 0x50123, 0), 'nothing': (0, 0), 'reserved': (0x3f000000000001fe, 1),
        'subclusters': (copied | 0x50000, 0x0f0f0f0ff0f0f0f0), 'conflict': (0x50000, 0xffffffffffffffff),
        'wide': (0x00fffffffffffe00, 0x8000000000000001),
    }
    for name, pair in words.items():
        for flags in (0, 1, 2, 6, 10, 14):
            out.put('mapping', f'{name}-{flags}', bytes([3, flags, 5]) + struct.pack('>QQ', *pair))
    one = Image(l2={0: Zero()}).lay_out()
    for name, snapshot in {
            'one': Snapshot(), 'long-names': Snapshot(id=b'i' * 200, name=b'n' * 300),
            'no-extra': Snapshot(extra=b''), 'short-extra': Snapshot(extra=bytes(8)),
            'icount': Snapshot(extra=bytes(24)), 'extra-1024': Snapshot(extra=bytes(1024)),
            'extra-1025': Snapshot(extra=b'', extra_size=1025)}.items():
        out.put('snapshot', name, one._snapshot_entry(snapshot, 0x5000, 1) * 2)
    disk = struct.pack('>Q', 6 << 20)
    for name, entry in {
            'one': bitmap_entry(b'name', 0x50000), 'in-use': bitmap_entry(b'b', 0x50000, 9, 1),
            'long-name': bitmap_entry(b'n' * 1023, 0x50000), 'fine': bitmap_entry(b'f', 0x50000, 1, 0, 9)}.items():
        out.put('bitmap', name, bytes([7]) + disk + entry * 2)
    out.put('bitmap', 'table', bytes([3]) + disk + struct.pack('>5Q', 0, 1, 0x50000, 0x50001, 1 << 60))


def decoder_seeds(out):
    for number, size in ((0, 512), (1, 1024), (2, 4096)):
        text, noise = (TEXT * 110)[:size], NOISE.randbytes(size)
        cut = number | 8
        for name, stream in {
                'text': streams.deflate(text), 'noise': streams.deflate_stored(noise),
                'zeros': streams.deflate(bytes(size)), 'too-long': streams.deflate(text + text),
                'unfinished': streams.deflate_unfinished(text), 'short': streams.deflate(text[:-1]),
                'fixed': streams.FixedBlock().literals(b'abc').match(258, 3).match(258, 1).end(),
                'trailing': streams.deflate(text) + bytes(600)}.items():
            if len(stream) < 2000:
                out.put('deflate', f'{name}-{size}', bytes([number]) + stream)
                out.put('deflate', f'{name}-{size}-cut', bytes([cut]) + stream[:-1])
        for name, stream in {
                'sized': streams.zstd_frame(text, content_size=True),
                'streamed': streams.zstd_frame(text),
                'single': streams.zstd_frame(text, single_segment=True, checksum=True),
                'run': streams.zstd_frame([streams.Rle(7, size)], content_size=True),
                'two': streams.zstd_frame(text[:100], content_size=True) + streams.zstd_frame(text[100:]),
                'skippable': streams.skippable_frame(b'skip me') + streams.zstd_frame(text),
                'wide': streams.zstd_frame(text, window_log=27),
                'reserved': streams.zstd_frame([streams.Reserved()]),
                'unfinished': streams.zstd_frame(text, finished=False)}.items():
            if len(stream) < 2000:
                out.put('zstd', f'{name}-{size}', bytes([number]) + stream)
    # Real Huffman and sequence blocks, which the frames above do not have.
    raw = out.path('raw')
    for number, size in ((2, 4096), (6, 65536)):
        with open(raw, 'wb') as file:
            file.write(b''.join(TEXT[NOISE.randrange(30):] + NOISE.randbytes(2) for _ in range(2500))[:size])
        image = out.qemu(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-c', '-o',
                          f'compression_type=zstd,cluster_size={size}', raw, 'IMAGE'])
        at = image.index(b'\x28\xb5\x2f\xfd')
        out.put('zstd', f'qemu-{size}', bytes([number]) + image[at:].rstrip(b'\0'))


def luks_seeds(out):
    variants = {
        'xts-256': {}, 'xts-512': {'key_bytes': 64, 'digest': b'sha512'},
        'cbc-essiv': {'mode': b'cbc-essiv:sha256', 'key_bytes': 16},
        'cbc-plain-sha1': {'mode': b'cbc-plain', 'digest': b'sha1', 'key_bytes': 24},
        'ecb': {'mode': b'ecb-plain', 'key_bytes': 16, 'digest': b'ripemd160'},
        'ctr': {'mode': b'ctr-plain64', 'key_bytes': 32, 'digest': b'sm3'},
        'cast5': {'cipher': b'cast5', 'mode': b'cbc-plain64', 'key_bytes': 16},
        'sm4': {'cipher': b'sm4', 'mode': b'cbc-plain64', 'key_bytes': 16},
        'serpent': {'cipher': b'serpent', 'key_bytes': 64},
        'two-slots': {'active': (1, 3), 'key_bytes': 32},
        'no-slot': {'active': ()}, 'slow': {'iterations': 100000},
    }
    for name, options in variants.items():
        for what in (0x00, 0x11, 0x21, 0x41):
            out.put('luks', f'{name}-{what:02x}', bytes([what, 7]) + luks_header(**options))


def hand_made_images(out):
    """name -> (image, other, wishes), each field by field."""
    def one(**options):
        return out.build(Image(**options))

    text = (TEXT * 110)[:4096]
    mixed = {0: Normal(TEXT), 1: Zero(), 2: ZeroAlloc(b'hidden'), 4: Compressed(streams.deflate(text[:512])),
             5: Compressed(streams.deflate(bytes(512))), 7: Normal(b'end')}
    plain = one(cluster_bits=9, l2=mixed, size=8 * 512)
    zstd = {0: Compressed(streams.zstd_frame(text, content_size=True)), 1: Normal(b'x'),
            2: Compressed(streams.zstd_frame(text))}
    child = {'cluster_bits': 9, 'l2': {1: Normal(b'child'), 3: Zero()}, 'size': 12 * 512}
    parent = one(cluster_bits=9, l2=mixed, size=9 * 512)
    data_file = {'cluster_bits': 9, 'size': 8 * 512, 'header': {'incompatible_features': 4},
                 'extensions': [Extension(build.EXT_DATA_FILE, b'data')]}
    snapshots = one(cluster_bits=9, l2=mixed, size=8 * 512,
                    snapshots=[Snapshot(id=b'1', name=b'a'), Snapshot(id=b'2', name=b'b', vm_state_size=700)])
    made = {
        'plain': (plain, b'', {}), 'zstd': (one(l2=zstd, zstd=True, size=4 * 4096), b'', {}),
        'version-2': (one(version=2, cluster_bits=9, l2={0: Normal(TEXT), 3: Normal(b'3')}), b'', {}),
        'odd-size': (one(cluster_bits=9, l2=mixed, size=7 * 512 + 100), b'', {}),
        'subclusters': (one(cluster_bits=14, extended_l2=True, size=4 << 14, l2={
            0: Subclusters(TEXT * 300, allocated=(0, 1, 5), zero=(2, 3)),
            1: Subclusters(zero=range(32), place=False), 2: Zero()}), b'', {}),
        'clusters-64k': (one(cluster_bits=16, size=5 << 16, l2={
            0: Normal(TEXT), 2: Compressed(streams.deflate(TEXT * 1598)[:] )}), b'', {}),
        'clusters-2m': (one(cluster_bits=21, size=5 << 21, l2={0: Normal(TEXT), 1: Zero()}), b'', {}),
        'backed-qcow2': (one(backing_file=b'b', extensions=[Extension(build.EXT_BACKING_FORMAT, b'qcow2')],
                             **child), parent, {}),
        'backed-raw': (one(backing_file=b'b', extensions=[Extension(build.EXT_BACKING_FORMAT, b'raw')],
                           **child), TEXT * 100, {}),
        'backed-probed': (one(backing_file=b'b', **child), parent, {'grant_format': PROBE}),
        'backed-version-1': (one(backing_file=b'b', **child), version_1(), {'grant_format': 2}),
        'backed-by-itself': (one(backing_file=b'b', **child), one(backing_file=b'b', **child), {}),
        'no-backing': (one(backing_file=b'b', **child), parent, {'open_flags': NO_BACKING}),
        'data-file': (one(l2={0: Normal(offset=0), 2: Normal(offset=1024), 3: Zero()}, **data_file),
                      TEXT * 60, {}),
        'version-1': (version_1(), b'', {}), 'version-1-aes': (version_1(crypt=1), b'', {}),
        'version-1-backed': (version_1(backing=b'b'), TEXT * 50, {'grant_format': RAW}),
        'aes': (one(cluster_bits=9, l2={0: Normal(TEXT), 2: Zero()}, header={'crypt_method': 1}), b'', {}),
        'snapshots': (snapshots, b'', {}), 'snapshot-1': (snapshots, b'', {'snapshot': ord('1')}),
        'snapshot-state': (snapshots, b'', {'snapshot': ord('b'), 'open_flags': VM_STATE}),
        'metadata': (snapshots, b'', {'open_flags': METADATA_ONLY}),
        'metadata-chain': (one(backing_file=b'b', **child), parent,
                           {'open_flags': METADATA_ONLY | METADATA_CHAIN}),
        'no-length': (plain, b'', {'source': NO_LENGTH}), 'raw': (TEXT * 40, b'', {'source': RAW}),
        'probed': (plain, b'', {'source': PROBE}), 'no-caches': (plain, b'', {'caches': 0x11}),
        'cut': (plain[:-700], b'', {}), 'cut-zeros': (plain[:-1100], b'', {'open_flags': ZEROS_PAST_END}),
        'refcount-64': (one(cluster_bits=9, l2=mixed, refcount_order=6, size=8 * 512), b'', {}),
        'refcount-1': (one(cluster_bits=9, l2={0: Normal(b'x'), 1: Zero()}, refcount_order=0,
                           refcounts={2: 0}), b'', {}),
        'large-l1': (one(cluster_bits=9, l1_entries=4000, l2={70: Normal(b'far')}, size=9 << 20), b'', {}),
        'luks': (one(cluster_bits=9, l2={0: Normal(b'x')}, header={'crypt_method': 2}, extensions=[
            Extension(build.EXT_LUKS, struct.pack('>QQ', 65536, 300000))],
            writes=[(65536, luks_header(iterations=1))], length=400000), b'', {}),
        'overlapping': (one(cluster_bits=9, l2={0: Normal(offset=1024), 1: Normal(offset=512)}), b'', {}),
        'feature-names': (one(cluster_bits=9, l2={0: Zero()}, header={'incompatible_features': 1 << 40},
                              extensions=[build.feature_names((0, 40, b'new\n'))]), b'', {}),
    }
    return made


def qemu_images(out):
    small = {'cluster_size': 512}
    bitmap = ['qemu-img', 'bitmap', '--add', '-g']
    return {
        'qemu-512': (out.qemu(create('64k', **small), io('write -P 1 0 600', 'write -z 4k 4k',
                                                         'write -P 2 60k 512')), b'', {}),
        'qemu-64k': (out.qemu(create('1M'), io('write -P 3 512 300', 'write -z -u 128k 64k')), b'', {}),
        'qemu-version-2': (out.qemu(create('64k', compat='0.10', **small), io('write -P 1 1k 512')), b'', {}),
        'qemu-extended': (out.qemu(create('256k', cluster_size=16384, extended_l2='on'),
                                   io('write -P 4 512 512', 'write -z 4k 2k')), b'', {}),
        'qemu-bitmaps': (out.qemu(create('256k', **small), [*bitmap, '512', 'IMAGE', 'fine'],
                                  [*bitmap, '64k', 'IMAGE', 'coarse'], io('write -P 5 8k 512'),
                                  ['qemu-img', 'bitmap', '--add', '--disable', 'IMAGE', 'off']), b'', {}),
        'qemu-snapshots': (out.qemu(create('64k', **small), io('write -P 6 0 512'),
                                    ['qemu-img', 'snapshot', '-c', 'first', 'IMAGE'],
                                    io('write -P 7 0 512', 'write -P 7 8k 512'),
                                    ['qemu-img', 'snapshot', '-c', '2nd', 'IMAGE']), b'', {}),
        'qemu-zstd': (out.qemu(create('64k', compression_type='zstd', cluster_size=4096),
                               io('write -c -P 8 0 4096', 'write -c -P 9 8k 4096')), b'', {}),
        'qemu-deflate': (out.qemu(create('64k', cluster_size=4096), io('write -c -P 8 0 4096')), b'', {}),
        'qemu-preallocated': (out.qemu(create('32k', preallocation='metadata', **small)), b'', {}),
        'qemu-lazy': (out.qemu(create('64k', lazy_refcounts='on', **small), io('write -P 1 0 512')), b'', {}),
    }


def main():
    if len(sys.argv) != 2:
        sys.exit('usage: seeds.py DIRECTORY')
    out = Writer(sys.argv[1])
    header_seeds(out)
    table_seeds(out)
    decoder_seeds(out)
    luks_seeds(out)
    for name, (image, other, wishes) in {**hand_made_images(out), **qemu_images(out)}.items():
        data = sparse(image, other, **wishes)
        if len(data) > 16384:
            sys.exit(f'{name} is {len(data)} bytes long: too much')
        out.put('image', name, data)
        out.put('image_nomem', name, data)


if __name__ == '__main__':
    main()
