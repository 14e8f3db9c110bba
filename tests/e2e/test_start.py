# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line, configuration errors, exit statuses."""
import re
import subprocess

import pytest

from programs import KRESD, START_S


def run(*args, cwd=None, **how):
    return subprocess.run([KRESD, *map(str, args)], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=START_S, **how)


def test_version():
    done = run('-V')
    assert done.returncode == 0
    assert re.fullmatch(r'Knot Resolver, version \d+\.\d+\.\d+\S*\n', done.stdout)


def test_help():
    done = run('--help')
    assert done.returncode == 0
    assert done.stdout.startswith('Usage: ') and 'Parameters:' in done.stdout and 'Options:' in done.stdout
    for option in 'atScnqvfVh':
        assert re.search(rf'^\s*-{option}\b', done.stdout, re.M), option


@pytest.mark.parametrize('args, said', [
    (['--no-such-option'], 'no-such-option'),
    (['-a'], "'a'"),
    (['-n', '-a', 'not-an-address'], 'not-an-address'),
    (['-n', '-a', '192.0.2.250@53'], '192.0.2.250'),
    (['-n', '-a', '127.0.0.1@99999'], '99999'),
    (['-n', '-S', 'x'], 'x'),
    (['-n', '-S', '77'], '77'),
    (['-n', '-f', '0'], ''),
    (['-n', '-c', 'missing.conf'], 'missing.conf'),
    (['-n', 'no/such/rundir'], 'no/such/rundir'),
])
def test_bad_command_line_is_refused(tmp_path, args, said):
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr


def test_all_bad_addresses_are_named(tmp_path):
    done = run('-n', '-a', '192.0.2.251', '-t', '192.0.2.252', cwd=tmp_path)
    assert done.returncode == 1
    assert '192.0.2.251' in done.stderr and '192.0.2.252' in done.stderr and '(TLS)' in done.stderr


BAD_CONFIGS = {
    'syntax': ('net.listen(', 3),
    'unclosed string': ("x = 'abc", 2),
    'error': ("error('mine')", 2),
    'nil call': ('no_such_function()', 2),
    'wrong type': ("net.bufsize('many')", 2),
    'out of range': ('net.bufsize(100)', 2),
    'no such module': ("modules.load('nosuchmodule')", 2),
    'cannot bind': ("net.listen('192.0.2.250')", 2),
    'port too high': ("net.listen('127.0.0.1', 70000)", 2),
    'bad trust anchor': ("trust_anchors.add('garbage')", 2),
    'missing trust anchor file': ("trust_anchors.add_file('/nowhere/root.keys', true)", 2),
    'tiny cache': ('cache.size = 1', 2),
    'cache where none can be': ("cache.open(10*MB, 'lmdb:///proc/nowhere/at/all')", 2),
    'no such option': ("option('NO_SUCH', true)", 2),
    'bad address of a view': ("modules.load('view') view:addr('1.2.3.4.5', policy.all(policy.DENY))", 2),
}


@pytest.mark.parametrize('what', BAD_CONFIGS)
def test_bad_configuration_says_where(tmp_path, what):
    text, line = BAD_CONFIGS[what]
    (tmp_path / 'bad.conf').write_text(f'-- a comment\n{text}\n')
    done = run('-n', '-c', 'bad.conf', tmp_path, env={'KRESD_NO_LISTEN': '1', 'PATH': '/usr/bin'})
    assert done.returncode == 1, done.stderr
    assert 'error while loading config' in done.stderr
    assert re.search(rf'bad\.conf:[2-{line}]\b', done.stderr), done.stderr


def test_second_configuration_sees_the_first(tmp_path):
    (tmp_path / 'a.conf').write_text('mine = 7\n')
    (tmp_path / 'b.conf').write_text("print('mine is ' .. mine) quit()\n")
    done = run('-n', '-c', 'a.conf', '-c', 'b.conf', tmp_path, env={'KRESD_NO_LISTEN': '1', 'PATH': '/usr/bin'})
    assert done.returncode == 0, done.stderr
    assert 'mine is 7' in done.stdout


def test_no_console_without_a_terminal(tmp_path):
    done = run('-c', '-', cwd=tmp_path)
    assert done.returncode == 1


def test_options_may_be_bundled(tmp_path):
    (tmp_path / 'q.conf').write_text('quit()\n')
    assert run('-nqc', 'q.conf', tmp_path, env={'KRESD_NO_LISTEN': '1', 'PATH': '/usr/bin'}).returncode == 0
