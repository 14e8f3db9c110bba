# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of other people: built with nothing but the installed headers, loaded into the installed kresd."""
import json
import os
import pathlib
import shutil
import subprocess

import ask
import programs
import pytest

BUILD = pathlib.Path(programs.KRESD).resolve().parents[1]
TOP = pathlib.Path(__file__).resolve().parents[2]
SOURCES = pathlib.Path(__file__).with_name('extension')
STRICT = ['-std=gnu11', '-fPIC', '-shared', '-O1', '-Wall', '-Wextra', '-Werror']


class Installation:
    """What `meson install` leaves, under a root of its own."""

    def __init__(self, root):
        self.root = root
        subprocess.run(['meson', 'install', '-C', str(BUILD), '--no-rebuild', '--quiet'], check=True, capture_output=True,
                       env={**os.environ, 'DESTDIR': str(root)})
        pc = next(root.rglob('libkres.pc'))
        text = pc.read_text()
        self.prefix = text.partition('prefix=')[2].splitlines()[0]
        self.env = {**os.environ, 'PKG_CONFIG_PATH': str(pc.parent),
                    'PKG_CONFIG': f'pkg-config --define-variable=prefix={root}{self.prefix}'}
        self.cflags = self.config('--cflags')
        self.modules = pathlib.Path(str(root) + self.config('--variable=moduledir')[0])
        self.kresd = str(next(root.rglob('sbin/kresd')))

    def config(self, what):
        done = subprocess.run([*self.env['PKG_CONFIG'].split(), what, 'libkres'], env=self.env, check=True,
                              capture_output=True, text=True)
        return done.stdout.split()

    def compile(self, source, name, *flags, compiler='cc'):
        """Build a module and put it where kresd looks; returns what the compiler said."""
        sanitizers = ['-fsanitize=address,undefined'] if 'asan' in str(BUILD) else []
        done = subprocess.run([compiler, *STRICT, *sanitizers, *flags, *self.cflags, str(source), '-o',
                               str(self.modules / f'{name}.so')], capture_output=True, text=True)
        return done.stderr


class Installed(programs.Kresd):
    """The installed kresd."""

    def __init__(self, *args, installation=None, **how):
        super().__init__(*args, **how)
        self.command[0] = installation.kresd


@pytest.fixture(scope='module')
def installation(tmp_path_factory):
    return Installation(tmp_path_factory.mktemp('root'))


@pytest.fixture
def start(kresd, installation):
    return lambda config, **how: kresd(config, cls=Installed, installation=installation, **how).start()


def headers(installation):
    top = pathlib.Path(f'{installation.root}{installation.prefix}/include/libkres')
    return sorted(str(path.relative_to(top)) for path in top.rglob('*.h'))


def test_every_header_stands_alone(installation):
    found = headers(installation)
    assert len(found) > 60
    for header in found:
        done = subprocess.run(['cc', '-std=gnu11', '-Wall', '-Wextra', '-Werror', *installation.cflags, '-fsyntax-only', '-x',
                               'c', '-'], input=f'#include "{header}"\n', capture_output=True, text=True)
        assert not done.stderr, header


@pytest.mark.parametrize('compiler', ['gcc', 'clang'])
def test_everything_of_the_interface(installation, start, compiler):
    if compiler == 'clang' and 'asan' in str(BUILD):
        pytest.skip('its sanitizer library is another')
    assert installation.compile(SOURCES / 'surface.c', 'surface', compiler=compiler) == ''
    with start("modules.load('surface')") as one:
        assert 'surface' in one.control('table.concat(modules.list(), " ")')[0]
        assert ask.message(one.server, 'localhost').answer


