# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolvers under test: one class per program, each writing its configuration and telling its cost.

All get the same job: one worker, 1 GB of cache, IPv4 upstream, our root hints and trust anchor, validation on
(unless told otherwise), one address, port 5300 (UDP+TCP), 8853 (DoT), 8443 (DoH).
"""
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

DNS_PORT, DOT_PORT, DOH_PORT = 5300, 8853, 8443
CACHE_MB = 256


def question(name, qid=1, qtype=1):
    labels = b''.join(bytes([len(x)]) + x.encode() for x in name.rstrip('.').split('.') if x)
    return qid.to_bytes(2, 'big') + b'\x01\x20\0\x01\0\0\0\0\0\0' + labels + b'\0' + qtype.to_bytes(2, 'big') + b'\0\x01'


def ask(address, name, timeout=0.2, port=DNS_PORT):
    """One UDP question; returns (rcode, AD flag) or None when nothing came in time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        try:
            s.connect((address, port))
            s.send(question(name))
            reply = s.recv(4096)
        except OSError:
            return None
    return reply[3] & 15, bool(reply[3] & 0x20)


class Resolver:
    transports = {'udp', 'tcp', 'dot', 'doh'}
    keeps_cache = False      # does its cache outlive the process?
    shares_cache = 'threads'  # how a second core joins in
    only = ()                # workloads it takes part in; empty: all

    def __init__(self, name, binary, folder, world, address):
        self.name, self.binary, self.world, self.address = name, binary, world, address
        self.folder = pathlib.Path(folder) / name.replace('/', '_')
        self.procs = []

    # -- to be given by each program --
    def configure(self, validate, workers, blocklist):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    # -- life --
    def start(self, pin, validate=True, workers=1, blocklist=None, fresh=True, wait='localhost', patience=120):
        """Start and wait until `wait` is answered; returns the seconds that took."""
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure(validate, workers, blocklist)
        begin = time.monotonic()
        for _ in range(workers if self.shares_cache == 'processes' else 1):
            log = open(self.folder / 'log', 'ab')
            self.procs.append(subprocess.Popen([*pin, *self.command()], cwd=self.folder, stdin=subprocess.DEVNULL,
                                               stdout=log, stderr=log))
        return self.wait_for(wait, begin, patience)

    def wait_for(self, name, begin, patience=120):
        while time.monotonic() - begin < patience:
            got = ask(self.address, name, timeout=0.05)
            if got and got[0] in (0, 3):
                return time.monotonic() - begin
            if any(p.poll() is not None for p in self.procs):
                break
            if got is None or got[0] == 2:
                time.sleep(0.0005)
        tail = (self.folder / 'log').read_text(errors='replace')[-2000:]
        self.stop()
        raise RuntimeError(f'{self.name} did not come up:\n{tail}')

    def stop(self, how=signal.SIGTERM):
        for proc in self.procs:
            if proc.poll() is None:
                proc.send_signal(how)
        for proc in self.procs:
            try:
                proc.wait(20)
            except subprocess.TimeoutExpired:
                proc.kill()
                proc.wait()
        self.procs = []

    # -- costs --
    def cpu_seconds(self):
        """CPU time of the whole process, nanosecond clock: all threads, living and dead."""
        return sum(time.clock_gettime((~p.pid << 3) | 2) for p in self.procs)

    def memory_mb(self):
        """Resident memory, and its anonymous part (an LMDB cache is file-backed)."""
        total = anon = 0
        for p in self.procs:
            text = pathlib.Path(f'/proc/{p.pid}/status').read_text()
            total += int(re.search(r'VmRSS:\s+(\d+)', text)[1])
            anon += int(re.search(r'RssAnon:\s+(\d+)', text)[1])
        return total / 1024, anon / 1024

    def cache_used_mb(self):
        return 0.0  # a cache in memory is part of memory_mb()

    def _first_line(self, *args, pattern=r'(\d+\.\d+[\w.\-]*)'):
        out = subprocess.run([self.binary, *args], capture_output=True, text=True)
        found = re.search(pattern, out.stdout + out.stderr)
        return found[1] if found else 'unknown'


