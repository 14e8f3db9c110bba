# SPDX-License-Identifier: GPL-3.0-or-later
"""kresd --check, and the same files at the start (G-01 to G-09, F-30)."""
import os
import re
import subprocess
import time

import pytest

import bad_configs
from programs import KRESD, START_S

ENV = {'KRESD_NO_LISTEN': '1', 'PATH': '/usr/bin:/bin'}


def run(*args, cwd):
    return subprocess.run([KRESD, *map(str, args)], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_S,
                          env=ENV, encoding='utf-8', errors='replace')


def check(folder, text, name='test.conf'):
    bad_configs.write(folder / name, text, folder)
    return run('--check', name, cwd=folder)


def names_line(text, line):
    lines = line if isinstance(line, tuple) else (line, line)
    return any(re.search(rf'test\.conf:{n}\b', text) for n in range(lines[0], lines[1] + 1))


@pytest.mark.parametrize('what', bad_configs.BAD)
def test_bad_file_is_refused(tmp_path, what):
    bad_configs.make_files(tmp_path)
    text, line = bad_configs.BAD[what]
    done = check(tmp_path, text)
    assert done.returncode == 1, done.stdout
    assert line is None or names_line(done.stderr, line), done.stderr
    assert not (set(os.listdir(tmp_path)) - {'test.conf', 'text', 'loop.conf', 'with space %.conf'})
    done = run('-n', '-c', 'test.conf', cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert 'error while loading config: ' in done.stderr
    assert line is None or names_line(done.stderr, line), done.stderr


@pytest.mark.parametrize('what', bad_configs.GOOD)
def test_good_file_is_taken(tmp_path, what):
    bad_configs.make_files(tmp_path)
    done = check(tmp_path, bad_configs.GOOD[what])
    assert done.returncode == 0, done.stderr
    bad_configs.write(tmp_path / 'quit.conf', 'quit()', tmp_path)
    done = run('-n', '-c', 'test.conf', '-c', 'quit.conf', cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_problem_is_told(tmp_path):
    done = check(tmp_path, '''net.listen('192.0.2.250', 53)
cache.size = -5
net.bufsize(7)
modules = { 'nosuch' }
hostname(5)
policy.add(policy.all(policy.FORWARD('x')))
''')
    assert done.returncode == 1
    for line in range(1, 7):
        assert names_line(done.stderr, line), done.stderr
    assert done.stderr.count('    fix: ') >= 6
    assert '6 problems' in done.stdout


def test_warnings_do_not_fail(tmp_path):
    done = check(tmp_path, "cache.sise = 5\nif netlisten then x = 1 end\nverbose(false)\n")
    assert done.returncode == 0
    assert re.search(r'test\.conf:1: warning: .*sise', done.stderr)
    assert re.search(r'test\.conf:2: warning: .*netlisten', done.stderr)
    assert re.search(r'test\.conf:3: warning: deprecation WARNING', done.stderr)


def test_nothing_is_touched(tmp_path):
    """Neither sockets nor files, although the configuration asks for them."""
    done = check(tmp_path, '''net.listen('127.0.0.1', 5356) net.listen('{folder}/sock', nil, { kind = 'control' })
cache.open(10*MB, 'lmdb://{folder}/cache') cache.clear() assert(cache.count())
log_target('syslog') user('nobody') quit()
trust_anchors.remove('.') trust_anchors.add_file('{folder}/root.keys')
if #net.list() ~= 3 then error('net.list()') end
''')
    assert done.returncode == 0, done.stderr
    assert 'would be fetched' in done.stderr
    assert os.listdir(tmp_path) == ['test.conf']


def test_errors_that_the_file_expects_are_none(tmp_path):
    done = check(tmp_path, '''local ok, err = pcall(net.listen, '192.0.2.250')
if ok or not err:find('192.0.2.250') then error('pcall') end
ok = pcall(function () net.bufsize(5) end)
assert(not ok)
''')
    assert done.returncode == 0, done.stderr


def test_several_files_share_one_state(tmp_path):
    (tmp_path / 'a.conf').write_text('mine = 7\n')
    (tmp_path / 'b.conf').write_text("if mine ~= 7 then error('not shared') end\nx = = 1\n")
    (tmp_path / 'c.conf').write_text('net.bufsize(1)\n')
    done = run('--check', 'a.conf', 'b.conf', 'c.conf', cwd=tmp_path)
    assert done.returncode == 1
    assert 'b.conf:2' in done.stderr and 'c.conf:1' in done.stderr and 'not shared' not in done.stderr
    assert run('--check', 'nowhere.conf', cwd=tmp_path).returncode == 1


def test_pipe_without_writer_does_not_stop_the_start(tmp_path):
    os.mkfifo(tmp_path / 'pipe.conf')
    begin = time.monotonic()
    for args in (['--check', 'pipe.conf'], ['-n', '-c', 'pipe.conf']):
        done = run(*args, cwd=tmp_path)
        assert 'pipe' in done.stderr or done.returncode == 0
    assert time.monotonic() - begin < START_S


def test_directory_is_no_file(tmp_path):
    done = run('--check', tmp_path, cwd=tmp_path)
    assert done.returncode == 1 and 'directory' in done.stderr.lower()


@pytest.mark.parametrize('env', [{'LANG': 'tr_TR.UTF-8', 'LC_ALL': 'tr_TR.UTF-8'}, {'TZ': 'Nowhere/Odd'}, {'HOME': ''}])
def test_odd_environment(tmp_path, env):
    """G-10."""
    (tmp_path / 'q.conf').write_text('net.bufsize(1232.0) quit()\n')
    done = subprocess.run([KRESD, '-n', '-c', 'q.conf'], cwd=tmp_path, env={**ENV, **env}, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=START_S)
    assert done.returncode == 0, done.stderr
