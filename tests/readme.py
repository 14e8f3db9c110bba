#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in the pages of the modules are configurations with which a resolver starts.

usage: readme.py KRESD [MODULE...]"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import docutils.core
import docutils.nodes

TOP = pathlib.Path(__file__).resolve().parents[1]
# What is no configuration: a grammar, commands of a shell; and pages without any.
OTHER = re.compile(r'^(kresc |rule +=)')
NO_EXAMPLE = {'experimental_dot_auth', 'etcd'}
END = '\nevent.after(0, function () quit(0) end)\n'
# Files that an example expects on the user's machine, and a module to be there first.
FILES = {
    '/var/lib/knot-resolver/root.keys': (TOP / 'etc' / 'root.keys').read_text(),
    '/etc/knot-resolver/list.rpz': '$ORIGIN list.\n@ SOA . . 1 2 3 4 5\nads.example CNAME .\n',
    '/etc/knot-resolver/ads.txt': '0.0.0.0 ads.example\n',
    '/etc/hosts.local': '192.0.2.1 host.lan\n',
}


def examples(path):
    """Literal blocks of a page."""
    tree = docutils.core.publish_doctree(path.read_text(), settings_overrides={'report_level': 5})
    return [node.astext() for node in tree.findall(docutils.nodes.literal_block)
            if not OTHER.match(node.astext()) and not isinstance(node.parent, docutils.nodes.system_message)]


def prepare(text, folder):
    for number, (name, content) in enumerate(FILES.items()):
        if name in text:
            (folder / f'file{number}').write_text(content)
            text = text.replace(name, f'file{number}')
    return re.sub(r'\b8453\b', str(20000 + os.getpid() % 10000), text)


def run(kresd, module, text):
    """@return '' or what is wrong"""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / 'example.conf').write_text('cache.size = 1 * MB\n' + prepare(text, folder) + END)
        try:
            done = subprocess.run([kresd, '-n', '-c', 'example.conf', name], cwd=name, text=True, timeout=60, errors='replace',
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env={**os.environ, 'KRESD_NO_LISTEN': '1'})
        except subprocess.TimeoutExpired:
            return f'{module}: the example does not end:\n{text}'
    return '' if done.returncode == 0 else f'{module}: status {done.returncode}:\n{text}\n--\n{done.stdout}'


def main():
    kresd, wanted = str(pathlib.Path(sys.argv[1]).resolve()), sys.argv[2:]
    count, problems = 0, []
    for page in sorted(TOP.glob('modules/*/README.rst')):
        module = page.parent.name
        if wanted and module not in wanted:
            continue
        found = examples(page)
        if not found and module not in NO_EXAMPLE:
            problems.append(f'{module}: no example')
        count += len(found)
        problems += filter(None, (run(kresd, module, text) for text in found))
    print('\n'.join(problems) or f'{count} examples run')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
