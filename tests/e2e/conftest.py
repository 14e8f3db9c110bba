# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the end-to-end tests. They run in a network namespace of their own: `./dev test e2e`."""
import itertools
import os
import pathlib
import socket
import subprocess
import sys

import pytest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import programs  # noqa: E402
from world.servers import Internet  # noqa: E402

_numbers = itertools.count(1)


def pytest_sessionstart(session):
    if [name for _, name in socket.if_nameindex()] != ['lo']:
        pytest.exit('these tests add addresses to lo: run them by `./dev test e2e`', 2)
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)


@pytest.fixture(scope='session')
def world(tmp_path_factory):
    with Internet(tmp_path_factory.mktemp('world')) as internet:
        yield internet


@pytest.fixture(scope='session')
def world_config(world):
    """Configuration that makes kresd live in the world."""
    return f'''
modules.load('hints > iterate')
hints.root_file('{world.hints}')
trust_anchors.add_file('{world.keys}', true)
'''


@pytest.fixture(scope='session')
def new_address():
    """Every resolver gets a loopback address of its own."""
    return lambda: '127.0.%d.%d' % divmod(256 + next(_numbers), 256)


@pytest.fixture
def kresd(tmp_path, new_address):
    """A function that makes kresd processes (not started) with some configuration; all are stopped at the end."""
    made = []

    def make(config='', name=None, cls=programs.Kresd, **how):
        how.setdefault('address', new_address())
        one = cls(tmp_path / (name or f'kresd{len(made)}'), config, **how)
        made.append(one)
        return one
    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope='session')
def resolver(tmp_path_factory, world_config, new_address):
    """One kresd in the world, shared by tests that only ask."""
    with programs.Kresd(tmp_path_factory.mktemp('resolver'), world_config, new_address()) as one:
        yield one
        assert one.process.poll() is None, f'it died: {one.log[-4000:]}'


@pytest.fixture(scope='session')
def unbound(tmp_path_factory, world, new_address):
    if not os.path.exists(programs.UNBOUND):
        pytest.skip('unbound is not installed')
    with programs.Unbound(tmp_path_factory.mktemp('unbound'), world, new_address()) as one:
        yield one
