# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command inside the world: python3 -m world COMMAND… (from tests/, in a network namespace of your own).

The command finds the folder with root.hints, root.keys and questions.json in $WORLD.
"""
import os
import subprocess
import sys
import tempfile

from .servers import Internet

if __name__ == '__main__':
    with tempfile.TemporaryDirectory(prefix='world-') as folder, Internet(folder):
        sys.exit(subprocess.call(sys.argv[1:] or [os.environ.get('SHELL', 'sh')], env={**os.environ, 'WORLD': folder}))
