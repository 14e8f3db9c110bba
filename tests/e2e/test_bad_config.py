# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations that are wrong as programs: the start fails and says where, nothing listens (G-09)."""
import subprocess

import programs
import pytest


def run(folder, text, env=None):
    folder.mkdir(exist_ok=True)
    (folder / 'bad.conf').write_text("net.listen('127.0.0.1', 53)\n" + text + '\n')
    return subprocess.run([programs.KRESD, '-n', '-c', 'bad.conf', str(folder)], cwd=folder, capture_output=True,
                          text=True, timeout=120, env={**programs.os.environ, **(env or {})})


@pytest.mark.parametrize('text, logged', [
    ("error('as the test wants')", 'bad.conf:2: as the test wants'),
    ('error({})', 'bad.conf'),
    ('local function f() return 1 + f() end\nf()', 'stack overflow'),
    ('net = nil', 'bad.conf:2'),
    ("modules.load('no_such_module')", 'no such module'),
    ("modules = { 'no_such_module' }", 'no such module'),
    ('event.after(1, 5)', 'bad.conf:2: expected event.after'),
    ("event.recurrent('x', print)", 'bad.conf:2'),
    ('policy.add(5)', 'bad.conf:2'),
    ('no_such.field = 1', 'bad.conf:2'),
    ('this is no Lua', 'bad.conf:2'),
    ('os.exit(7)', ''),
])
def test_the_start_fails(tmp_path, text, logged):
    done = run(tmp_path / 'run', text)
    assert done.returncode > 0, done.stderr
    assert logged in done.stderr


@pytest.mark.parametrize('text', ['while true do end', 'while true do pcall(function () while true do end end) end',
                                  "while true do ('x'):rep(100):gsub('x', 'y') end"])
def test_an_endless_configuration_is_stopped(tmp_path, text):
    done = run(tmp_path / 'run', text, {'KRESD_CONFIG_LIMIT': '1'})
    assert done.returncode > 0 and 'bad.conf:2: the function was stopped' in done.stderr
