# SPDX-License-Identifier: GPL-3.0-or-later
"""What attackers publish: kinds of zones, each with the question to be asked and what has to come of it."""
import bisect
import hashlib
import os
import random

from hauth import denial, soa
from wire import (A, ANY, DNSKEY, MX, NOERROR, NS, NSEC, NSEC3, NXDOMAIN, RRSIG, SOA, TXT, Key, address, base32hex, bitmap,
                  labels_of, name, rr, rrs, rrsig, signed)

MESSAGE_ROOM = 60000  # octets that records may take in all


class Kind:
    """A well kept zone. Others break something."""

    qtype, expect, stream, deep = A, 'secure', False, False
    algorithm = 'p256'
    _keys = {}

    def __init__(self, algorithm=None):
        self.algorithm = algorithm or self.algorithm

    def key(self, role='ksk'):
        """Keys are made when first needed and shared by all zones."""
        made = Kind._keys
        if (self.algorithm, role) not in made:
            made[self.algorithm, role] = Key(self.algorithm, 257 if role == 'ksk' else 256)
        return made[self.algorithm, role]

    def prepare(self):
        """Make what takes long, before the servers are forked."""
        self.key()

    def question(self, apex):
        return 'www.' + apex

    def reply(self, query):
        """A whole reply, if it is not to be made of the parts below."""
        return None

    def ds(self, apex):
        return [self.key().ds(apex)]

    def dnskey(self, apex):
        return signed(self.key(), apex, apex, DNSKEY, [self.key().rdata])

    def answer(self, apex, qname, qtype):
        return NOERROR, self.good(apex, qname, A, [address(1)]), []

    def good(self, apex, owner, rtype, rdatas):
        return signed(self.key(), apex, owner, rtype, rdatas)

    def fit(self, wanted, size):
        """As many of the records as there is room for."""
        return min(wanted, MESSAGE_ROOM // size)


class Sigs(Kind):
    """One key, hundreds of wrong signatures under its tag."""

    expect = 'bogus'

    def answer(self, apex, qname, qtype):
        key, set_ = self.key(), [address(1)]
        size = len(qname) + len(key.noise()) + len(apex) + 40
        return NOERROR, rrs(qname, A, set_) + [
            rr(qname, RRSIG, rrsig(key, apex, qname, A, set_, signature=key.noise()))
            for _ in range(self.fit(500, size))], []


class Keys(Kind):
    """Hundreds of keys with one tag, one wrong signature, or as many."""

    expect = 'bogus'

    def __init__(self, algorithm=None, keys=500, sigs=1):
        super().__init__(algorithm)
        self.keys, self.sigs = keys, sigs

    def prepare(self):
        super().prepare()
        zsk = self.key('zsk')
        self.all = self.key('zsk').twins(self.fit(self.keys, len(zsk.rdata) + 40)) + [zsk.rdata]

    def dnskey(self, apex):
        return signed(self.key(), apex, apex, DNSKEY, [self.key().rdata, *self.all])

    def answer(self, apex, qname, qtype):
        key, set_ = self.key('zsk'), [address(1)]
        size = len(qname) + len(key.noise()) + len(apex) + 40
        return NOERROR, rrs(qname, A, set_) + [
            rr(qname, RRSIG, rrsig(key, apex, qname, A, set_, signature=key.noise()))
            for _ in range(self.fit(self.sigs, size))], []


class Delegations(Keys):
    """Hundreds of DS, all of one tag, and as many keys: every digest is wrong."""

    def ds(self, apex):
        return [self.key('zsk').ds(apex, os.urandom(32)) for _ in range(300)]

    def dnskey(self, apex):
        return rrs(apex, DNSKEY, self.all) + [rr(apex, RRSIG, rrsig(
            self.key('zsk'), apex, apex, DNSKEY, self.all, signature=self.key().noise()))]


class RightSigs(Kind):
    """Nothing is wrong but that there is so much of it: every record of a denial is signed well."""

    expect = 'any'

    def __init__(self, algorithm=None, count=40):
        super().__init__(algorithm)
        self.count = count

    def answer(self, apex, qname, qtype):
        out = self.good(apex, apex, SOA, [soa(apex)])
        for number in range(self.count):
            out += denial(self.key(), apex, name(f'x{number}')[:-1] + apex, [A])
        return NXDOMAIN, [], out


class Heavy(Kind):
    """Honest: a good proof among so many records that judging takes more than one step (B-32)."""

    expect, stream = 'denied', True  # it would not fit a datagram

    def __init__(self, algorithm=None, count=14):
        super().__init__(algorithm)
        self.count = count

    def answer(self, apex, qname, qtype):
        out = self.good(apex, apex, SOA, [soa(apex)])
        for number in range(self.count):
            out += denial(self.key(), apex, name(f'x{number}')[:-1] + apex, [A])
        return NXDOMAIN, [], out + signed(self.key(), apex, apex, NSEC, [b'\2x0' + apex + bitmap(NS, SOA, RRSIG, NSEC, DNSKEY)])


class Any(Kind):
    """ANY at a name with many types, every set under a wrong signature."""

    qtype, expect = ANY, 'any'

    def answer(self, apex, qname, qtype):
        out, key = [], self.key()
        for rtype in [A, MX, TXT] + list(range(65280, 65380)):
            rdata = {MX: b'\0\1\0', TXT: b'\1x'}.get(rtype, address(1))
            out += [rr(qname, rtype, rdata), rr(qname, RRSIG, rrsig(key, apex, qname, rtype, [rdata], signature=key.noise()))]
        return NOERROR, out, []


class Colliding(Kind):
    """An honest zone whose signing key has the tag of another."""

    def prepare(self):
        super().prepare()
        self.others = self.key('zsk').twins(1)

    def dnskey(self, apex):
        return signed(self.key(), apex, apex, DNSKEY, [self.key().rdata, self.key('zsk').rdata, *self.others])

    def good(self, apex, owner, rtype, rdatas):
        return signed(self.key('zsk'), apex, owner, rtype, rdatas)


class Rollover(Kind):
    """An honest zone in the middle of everything: three algorithms, two keys of each, all of which sign."""

    parts = ('rsa2048', 'p256', 'p384')

    def prepare(self):
        self.all = [Kind(part).key(role) for part in self.parts for role in ('ksk', 'zsk')]

    def ds(self, apex):
        return [key.ds(apex) for key in self.all[::2]]

    def _by_all(self, apex, owner, rtype, rdatas):
        return rrs(owner, rtype, rdatas) + [rr(owner, RRSIG, rrsig(key, apex, owner, rtype, rdatas)) for key in self.all]

    def dnskey(self, apex):
        return self._by_all(apex, apex, DNSKEY, [key.rdata for key in self.all])

    def good(self, apex, owner, rtype, rdatas):
        return self._by_all(apex, owner, rtype, rdatas)


class Hashes(Kind):
    """NSEC3 that proves nothing, and a name with so many ancestors that finding out takes long."""

    expect, deep = 'any', True

    def __init__(self, iterations, salt, shape='denial', count=3):
        super().__init__()
        self.iterations, self.salt, self.shape, self.count = iterations, bytes(range(salt)), shape, count

    def question(self, apex):
        room = (250 - len(apex)) // 2
        return 'a.' * min(room, 125 - apex.count('.')) + apex

    def _nsec3(self, apex):
        out = []
        for _ in range(self.count):
            here = os.urandom(20)
            owner = b'\x20' + base32hex(here) + apex
            after = (int.from_bytes(here, 'big') + 1 & (1 << 160) - 1).to_bytes(20, 'big')
            rdata = b'\1\0' + self.iterations.to_bytes(2, 'big') + bytes([len(self.salt)]) + self.salt + b'\x14' + after + \
                bitmap(A, RRSIG)
            out += self.good(apex, owner, NSEC3, [rdata])
        return out

    def answer(self, apex, qname, qtype):
        proof = self._nsec3(apex)
        if self.shape == 'wildcard':
            set_, star = [address(1)], b'\1*' + apex
            signature = rrsig(self.key(), apex, star, A, set_)
            return NOERROR, rrs(qname, A, set_) + [rr(qname, RRSIG, signature)], proof
        if self.shape == 'referral' and labels_of(qname) > labels_of(apex):
            child = qname[-len(apex) - 2:]
            return NOERROR, [], [rr(child, NS, b'\2ns' + child)] + proof
        return NXDOMAIN, [], self.good(apex, apex, SOA, [soa(apex)]) + proof


class Padded(Kind):
    """A denial with far more records than a proof takes, each signed, none to the point."""

    expect = 'any'

    def __init__(self, nsec=0, nsec3=0, repeat=1):
        super().__init__()
        self.nsec, self.nsec3, self.repeat = nsec, nsec3, repeat

    def answer(self, apex, qname, qtype):
        sets = [denial(self.key(), apex, name(f'p{n}')[:-1] + apex, [A]) for n in range(self.nsec)]
        sets += [Hashes._nsec3(self, apex) for _ in range(self.nsec3)]
        random.shuffle(sets)
        out = self.good(apex, apex, SOA, [soa(apex)])
        for _ in range(self.repeat):
            for records in sets:
                out += records
        return NXDOMAIN, [], out

    iterations, salt, count = 0, b'', 1


class Giant(Kind):
    """One RRset that fills a message; the zone is not signed."""

    expect, stream = 'any', True

    def __init__(self, rtype, count, make, expect='any'):
        super().__init__()
        self.qtype, self.count, self.make, self.expect = rtype, count, make, expect

    def ds(self, apex):
        return []

    def answer(self, apex, qname, qtype):
        if qtype != self.qtype:
            return NOERROR, [], rrs(apex, SOA, [soa(apex)])
        set_ = [self.make(number, apex) for number in range(self.count)]
        random.shuffle(set_)
        return NOERROR, rrs(qname, qtype, set_), []


class Fan(Giant):
    """A thousand types at one name, in one answer."""

    def __init__(self):
        super().__init__(A, 1, lambda number, apex: address(number))

    def answer(self, apex, qname, qtype):
        return NOERROR, [rr(qname, A, address(1))] + [rr(qname, 256 + n, address(n)) for n in range(1000)], []


class Stripped(Kind):
    """A-49: somebody on the way takes away what a validator needs. The DS is there, so that all of it is bogus."""

    expect = 'bogus'

    def __init__(self, what, ds=lambda key, apex: [key.ds(apex)]):
        super().__init__()
        self.what, self._ds = what, ds

    def ds(self, apex):
        return self._ds(self.key(), apex)

    def dnskey(self, apex):
        keys = super().dnskey(apex)
        return {'keys': [], 'key signatures': keys[:-1]}.get(self.what, keys)

    def reply(self, query):
        """FORMERR to whoever speaks EDNS, as a forger would have it."""
        if self.what != 'edns' or not query[11]:
            return None
        end = query.index(b'\0', 12) + 5
        return query[:2] + b'\x80\1\0\1\0\0\0\0\0\0' + query[12:end]

    def answer(self, apex, qname, qtype):
        if self.what == 'denial':
            return NXDOMAIN, [], rrs(apex, SOA, [soa(apex)]) + rrs(apex, NSEC, [apex + bitmap(NS, SOA)])
        if self.what == 'proof':
            return NXDOMAIN, [], self.good(apex, apex, SOA, [soa(apex)])
        good = self.good(apex, qname, A, [address(1)])
        return NOERROR, good[:-1] if self.what in ('signatures', 'edns') else good, []


def _sha1(key, apex, wrong=False):
    digest = b'wrong' * 4 if wrong else hashlib.sha1(apex + key.rdata).digest()
    return key.ds(apex, digest)[:3] + b'\1' + digest


def _other_digest(key, apex):
    return key.ds(apex)[:3] + b'\xc8' + bytes(32)


def _other_algorithm(key, apex):
    return key.ds(apex)[:2] + b'\xfd\2' + bytes(32)


# DS sets, and what a sound zone below them is worth.
DS_SETS = {
    'unknown-digest-beside': ('secure', lambda key, apex: [_other_digest(key, apex), key.ds(apex)]),
    'unknown-algorithm-beside': ('secure', lambda key, apex: [_other_algorithm(key, apex), key.ds(apex)]),
    'sha1-wrong-beside': ('secure', lambda key, apex: [_sha1(key, apex, True), key.ds(apex)]),
    'sha1-beside-wrong': ('bogus', lambda key, apex: [_sha1(key, apex), key.ds(apex, bytes(32))]),
    'unknown-digest': ('insecure', lambda key, apex: [_other_digest(key, apex)]),
    'unknown-algorithm': ('insecure', lambda key, apex: [_other_algorithm(key, apex)]),
}


class Walked(Kind):
    """An honest zone of a thousand names, denied with NSEC, or NSEC3 of so many iterations."""

    row, count = 'A-08', 1000

    def __init__(self, iterations=None):
        super().__init__()
        self.iterations = iterations

    def prepare(self):
        super().prepare()
        self._chains, self._made = {}, {}
        self._labels = [b'', b'ns'] + [b'n%04d' % number for number in range(self.count)]

    @staticmethod
    def _owner(label, apex):
        return bytes([len(label)]) + label + apex if label else apex

    def hash(self, owner):
        value = hashlib.sha1(owner).digest()
        for _ in range(self.iterations):
            value = hashlib.sha1(value).digest()
        return value

    def chain(self, apex):
        """Sorted keys (labels, or hashes) of the names that there are."""
        if apex not in self._chains:
            keys = self._labels if self.iterations is None else [self.hash(self._owner(x, apex)) for x in self._labels]
            self._chains[apex] = sorted(keys)
        return self._chains[apex]

    def gap(self, apex, label):
        """Number of the record that matches or covers a name."""
        key = label if self.iterations is None else self.hash(self._owner(label, apex))
        return bisect.bisect_right(self.chain(apex), key) - 1

    def _record(self, apex, number):
        chain = self.chain(apex)
        here, after = chain[number], chain[(number + 1) % len(chain)]
        if (apex, here) not in self._made:
            is_apex = here == (b'' if self.iterations is None else self.hash(apex))
            types = [NS, SOA, DNSKEY, RRSIG] if is_apex else [A, RRSIG]
            if self.iterations is None:
                owner, rtype = self._owner(here, apex), NSEC
                rdata = self._owner(after, apex) + bitmap(*types, NSEC)
            else:
                owner, rtype = b'\x20' + base32hex(here) + apex, NSEC3
                rdata = b'\1\0' + self.iterations.to_bytes(2, 'big') + b'\0\x14' + after + bitmap(*types)
            self._made[apex, here] = self.good(apex, owner, rtype, [rdata])
        return self._made[apex, here]

    def answer(self, apex, qname, qtype):
        label = qname[1:1 + qname[0]] if qname != apex else b''
        is_there = label in self._labels
        if is_there and qtype == A and label:
            return NOERROR, self.good(apex, qname, A, [address(1)]), []
        gaps = {self.gap(apex, label)} if is_there else {self.gap(apex, label), self.gap(apex, b'*')} | (
            set() if self.iterations is None else {self.gap(apex, b'')})
        if (apex, SOA) not in self._made:
            self._made[apex, SOA] = self.good(apex, apex, SOA, [soa(apex)])
        proof = [record for number in sorted(gaps) for record in self._record(apex, number)]
        return NOERROR if is_there else NXDOMAIN, [], self._made[apex, SOA] + proof


def _mx(target):
    return lambda number, apex: b'\0\1' + target(number, apex)


def _label(number, length):
    return bytes([length]) + f'{number:0{length}d}'.encode()


def _cases(number, apex):
    """The same name, spelt in another way each time."""
    text = bytearray(b'\x0babcdefghijk\x0babcdefghijk' + apex)
    for bit in range(20):
        if number >> bit & 1:
            text[1 + bit + (bit > 9)] ^= 0x20
    return bytes(text)


def _kinds(is_short):
    priced = ('rsa2048', 'p256') if is_short else ('rsa2048', 'rsa4096', 'p256', 'p384', 'ed25519', 'ed448')
    twin = ('rsa2048', 'ed25519') if is_short else ('rsa2048', 'rsa4096', 'p256', 'ed25519', 'ed448')
    yield 'A-20', 'benign', Kind()
    for alg in priced:
        yield 'A-20', f'sigs-{alg}', Sigs(alg)
        yield 'A-20', f'right-{alg}', RightSigs(alg)
    for alg in twin:
        yield 'A-20', f'keys-{alg}', Keys(alg)
        yield 'A-20', f'both-{alg}', Keys(alg, 100, 100)
        yield 'A-20', f'ds-{alg}', Delegations(alg, 300)
    yield 'A-20', 'any', Any()
    yield 'A-20', 'colliding', Colliding('rsa2048')
    yield 'A-20', 'rollover', Rollover()
    yield 'A-20', 'heavy', Heavy()
    yield 'A-20', 'heavy-p384', Heavy('p384', 7)
    tries = ((0, 0), (50, 0), (1, 255)) if is_short else (
        (it, salt) for it in (0, 1, 50, 51, 150, 2500, 65535) for salt in (0, 8, 45, 255))
    for it, salt in tries:
        yield 'A-21', f'hash-{it}-{salt}', Hashes(it, salt)
    for iterations in (None, 0) if is_short else (None, 0, 10, 50):
        yield 'A-08', 'walk-nsec' if iterations is None else f'walk-nsec3-{iterations}', Walked(iterations)
    for what in ('signatures', 'keys', 'key signatures', 'denial', 'proof', 'edns'):
        yield 'A-49', 'strip-' + what.replace(' ', '-'), Stripped(what)
    yield 'A-49', 'strip-beside', Stripped('signatures', DS_SETS['unknown-algorithm-beside'][1])
    for word, (expect, ds) in DS_SETS.items():
        kind = Stripped('nothing', ds)
        kind.expect = expect
        yield 'A-49', 'ds-' + word, kind
    for shape in ('wildcard', 'referral'):
        for it in (0, 50):
            yield 'A-21', f'{shape}-{it}', Hashes(it, 0, shape)
    yield 'A-22', 'pad-nsec', Padded(nsec=200)
    yield 'A-22', 'pad-nsec3', Padded(nsec3=200)
    yield 'A-22', 'pad-mixed', Padded(100, 100)
    yield 'A-22', 'pad-twice', Padded(50, 50, repeat=2)
    for count in (900, 1001, 1400):
        yield 'A-23', f'giant-a-{count}', Giant(A, count, lambda n, apex: address(n), 'any' if count == 900 else 'failure')
    yield 'A-23', 'giant-txt', Giant(TXT, 200, lambda n, apex: b'\xfa' + b'%0250d' % n)
    yield 'A-23', 'fan', Fan()
    yield 'A-24', 'bomb-shared', Giant(MX, 700, _mx(lambda n, apex: _label(n, 5) + b'\x14' + b'x' * 20 + apex))
    yield 'A-24', 'bomb-none', Giant(MX, 700, _mx(lambda n, apex: _label(n, 20) + _label(n, 20) + b'\0'))
    yield 'A-24', 'bomb-case', Giant(MX, 700, _mx(_cases))
    yield 'A-24', 'bomb-deep', Giant(MX, 250, _mx(lambda n, apex: b'\1a' * 60 + _label(n, 4) + apex))


def make(is_short):
    """kind -> (row, Kind)"""
    made = {}
    for row, word, kind in _kinds(is_short):
        kind.prepare()
        made[word] = kind
        kind.row = row
    return made
