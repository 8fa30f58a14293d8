# SPDX-License-Identifier: MIT
"""qcow2 explain: from a byte of the disk to the byte of the file, and back."""

import json
import os
import resource
import struct

import pytest

import toolrun
from chainrun import encrypted, number_at, opened, overlay, patch
from conftest import NAMES
from toolrun import fails_in_one_line, good, qemu_img, run, tool_json
from vetting import build


def explain(*words):
    return tool_json('explain', '--output=json', *words)


def way_back(path, offset, *words):
    return explain('--host', offset, path, *words)['uses']


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'empty'])
def test_every_step_leads_where_map_says(images, name):
    path = images[name]
    stored = path.read_bytes()
    rows = tool_json('map', '--output=json', path)
    for row in rows[:4] + rows[-2:]:
        for place in (row['start'], row['start'] + row['length'] - 1):
            value = explain(path, str(place))
            step, = value['steps']
            assert step['decides'] is True and value['offset'] == place
            if row['present'] is False:
                assert step['kind'] == 'hole' and value['byte'] == 0
            if 'offset' in row:
                host = row['offset'] + place - row['start']
                assert step['host-offset'] == host
                if step['kind'] == 'data' and host < len(stored):
                    assert stored[host] == value['byte']
                assert step['refcount'] >= 1
            for level in ('l1', 'l2'):
                if level in step:
                    entry = step[level]
                    read = int.from_bytes(stored[entry['offset']:entry['offset'] + 8], 'big')
                    assert read == int(entry['entry'], 16)


def test_chain_is_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'base.raw').write_bytes(b'r' * (2 << 20))
    overlay('middle.qcow2', 'base.raw', 'write -P 5 0 64k', form='raw', size='3M')
    overlay('top.qcow2', 'middle.qcow2', 'write -z 1M 64k', size='4M')
    value = explain('top.qcow2', '1500k')
    assert [step['kind'] for step in value['steps']] == ['hole', 'hole', 'data']
    assert [step['filename'] for step in value['steps']] == ['top.qcow2', 'middle.qcow2', 'base.raw']
    assert value['byte'] == ord('r') and value['steps'][2]['host-offset'] == 1500 << 10
    assert [step['kind'] for step in explain('top.qcow2', '1M')['steps']] == ['zero']
    assert [step['decides'] for step in explain('top.qcow2', '2500k')['steps']] == [False, True]
    text = good('explain', 'top.qcow2', '1500k').stdout.decode()
    for word in ('byte 1536000 (0x177000) of the disk', 'layer 0, top.qcow2', 'the backing file is asked',
                 'layer 2, base.raw (raw)', 'stored at 0x177000', 'value is 0x72'):
        assert word in text
    assert 'zeros, whatever is stored there' in good('explain', 'top.qcow2', '1M').stdout.decode()


def test_words_for_every_kind_of_entry(tmp_path):
    path = toolrun.create(tmp_path / 'image.qcow2', '8M', 'write -c -P 1 0 64k', 'write -P 2 64k 2k',
                          options='extended_l2=on')
    text = good('explain', path, '100').stdout.decode()
    assert 'compressed (bit 62)' in text and 'number 100 of what that stream decompresses to' in text
    text = good('explain', path, '65k').stdout.decode()
    assert 'subcluster 0 of its bitmap' in text and 'stored 1 (bit 0), zeros 0 (bit 32)' in text
    assert 'names no L2 table' in good('explain', toolrun.create(tmp_path / 'b', '8M'), '0').stdout.decode()
    qemu_img('snapshot', '-c', 'x', path)
    assert 'a snapshot, or another cluster, uses it too' in good('explain', path, '65k').stdout.decode()


def test_snapshot_and_key(tmp_path):
    path = tmp_path / 'image.qcow2'
    key = encrypted(path, '1M', 'write -P 8 0 64k')
    fails_in_one_line(run('explain', path, '0'), '--key-file')
    step, = explain('--key-file', key, path, '0')['steps']
    assert step['encrypted'] is True
    assert 'encrypted' in good('explain', '--key-file', key, path, '0').stdout.decode()
    qemu_img('snapshot', '-c', 's', '--object', f'secret,id=key,file={key}', '--image-opts',
             opened(path))
    assert explain('--key-file', key, '--snapshot', 's', path, '0')['byte'] == 8


