# SPDX-License-Identifier: MIT
"""Turns results into a table, and keeps them as JSON.

Everything here is computed from the results as they are stored, so a table
can be printed again from a file:

    bench/report.py build/bench/results.json
"""

import json
import sys

from measure import spread

METRIC_NAMES = {'wall': 'wall', 'cpu': 'CPU', 'ops': 'reads', 'memory': 'memory'}


def _unit(metric, value):
    """How a value is written: factor, decimals, unit."""
    if metric == 'ops':
        return 1, 0, '/s'
    if metric == 'memory':
        return 1, 1, ' MiB'
    if value < 0.1:
        return 1000, 2, ' ms'
    return 1, 2, ' s'


def format_value(metric, value):
    """A value with its unit."""
    factor, decimals, unit = _unit(metric, value)
    return f'{value * factor:,.{decimals}f}{unit}'


def _with_spread(metric, samples):
    """Median with unit, then smallest and largest in the same unit."""
    found = spread(values(samples, metric))
    factor, decimals, _ = _unit(metric, found['median'])
    low, high = (f'{found[key] * factor:,.{decimals}f}' for key in ('min', 'max'))
    return f'{format_value(metric, found["median"])} ({low} - {high})'


def ratios(pairs, metric, share=False):
    """Ratios of the pairs of one peer: how many times as fast ours is, or which share ours takes."""
    found = []
    for theirs, ours in zip(pairs['theirs'], pairs['ours']):
        better = theirs[metric] / ours[metric] if metric != 'ops' else ours[metric] / theirs[metric]
        found.append(1 / better if share else better)
    return found


def values(samples, metric):
    return [sample[metric] for sample in samples if metric in sample]


def all_ours(row):
    return [sample for pairs in row['pairs'] for sample in pairs['ours']]


def best_of(row, family, metric):
    """The setting of a family with the best median, or None if it was not measured."""
    found = [pairs for pairs in row['pairs']
             if pairs['family'] == family and values(pairs['theirs'], metric)]
    if not found:
        return None
    chosen = max if metric == 'ops' else min
    return chosen(found, key=lambda pairs: spread(values(pairs['theirs'], metric))['median'])


def judge(row, goal):
    """A goal measured: (pairs or None, ratios or values, text of the goal, met). None if it cannot
    be judged because a side is missing."""
    if goal['kind'] == 'under':
        found = values(all_ours(row), goal['metric'])
        if not found:
            return None
        return None, found, f'< {goal["bound"]:g} MiB', spread(found)['median'] < goal['bound']
    pairs = best_of(row, goal['family'], goal['metric'])
    if pairs is None or not pairs['ours']:
        return None
    share = goal['kind'] == 'share'
    found = ratios(pairs, goal['metric'], share)
    middle = spread(found)['median']
    text = f'{"<=" if share else ">="} {goal["bound"]:.3g}'
    met = middle <= goal['bound'] if share else middle >= goal['bound']
    return pairs, found, text, met


def _verdict(goal, met, middle):
    if met:
        return 'met'
    first = goal.get('first')
    if first is not None:
        good = middle <= first if goal['kind'] == 'share' else middle >= first
        return f'MISSED (first goal {first:g}: {"met" if good else "missed"})'
    return 'MISSED'


def _ratio_text(found, share):
    found = spread(found)
    unit = 'of it' if share else 'times'
    return f'{found["median"]:.2f} ({found["min"]:.2f} - {found["max"]:.2f}) {unit}'


def row_lines(row):
    """The table lines of one row: work, metric, ours, peer, theirs, ratio, goal, verdict."""
    if row.get('skipped'):
        return [[row['title'], '', '', '', '', '', '', f'skipped: {row["skipped"]}']]
    metric = row['metric']
    ours = all_ours(row)
    lines = []
    judged = [(goal, judge(row, goal)) for goal in row['goals']]
    for pairs in row['pairs']:
        line = [row['title'] if not lines else '', METRIC_NAMES[metric],
                _with_spread(metric, pairs['ours']) if pairs['ours'] else '',
                pairs['name'],
                _with_spread(metric, pairs['theirs']) if pairs['theirs'] else '',
                '', '', '']
        if pairs['ours'] and pairs['theirs']:
            share = False
            for goal, verdict in judged:
                if verdict is not None and verdict[0] is pairs and goal['metric'] == metric:
                    share = goal['kind'] == 'share'
                    line[6] = verdict[2]
                    line[7] = _verdict(goal, verdict[3], spread(verdict[1])['median'])
            line[5] = _ratio_text(ratios(pairs, metric, share), share)
        lines.append(line)
    for goal, verdict in judged:
        if verdict is None or (goal['metric'] == metric and verdict[0] is not None):
            continue
        pairs, found, text, met = verdict
        line = ['', METRIC_NAMES[goal['metric']],
                _with_spread(goal['metric'], pairs['ours'] if pairs else ours), '', '', '', text,
                _verdict(goal, met, spread(found)['median'])]
        if pairs is not None:
            line[3] = pairs['name']
            line[4] = _with_spread(goal['metric'], pairs['theirs'])
            line[5] = _ratio_text(found, goal['kind'] == 'share')
        lines.append(line)
    return lines


def table(results):
    """The whole table as Markdown that is also legible as plain text."""
    head = ['work', 'measured', 'ours', 'against', 'theirs', 'ratio', 'goal', 'verdict']
    lines = [head]
    for row in results['rows']:
        lines += row_lines(row)
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    widths[-1] = len(head[-1])  # a refusal may be long; it need not widen every line
    text = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths)) + ' |'
            for line in lines]
    text.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(text)


def summary(results):
    """One line: goals met, missed, rows skipped."""
    met = missed = skipped = 0
    for row in results['rows']:
        if row.get('skipped'):
            skipped += 1
            continue
        for goal in row['goals']:
            verdict = judge(row, goal)
            if verdict is not None:
                met += verdict[3]
                missed += not verdict[3]
    return f'{met} goals met, {missed} missed, {skipped} rows skipped'


if __name__ == '__main__':
    with open(sys.argv[1], encoding='utf-8') as stored:
        RESULTS = json.load(stored)
    print(table(RESULTS))
    print(summary(RESULTS))
