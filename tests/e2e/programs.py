# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolvers under test as processes: start, wait until they answer, look at, stop."""
import os
import pathlib
import signal
import socket
import subprocess
import time

KRESD = os.environ.get('KRESD', str(pathlib.Path(__file__).resolve().parents[2] / 'build/daemon/kresd'))
UNBOUND = '/usr/sbin/unbound'
START_S = 20 * (5 if 'asan' in KRESD else 1)
LOCAL_QUESTION = b'\0\7\1\0\0\1\0\0\0\0\0\0\x09localhost\0\0\1\0\1'


def answers_at(address, port, timeout=0.2):
    with socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        try:
            s.connect((address, port))
            s.send(LOCAL_QUESTION)
            return s.recv(512)[:2] == LOCAL_QUESTION[:2]
        except OSError:
            return False


class Program:
    """One process in a folder of its own; everything it prints goes to `log`."""

    def __init__(self, folder, command, address=None, port=53, env=None):
        self.folder, self.command, self.address, self.port = pathlib.Path(folder), command, address, port
        self.env, self.process = {**os.environ, **(env or {})}, None
        self.log_path = self.folder / 'log'

    @property
    def server(self):
        return self.address, self.port

    @property
    def log(self):
        return self.log_path.read_text(errors='replace')

    def spawn(self):
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.env)
        return self

    def start(self):
        self.spawn()
        end = time.monotonic() + START_S
        while not answers_at(*self.server):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop(signal.SIGKILL)
                raise RuntimeError(f'{self.command} did not come up:\n{self.log[-4000:]}')
            time.sleep(0.01)
        return self

    def stop(self, how=signal.SIGTERM, patience_s=20):
        """End it; returns its exit status (negative: the signal that killed it)."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            status = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = 'hung'
        self.process = None
        return status

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.stop()


class Kresd(Program):
    """kresd with a configuration text; in the text {address}, {port} and {folder} may be used."""

    BASE = '''
net.listen('{address}', {port})
cache.size = 20 * MB
trust_anchors.remove('.')
'''

    def __init__(self, folder, config='', address='127.0.0.1', port=53, base=BASE, args=(), **how):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, [KRESD, '-n', *args, '-c', 'test.conf', str(folder)], address, port, **how)
        self.configure(base + config)

    def configure(self, text):
        for word, value in (('address', self.address), ('port', self.port), ('folder', self.folder)):
            text = text.replace(f'{{{word}}}', str(value))
        (self.folder / 'test.conf').write_text(text)

    def control(self, *lines, path=None):
        """Run lines over the control socket; returns the output of each."""
        path = path or self.folder / 'control' / str(self.process.pid)
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(path))
            return [_binary_command(s, line, i == 0) for i, line in enumerate(lines)]


def _receive(sock, count):
    got = b''
    while len(got) < count:
        more = sock.recv(count - len(got))
        if not more:
            raise ConnectionError('control socket closed')
        got += more
    return got


def _binary_command(sock, line, is_first):
    if is_first:
        assert _receive(sock, 2) == b'> '
        sock.sendall(b'__binary\n')
    sock.sendall(line.encode() + b'\n')
    return _receive(sock, int.from_bytes(_receive(sock, 4), 'big')).decode(errors='replace')


class Unbound(Program):
    def __init__(self, folder, world, address):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'unbound.conf').write_text(f'''
server:
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: "{folder}/pid"
  interface: {address}
  num-threads: 1
  module-config: "validator iterator"
  root-hints: "{world.hints}"
  trust-anchor-file: "{world.keys}"
  prefetch: no
remote-control:
  control-enable: no
''')
        super().__init__(folder, [UNBOUND, '-c', str(folder / 'unbound.conf')], address)