def test_data_file_is_named(tmp_path):
    path = tmp_path / 'image.qcow2'
    qemu_img('create', '-q', '-f', 'qcow2', '-o', f'data_file={tmp_path}/data', path, '1M')
    toolrun.qemu_io(path, 'write -P 4 128k 64k')
    step, = explain(path, '130k')['steps']
    assert step['in-data-file'] is True and step['host-offset'] == 130 << 10
    assert 'of the external data file' in good('explain', path, '130k').stdout.decode()


def test_version_1(tmp_path):
    path = tmp_path / 'one.qcow'
    qemu_img('create', '-q', '-f', 'qcow', path, '1M')
    toolrun.subprocess.run(['qemu-io', '-f', 'qcow', '-c', 'write -P 9 0 8k', path], check=True,
                           stdout=toolrun.subprocess.PIPE)
    value = explain(path, '5000')
    assert value['byte'] == 9 and path.read_bytes()[value['steps'][0]['host-offset']] == 9
    assert '(qcow, clusters of 4 KiB)' in good('explain', path, '5000').stdout.decode()
    fails_in_one_line(run('explain', '--host', '0', path), 'version 2 and 3')


def test_wrong_offsets(images):
    path = images['v3']
    fails_in_one_line(run('explain', path), 'the offset is missing')
    fails_in_one_line(run('explain', path, 'x'), "'x'")
    fails_in_one_line(run('explain', path, '8M'), 'past the end of the disk')
    fails_in_one_line(run('explain', path, '0', '1'), "'1'")
    fails_in_one_line(run('explain', '--host', '0', path, '1'), "'1'")
    fails_in_one_line(run('explain', '--host', '0', '--snapshot', '1', path), '--snapshot')


def test_broken_table_is_told_after_what_led_there(images, tmp_path):
    path = tmp_path / 'image.qcow2'
    path.write_bytes(images['v3'].read_bytes())
    patch(path, number_at(path, 40) + 6, b'\2')
    result = run('explain', path, '0')
    fails_in_one_line(result, 'L2 table', 'not aligned')


# ---- the way back ----

@pytest.fixture(scope='module')
def rich(tmp_path_factory):
    """An image of which nearly every part exists."""
    path = tmp_path_factory.mktemp('explain') / 'rich.qcow2'
    toolrun.create(path, '8M', 'write -P 1 0 300k', 'write -c -P 2 1M 64k', 'write -P 3 2M 64k')
    qemu_img('snapshot', '-c', 'old', path)
    toolrun.qemu_io(path, 'write -P 4 0 64k')
    qemu_img('bitmap', '--add', path, 'marks')
    toolrun.qemu_io(path, 'write -P 5 4M 64k')
    return path


def test_data_leads_back_to_the_disk(rich):
    for place, shared in (('10', False), ('100k', True), ('2M', True), ('4M', False)):
        value = explain(rich, place)
        uses = way_back(rich, str(value['steps'][0]['host-offset']))
        assert uses[0]['what'] == 'data' and uses[0]['guest-offset'] == value['offset']
        assert [use.get('of') for use in uses] == \
            ([None, 'snapshot 1 ("old")'] if shared else [None])
    old = explain('--snapshot', 'old', rich, '10')['steps'][0]['host-offset']
    use, = way_back(rich, str(old))
    assert use['of'] == 'snapshot 1 ("old")' and use['guest-offset'] == 10


def test_compressed_data_leads_back(rich):
    host = explain(rich, '1M')['steps'][0]['host-offset']
    uses = way_back(rich, str(host + 1))
    assert [(use['what'], use['guest-offset']) for use in uses] == [('compressed', 1 << 20)] * 2


