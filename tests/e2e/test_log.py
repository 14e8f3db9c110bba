# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging never holds up the service (F-42)."""
import fcntl
import os
import socket
import subprocess
import time

import pytest

import ask
from programs import KRESD, START_S, answers_at

NOISY = '''
net.listen('{address}', 53)
trust_anchors.remove('.')
log_level('debug')
cache.size = MB
'''


def start(folder, address, **how):
    (folder / 'noisy.conf').write_text(NOISY.replace('{address}', address))
    process = subprocess.Popen([KRESD, '-n', '-c', 'noisy.conf'], cwd=folder, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, **how)
    end = time.monotonic() + START_S
    while not answers_at(address, 53):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    return process


def test_full_pipe(tmp_path, new_address):
    address = new_address()
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = start(tmp_path, address, stderr=writer)
    try:
        for i in range(300):  # far more lines than a pipe holds, and nobody reads
            assert ask.answer((address, 53), f'n{i}.localhost.', 'A').rcode in ('NOERROR', 'NXDOMAIN')
        got, end = b'', time.monotonic() + START_S
        while b'log lines were lost' not in got and time.monotonic() < end:
            got += os.read(reader, 65536)
            ask.answer((address, 53), 'localhost.', 'A')
        assert b'log lines were lost' in got
    finally:
        process.terminate()
        os.close(reader)
        assert process.wait(START_S) == 0
        os.close(writer)


def test_closed_stderr(tmp_path, new_address):
    address = new_address()
    process = start(tmp_path, address, preexec_fn=lambda: os.close(2))
    try:
        assert ask.answer((address, 53), 'localhost.', 'A').rcode == 'NOERROR'
    finally:
        process.terminate()
        assert process.wait(START_S) == 0


@pytest.mark.skipif(os.path.exists('/dev/log') or os.geteuid() != 0, reason='the log of this host is not ours')
def test_syslog(tmp_path, new_address):
    """Lines come with level, name and process id; a log that is not read is not waited for."""
    address = new_address()
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.settimeout(START_S)
    log.bind('/dev/log')
    process = None
    try:
        (tmp_path / 'syslog.conf').write_text("log_target('syslog')\n")
        (tmp_path / 'noisy.conf').write_text('')
        process = subprocess.Popen([KRESD, '-n', '-a', address, '-v', '-c', 'syslog.conf'], cwd=tmp_path,
                                   stdin=subprocess.DEVNULL)
        first = log.recv(65536).decode()
        assert first.startswith('<') and f'kresd[{process.pid}]: [' in first, first
        end = time.monotonic() + START_S
        while not answers_at(address, 53):
            assert time.monotonic() < end
        for i in range(300):
            assert ask.answer((address, 53), f'n{i}.localhost.', 'A').rcode in ('NOERROR', 'NXDOMAIN')
        while 'log lines were lost' not in log.recv(65536).decode():
            ask.answer((address, 53), 'localhost.', 'A')
    finally:
        os.unlink('/dev/log')
        if process:
            process.terminate()
            assert process.wait(START_S) == 0
        log.close()