class Kresd(Resolver):
    keeps_cache = True
    shares_cache = 'processes'

    more = ''

    def configure(self, validate, workers, blocklist):
        anchor = f"trust_anchors.add_file('{self.world.key}', true)" if validate else "trust_anchors.remove('.')"
        rules = f"policy.add(policy.rpz(policy.DENY, '{blocklist}'))" if blocklist else ''
        (self.folder / 'kresd.conf').write_text(f'''
net.ipv6 = false
option('ALLOW_LOCAL', true)
net.listen('{self.address}', {DNS_PORT}, {{ kind = 'dns' }})
net.listen('{self.address}', {DOT_PORT}, {{ kind = 'tls' }})
net.listen('{self.address}', {DOH_PORT}, {{ kind = 'doh2' }})
net.tls('{self.world.folder}/tls.crt', '{self.world.folder}/tls.key')
cache.open({CACHE_MB} * MB, 'lmdb://{self.folder}/cache')
modules.load('hints > iterate')
hints.root_file('{self.world.hints}')
{anchor}
{rules}
{self.more}
''')

    def command(self):
        return [self.binary, '-n', '-c', str(self.folder / 'kresd.conf'), str(self.folder)]

    def version(self):
        return self._first_line('-V')

    def cache_used_mb(self):
        """The file is allocated in full at once, so ask over the control socket how much of it is used."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(str(self.folder / 'control' / str(self.procs[0].pid)))
            s.send(b'cache.stats().usage_percent\n')
            text = ''
            while not re.search(r'\d[\d.]*\s*\n', text):
                text += s.recv(4096).decode()
        return float(re.search(r'(\d[\d.]*)\s*\n', text)[1]) * CACHE_MB / 100


class KresdWithoutL0(Kresd):
    """Every answer comes out of LMDB."""
    only = ('cached', 'zipf')
    more = 'cache.answers(0)'


class Unbound(Resolver):
    def configure(self, validate, workers, blocklist):
        modules = ('respip ' if blocklist else '') + ('validator ' if validate else '') + 'iterator'
        rpz = f'rpz:\n  name: "block."\n  zonefile: "{blocklist}"\n' if blocklist else ''
        (self.folder / 'unbound.conf').write_text(f'''
server:
  num-threads: {workers}
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  directory: "{self.folder}"
  pidfile: "{self.folder}/pid"
  interface: {self.address}@{DNS_PORT}
  interface: {self.address}@{DOT_PORT}
  interface: {self.address}@{DOH_PORT}
  tls-port: {DOT_PORT}
  https-port: {DOH_PORT}
  tls-service-key: "{self.world.folder}/tls.key"
  tls-service-pem: "{self.world.folder}/tls.crt"
  do-ip6: no
  do-not-query-localhost: no
  so-reuseport: yes
  incoming-num-tcp: 200
  outgoing-range: 4096
  num-queries-per-thread: 2048
  msg-cache-size: {CACHE_MB // 3}m
  rrset-cache-size: {CACHE_MB * 2 // 3}m
  msg-cache-slabs: {workers}
  rrset-cache-slabs: {workers}
  infra-cache-slabs: {workers}
  key-cache-slabs: {workers}
  module-config: "{modules}"
  aggressive-nsec: yes
  root-hints: "{self.world.hints}"
  {f'trust-anchor-file: "{self.world.key}"' if validate else ''}
remote-control:
  control-enable: no
{rpz}''')

    def command(self):
        return [self.binary, '-c', str(self.folder / 'unbound.conf')]

    def version(self):
        return self._first_line('-V')


class Named(Resolver):
    def configure(self, validate, workers, blocklist):
        self.workers = workers
        tag = self.world.key.read_text().split(None, 4)[4].strip().split(None, 3)
        anchor = f'trust-anchors {{ . static-key {tag[0]} {tag[1]} {tag[2]} "{tag[3]}"; }};' if validate else ''
        rpz_zone = f'zone "block" {{ type primary; file "{blocklist}"; }};' if blocklist else ''
        (self.folder / 'named.conf').write_text(f'''
tls local {{ cert-file "{self.world.folder}/tls.crt"; key-file "{self.world.folder}/tls.key"; }};
options {{
  directory "{self.folder}";
  pid-file none;
  session-keyfile none;
  managed-keys-directory "{self.folder}";
  listen-on port {DNS_PORT} {{ {self.address}; }};
  listen-on port {DOT_PORT} tls local {{ {self.address}; }};
  listen-on port {DOH_PORT} tls local http default {{ {self.address}; }};
  listen-on-v6 {{ none; }};
  recursion yes;
  recursive-clients 10000;
  tcp-clients 1000;
  max-cache-size {CACHE_MB}m;
  dnssec-validation {'yes' if validate else 'no'};
  {'response-policy { zone "block"; };' if blocklist else ''}
}};
{anchor}
controls {{ }};
zone "." {{ type hint; file "{self.world.hints}"; }};
{rpz_zone}
''')

    def command(self):
        return [self.binary, '-g', '-4', '-n', str(self.workers), '-c', str(self.folder / 'named.conf')]

    def version(self):
        return self._first_line('-v')


class PdnsRecursor(Resolver):
    transports = {'udp', 'tcp'}

    def configure(self, validate, workers, blocklist):
        anchor = self.world.ds.read_text().split('DS', 1)[1].strip()
        lua = f'clearTA()\naddTA(".", "{anchor}")\n' + (f'rpzFile("{blocklist}")\n' if blocklist else '')
        (self.folder / 'trust.lua').write_text(lua)
        (self.folder / 'recursor.conf').write_text(f'''
threads={workers}
pdns-distributes-queries=no
reuseport=yes
daemon=no
write-pid=no
disable-syslog=yes
loglevel=3
quiet=yes
socket-dir={self.folder}
local-address={self.address}
local-port={DNS_PORT}
dont-query=
hint-file={self.world.hints}
lua-config-file={self.folder}/trust.lua
dnssec={'validate' if validate else 'off'}
max-cache-entries=4000000
max-packetcache-entries=4000000
max-concurrent-requests-per-tcp-connection=100
max-tcp-clients=1000
security-poll-suffix=
export-etc-hosts=no
''')

    def command(self):
        return [self.binary, f'--config-dir={self.folder}']

    def version(self):
        return self._first_line('--version', pattern=r'Recursor (\d[\w.\-]*)')


class Echo(Resolver):
    """The yardstick dressed as a resolver: it answers nothing, but costs what the kernel costs."""
    transports = {'udp'}

    def configure(self, validate, workers, blocklist):
        pass

    def command(self):
        return [self.binary, self.address, str(DNS_PORT)]

    def version(self):
        return '-'


PROGRAMS = {
    'knot-resolver 5': (Kresd, '/usr/sbin/kresd'),
    'unbound': (Unbound, '/usr/sbin/unbound'),
    'named': (Named, '/usr/sbin/named'),
    'pdns_recursor': (PdnsRecursor, '/usr/sbin/pdns_recursor'),
}
