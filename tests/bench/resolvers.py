# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs to be compared: one class each, giving its configuration and its command line.

All get one worker, the same root, the same trust anchor or none, and enough memory.
"""
import pathlib
import shutil
import signal
import socket
import subprocess
import time

PORT = 53
CACHE_MB = 200
START_S = 30
CPUCLOCK_PROCESS = 2  # see clock_getcpuclockid(3): the clock of a process, threads that ended included


class Resolver:
    def __init__(self, name, binary, folder, world, address):
        self.name, self.binary, self.world, self.address = name, binary, world, address
        self.folder, self.process = pathlib.Path(folder) / name, None

    def configure(self, validate):
        """Write files to self.folder; return the command."""
        raise NotImplementedError

    def start(self, pin, validate=True):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        command = self.configure(validate)
        with open(self.folder / 'log', 'wb') as log:
            self.process = subprocess.Popen([*pin, *command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_S
        while not self.is_up():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f'{self.name} did not start: {(self.folder / "log").read_text(errors="replace")[-2000:]}')
            time.sleep(0.01)

    def is_up(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.connect((self.address, PORT))
                s.send(b'\0\7\1\0\0\1\0\0\0\0\0\0\x09localhost\0\0\1\0\1')
                return bool(s.recv(512))
            except OSError:
                return False

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def cpu_s(self):
        return time.clock_gettime((~self.process.pid << 3) | CPUCLOCK_PROCESS)


class Kresd(Resolver):
    def configure(self, validate):
        anchor = f"trust_anchors.add_file('{self.world.keys}', true)" if validate else ''
        (self.folder / 'kresd.conf').write_text(f'''
net.listen('{self.address}', {PORT})
cache.open({CACHE_MB} * MB, 'lmdb://{self.folder}/cache')
modules.load('hints > iterate')
hints.root_file('{self.world.hints}')
trust_anchors.remove('.')
{anchor}
''')
        return [self.binary, '-n', '-c', str(self.folder / 'kresd.conf'), str(self.folder)]


class Unbound(Resolver):
    def configure(self, validate):
        (self.folder / 'unbound.conf').write_text(f'''
server:
  num-threads: 1
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  directory: "{self.folder}"
  pidfile: ""
  interface: {self.address}@{PORT}
  msg-cache-size: {CACHE_MB // 3}m
  rrset-cache-size: {CACHE_MB * 2 // 3}m
  outgoing-range: 4096
  num-queries-per-thread: 2048
  aggressive-nsec: yes
  module-config: "{'validator ' if validate else ''}iterator"
  root-hints: "{self.world.hints}"
  {f'trust-anchor-file: "{self.world.keys}"' if validate else ''}
remote-control:
  control-enable: no
''')
        return [self.binary, '-c', str(self.folder / 'unbound.conf')]


class Named(Resolver):
    def configure(self, validate):
        flags, protocol, algorithm, key = self.world.keys.read_text().split(None, 7)[4:8]
        anchor = f'trust-anchors {{ . static-key {flags} {protocol} {algorithm} "{key.strip()}"; }};' if validate else ''
        (self.folder / 'named.conf').write_text(f'''
options {{
  directory "{self.folder}";
  pid-file none;
  session-keyfile none;
  listen-on port {PORT} {{ {self.address}; }};
  listen-on-v6 {{ none; }};
  recursive-clients 10000;
  max-cache-size {CACHE_MB}m;
  dnssec-validation {'yes' if validate else 'no'};
}};
{anchor}
controls {{ }};
zone "." {{ type hint; file "{self.world.hints}"; }};
''')
        return [self.binary, '-g', '-n', '1', '-c', str(self.folder / 'named.conf')]


class PdnsRecursor(Resolver):
    def configure(self, validate):
        key = next(k for k in self.world.plan.zones['.'].keys if k.flags == 257)
        (self.folder / 'trust.lua').write_text(f'clearTA()\naddTA(".", "{key.ds(".")}")\n' if validate else '')
        (self.folder / 'recursor.conf').write_text(f'''
threads=1
daemon=no
write-pid=no
disable-syslog=yes
quiet=yes
loglevel=3
socket-dir={self.folder}
local-address={self.address}
local-port={PORT}
query-local-address=0.0.0.0, ::
dont-query=
hint-file={self.world.hints}
lua-config-file={self.folder}/trust.lua
dnssec={'validate' if validate else 'off'}
security-poll-suffix=
''')
        return [self.binary, f'--config-dir={self.folder}']


class Echo(Resolver):
    """Not a resolver: it answers nothing, at the price of the kernel."""

    def configure(self, validate):
        return [self.binary, self.address, str(PORT)]


PEERS = {
    'knot-resolver 5': (Kresd, '/usr/sbin/kresd'),
    'unbound': (Unbound, '/usr/sbin/unbound'),
    'named': (Named, '/usr/sbin/named'),
    'pdns_recursor': (PdnsRecursor, '/usr/sbin/pdns_recursor'),
}
