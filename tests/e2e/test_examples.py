# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations that come with us, and those that come with Debian's kresd 5.6: all of them start."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest

from programs import KRESD, START_S

TOP = pathlib.Path(__file__).resolve().parents[2]
OURS = sorted((TOP / 'etc/config').glob('*.conf'))
THEIRS = [p for p in [pathlib.Path('/etc/knot-resolver/kresd.conf'),
                      *sorted(pathlib.Path('/usr/share/doc/knot-resolver/examples').glob('config.*'))] if p.is_file()]
NOT_EVEN_THERE = {
    'config.docker': 'it needs module http, which is a package of its own',
    'config.isp': 'a line of it is no Lua',
    'config.privacy': 'it needs the library psl, and its pin is too short',
}
# A namespace of its own: they listen on port 53 of the usual addresses. Their caches are many GB, so the working directory
# is one where that much cannot be allocated in advance.
NETWORK = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && ip addr add 192.0.2.53/32 dev lo && exec "$@"', 'sh']
HOST = ['unshare', '--net', '--mount', 'sh', '-c', """
ip link set lo up && ip addr add 192.0.2.53/32 dev lo && cp -r . /dev/shm/kresd-example.$$ &&
mount -t tmpfs -o size=64m tmpfs . && cd "$PWD" && cp -r /dev/shm/kresd-example.$$/. . && rm -rf /dev/shm/kresd-example.$$ &&
exec "$@"
""", 'sh']


@pytest.fixture(scope='module')
def etc(tmp_path_factory):
    """What an administrator would have put into /etc/knot-resolver."""
    folder = tmp_path_factory.mktemp('etc')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj',
                    '/CN=dns.example', '-keyout', folder / 'server-key.pem', '-out', folder / 'server-cert.pem'],
                   check=True, capture_output=True)
    (folder / 'tickets.secret').write_bytes(os.urandom(64))
    (folder / 'blocked.rpz').write_text('$TTL 60\n@ SOA . . 1 1 1 1 1\nads.example CNAME .\n')
    return folder


def starts(kresd, config, folder):
    """Does it come up and end as it should?"""
    notify, notify_path = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), f'{folder}.notify'
    notify.bind(notify_path)
    with open(f'{folder}.log', 'w') as log:
        process = subprocess.Popen([*HOST, kresd, '-n', '-c', config, folder], cwd=folder, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, env={**os.environ, 'NOTIFY_SOCKET': notify_path})
    try:
        notify.settimeout(0.2)
        for _ in range(int(START_S / 0.2)):
            try:
                if b'READY=1' in notify.recv(4096):
                    break
            except TimeoutError:
                if process.poll() is not None:
                    return False, pathlib.Path(f'{folder}.log').read_text()
        process.send_signal(signal.SIGTERM)
        return process.wait(START_S) == 0, pathlib.Path(f'{folder}.log').read_text()
    finally:
        process.kill()
        process.wait()
        notify.close()


@pytest.mark.parametrize('path', OURS, ids=lambda p: p.name)
def test_ours(tmp_path, etc, path):
    tmp_path = tmp_path / 'run'
    tmp_path.mkdir()
    (tmp_path / path.name).write_text(path.read_text().replace('/etc/knot-resolver/', f'{etc}/'))
    done = subprocess.run([*NETWORK, KRESD, '--check', path.name], cwd=tmp_path, capture_output=True, text=True, timeout=START_S)
    assert (done.returncode, done.stdout) == (0, '0 problems, 0 warnings\n'), done.stderr
    good, log = starts(KRESD, path.name, tmp_path)
    assert good, log
    assert 'rror' not in log and 'WARNING' not in log, log


@pytest.mark.parametrize('path', THEIRS, ids=lambda p: p.name)
def test_those_of_debian(tmp_path, path):
    """Unchanged."""
    if path.name in NOT_EVEN_THERE:
        pytest.skip(f'their own kresd refuses it: {NOT_EVEN_THERE[path.name]}')
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'blacklist.rpz').write_text('$TTL 60\n@ SOA . . 1 1 1 1 1\nads.example CNAME .\n')
    done = subprocess.run([*NETWORK, KRESD, '--check', path], cwd=run, capture_output=True, text=True, timeout=START_S)
    assert done.returncode == 0, done.stderr
    good, log = starts(KRESD, path, run)
    assert good, log


@pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='there is no systemd')
@pytest.mark.parametrize('unit', ['kresd@.service', 'kres-cache-gc.service'])
def test_units_are_confined(tmp_path, unit):
    """H-03: as systemd judges it; below 2.0 of 10."""
    text = (pathlib.Path(KRESD).parents[1] / 'etc' / unit).read_text()
    path = tmp_path / unit.replace('@', '@1')
    path.write_text(text.replace('=knot-resolver', '=daemon'))
    done = subprocess.run(['systemd-analyze', 'security', '--offline=yes', '--no-pager', path], capture_output=True, text=True,
                          timeout=60)
    if 'unrecognized option' in done.stderr:
        pytest.skip('this systemd cannot judge units that are not installed')
    assert float(re.search(r'Overall exposure level[^:]*: ([\d.]+)', done.stdout)[1]) <= 2.0, done.stdout
    assert 'Unknown' not in done.stderr and 'Failed to parse' not in done.stderr, done.stderr
