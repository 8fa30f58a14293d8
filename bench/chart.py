# SPDX-License-Identifier: MIT
"""Draws the results as one SVG: every row a group of bars, all on one logarithmic axis.

The axis is speed relative to QEMU's best (to cp where QEMU has no part), so
that seconds and reads per second fit on one page; the figures themselves
stand at the right. A thin line over a bar is the spread from smallest to
largest. The limit of a row (a decoder alone, pread on the raw file) is an upright line
through its group. Colours and greys are chosen to be legible on white and on
black. Draws a stored result again:

    bench/chart.py build/bench/results.json docs/performance.svg
"""

import json
import math
import sys
from xml.sax.saxutils import escape

from measure import spread
from report import all_ours, best_of, format_value, values

WIDTH = 960
LEFT = 320      # where the axis begins
RIGHT = 850     # where it ends; figures stand to the right of it
BAR = 13
GAP = 3
GROUP_GAP = 16
TOP = 74

INK = '#7d8590'
FAINT = '#7d859055'
COLOURS = {
    'ours': '#2f81f7',
    'qemu-img': '#d29922',
    'qemu-nbd': '#a98467',
    'libqcow': '#8b7ab8',
    'cp': '#6e9f6e',
}
LIMIT = '#e5534b'
# Families that are a limit rather than a peer, in the order they are preferred.
LIMIT_FAMILIES = ('limit', 'pread')
# Families whose best setting is 1 on the axis, in the order they are preferred.
BASELINES = ('qemu-img', 'qemu-nbd', 'libqcow', 'cp')


class Group:
    """One row of the chart: bars as (name, family, speeds, figure), and a limit's speed."""

    def __init__(self, row):
        self.title = row['title']
        self.bars = []
        self.limit = None
        metric = row['metric']
        baseline = next((found for found in (best_of(row, family, metric)
                                             for family in BASELINES) if found), None)
        if baseline is None or not all_ours(row):
            return
        unit = spread(values(baseline['theirs'], metric))['median']

        def speed(value):
            return value / unit if metric == 'ops' else unit / value

        def bar(name, family, samples):
            found = spread(values(samples, metric))
            speeds = sorted(speed(found[key]) for key in ('min', 'median', 'max'))
            self.bars.append((name, family, speeds, format_value(metric, found['median'])))

        bar('qcow2', 'ours', all_ours(row))
        for pairs in row['pairs']:
            if pairs['family'] in LIMIT_FAMILIES:
                continue
            bar(pairs['name'], pairs['family'], pairs['theirs'])
        for family in LIMIT_FAMILIES:
            pairs = best_of(row, family, metric)
            if pairs is not None and self.limit is None:
                median = spread(values(pairs['theirs'], metric))['median']
                self.limit = (pairs['name'], speed(median), format_value(metric, median))

    def height(self):
        lines = len(self.bars) + (1 if self.limit else 0)
        return 18 + lines * (BAR + GAP) + GROUP_GAP


def _text(x, y, content, size=11, anchor='start', colour=INK, weight='normal'):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{colour}" font-weight="{weight}">{escape(content)}</text>')


def _line(x1, y1, x2, y2, colour, width=1.0, dash=None):
    dashes = f' stroke-dasharray="{dash}"' if dash else ''
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{dashes}/>')


class Axis:
    """Speeds to places, with round numbers at both ends."""

    def __init__(self, speeds):
        self.low = 10 ** math.floor(math.log10(min(speeds) * 0.999))
        self.high = 10 ** math.ceil(math.log10(max(speeds)))
        # Half a decade at an end that nothing reaches is cut off.
        if min(speeds) > self.low * 3.3:
            self.low *= 3
        if max(speeds) < self.high / 3.3:
            self.high /= 3
        self.low = min(self.low, 0.3)
        self.high = max(self.high, 3)

    def place(self, speed):
        share = math.log(speed / self.low) / math.log(self.high / self.low)
        return LEFT + share * (RIGHT - LEFT)

    def ticks(self):
        exponent = math.floor(math.log10(self.low))
        while 10 ** exponent <= self.high:
            for step in (1, 3):
                tick = step * 10.0 ** exponent
                if self.low * 0.999 <= tick <= self.high * 1.001:
                    yield tick
            exponent += 1


def _spread_line(axis, low, high, y):
    left, right = axis.place(low), axis.place(high)
    if right - left < 2:
        return []
    return [_line(left, y, right, y, INK, 1.5), _line(left, y - 3, left, y + 3, INK, 1.5),
            _line(right, y - 3, right, y + 3, INK, 1.5)]


def _draw_group(group, axis, y):
    parts = [_text(16, y + 11, group.title, 12, weight='bold')]
    y += 18
    top = y
    for name, family, (low, middle, high), figure in group.bars:
        colour = COLOURS.get(family, INK)
        weight = 'bold' if family == 'ours' else 'normal'
        parts.append(_text(LEFT - 8, y + 10, name, anchor='end', weight=weight))
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{max(axis.place(middle) - LEFT, 1):.1f}" '
                     f'height="{BAR}" fill="{colour}"/>')
        parts += _spread_line(axis, low, high, y + BAR / 2)
        parts.append(_text(WIDTH - 16, y + 10, figure, anchor='end', weight=weight))
        y += BAR + GAP
    if group.limit is not None:
        name, speed, figure = group.limit
        x = axis.place(speed)
        parts.append(_line(x, top - 3, x, y + BAR, LIMIT, 2))
        parts.append(_text(LEFT - 8, y + 10, f'limit: {name}', anchor='end', colour=LIMIT))
        parts.append(_text(WIDTH - 16, y + 10, figure, anchor='end', colour=LIMIT))
    return parts


def draw(results):
    """The chart as SVG text."""
    groups = [Group(row) for row in results['rows'] if not row.get('skipped')]
    groups = [group for group in groups if group.bars]
    speeds = [1.0] + [speed for group in groups for bar in group.bars for speed in bar[2]]
    speeds += [group.limit[1] for group in groups if group.limit]
    axis = Axis(speeds)
    height = TOP + sum(group.height() for group in groups) + 20
    data = results['settings']['data_bytes'] / (1 << 30)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
             f'width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" '
             'role="img" aria-label="Speed of qcow2 and its peers">',
             _text(16, 26, 'Speed relative to QEMU at its best setting (= 1), logarithmic; '
                   'longer is faster', 15, weight='bold'),
             _text(16, 46, f'{data:.2g} GiB of real files, warm page cache, '
                   f'{results["environment"]["cores"]} cores; medians, the thin line is the '
                   'spread, the red line the limit. Reflinks: relative to cp.')]
    for tick in axis.ticks():
        x = axis.place(tick)
        one = math.isclose(tick, 1)
        parts.append(_line(x, TOP - 8, x, height - 14, INK if one else FAINT, 1,
                           None if one else '2 3'))
        parts.append(_text(x, TOP - 12, f'{tick:g}', anchor='middle'))
    y = TOP + 4
    for group in groups:
        parts += _draw_group(group, axis, y)
        y += group.height()
    parts.append('</svg>')
    return '\n'.join(parts) + '\n'


if __name__ == '__main__':
    with open(sys.argv[1], encoding='utf-8') as stored:
        DRAWN = draw(json.load(stored))
    with open(sys.argv[2], 'w', encoding='utf-8') as target:
        target.write(DRAWN)
