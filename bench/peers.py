# SPDX-License-Identifier: MIT
"""How each program does each kind of work: command lines, nothing else.

"Nowhere" is qemu-img's null-co target, nbdcopy's null: and /dev/null for us.
Every function returns Contenders; the caller chooses the rows.
"""

import os
import shutil

from measure import Contender

QEMU_IMG_SETTINGS = {
    'qemu-img': [],
    'qemu-img -m 16 -W': ['-m', '16', '-W'],
    'qemu-img -C': ['-C'],
}


class Peers:
    """Command lines over one set of inputs and one directory of programs."""

    def __init__(self, inputs, build, target_dir):
        self.inputs = inputs
        self.build = build
        self.tool = os.path.join(build, 'qcow2')
        self.target = os.path.join(target_dir, 'output.raw')

    def program(self, name):
        """A bench program, or None where it was not built because its library is missing."""
        path = os.path.join(self.build, 'bench', name)
        return path if os.path.exists(path) else None

    def remove_target(self):
        """Each conversion starts without a target, and without the last one's writes pending."""
        if os.path.exists(self.target):
            os.remove(self.target)
            os.sync()

    def fresh_target(self):
        """No target, no writes pending, and memory for the page cache that the machine really has: a
        virtual machine gets some of it from its host only when it is touched, which can take longer
        than the conversion and falls on whoever comes first. A file is written and removed again, so
        that everyone meets the same memory."""
        self.remove_target()
        scratch = self.target + '.scratch'
        block = bytes(1 << 20)
        with open(scratch, 'wb', buffering=0) as file:
            for _ in range(self.inputs.data_bytes // len(block) * 11 // 10):
                file.write(block)
        os.remove(scratch)

    # Whole disks

    def ours_convert(self, image, nowhere, extra=(), check=None):
        argv = [self.tool, 'convert', '-q', *extra, image,
                '/dev/null' if nowhere else self.target]
        return Contender('qcow2', 'ours', argv, check=check,
                         before=None if nowhere else self.fresh_target)

    def qemu_img(self, image, nowhere, settings, luks=False):
        contenders = []
        for name in settings:
            argv = ['qemu-img', 'convert', *QEMU_IMG_SETTINGS[name]]
            if luks:
                argv += ['--object', f'secret,id=key,file={self.inputs.path("passphrase")}',
                         '--image-opts',
                         f'driver=qcow2,encrypt.key-secret=key,file.filename={image}']
            else:
                argv += ['-f', 'qcow2', image]
            if nowhere:
                argv += ['-n', '--target-image-opts',
                         f'driver=null-co,size={self.inputs.virtual_size},read-zeroes=off']
            else:
                argv += ['-O', 'raw', self.target]
            contenders.append(Contender(name, 'qemu-img', argv,
                                        before=None if nowhere else self.fresh_target))
        return contenders

    def nbdcopy(self, image, nowhere):
        if shutil.which('nbdcopy') is None:
            return []
        return [Contender('qemu-nbd + nbdcopy', 'qemu-nbd',
                          ['nbdcopy', '--', '[', 'qemu-nbd', '--read-only', '--shared=4',
                           '--format=qcow2', image, ']', 'null:' if nowhere else self.target],
                          before=None if nowhere else self.fresh_target)]

    def libqcow_stream(self, image):
        program = self.program('libqcow_reads')
        if program is None:
            return []
        return [Contender('libqcow, 1 MiB reads', 'libqcow',
                          [program, '--once', '--block', 1 << 20, image])]

    def copy_raw(self):
        return [Contender('cp --sparse=auto of the raw file', 'cp',
                          ['cp', '--sparse=auto', self.inputs.path('disk.raw'), self.target],
                          before=self.fresh_target)]

    def read_files(self, paths):
        """The limit of reading an uncompressed image: its bytes, once."""
        return [Contender('cat of the image', 'limit', ['cat', *paths])]

    def decoders(self, image, threads, picks=0, reads_per_cluster=1):
        """The limit of reading a compressed image: its decoder, once for each cluster."""
        return [Contender('decoder alone', 'limit',
                          [self.program('pure_decode'), threads, picks, image], reads=True,
                          worth=reads_per_cluster)]

    # Digests

    def ours_digest(self, image, check):
        return Contender('qcow2 digest', 'ours', [self.tool, 'digest', image], check=check)

    def qemu_digest(self, image):
        """qemu-img cannot write to a pipe, so its digest takes the way through a file; qemu-nbd
        with nbdcopy streams."""
        through_file = ['sh', '-c', 'qemu-img convert -m 16 -W -f qcow2 -O raw "$1" "$2" && '
                        'sha256sum "$2"', 'sh', image, self.target]
        contenders = [Contender('qemu-img convert, sha256sum', 'qemu-img', through_file,
                                before=self.fresh_target)]
        if shutil.which('nbdcopy') is not None:
            stream = ['sh', '-c', 'nbdcopy -- [ qemu-nbd --read-only --shared=4 --format=qcow2 '
                      '"$1" ] - | sha256sum', 'sh', image]
            contenders.append(Contender('nbdcopy piped to sha256sum', 'qemu-img', stream))
        return contenders

    def raw_digest(self):
        """The limit is the fastest hash at hand; sha256sum takes twice as long as openssl where
        the processor has instructions for it."""
        if shutil.which('openssl') is None:
            return []
        return [Contender('openssl dgst of the raw file', 'limit',
                          ['openssl', 'dgst', '-sha256', self.inputs.path('disk.raw')])]

    # Small reads

    def reads(self, program, name, family, image, options):
        path = self.program(program)
        if path is None:
            return []
        return [Contender(name, family, [path, *options, image], reads=True)]

    def ours_reads(self, image, options, name='qcow2'):
        program = os.path.join(self.build, 'bench', 'random_reads')
        return Contender(name, 'ours', [program, *options, image], reads=True)

    def raw_reads(self, options):
        return self.reads('pread_reads', 'pread of the raw file', 'pread',
                          self.inputs.path('disk.raw'), options)

    def libqcow_reads(self, image, options):
        return self.reads('libqcow_reads', 'libqcow', 'libqcow', image, options)

    def nbd_reads(self, image, options):
        return self.reads('nbd_reads', 'qemu-nbd', 'qemu-nbd', image, options)

    # Whole processes

    def ours_look(self, command, image, count, *options):
        return Contender(f'qcow2 {command}', 'ours', [self.tool, command, *options, image],
                         count=count)

    def qemu_look(self, command, image, count):
        return [Contender(f'qemu-img {command}', 'qemu-img',
                          ['qemu-img', command, '--output=json', image], count=count)]
