#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything in modules/contract.list has a test, and every module of the tree is in the list and has its page.

A test of a module is a *.test.lua, *.rpl or test_*.c in its folder, or a test in tests/ that names the module."""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
LIST = TOP / 'modules' / 'contract.list'


def pattern(module, kind, name):
    """Regular expression that finds the use of a name in a test."""
    quoted, owner = re.escape(name), re.escape(module)
    return {
        'fn': rf'\b{owner}[.:]{quoted}\b\s*[({{]|\b{owner}[.:]{quoted}\s*,\s*{{',
        'var': rf'\b{owner}\.{quoted}\b',
        'key': rf"\b{quoted}\b'?\]?\s*=",
        'text': quoted,
        'metric': rf'(?<![\w.]){quoted}(?![\w.])',
        'hook': quoted,
    }[kind]


def read_list(path):
    """(line number, module, kind, name) of all lines."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith('#'):
            continue
        found = re.fullmatch(r'(\w+): (fn|var|key|text|metric|hook) (.+)', line)
        if not found:
            raise SystemExit(f'{path}:{number}: expected `MODULE: KIND NAME ...`')
        module, kind, rest = found.groups()
        for name in [rest] if kind == 'text' else rest.split():
            yield number, module, kind, name


def plain(text):
    """Lua patterns and strings of tests read like the texts they stand for."""
    return text.replace('%', '').replace("\\'", "'").replace('\\"', '"')


def tests_of(module):
    folder = TOP / 'modules' / module
    files = [p for p in folder.rglob('*') if re.search(r'(\.test\.lua|\.rpl|^test_.*\.c)$', p.name)]
    files += [p for p in (TOP / 'tests').rglob('*')
              if re.search(r'(\.test\.lua|\.rpl|^test_.*\.(c|py))$', p.name)
              and re.search(rf'\b{module}\b', p.read_text(errors='replace'))]
    text = '\n'.join(p.read_text(errors='replace') for p in files)
    return text + '\n' + plain(text)


def main():
    problems, tests, listed = [], {}, set()
    for number, module, kind, name in read_list(LIST):
        listed.add(module)
        if module not in tests:
            tests[module] = tests_of(module)
        if not re.search(pattern(module, kind, name), tests[module]):
            problems.append(f'{LIST.name}:{number}: no test of {module} shows {kind} {name}')
    for folder in sorted(p for p in (TOP / 'modules').iterdir() if p.is_dir()):
        if folder.name not in listed:
            problems.append(f'modules/{folder.name}: not in {LIST.name}')
        if not (folder / 'README.rst').exists():
            problems.append(f'modules/{folder.name}: no README.rst')
        if not any(re.search(r'(\.test\.lua|\.rpl)$', p.name) for p in folder.rglob('*')):
            problems.append(f'modules/{folder.name}: no test')
    print('\n'.join(problems) or f'{len(listed)} modules, all of the list is tested')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
