# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is in the world: every zone, every server, and every question worth asking.

    .               RSA, separate zone-signing key, NSEC
      alpha.        ECDSA, NSEC           beta.   RSA, NSEC3 with opt-out
      gamma.        ECDSA, NSEC3          plain.  not signed
        <zones>     well kept ones of every kind; *-sick.alpha.: broken signatures; *-odd.alpha.: odd servers
          <zones>   delegated further, on servers of their own or on those of their parent

Servers of a parent and of its child are different processes: one process with both sides of a cut would never give
a referral. Where that is wanted, a zone says so.
"""
import random

from . import keys
from .zone import Zone

SEED = 1
PREFIX6 = '2001:db8:53::'
ROLES = {'root': '192.0.2.1', 'tld': '192.0.2.65', 'sld': '198.51.100.1', 'sub': '198.51.100.129'}


class Addresses:
    """Hands out addresses, and remembers which process listens on each."""

    def __init__(self):
        self.listen = {role: [] for role in ROLES}
        self.rogues = []   # dicts: address, behaviour, to, ms
        self.silent = []   # addresses the host has but nobody listens on
        self._next_rogue = 0

    def v4(self, role):
        net, last = ROLES[role].rsplit('.', 1)
        taken = sum(':' not in a for a in self.listen[role])
        address = f'{net}.{int(last) + taken % 60}'
        if address not in self.listen[role]:
            self.listen[role].append(address)
        return address

    def v6(self, role):
        taken = sum(':' in a for a in self.listen[role])
        address = f'{PREFIX6}{list(ROLES).index(role) + 1}:{taken % 40 + 1:x}'
        if address not in self.listen[role]:
            self.listen[role].append(address)
        return address

    def rogue(self, behaviour, to=None, ms=0):
        self._next_rogue += 1
        address = f'203.0.113.{self._next_rogue}'
        self.rogues.append({'address': address, 'behaviour': behaviour, 'to': to, 'ms': ms})
        return address

    def dead(self):
        self._next_rogue += 1
        address = f'203.0.113.{self._next_rogue}'
        self.silent.append(address)
        return address


class World:
    def __init__(self, seed=SEED):
        self.rng = random.Random(seed)
        self.addresses = Addresses()
        self.zones = {}
        self.questions = {}  # (name, type) -> why it is asked
        self.ecdsa = [keys.Key(keys.ECDSAP256, f'{seed}-{i}') for i in range(6)]
        self.rsa = [keys.Key(keys.RSASHA256, f'{seed}-{i}') for i in range(2)]
        self.zsk = keys.Key(keys.ECDSAP256, f'{seed}-zsk', flags=256)
        self.root_zsk = keys.Key(keys.RSASHA256, f'{seed}-root', flags=256)
        self._plan()

    # -- building blocks --

    def ask(self, why, name, *types):
        for rtype in types:
            self.questions.setdefault((name, rtype), why)

    def key(self, kind):
        return {'ecdsa': [self.rng.choice(self.ecdsa)], 'rsa': [self.rsa[1]], 'split': [self.ecdsa[0], self.zsk],
                None: []}[kind]

    def zone(self, label, parent, key='ecdsa', denial='nsec', ds=True, servers=None, glue=True, level=None, **how):
        """Make a zone below `parent` (a Zone or None for the root) and delegate it."""
        name = f'{label}.{parent.name.lstrip(".")}' if parent else '.'
        level = level or {None: 'root', 'root': 'tld', 'tld': 'sld'}.get(parent.level if parent else None, 'sub')
        zone = Zone(name, level, key if isinstance(key, list) else self.key(key), denial, **how)
        zone.parent = parent
        if servers is None:
            servers = [(f'ns1.{name.lstrip(".")}', self.addresses.v4(level)),
                       (f'ns2.{name.lstrip(".")}', self.addresses.v6(level))]
        zone.servers = servers
        zone.soa(servers[0][0])
        for ns, address in servers:
            zone.add(name, 'NS', ns)
            if address and (ns.endswith(f'.{name}') or name == '.'):
                zone.add(ns, 'AAAA' if ':' in address else 'A', address)
        self.zones[name] = zone
        if parent:
            self._delegate(parent, zone, ds, glue)
        return zone

    def _delegate(self, parent, zone, ds, glue):
        for ns, address in zone.servers:
            parent.add(zone.name, 'NS', ns)
            if glue and address and ns.endswith(f'.{zone.name}'):
                parent.add(ns, 'AAAA' if ':' in address else 'A', address)
        if ds and zone.keys and parent.keys:
            parent.add(zone.name, 'DS', *[k.ds(zone.name) for k in zone.keys if k.flags == 257])
            zone.trust = parent.trust
        elif ds == 'odd' and parent.keys:  # a DS nobody can use: RFC 4035 section 5.2 says insecure
            parent.add(zone.name, 'DS', '4711 250 2 ' + 'ab' * 32)

    def address(self):
        return f'10.{self.rng.randrange(256)}.{self.rng.randrange(256)}.{self.rng.randrange(1, 255)}'

    def address6(self):
        return f'2001:db8:{self.rng.randrange(1, 0x5000):x}::{self.rng.randrange(1, 0xffff):x}'

    # -- the plan --

    def _plan(self):
        root_servers = [(f'{c}.root-servers.alpha.', self.addresses.v4('root')) for c in 'ab']
        root_servers.append(('c.root-servers.alpha.', self.addresses.v6('root')))
        root = self.zone(None, None, key=[self.rsa[0], self.root_zsk], servers=root_servers)
        for ns, address in root_servers:  # glue of the root's servers, authoritative in alpha.
            root.add(ns, 'AAAA' if ':' in address else 'A', address)
        root.trust = 'secure'
        alpha = self.zone('alpha', root)
        beta = self.zone('beta', root, 'rsa', 'optout')
        gamma = self.zone('gamma', root, 'split', 'nsec3')
        plain = self.zone('plain', root, None)
        for ns, address in root_servers:
            alpha.add(ns, 'AAAA' if ':' in address else 'A', address)
        self.tlds = [alpha, beta, gamma, plain]
        for tld in self.tlds:
            self.ask('apex of a TLD', tld.name, 'NS', 'SOA', 'DS', 'A', 'DNSKEY')
            self.ask('no such zone', f'nothing-here.{tld.name}', 'A', 'DS')
        self.ask('the root itself', '.', 'NS', 'SOA', 'DNSKEY', 'A')
        self.ask('no such TLD', 'nowhere.', 'A')
        self.ask('below no such TLD', 'a.b.nowhere.', 'AAAA')
        self._keep_well()
        self._hosted_elsewhere(alpha, beta, plain)
        self._delegated_further()
        self._islands(alpha, gamma)
        self._sick(alpha)
        self._odd(alpha, plain)

    def _keep_well(self):
        """Zones as they should be, of every kind, under every TLD."""
        self.well = []
        kinds = [('ecdsa', 'nsec'), ('ecdsa', 'nsec3'), ('rsa', 'nsec'), ('rsa', 'nsec3'), ('split', 'nsec'), (None, 'nsec'),
                 (None, 'nsec')]
        for tld in self.tlds:
            for number, (key, denial) in enumerate(kinds):
                label = f'{key or "unsigned"}-{denial if key else number}-{self._word()}'
                zone = self.zone(label, tld, key, denial)
                self.well.append(zone)
        for zone in self.well:
            self.furnish(zone)

    def _word(self):
        rng = self.rng
        return ''.join(rng.choice('bdfgklmnprstvz') + rng.choice('aeiou') for _ in range(rng.choice((2, 3))))

    def furnish(self, zone):
        """Records of every shape, and the questions that find them."""
        z, other = zone.name, self.rng.choice([w for w in self.well if w is not zone] or [zone]).name
        zone.add(z, 'A', self.address())
        zone.add(z, 'MX', f'10 mail.{z}', f'20 mail.{other}')
        zone.add(z, 'TXT', '"v=spf1 mx -all"')
        zone.add(z, 'CAA', '0 issue "ca.alpha"')
        zone.add(f'www.{z}', 'A', self.address(), self.address())
        zone.add(f'www.{z}', 'AAAA', self.address6())
        zone.add(f'mail.{z}', 'A', self.address())
        zone.add(f'many.{z}', 'A', *sorted({self.address() for _ in range(100)}))
        zone.add(f'long.{z}', 'TXT', *(f'"{i} {"x" * 240}"' for i in range(12)))
        zone.add(f'_sip._udp.{z}', 'SRV', f'0 5 5060 mail.{z}')
        zone.add(f'svc.{z}', 'TYPE65', r'\# 3 000100')
        zone.add(f'strange.{z}', 'TYPE65280', r'\# 4 01020304')
        zone.add(f'{"l" * 63}.{z}', 'A', self.address())
        zone.add(rf'\000\255\.odd.{z}', 'A', self.address())
        zone.add(f'a.b.empty.{z}', 'A', self.address())
        zone.add(f'alias.{z}', 'CNAME', f'www.{z}')
        zone.add(f'alias2.{z}', 'CNAME', f'alias.{z}')
        zone.add(f'alias3.{z}', 'CNAME', f'alias2.{z}')
        zone.add(f'away.{z}', 'CNAME', f'www.{other}')
        zone.add(f'away2.{z}', 'CNAME', f'alias.{other}')
        zone.add(f'dangling.{z}', 'CNAME', f'nobody.{z}')
        zone.add(f'dangling2.{z}', 'CNAME', f'nobody.{other}')
        zone.add(f'tosick.{z}', 'CNAME', 'www.expired-sick.alpha.')
        zone.add(f'old.{z}', 'DNAME', f'tree.{z}')
        zone.add(f'moved.{z}', 'DNAME', other)
        zone.add(f'x.tree.{z}', 'A', self.address())
        zone.add(f'*.wild.{z}', 'A', self.address())
        zone.add(f'*.wild.{z}', 'TXT', '"any"')
        zone.add(f'given.wild.{z}', 'MX', f'5 mail.{z}')
        zone.add(f'*.walias.{z}', 'CNAME', f'www.{z}')
        self.ask('apex', z, 'A', 'AAAA', 'MX', 'TXT', 'CAA', 'NS', 'SOA', 'DS', 'DNSKEY')
        self.ask('plain name', f'www.{z}', 'A', 'AAAA', 'MX')
        self.ask('plain name', f'mail.{z}', 'A')
        self.ask('RRset beyond a datagram', f'many.{z}', 'A')
        self.ask('RRset beyond a datagram', f'long.{z}', 'TXT')
        self.ask('service records', f'_sip._udp.{z}', 'SRV')
        self.ask('new and unknown types', f'svc.{z}', 'TYPE65')
        self.ask('new and unknown types', f'strange.{z}', 'TYPE65280')
        self.ask('label of 63 octets', f'{"l" * 63}.{z}', 'A')
        self.ask('octets that are no letters', rf'\000\255\.odd.{z}', 'A')
        self.ask('empty non-terminal', f'empty.{z}', 'A')
        self.ask('empty non-terminal', f'b.empty.{z}', 'TXT')
        self.ask('name below empty ones', f'a.b.empty.{z}', 'A')
        for name in ('alias', 'alias2', 'alias3', 'away', 'away2', 'dangling', 'dangling2', 'tosick'):
            self.ask('CNAME', f'{name}.{z}', 'A')
        self.ask('CNAME itself', f'alias.{z}', 'CNAME')
        self.ask('CNAME to a name without the type', f'alias.{z}', 'MX')
        self.ask('DNAME', f'x.old.{z}', 'A')
        self.ask('DNAME', f'gone.old.{z}', 'A')
        self.ask('DNAME', f'www.moved.{z}', 'AAAA')
        self.ask('DNAME itself', f'old.{z}', 'DNAME', 'A')
        self.ask('wildcard', f'one.wild.{z}', 'A', 'TXT')
        self.ask('wildcard', f'two.deep.wild.{z}', 'A')
        self.ask('wildcard without the type', f'one.wild.{z}', 'AAAA')
        self.ask('wildcard made void by a name', f'given.wild.{z}', 'A', 'MX')
        self.ask('wildcard made void by a name', f'below.given.wild.{z}', 'A')
        self.ask('wildcard CNAME', f'any.walias.{z}', 'A')
        self.ask('no such name', f'{self._word()}-none.{z}', 'A')
        self.ask('no such name', f'a.b.c.d.{self._word()}.{z}', 'AAAA')

    def _little(self, zone, why):
        """A zone with one host, asked for in few ways."""
        zone.add(f'www.{zone.name}', 'A', self.address())
        zone.add(f'*.w.{zone.name}', 'A', self.address())
        self.ask(why, f'www.{zone.name}', 'A', 'AAAA')
        self.ask(why, f'a.w.{zone.name}', 'A')
        self.ask(why, f'none.{zone.name}', 'A')

    def _hosted_elsewhere(self, alpha, beta, plain):
        """Delegations without glue: the servers' names lie in other zones."""
        hoster = self.zone('hoster', alpha)
        for number in (1, 2):
            hoster.add(f'dns{number}.{hoster.name}', 'A', self.addresses.v4('sld'))
        shared = [(f'dns{n}.{hoster.name}', None) for n in (1, 2)]
        for number, parent in enumerate((alpha, beta, plain, beta)):
            self._little(self.zone(f'guest{number}', parent, ('ecdsa', 'rsa')[number % 2], servers=shared), 'glueless')
        self._little(self.zone('guest-plain', plain, None, servers=shared), 'glueless')
        only6 = self.zone('only6', beta, servers=[('ns.only6.beta.', self.addresses.v6('sld'))])
        self._little(only6, 'servers with IPv6 only')
        for a, b in (('ring1', 'ring2'), ('ring2', 'ring1')):
            zone = self.zone(a, alpha, None, servers=[(f'ns.{b}.alpha.', None)])
            zone.is_reachable = False
            self.ask('delegations in a ring', f'www.{zone.name}', 'A')
        void = self.zone('void', alpha, None, servers=[('ns.nobody.hoster.alpha.', None)])
        void.is_reachable = False
        self.ask('servers whose names do not exist', f'www.{void.name}', 'A')

    def _delegated_further(self):
        """Zones below zones, every combination of signed and unsigned."""
        for parent in [w for w in self.well if w.level == 'sld'][:14]:
            self._little(self.zone('signed', parent), 'signed child')
            self._little(self.zone('unsigned', parent, None), 'unsigned child')
            self._little(self.zone('near', parent, level='sld'), 'child on the servers of its parent')
            self._little(self.zone('near-plain', parent, None, level='sld'), 'unsigned child on the servers of its parent')
            self._little(self.zone('c.far', parent), 'child below an empty non-terminal')
            self.ask('DS of children', f'signed.{parent.name}', 'DS', 'DNSKEY', 'NS', 'SOA')
            self.ask('DS of children', f'unsigned.{parent.name}', 'DS')
            self.ask('DS of children', f'near-plain.{parent.name}', 'DS')

    def _islands(self, alpha, gamma):
        """Signed, but the chain of trust has a gap: treated as unsigned."""
        for parent in (alpha, gamma):
            self._little(self.zone('island', parent, ds=False), 'island of security')
            below = self.zone('below', self.zones[f'island.{parent.name}'])
            below.trust = 'insecure'
            self._little(below, 'below an island of security')
            self._little(self.zone('newalg', parent, None, ds='odd'), 'DS with an unknown algorithm')

    def _sick(self, alpha):
        """Zones that must not validate, in whole or in part."""
        for flaw in ('expired', 'future', 'corrupt', 'missing'):
            for denial in ('nsec', 'nsec3'):
                zone = self.zone(f'{flaw}{"3" if denial == "nsec3" else ""}-sick', alpha, denial=denial)
                zone.flaws[None, None] = flaw
                zone.trust = 'bogus'
                self._little(zone, f'zone with {flaw} signatures')
        zone = self.zone('ds-sick', alpha, key=[self.ecdsa[1]])
        zone.keys = [self.ecdsa[2]]  # the DS at the parent is of another key
        zone.trust = 'bogus'
        self._little(zone, 'DS that fits no key')
        zone = self.zone('keyless-sick', alpha)
        zone.keys = []
        zone.trust = 'bogus'
        self._little(zone, 'DS but no key')
        child = self.zone('child', self.zones['expired-sick.alpha.'])
        child.trust = 'bogus'
        self._little(child, 'below a bogus zone')
        for denial in ('nsec', 'nsec3'):
            zone = self.zone(f'{denial}-patchy', alpha, denial=denial)
            self._little(zone, 'sound names of a patchy zone')
            for flaw in ('expired', 'future', 'corrupt', 'missing'):
                zone.add(f'{flaw}.{zone.name}', 'A', self.address())
                zone.flaws[f'{flaw}.{zone.name}', 'A'] = flaw
                self.ask(f'name with {flaw} signature', f'{flaw}.{zone.name}', 'A')
                zone.add(f'to-{flaw}.{zone.name}', 'CNAME', f'{flaw}.{zone.name}')
                self.ask(f'CNAME to a name with {flaw} signature', f'to-{flaw}.{zone.name}', 'A')
            narrow = self.zone(f'{denial}-narrow', alpha, denial=denial)
            narrow.narrow = True
            self._little(narrow, 'denials that deny too little')
            liar = self.zone(f'{denial}-liar', alpha, denial=denial)
            self._little(liar, 'denials that claim the type')
            liar.lying.add(f'www.{liar.name}')
        heavy = self.zone('heavy', alpha, denial='nsec3', iterations=500)
        self._little(heavy, 'too many NSEC3 iterations')

    def _odd(self, alpha, plain):
        """Servers that do not do as they should."""
        make = self.addresses
        for behaviour, key, extra in (
                ('slow', 'ecdsa', {'ms': 200}), ('truncate', 'ecdsa', {}), ('noedns', None, {}), ('wrongid', None, {}),
                ('lossy', 'ecdsa', {}), ('lowercase', None, {})):
            zone = self._behind(f'{behaviour}-odd', plain if key is None else alpha, key, behaviour, **extra)
            self._little(zone, f'server: {behaviour}')
        for behaviour in ('refused', 'servfail', 'silent', 'upward', 'truncate-only', 'garbage'):
            zone = self._behind(f'{behaviour}-odd', plain, None, behaviour)
            zone.is_reachable = False
            self.ask(f'server: {behaviour}', f'www.{zone.name}', 'A')
        honest = make.v4('sld')
        dead = self.zone('dead-odd', plain, None, servers=[('ns.dead-odd.plain.', make.dead())])
        dead.is_reachable = False
        self.ask('server: dead', f'www.{dead.name}', 'A')
        name = 'mixed-odd.alpha.'
        mixed = self.zone('mixed-odd', alpha, servers=[
            (f'ns1.{name}', make.rogue('refused')), (f'ns2.{name}', make.rogue('servfail')), (f'ns3.{name}', make.dead()),
            (f'ns4.{name}', make.rogue('upward')), (f'ns5.{name}', honest)])
        self._little(mixed, 'one good server among bad ones')
        loop = self.zone('loop', plain, None)
        loop.add(f'a.{loop.name}', 'CNAME', f'b.{loop.name}')
        loop.add(f'b.{loop.name}', 'CNAME', f'a.{loop.name}')
        loop.add(f'self.{loop.name}', 'CNAME', f'self.{loop.name}')
        self.ask('CNAME loop', f'a.{loop.name}', 'A')
        self.ask('CNAME loop', f'self.{loop.name}', 'A')

    def _behind(self, label, parent, key, behaviour, **extra):
        """A zone on honest servers that can be reached only through one with bad manners."""
        name = f'{label}.{parent.name}'
        honest = self.addresses.v4('sld')
        front = self.addresses.rogue(behaviour, to=honest, **extra)
        return self.zone(label, parent, key, servers=[(f'ns.{name}', front)])