def test_tables_lead_back(rich):
    own = tool_json('info', '--output=json', rich)['qcow2']
    step, = explain(rich, '64k')['steps']
    assert way_back(rich, '0')[0]['what'] == 'header'
    assert way_back(rich, str(own['l1-table']['offset']))[0]['what'] == 'l1-table'
    use = way_back(rich, str(step['l2']['offset'] + 3))[0]
    assert use['what'] == 'l2-table' and use['guest-offset'] == 65536
    assert way_back(rich, str(own['refcount-table']['offset']))[0]['what'] == 'refcount-table'
    block = number_at(rich, own['refcount-table']['offset'])
    assert 'host cluster 3,' in way_back(rich, str(block + 7))[0]['text']
    assert way_back(rich, str(own['snapshot-table']['offset']))[0]['what'] == 'snapshot-table'
    for extension in own['header-extensions']:
        assert way_back(rich, str(extension['offset']))[-1]['what'] == 'header-extension'
        if extension['name'] == 'bitmaps':
            directory = number_at(rich, extension['offset'] + 16)
    assert way_back(rich, str(directory))[0]['what'] == 'bitmap-directory'
    table = number_at(rich, directory)
    assert way_back(rich, str(table))[0]['what'] == 'bitmap-table'
    assert way_back(rich, str(number_at(rich, table) & 0x00fffffffffffe00))[0]['what'] == 'bitmap'


def test_every_cluster_with_a_refcount_leads_somewhere(rich):
    """But for the rest of the snapshot's tables, all that the image uses can be named."""
    own = tool_json('info', '--output=json', rich)['qcow2']
    block = number_at(rich, own['refcount-table']['offset'])
    clusters = os.path.getsize(rich) // 65536
    used = [cluster for cluster in range(clusters) if number_at(rich, block + 2 * cluster, '>H')]
    assert len(used) > 12
    for cluster in used:
        # Compressed streams do not begin where clusters do.
        assert way_back(rich, str(cluster * 65536)) or way_back(rich, str(cluster * 65536 + 8)), cluster


def test_luks_header_leads_back(tmp_path):
    path = tmp_path / 'image.qcow2'
    key = encrypted(path, '1M')
    uses = way_back(path, str(4 * 65536), '--key-file', key)
    assert 'luks-header' in [use['what'] for use in uses]


def test_way_back_for_people(rich):
    text = good('explain', '--host', '0', rich).stdout.decode()
    assert text.splitlines()[0].endswith('rich.qcow2, host cluster 0:')
    assert 'the header: byte 0 of 112' in text
    assert 'past the end of the file' in good('explain', '--host', '1G', rich).stdout.decode()


def test_way_back_has_an_end_on_endless_images(endless):
    value = explain('--host', str(os.path.getsize(endless) - 1), endless)
    assert len(value['uses']) == 1000 and value['uses-not-listed'] is True


def soon(path, offset, *words):
    """The way back, in no more than a few seconds of processor time."""
    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))

    return good('explain', '--host', str(offset), path, *words, preexec_fn=limit).stdout


@pytest.mark.parametrize('bits', [9, 16])
def test_way_back_through_a_snapshot_whose_disk_is_longer_than_its_table_has_an_end(tmp_path, bits):
    """A snapshot of 2^62 bytes with one L1 entry, in a file of a few KiB: the L1 entries that its disk would
    need were asked for one by one."""
    snapshot = build.Snapshot(disk_size=1 << 62, l1=[0])
    image = build.Image(cluster_bits=bits, size=1 << 20, snapshots=[snapshot])
    path = image.write(tmp_path / 'image.qcow2')
    entry, = struct.unpack_from('>Q', path.read_bytes(), number_at(path, 64))
    use, = json.loads(soon(path, entry, '--output=json'))['uses']
    assert use['what'] == 'l1-table' and use['of'] == 'snapshot 1 ("one")'


def many_snapshots(path, count):
    """Without an L1 table but for the last one."""
    snapshots = [build.Snapshot(id=b'%d' % number, l1=[0] if number == count else [])
                 for number in range(1, count + 1)]
    return build.Image(cluster_bits=16, size=1 << 20, snapshots=snapshots).write(path)


