# SPDX-License-Identifier: GPL-3.0-or-later
"""A small DNS of our own: a signed root, TLDs, and thousands of delegated zones, all on loopback.

Three knotd processes serve it (root, TLDs, the rest), because one server holding both parent and child
would answer from the child and never give a referral.  Everything follows from (seed, number of names).
"""
import concurrent.futures
import itertools
import json
import pathlib
import random
import shutil
import subprocess
import time

import keys

TLDS = 12
HOSTERS = 40          # zones whose name servers serve other people's zones
NAMES_PER_ZONE = 20   # on average; zone sizes are skewed
SIGNED_SHARE = 0.5    # of delegated zones; far more than on the Internet, to exercise validation
ADDRESSES = {'root': 3, 'tld': TLDS * 2, 'sld': 32}
SUBNET = {'root': '127.53.0', 'tld': '127.53.1', 'sld': '127.53.2'}
FORMAT = 4            # bump when generated files change, so that kept worlds are rebuilt


def _words(rng):
    """Endless distinct pronounceable labels."""
    seen = set()
    while True:
        word = ''.join(rng.choice('bcdfghjklmnprstvwz') + rng.choice('aeiou') for _ in range(rng.choice((2, 3, 3, 4))))
        word += rng.choice(('', '', 'n', 'x', 's'))
        if word not in seen:
            seen.add(word)
            yield word
        else:
            word += str(rng.randrange(10000))
            if word not in seen:
                seen.add(word)
                yield word


class Zone:
    def __init__(self, name, level, key=None, denial='nsec', optout=False):
        self.name, self.level, self.key, self.denial, self.optout = name, level, key, denial, optout
        self.lines = []

    def add(self, owner, rtype, data, ttl=3600):
        self.lines.append(f'{owner} {ttl} IN {rtype} {data}')

    def soa(self, primary):
        self.add(self.name, 'SOA', f'{primary} host.{self.name.lstrip(".")} 1 7200 3600 1209600 3600')

    def delegate(self, child, servers, glue):
        for ns, addr in servers:
            self.add(child.name, 'NS', ns, 86400)
            if glue:
                self.add(ns, 'A', addr, 86400)
        if child.key and self.key:
            self.add(child.name, 'DS', child.key.ds(child.name), 86400)

    def write(self, folder):
        path = folder / 'zones' / f'{self.name.rstrip(".") or "root"}.zone'
        path.write_text('\n'.join(self.lines) + '\n')
        if not self.key:
            return
        keydir = folder / 'keys'
        base = self.key.write(keydir, self.name)
        now = int(time.time())
        cmd = ['ldns-signzone', '-o', self.name, '-i', str(now - 86400), '-e', str(now + 90 * 86400), '-f', str(path)]
        if self.denial == 'nsec3':
            cmd += ['-n', '-a', '1', '-t', '0'] + (['-p'] if self.optout else [])
        subprocess.run(cmd + [str(path), str(base)], check=True, stdout=subprocess.DEVNULL)


def _sizes(total, zones):
    """Skewed zone sizes: a few zones hold hundreds of names, most hold a handful."""
    weights = [(i + 1) ** -0.6 for i in range(zones)]
    scale = total / sum(weights)
    return [max(2, round(w * scale)) for w in weights]


