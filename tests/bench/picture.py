# SPDX-License-Identifier: GPL-3.0-or-later
"""The headline as a picture: server CPU time per question, one bar a resolver and workload, as multiples of the cheapest
peer's, so that rows of 5 and of 500 µs can stand side by side."""
from xml.sax.saxutils import escape

COLOURS = {'kresd': '#0b6e99', 'kresd, no L0': '#7ab8d1', 'echo': '#bbbbbb'}
PEER_COLOURS = ['#c9a227', '#b5533c', '#6a8f3c', '#7a5c99']
BAR, GAP, LEFT, SCALE, MOST = 11, 16, 260, 130, 4.0


def _bars(summary):
    """[(workload, [(name, CPU, times the cheapest peer)])]"""
    for workload, peers in summary.items():
        costs = {n: row['cpu_us'] for n, row in peers.items() if row.get('cpu_us')}
        others = [v for n, v in costs.items() if n not in COLOURS]
        if 'kresd' in costs and others:
            yield workload, [(n, v, v / min(others)) for n, v in costs.items()]


def _text(x, y, text, more=''):
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{escape(text)}</text>'


def svg(result):
    rows = list(_bars(result['summary']))
    names = list(dict.fromkeys(n for _, bars in rows for n, _, _ in bars))
    peers = [n for n in names if n not in COLOURS]
    colour = {**COLOURS, **dict(zip(peers, PEER_COLOURS))}
    y, parts = 24, []
    for i, name in enumerate(names):
        x = 10 + i * 125
        parts += [f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour[name]}"/>', _text(x + 14, y, name)]
    y += 26
    about = 'server CPU per question; the line is the cheapest other resolver, figures are µs'
    parts.append(_text(LEFT, y - 8, about, 'fill="#555"'))
    top = y
    for workload, bars in rows:
        parts.append(_text(LEFT - 8, y + BAR * len(bars) / 2 + 4, workload, 'text-anchor="end"'))
        for name, cost, times in bars:
            width = min(times, MOST) * SCALE
            more = ' …' if times > MOST else ''
            parts += [f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{colour[name]}"/>',
                      _text(LEFT + width + 4, y + BAR - 3, f'{cost:.1f}{more}', 'font-size="9" fill="#444"')]
            y += BAR
        y += GAP
    x = LEFT + SCALE
    parts.append(f'<line x1="{x}" y1="{top - 4}" x2="{x}" y2="{y - GAP + 4}" stroke="#333" stroke-dasharray="3 3"/>')
    width = int(LEFT + MOST * SCALE + 80)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" '
            f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            + '\n'.join(parts) + '\n</svg>\n')
