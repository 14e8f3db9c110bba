# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed is what the build tree runs with."""
import json
import pathlib
import subprocess

import pytest

from programs import KRESD

BUILD = pathlib.Path(KRESD).resolve().parents[1]


@pytest.fixture(scope='module')
def installed():
    """Paths under which files will be installed."""
    done = subprocess.run(['meson', 'introspect', '--installed', str(BUILD)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout).values())


def test_every_lua_file_and_module(installed):
    staged = [p.relative_to(BUILD / 'lua') for p in (BUILD / 'lua').rglob('*') if p.suffix in ('.lua', '.so')]
    missing = [str(p) for p in staged if not any(path.endswith(f'/knot-resolver/{p}') for path in installed)]
    assert len(staged) > 20 and not missing


@pytest.mark.parametrize('path', [
    'sbin/kresd', 'sbin/kresc', 'sbin/kres-cache-gc', 'etc/knot-resolver/root.hints', 'etc/knot-resolver/root.keys',
    'share/man/man8/kresd.8', 'share/man/man8/kres-cache-gc.8', 'share/man/man1/kresc.1', 'systemd/system/kresd@.service'])
def test_programs_and_data(installed, path):
    assert any(p.endswith(f'/{path}') for p in installed)
