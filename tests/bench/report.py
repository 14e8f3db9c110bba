# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns samples into medians, ratios and Markdown tables."""
import statistics

# What a table shows, in this order, where a workload has it: (key, heading, format).
COLUMNS = [
    ('cpu_us', 'CPU µs/q', '{:.1f}'),
    ('spread', 'spread', '±{:.0%}'),
    ('vs_best', '× best', '{:.2f}'),
    ('vs_echo', '× echo', '{:.1f}'),
    ('qps', 'q/s', '{:.0f}'),
    ('p50', 'p50 µs', '{:.0f}'),
    ('p99', 'p99 µs', '{:.0f}'),
    ('p999', 'p99.9 µs', '{:.0f}'),
    ('mean', 'mean µs', '{:.0f}'),
    ('upstream', 'upstream/q', '{:.3f}'),
    ('cpu_us_per_connection', 'CPU µs/connection', '{:.0f}'),
    ('server_busy', 'core used', '{:.0%}'),
    ('lost_share', 'lost', '{:.2%}'),
    ('servfail_share', 'SERVFAIL', '{:.2%}'),
    ('secure_share', 'AD', '{:.0%}'),
    ('rss_start_mb', 'RSS before MB', '{:.0f}'),
    ('rss_mb', 'RSS MB', '{:.0f}'),
    ('anon_mb', 'of it anon', '{:.0f}'),
    ('cache_used_mb', 'cache used MB', '{:.1f}'),
    ('rss_bytes_per_record', 'bytes/record', '{:.0f}'),
    ('start_ms', 'start ms', '{:.0f}'),
    ('start_listed_ms', 'start with list ms', '{:.0f}'),
    ('first_answer_ms', 'first resolved ms', '{:.0f}'),
    ('cpu_ms', 'CPU ms', '{:.0f}'),
    ('restart_first_answer_ms', 'restart ms', '{:.0f}'),
    ('hot_set_ms', 'then 1k hot ms', '{:.0f}'),
]


def _flat(sample):
    """One level: latencies and shares beside the rest."""
    flat = {k: v for k, v in sample.items() if isinstance(v, (int, float)) and k != 'round'}
    flat.update({k: v for k, v in sample.get('lat_us', {}).items() if k != 'max'})
    if 'p50' in flat:
        flat.pop('mean', None)
    if 'sent' in sample:
        flat['lost_share'] = sample['lost'] / max(1, sample['sent'])
    if 'rcode' in sample:
        flat['servfail_share'] = sample['rcode'].get('2', 0) / max(1, sample['answered'])
        flat['secure_share'] = sample['authentic'] / max(1, sample['answered'])
    return flat


def summarise(samples):
    """workload -> peer -> {key: median}; plus spread of the headline figure and ratios, taken round by round."""
    summary = {}
    for workload, peers in samples.items():
        table = summary[workload] = {}
        rounds = {}
        for name, rows in peers.items():
            flat = [_flat(row) for row in rows]
            table[name] = {k: statistics.median(f[k] for f in flat if k in f) for k in flat[0]}
            costs = [f['cpu_us'] for f in flat if 'cpu_us' in f]
            if costs:
                table[name]['spread'] = (max(costs) - min(costs)) / 2 / (statistics.median(costs) or 1)
                rounds[name] = {row['round']: f['cpu_us'] for row, f in zip(rows, flat) if f.get('cpu_us')}  # 0 = a void sample
        real = [n for n in rounds if n != 'echo']
        if not real:
            continue
        best = min(real, key=lambda n: table[n]['cpu_us'])
        for name in rounds:
            table[name]['cpu_ratio_to'] = {
                other: statistics.median(rounds[name][i] / rounds[other][i] for i in rounds[name] if i in rounds[other])
                for other in rounds if other != name and set(rounds[name]) & set(rounds[other])}
            table[name]['vs_best'] = table[name]['cpu_ratio_to'].get(best, 1.0)
            if 'echo' in rounds and name != 'echo':
                table[name]['vs_echo'] = table[name]['cpu_ratio_to'].get('echo', 0.0)
    return summary


def _table(peers):
    shown = [c for c in COLUMNS if any(c[0] in row for row in peers.values())]
    if all(row.get('cache_used_mb', 0) == 0 for row in peers.values()):
        shown = [c for c in shown if c[0] != 'cache_used_mb']
    lines = ['| resolver | ' + ' | '.join(c[1] for c in shown) + ' |', '|---' * (len(shown) + 1) + '|']
    for name, row in sorted(peers.items(), key=lambda kv: kv[1].get('cpu_us', kv[1].get('start_ms', 0))):
        lines.append(f'| {name} | ' + ' | '.join(fmt.format(row[key]) if key in row else '–' for key, _, fmt in shown) + ' |')
    return '\n'.join(lines)


def _headline(summary):
    """One line a workload: CPU µs per question of everyone, the cheapest in bold."""
    names = list(dict.fromkeys(n for peers in summary.values() for n in peers))
    lines = ['| server CPU µs per question | ' + ' | '.join(names) + ' |', '|---' * (len(names) + 1) + '|']
    for workload, peers in summary.items():
        costs = {n: row['cpu_us'] for n, row in peers.items() if 'cpu_us' in row}
        if not costs:
            continue
        best = min(v for n, v in costs.items() if n != 'echo')
        cells = ('–' if n not in costs else f'**{costs[n]:.1f}**' if costs[n] == best else f'{costs[n]:.1f}' for n in names)
        lines.append(f'| {workload} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def markdown(result):
    versions = ', '.join(f'{n} {v}' for n, v in result['versions'].items())
    busy = [s['machine_busy'] - s['server_busy'] for peers in result['samples'].values() for rows in peers.values()
            for s in rows if 'machine_busy' in s]
    parts = [f'{result["date"]}; kernel {result["kernel"]}; {versions}.  World: {result["world"]["zones"]} zones, '
             f'{result["world"]["signed"]} signed ({result["world"]["rsa"]} RSA, rest ECDSA; {result["world"]["nsec3"]} NSEC3).']
    if busy:
        parts.append(f'Everything but the measured server kept {statistics.median(busy):.2f} cores busy '
                     '(median; load generator and authoritative servers included).')
    parts.append(_headline(result['summary']))
    for workload, peers in result['summary'].items():
        parts += [f'### {workload}', _table(peers)]
    for name, problem in result['failed'].items():
        parts.append(f'**{name} failed**: {problem}')
    return '\n\n'.join(parts) + '\n'
