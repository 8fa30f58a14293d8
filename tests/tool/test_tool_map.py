# SPDX-License-Identifier: MIT
"""qcow2 map: JSON and table equal to qemu-img's, in whole and in part; the HTML page."""

import html.parser
import os
import subprocess

import pytest

import toolrun
from chainrun import encrypted, opened
from conftest import COMPRESSED, NAMES, PLAIN


@pytest.mark.parametrize('name', NAMES)
def test_json_equals_qemu_img(images, name):
    path = images[name]
    assert toolrun.tool_json('map', '--output=json', path) == \
        toolrun.qemu_json('map', '--output=json', path)


@pytest.mark.parametrize('length', [16000000, 5000000, 4500001, 1000000, 500000])
@pytest.mark.parametrize('options', ['preallocation=metadata', 'preallocation=off'])
def test_json_of_a_file_cut_short_equals_qemu_img(tmp_path, options, length):
    path = toolrun.create(tmp_path / 'image.qcow2', '16M', 'write -P 1 3M 1M', options=options)
    os.truncate(path, length)
    assert toolrun.tool_json('map', '--output=json', path) == \
        toolrun.qemu_json('map', '--output=json', path)


def snapshot(path):
    toolrun.qemu_img('snapshot', '-c', 'one', path)


def bitmaps(path):
    for name in ('one', 'two', 'three'):
        toolrun.qemu_img('bitmap', '--add', path, name)


@pytest.mark.parametrize('more', [None, snapshot, bitmaps])
def test_holes_of_the_file_count_against_all_that_is_referred_to(tmp_path, more):
    """Whether QEMU takes an image for preallocated follows from its refcounts: of compressed clusters,
    snapshots and bitmaps, too."""
    path = toolrun.create(tmp_path / 'image.qcow2', '1M', 'write -P 245 661532 131072',
                          'write -c -P 157 458752 65536', 'write -P 3 100k 1000')
    if more:
        more(path)
        toolrun.qemu_io(path, 'write -P 9 300k 5000')
    theirs = toolrun.qemu_json('map', '--output=json', path)
    assert toolrun.tool_json('map', '--output=json', path) == theirs
    assert any(row['data'] and row['zero'] for row in theirs)


def test_compressed_clusters_among_encrypted_ones_are_no_rows_of_their_own(tmp_path):
    """Neither has a place to be told, so in JSON there is nothing between them."""
    path = tmp_path / 'image.qcow2'
    key = encrypted(path, '1M', 'write -c -P 1 0 64k', 'write -P 2 64k 64k')
    theirs = toolrun.qemu_json('map', '--output=json', '--object', f'secret,id=key,file={key}', '--image-opts',
                               opened(path))
    assert toolrun.tool_json('map', '--output=json', '--key-file', key, path) == theirs
    assert len(theirs) == 2


RANGES = [('0', '1'), ('1', '1000000'), ('300k', '1M'), ('1000', '3000'), ('0', '0'), ('3M', '0'),
          ('5000k', '37k'), ('1048575', '2'), ('6M', '1G'), ('8M', '1'), ('100M', '7'),
          ('0x100', '0x10001')]


@pytest.mark.parametrize('start, length', RANGES)
@pytest.mark.parametrize('name', ['v3', 'cs4k', 'pre_metadata_used', 'half_compressed', 'empty'])
def test_json_of_a_range_equals_qemu_img(images, name, start, length):
    path = images[name]
    theirs = toolrun.qemu_json('map', '--output=json', '-s', start, '-l', length, path)
    assert toolrun.tool_json('map', '--output=json', '-s', start, '-l', length, path) == theirs
    assert toolrun.tool_json('map', path, '--output=json', f'--max-length={length}',
                             f'--start-offset={start}') == theirs


# qemu-img gives up on the table of an image with compressed clusters.
@pytest.mark.parametrize('name', PLAIN)
def test_table_equals_qemu_img(images, name):
    path = images[name]
    assert toolrun.good('map', path).stdout == toolrun.qemu_img('map', path)


@pytest.mark.parametrize('name', COMPRESSED)
def test_table_shows_compressed_rows(images, name):
    lines = toolrun.good('map', images[name]).stdout.decode().splitlines()[1:]
    rows = toolrun.tool_json('map', '--output=json', images[name])
    data = [row for row in rows if row['data'] and not row['zero']]
    assert [int(line.split()[0], 16) for line in lines] == [row['start'] for row in data]
    assert any(line.split()[2] == 'compressed' for line in lines)


