# SPDX-License-Identifier: GPL-3.0-or-later
"""The short form of tests/attacks/streams.py: polite clients of streams are served whatever others do (A-35, A-36)."""
import json
import os
import subprocess
import sys

import pytest

import programs

SCRIPT = os.path.join(os.path.dirname(__file__), '../attacks/streams.py')


@pytest.mark.parametrize('mode', ['drip', 'mute', 'pipeline', 'stall', 'reset'])
def test_polite_clients_are_served(mode):
    done = subprocess.run([sys.executable, SCRIPT, '--kresd', programs.KRESD, '--idle', '200', '--hostile', '60', '--polite', '2',
                           '--seconds', '3', '--mode', mode], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result['alive']
    for kind in 'tcp', 'tls', 'https':
        assert result[kind]['asked'] > 0 and result[kind]['answered_pct'] >= 95, result
    assert result['rss_mib'] < 256
