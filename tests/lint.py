#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the tree reads: formatting, static checks of every language in it, and the walls of the house."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

TOP = pathlib.Path(__file__).resolve().parents[1]
SKIPPED = re.compile(r'^(build|\.git)')
LICENCED = re.compile(r'\.(c|h|lua|py|sh|build|rst|in)$|^(dev|\.ci/run)$')

# (where, what no file there may have, why, files that may all the same)
WALLS = [
    (r'^lib/.*\.[ch]$', r'#include\s*[<"](uv\.h|lua|luajit|daemon/)', 'lib knows no loop, no Lua and no daemon', ()),
    (r'^modules/.*\.[ch]$', r'#include\s*"daemon/', 'modules see lib only', ()),
    (r'^lib/.*\.[ch]$', r'\b(time|gettimeofday|clock_gettime|getrandom|rand|random)\s*\(',
     'lib is given time and randomness', ('lib/check.c', 'lib/utils.h')),  # reports are rationed; modules measure
    (r'^lib/.*\.[ch]$', r'#include\s*<lmdb\.h>', 'one file of the cache and two of the rules see LMDB: reading, writing',
     ('lib/cache/lmdb.c', 'lib/rules/list_store.c', 'lib/rules/list_build.c')),
]


def tracked(pattern):
    """Files of the tree (in git, or about to be) whose path matches."""
    out = subprocess.run(['git', '-C', str(TOP), 'ls-files', '--cached', '--others', '--exclude-standard'],
                         capture_output=True, text=True, check=True).stdout
    return sorted(p for p in out.splitlines() if re.search(pattern, p) and not SKIPPED.match(p) and (TOP / p).exists())


def command(*args):
    done = subprocess.run(args, cwd=TOP, capture_output=True, text=True, errors='replace')
    return '' if done.returncode == 0 else (done.stdout + done.stderr).strip() or f'exit {done.returncode}'


def each(pattern, run):
    """One check for every file, two at a time."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return '\n'.join(filter(None, pool.map(run, tracked(pattern))))


def clang_format(_):
    return command('clang-format', '--dry-run', '-Werror', *tracked(r'\.[ch]$'))


def clang_tidy(build):
    known = (TOP / build / 'compile_commands.json').read_text()

    def run(path):
        return command('clang-tidy', '--quiet', '-p', build, path) if f'{path}"' in known else ''
    return each(r'^(lib|daemon)/(?!.*test_)[^.]*\.c$', run)


def luacheck(_):
    return command('luacheck', '--no-color', '--quiet', '--codes', *tracked(r'\.lua$'))


def shellcheck(_):
    return command('shellcheck', 'dev', '.ci/run', *tracked(r'\.sh$'))


def flake8(_):
    return command('flake8', *tracked(r'\.py$'))


def pages(build):
    return command('ninja', '--quiet', '-C', build, 'doc')


def walls(_):
    found = []
    for where, what, why, doors in WALLS:
        for path in tracked(where):
            if path in doors or '/test_' in path:
                continue
            for number, line in enumerate((TOP / path).read_text().splitlines(), 1):
                if re.search(what, line) and not line.lstrip().startswith(('*', '/*', '//')):
                    found.append(f'{path}:{number}: {line.strip()} ({why})')
    return '\n'.join(found)


def licences(_):
    return '\n'.join(f'{p}: no SPDX-License-Identifier' for p in tracked(LICENCED.pattern)
                     if 'SPDX-License-Identifier' not in (TOP / p).read_text(errors='replace')[:400])


def entries(_):
    """Every entry of the language of configuration is used in a test of it."""
    tests = '\n'.join((TOP / p).read_text() for p in tracked(r'^(tests/config|modules/.*)/[^/]*\.test\.lua$|^tests/e2e/.*\.py$'))
    names = re.findall(r'^([\w.]+)', (TOP / 'tests/config/entries.data').read_text(), re.M)
    return '\n'.join(f'{name}: no test uses it' for name in names
                     if not re.search(rf'(?<![\w.]){re.escape(name)}(?![\w])', tests))


CHECKS = [walls, licences, entries, clang_format, shellcheck, flake8, luacheck, pages, clang_tidy]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('build', help='configured build folder')
    p.add_argument('--junit-xml')
    p.add_argument('--only', help='names of checks, with commas: ' + ' '.join(c.__name__ for c in CHECKS))
    args = p.parse_args()
    suite, failed = xml.Element('testsuite', name='lint'), 0
    for check in CHECKS:
        if args.only and check.__name__ not in args.only.split(','):
            continue
        begin = time.monotonic()
        problem = check(args.build)
        seconds = time.monotonic() - begin
        case = xml.SubElement(suite, 'testcase', classname='lint', name=check.__name__, time=f'{seconds:.2f}')
        print(f'{check.__name__}: {"FAILED" if problem else "ok"} ({seconds:.0f} s)', flush=True)
        if problem:
            failed += 1
            print(problem)
            xml.SubElement(case, 'failure', message=problem.splitlines()[0]).text = problem
    if args.junit_xml:
        xml.ElementTree(suite).write(args.junit_xml)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