def test_table_of_mixed_image(images):
    lines = toolrun.good('map', images['half_compressed']).stdout.decode().splitlines()
    assert [line.split()[2] for line in lines[1:]] == \
        ['compressed', lines[2].split()[2], 'compressed']
    assert int(lines[2].split()[2], 16) % 65536 == 0
    assert lines[2].split()[:2] == ['0x20000', '0x20000']


def test_table_escapes_the_file_name(tmp_path):
    path = toolrun.create(tmp_path / 'a\nb\x1b[m', '1M', 'write 0 64k')
    lines = toolrun.good('map', path).stdout.decode().splitlines()
    assert len(lines) == 2 and lines[1].endswith('a\\nb\\x1b[m')


def peak_memory_and_rows(path):
    """Of a map as JSON: the peak of its resident memory in bytes, and how many rows it printed."""
    process = subprocess.Popen([toolrun.TOOL, 'map', '--output=json', path], stdout=subprocess.PIPE)
    rows = sum(line.count(b'"start"') for line in process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024, rows


def test_map_of_many_rows_takes_little_memory(tmp_path):
    """A million rows: an L2 table of alternate zero and unallocated entries, referred to by every L1
    entry. Kept in memory they would be hundreds of megabytes."""
    path = toolrun.create(tmp_path / 'many.qcow2', '512M', options='cluster_size=512')
    little, rows = peak_memory_and_rows(path)
    assert rows == 1
    l1 = toolrun.tool_json('info', '--output=json', path)['qcow2']['l1-table']
    with open(path, 'r+b') as file:
        table = -(-os.path.getsize(path) // 512) * 512
        file.seek(table)
        file.write(((1).to_bytes(8, 'big') + bytes(8)) * 32)
        file.seek(l1['offset'])
        file.write((table | 1 << 63).to_bytes(8, 'big') * l1['entries'])
    much, rows = peak_memory_and_rows(path)
    assert rows == 1 << 20
    assert much < little + (16 << 20)


def test_a_map_cut_short_by_an_error_is_no_json(tmp_path):
    path = toolrun.create(tmp_path / 'bad.qcow2', '2G', 'write 0 64k', 'write 1G 64k')
    rows = toolrun.tool_json('map', '--output=json', path)
    l1 = toolrun.tool_json('info', '--output=json', path)['qcow2']['l1-table']['offset']
    assert len(rows) == 4
    with open(path, 'r+b') as file:
        file.seek(l1 + 16 + 6)  # third L1 entry: no longer aligned
        file.write(b'\x02')
    result = toolrun.run('map', '--output=json', path)
    toolrun.fails_in_one_line(result, 'bad.qcow2: ')
    assert not result.stdout.rstrip().endswith(b']')


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open_tags = []
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ('meta', 'rect'):
            self.open_tags.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag


def page_of(text):
    page = Page()
    page.feed(text)
    page.close()
    assert page.open_tags == []
    return page


@pytest.mark.parametrize('name', ['empty', 'fresh', 'v3', 'half_compressed', 'sparse_1t',
                                  'scattered', 'sector'])
def test_html_is_one_small_page(images, name):
    text = toolrun.good('map', '--output=html', images[name]).stdout.decode()
    page = page_of(text)
    assert len(text) < 1 << 20
    assert text.startswith('<!DOCTYPE html>')
    for tag, attributes in page.tags:
        assert tag not in ('script', 'link', 'img', 'iframe', 'object')
        assert 'src' not in attributes and 'href' not in attributes
    assert 'url(' not in text and '@import' not in text


def test_html_draws_what_is_stored(images):
    text = toolrun.good('map', '--output=html', images['half_compressed']).stdout.decode()
    drawn = [attributes.get('class') for tag, attributes in page_of(text).tags if tag == 'rect']
    # 8 MiB in 64 KiB clusters: two lines; one cell each for what the image holds.
    assert drawn.count('h') == 2
    assert (drawn.count('c'), drawn.count('d'), drawn.count('z')) == (3, 2, 1)
    assert '<title>0x100000, 64 KiB stored compressed</title>' in text


def test_html_escapes_the_file_name(tmp_path):
    path = toolrun.create(tmp_path / '<script>&\n', '1M')
    text = toolrun.good('map', '--output=html', path).stdout.decode()
    assert '<script>' not in text and '&lt;script&gt;&amp;\\n' in text
