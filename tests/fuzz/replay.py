#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every fuzz target of a build over its kept inputs, and a little further from them with a fixed seed."""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

HERE = pathlib.Path(__file__).resolve().parent


def replay(target, corpus, runs):
    """One target over its corpus; returns the text of a failure, or None."""
    with tempfile.TemporaryDirectory() as scratch:  # libFuzzer adds what it finds to the folder named first
        folders = [scratch, str(corpus)] if corpus.is_dir() else [scratch]
        done = subprocess.run([target, f'-runs={runs}', '-max_total_time=30', '-seed=1', '-timeout=10', '-rss_limit_mb=1024',
                               f'-artifact_prefix={tempfile.gettempdir()}/', *folders],
                              capture_output=True, text=True, errors='replace')
    return None if done.returncode == 0 else done.stderr[-4000:]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('build')
    p.add_argument('--runs', type=int, default=20000, help='inputs tried per target, kept ones first')
    p.add_argument('--junit-xml')
    args = p.parse_args()
    suite, failed = xml.Element('testsuite', name='fuzz'), 0
    for source in sorted(HERE.glob('fuzz_*.c')):
        begin = time.monotonic()
        corpus = HERE / 'corpus' / source.stem.removeprefix('fuzz_')
        problem = replay(pathlib.Path(args.build) / 'tests/fuzz' / source.stem, corpus, args.runs)
        case = xml.SubElement(suite, 'testcase', classname='fuzz', name=source.stem, time=f'{time.monotonic() - begin:.2f}')
        print(f'{source.stem}: {"FAILED" if problem else "ok"} ({time.monotonic() - begin:.0f} s)', flush=True)
        if problem:
            failed += 1
            print(problem)
            xml.SubElement(case, 'failure', message='crashed, leaked or hung').text = problem
    if args.junit_xml:
        xml.ElementTree(suite).write(args.junit_xml)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