class _Builder:
    def __init__(self, folder, names, seed):
        self.folder, self.names, self.rng = folder, names, random.Random(seed)
        self.word = _words(self.rng)
        self.ecdsa = [keys.Key(keys.ECDSA, f'{seed}-{i}') for i in range(8)]
        self.rsa = [keys.Key(keys.RSA, f'{seed}-{i}') for i in range(3)]
        self.sld_addr = itertools.cycle(f'{SUBNET["sld"]}.{i + 1}' for i in range(ADDRESSES['sld']))
        self.exist, self.nodata, self.absent = [], [], []  # (name, type) questions
        self.zones, self.tlds, self.hosters = [], [], []

    def key(self):
        return self.rng.choice(self.rsa if self.rng.random() < 0.3 else self.ecdsa)

    def build(self):
        root = Zone('.', 'root', self.rsa[0])
        servers = [(f'{c}.root-ops.', f'{SUBNET["root"]}.{i + 1}') for i, c in enumerate('abc')]
        root.soa(servers[0][0])
        for ns, addr in servers:
            root.add('.', 'NS', ns, 86400)
            root.add(ns, 'A', addr, 86400)
        self.zones.append(root)
        self._make_tlds(root)
        self._make_hosters()
        for size in _sizes(self.names, max(4, self.names // NAMES_PER_ZONE)):
            self._make_sld(size)
        self._make_special()
        self._write(servers, root.key)

    def _make_tlds(self, root):
        kinds = [('nsec', False), ('nsec3', True), ('nsec3', False)]
        for i in range(TLDS):
            name = next(self.word) + '.'
            denial, optout = kinds[i % 3]
            tld = Zone(name, 'tld', None if i == TLDS - 1 else self.key(), denial, optout)
            servers = [(f'{c}.nic.{name}', f'{SUBNET["tld"]}.{i * 2 + j + 1}') for j, c in enumerate('ab')]
            tld.soa(servers[0][0])
            for ns, addr in servers:
                tld.add(name, 'NS', ns, 86400)
                tld.add(ns, 'A', addr, 86400)
            root.delegate(tld, servers, True)
            self.tlds.append(tld)
        self.zones += self.tlds

    def _sld(self, label, tld, key, denial, servers=None):
        zone = Zone(f'{label}.{tld.name}', 'sld', key, denial)
        own = servers is None
        servers = servers or [(f'ns{i}.{zone.name}', next(self.sld_addr)) for i in (1, 2)]
        zone.soa(servers[0][0])
        for ns, addr in servers:
            zone.add(zone.name, 'NS', ns, 86400)
            if own:
                zone.add(ns, 'A', addr, 86400)
        tld.delegate(zone, servers, own)
        self.zones.append(zone)
        return zone, servers

    def _make_hosters(self):
        for _ in range(HOSTERS):
            tld = self.rng.choice(self.tlds)
            key = self.key() if self.rng.random() < SIGNED_SHARE else None
            self.hosters.append(self._sld(next(self.word), tld, key, self.rng.choice(('nsec', 'nsec3')))[1])

    def _make_sld(self, size):
        rng = self.rng
        tld = rng.choice(self.tlds)
        key = self.key() if rng.random() < SIGNED_SHARE else None
        servers = rng.choice(self.hosters) if rng.random() < 0.5 else None
        zone, _ = self._sld(next(self.word), tld, key, rng.choice(('nsec', 'nsec3')), servers)
        apex = zone.name
        zone.add(apex, 'A', self.address())
        zone.add(apex, 'MX', f'10 mail.{apex}')
        zone.add(apex, 'TXT', '"v=spf1 mx -all"')
        zone.add(f'mail.{apex}', 'A', self.address())
        self.exist += [(apex, rng.choice(('A', 'MX', 'TXT'))), (f'mail.{apex}', 'A')]
        labels = set(['www', 'api', 'cdn', 'img'][:size - 2])
        while len(labels) < size - 2:
            labels.add(''.join(rng.choices('abcdefghijklmnopqrstuvwxyz', k=rng.randrange(3, 11))))
        for label in sorted(labels):
            self._make_host(zone, f'{label}.{apex}')
        for _ in range(max(1, size // 10)):
            self.absent.append((f'{rng.getrandbits(40):x}.{apex}', 'A'))

    def _make_host(self, zone, name):
        rng = self.rng
        ttl = rng.choice((3600, 7200, 14400, 86400))
        dice = rng.random()
        if dice < 0.12:  # a chain of one to three CNAMEs, at times ending in another zone
            owner = name
            for i in range(rng.choice((1, 1, 2, 3)) - 1):
                zone.add(owner, 'CNAME', f'c{i}.{name}', ttl)
                owner = f'c{i}.{name}'
            foreign = dice < 0.05 and self.exist
            target = rng.choice(self.exist)[0] if foreign else f'end.{name}'
            if target == name or foreign and not self._has_address(target):
                foreign, target = False, f'end.{name}'
            zone.add(owner, 'CNAME', target, ttl)
            if not foreign:
                zone.add(target, 'A', self.address(), ttl)
            self.exist.append((name, 'A'))
        elif dice < 0.18:
            zone.add(name, 'MX', f'10 mail.{zone.name}', ttl)
            self.exist.append((name, 'MX'))
        elif dice < 0.24:
            zone.add(name, 'TXT', f'"id={rng.getrandbits(120):030x}"', ttl)
            self.exist.append((name, 'TXT'))
        else:
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                zone.add(name, 'A', self.address(), ttl)
            if rng.random() < 0.4:
                zone.add(name, 'AAAA', f'2001:db8::{rng.getrandbits(16):x}:{rng.getrandbits(16):x}', ttl)
                self.exist.append((name, rng.choice(('A', 'AAAA'))))
            elif rng.random() < 0.08:
                self.nodata.append((name, 'AAAA'))
            else:
                self.exist.append((name, 'A'))

    def _has_address(self, name):
        return name.startswith('mail.') or name.count('.') == 2  # both always have A

    def _make_special(self):
        """Zones for the NXDOMAIN, memory and block-list workloads, below the first (NSEC, signed) TLD."""
        tld = self.tlds[0]
        kinds = ('nx-nsec', self.ecdsa[0], 'nsec'), ('nx-nsec3', self.ecdsa[1], 'nsec3'), ('nx-plain', None, '')
        for label, key, denial in kinds:
            zone, _ = self._sld(label, tld, key, denial)
            for i in range(200):
                zone.add(f'{next(self.word)}.{zone.name}', 'A', self.address())
        fill, _ = self._sld('fill', tld, None, '')
        fill.add(f'*.{fill.name}', 'A', self.address(), 86400)

    def address(self):
        return f'198.51.100.{self.rng.randrange(256)}'

    def _write(self, servers, root_key):
        for sub in ('zones', 'keys'):
            (self.folder / sub).mkdir(parents=True)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda z: z.write(self.folder), self.zones))
        shutil.rmtree(self.folder / 'keys')
        (self.folder / 'root.hints').write_text(''.join(
            f'. 518400 IN NS {ns}\n{ns} 518400 IN A {addr}\n' for ns, addr in servers))
        (self.folder / 'root.ds').write_text(f'. IN DS {root_key.ds(".")}\n')
        (self.folder / 'root.key').write_text(root_key.dnskey('.') + '\n')
        signed = [z for z in self.zones if z.key]
        (self.folder / 'world.json').write_text(json.dumps({
            'exist': self.exist, 'nodata': self.nodata, 'absent': self.absent, 'special': self.tlds[0].name,
            'hosted': {level: [z.name for z in self.zones if z.level == level] for level in ADDRESSES},
            'zones': len(self.zones), 'signed': len(signed), 'rsa': sum(z.key.alg == keys.RSA for z in signed),
            'nsec3': sum(z.denial == 'nsec3' for z in signed)}))


class World:
    """Build (or reuse) the world in `folder`, then start() and stop() its servers."""

    def __init__(self, folder, names, seed):
        self.folder = pathlib.Path(folder) / f'world-{FORMAT}-{names}-{seed}'
        marker = self.folder / 'world.json'
        if not marker.exists() or time.time() - marker.stat().st_mtime > 60 * 86400:
            shutil.rmtree(self.folder, ignore_errors=True)
            _Builder(self.folder, names, seed).build()
        self.facts = json.loads(marker.read_text())
        self.hints, self.ds, self.key = (self.folder / f for f in ('root.hints', 'root.ds', 'root.key'))
        self.servers = []

    def start(self, run_folder, pin):
        """Start the three servers; their run-time files go to `run_folder`."""
        for level, count in ADDRESSES.items():
            home = pathlib.Path(run_folder) / f'knot-{level}'
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            listen = ', '.join(f'{SUBNET[level]}.{i + 1}@53' for i in range(count))
            zones = ''.join(f'  - domain: "{name}"\n    file: "{name.rstrip(".") or "root"}.zone"\n'
                            for name in self.facts['hosted'][level])
            conf = home / 'knot.conf'
            conf.write_text(f'''
server:
  rundir: "{home}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 2
  listen: [{listen}]
database:
  storage: "{home}"
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "{self.folder}/zones"
    journal-content: none
    semantic-checks: off
    zonefile-load: whole
    zonefile-sync: -1
zone:
{zones}''')
            log = open(home / 'log', 'wb')
            self.servers.append(subprocess.Popen([*pin, 'knotd', '-c', str(conf)], stdout=log, stderr=log))

    def stop(self):
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait()
        self.servers = []
