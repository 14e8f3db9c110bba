#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instructions per answer out of the caches, counted by callgrind, against the figures recorded in figures.json.

Time depends on the machine and its mood, instructions hardly do: only on compiler and libraries. A figure that is more than
a tenth above the recorded one fails. After a change that is meant, or a new compiler: `cost.py --record PROGRAM`.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

FIGURES = pathlib.Path(__file__).resolve().parent / 'figures.json'
KINDS = ['l0', 'address', 'alias', 'deep', 'nsec', 'nsec3']
FEW, MANY = 128, 640  # questions in the two runs that are compared; multiples of what hits.c has
TOLERANCE = 1.10


def instructions(program, kind, count):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(['valgrind', '--tool=callgrind', f'--callgrind-out-file={folder}/out', program, kind, str(count)],
                              capture_output=True, text=True)
    found = re.search(r'Collected : (\d+)', done.stderr)
    if done.returncode or not found:
        raise RuntimeError(f'{kind}: {done.stderr[-1000:]}')
    return int(found[1])


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--record', action='store_true', help='write the figures instead of comparing')
    p.add_argument('program', help='the program hits of this folder')
    args = p.parse_args()
    recorded = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    now, bad = {}, 0
    print(f'1..{len(KINDS)}')
    for number, kind in enumerate(KINDS, 1):
        now[kind] = (instructions(args.program, kind, MANY) - instructions(args.program, kind, FEW)) // (MANY - FEW)
        is_good = args.record or (kind in recorded and now[kind] <= recorded[kind] * TOLERANCE)
        bad += not is_good
        print(f'{"ok" if is_good else "not ok"} {number} - {kind}: {now[kind]} instructions per answer, '
              f'recorded {recorded.get(kind)}', flush=True)
    if args.record:
        FIGURES.write_text(json.dumps(now, indent=1) + '\n')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