def test_example_in_c(installation, start, tmp_path):
    folder = shutil.copytree(TOP / 'doc/examples/rcodes', tmp_path / 'rcodes')
    flags = '-O2 -Wall -Wextra -Werror' + (' -fsanitize=address,undefined' if 'asan' in str(BUILD) else '')
    done = subprocess.run(['make', 'install', f'CFLAGS={flags}', f'DESTDIR={installation.root}'], cwd=folder,
                          env=installation.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with start('modules = { rcodes = { internal = false } }') as one:
        one.control('rcodes.clear()')  # the question that told us it is up
        for name in 'localhost', 'test.invalid', 'other.invalid':
            ask.message(one.server, name)
        out = one.control('tojson(rcodes.list())', 'rcodes.NXDOMAIN', 'rcodes.REFUSED', 'rcodes.clear()',
                          'tojson(rcodes.list())', 'rcodes.config({ internal = 5 })', "modules.unload('rcodes')",
                          'rcodes')
        assert json.loads(out[0].strip("'")) == {'NOERROR': 1, 'NXDOMAIN': 2}
        assert out[1:3] == ['2', '0'] and out[4] == "'{}'" and out[5] == '-22'
        assert out[6] == 'true' and out[7] == 'nil'
        assert 'expected { internal' in one.log


def test_example_in_lua(start, tmp_path):
    folder = tmp_path / 'lua'
    (folder / 'kres_modules').mkdir(parents=True)
    shutil.copy(TOP / 'doc/examples/sinkhole/sinkhole.lua', folder / 'kres_modules')
    with start("modules = { sinkhole = { 'ads.example' } }", name='lua') as one:
        reply = ask.message(one.server, 'www.ADS.example')
        assert reply.rcode() == 3 and reply.authority[0].name.to_text().lower() == 'ads.example.'
        assert [o.code for o in reply.options if o.otype == 15] == [15]
        assert ask.message(one.server, 'localhost').rcode() == 0
        out = one.control("sinkhole.hits()['ads.example.']", "sinkhole.remove('ads.example')", 'tojson(sinkhole.hits())',
                          "sinkhole.add('bad..name')", "sinkhole.add('localhost')")
        assert out[0] == '1' and out[2] in ("'{}'", "'[]'") and 'invalid name' in out[3]
        assert ask.message(one.server, 'localhost').rcode() == 3


@pytest.mark.parametrize('how, logged', [
    ('BAD_ABI', 'unsupported ABI'), ('INIT_FAILS', 'broken_init'), ('OLD_LAYER', 'old way'),
    ('UNDEFINED_SYMBOL', 'symbol_that_nobody_has'), ('NO_ABI', 'kres_modules.broken'), ('NOT_A_LIBRARY', 'cannot load')])
def test_a_broken_module_is_not_loaded_and_others_work(installation, start, how, logged):  # F-35
    if how == 'NOT_A_LIBRARY':
        (installation.modules / 'broken.so').write_text('text')
    else:
        assert installation.compile(SOURCES / 'broken.c', 'broken', f'-D{how}') == ''
    try:
        with start('loaded = pcall(modules.load, "broken")') as one:
            out = one.control('loaded', 'table.concat(modules.list(), " ")')
            assert out[0] == 'false' and 'broken' not in out[1] and 'iterate' in out[1]
            assert logged in one.log
            assert ask.message(one.server, 'localhost').answer
    finally:
        (installation.modules / 'broken.so').unlink()


@pytest.mark.parametrize('how', ['DEINIT_FAILS', 'CONFIG_FAILS', 'BAD_STATE'])
def test_errors_later_on_cost_no_more_than_the_request(installation, start, how):  # F-35
    assert installation.compile(SOURCES / 'broken.c', 'broken', f'-D{how}') == ''
    try:
        with start('modules = { broken = true }') as one:
            assert 'broken' in one.control('table.concat(modules.list(), " ")')[0]
            assert ask.message(one.server, 'localhost').rcode() == (2 if how == 'BAD_STATE' else 0)
            assert one.control("modules.unload('broken')")[0] == 'true'
            assert ask.message(one.server, 'localhost').rcode() == 0
    finally:
        (installation.modules / 'broken.so').unlink()


def test_the_socket_of_a_client(installation, start):
    uv = subprocess.run(['pkg-config', '--cflags', 'libuv'], capture_output=True, text=True, check=True).stdout.split()
    assert installation.compile(SOURCES / 'peer.c', 'peer', *uv) == ''
    with start("modules.load('peer')") as one:
        ask.message(one.server, 'localhost', tcp=True)
        assert one.control('peer.family()')[0] == '2'
        ask.message(one.server, 'one.invalid')
        assert one.control('peer.family()')[0] == '0'