def last_l1(path):
    """Where the L1 table of the last snapshot is: it lies before the snapshot table."""
    return number_at(path, 64) - 65536


def test_way_back_looks_at_every_one_of_1024_snapshots(tmp_path):
    path = many_snapshots(tmp_path / 'image.qcow2', 1024)
    value = json.loads(soon(path, last_l1(path), '--output=json'))
    use, = value['uses']
    assert use['of'] == 'snapshot 1024 ("one")' and value['snapshots-not-looked-at'] == 0


def test_way_back_looks_at_few_of_very_many_snapshots_and_says_so(tmp_path):
    """Each snapshot is searched for in the table: 8000 of them took a minute."""
    path = many_snapshots(tmp_path / 'image.qcow2', 8000)
    host = last_l1(path)
    value = json.loads(soon(path, host, '--output=json'))
    assert value['uses'] == [] and value['snapshots-not-looked-at'] == 8000 - 131
    assert soon(path, host).decode().splitlines()[1:] == [
        'nothing that was looked at refers to it', 'not looked at: 7869 of 8000 snapshots']


def test_way_back_through_a_snapshot_that_cannot_be_opened_calls_nothing_free(tmp_path):
    """Its L1 table is not aligned, so what it refers to nobody knows."""
    snapshots = [build.Snapshot(id=b'1', l1_offset=1), build.Snapshot(id=b'2')]
    path = build.Image(cluster_bits=16, size=1 << 20, snapshots=snapshots).write(tmp_path / 'image.qcow2')
    result = run('explain', '--host', '4k', path)
    assert b'not aligned' in result.stderr
    assert result.stdout.decode().splitlines()[1:] == ['nothing that was looked at refers to it',
                                                       'not looked at: 1 of 2 snapshots']


def test_way_back_finds_data_of_the_second_of_two_snapshots_with_one_id(tmp_path):
    """Each snapshot was opened by its id, which is that of the first twice: the data of the second was called
    free or leaked."""
    path = toolrun.create(tmp_path / 'image.qcow2', '1M', 'write -P 1 0 64k')
    qemu_img('snapshot', '-c', 'one', path)
    toolrun.qemu_io(path, 'write -P 2 0 64k')
    qemu_img('snapshot', '-c', 'two', path)
    toolrun.qemu_io(path, 'write -P 3 0 64k')
    host = explain('--snapshot', 'two', path, '0')['steps'][0]['host-offset']
    patch(path, number_at(path, 64) + path.read_bytes()[number_at(path, 64):].index(b'2two'), b'1')
    use, = way_back(path, str(host))
    assert use['what'] == 'data' and use['of'] == 'snapshot 1 ("two")'


def test_way_back_reads_bounded_tables_of_bitmaps_and_says_so(tmp_path):
    """65,535 bitmaps that name one table of 1 MiB: it was read for each."""
    path, count = tmp_path / 'image.qcow2', 65535
    directory, table, entries = 1 << 20, 4 << 20, 1 << 17
    extension = build.Extension(build.EXT_BITMAPS,
                                struct.pack('>IIQQ', count, 0, 32 * count, directory))
    # In use, so that the table may be of any length.
    entry = struct.pack('>QIIBBHI', table, entries, 1, 1, 16, 1, 0) + b'x' + bytes(7)
    build.Image(cluster_bits=12, size=1 << 20, extensions=[extension],
                header={'autoclear_features': 1},
                writes=[(directory, entry * count), (table + 8 * entries - 8, bytes(8))]).write(path)
    value = json.loads(soon(path, 512 << 10, '--output=json'))
    assert value['uses'] == [] and value['bitmaps-not-looked-at'] == count - 256
    lines = soon(path, 512 << 10).decode().splitlines()
    assert lines[1] == 'nothing that was looked at refers to it'
    assert lines[2].startswith(f'not looked at: the bits of {count - 256} bitmaps')
