# SPDX-License-Identifier: GPL-3.0-or-later
"""A zone: its records, its keys, and how it is signed, well or deliberately badly.

Signing is written out here, instead of left to a tool, because a test world needs mistakes at exact places.
"""
import struct

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype

DAY = 86400
TTL = 3600
NEGATIVE_TTL = 900
BASE32HEX = '0123456789ABCDEFGHIJKLMNOPQRSTUV'

# What may be wrong with the signatures of one RRset, or with all of a zone.
FLAWS = ('expired', 'future', 'corrupt', 'missing')


class Zone:
    """Names are text, absolute, lower case. `denial` is nsec, nsec3 or optout; a zone without keys is not signed."""

    def __init__(self, name, level, keys=(), denial='nsec', iterations=0):
        self.name, self.level, self.keys, self.denial, self.iterations = name, level, list(keys), denial, iterations
        self.records = {}        # owner -> type -> list of rdata
        self.flaws = {}          # (owner, type), or (None, None) for all -> one of FLAWS
        self.narrow = False      # NSEC(3) records deny nothing but their own name
        self.lying = set()       # owners whose NSEC(3) bitmap claims AAAA
        self.servers = []        # (name, address) pairs, as the parent publishes them
        self.parent = None
        self.trust = 'insecure'  # what a validator must find: secure, insecure or bogus
        self.is_reachable = True

    def add(self, owner, rtype, *texts):
        for text in texts:
            rdata = dns.rdata.from_text('IN', rtype, text, relativize=False)
            self.records.setdefault(owner, {}).setdefault(rdata.rdtype, []).append(rdata)

    def soa(self, primary):
        self.add(self.name, 'SOA', f'{primary} host.{self.name.lstrip(".")} 1 7200 3600 1209600 {NEGATIVE_TTL}')

    def cuts(self):
        """Names delegated away."""
        return {owner for owner, types in self.records.items() if dns.rdatatype.NS in types and owner != self.name}

    def is_below_cut(self, owner, cuts):
        parts = owner.split('.')
        return any('.'.join(parts[i:]) in cuts for i in range(1, len(parts)))

    def names(self):
        """Every name of the zone that is its own, empty non-terminals included."""
        cuts = self.cuts()
        own = {owner for owner in self.records if not self.is_below_cut(owner, cuts)}
        for owner in list(own):
            while owner != self.name:
                own.add(owner)
                owner = owner.split('.', 1)[1] or '.'
        return own

    # -- signing --

    def signed_lines(self, now):
        """All records with their signatures and denials, as lines of a zone file."""
        yield from self._lines(self.records)
        if not self.keys:
            return
        apex_only = {self.name: {dns.rdatatype.DNSKEY: [key.rdata for key in self.keys]}}
        if self.denial != 'nsec':
            apex_only[self.name][dns.rdatatype.NSEC3PARAM] = [
                dns.rdata.from_text('IN', 'NSEC3PARAM', f'1 0 {self.iterations} -')]
        yield from self._lines(apex_only)
        whole = {owner: dict(types) for owner, types in self.records.items()}
        whole[self.name].update(apex_only[self.name])
        denials = dict(self._nsec(whole) if self.denial == 'nsec' else self._nsec3(whole))
        yield from self._lines(denials, NEGATIVE_TTL)
        cuts = self.cuts()
        for owner, types in [*whole.items(), *denials.items()]:
            if self.is_below_cut(owner, cuts):
                continue
            for rtype, rdatas in types.items():
                if owner not in cuts or rtype in (dns.rdatatype.DS, dns.rdatatype.NSEC):
                    yield from self._signatures(owner, rtype, rdatas, now)

    @staticmethod
    def _lines(records, ttl=TTL):
        for owner, types in records.items():
            for rtype, rdatas in types.items():
                for rdata in rdatas:
                    yield f'{owner} {ttl} IN {dns.rdatatype.to_text(rtype)} {rdata.to_text()}'

    def _flaw(self, owner, rtype):
        return self.flaws.get((owner, dns.rdatatype.to_text(rtype))) or self.flaws.get((None, None))

    def _signatures(self, owner, rtype, rdatas, now):
        flaw = self._flaw(owner, rtype)
        if flaw == 'missing':
            return
        shift = {'expired': -60 * DAY, 'future': 60 * DAY}.get(flaw, 0)
        zone_keys = [k for k in self.keys if k.flags == 256] or self.keys
        for key in [k for k in self.keys if k.flags == 257] if rtype == dns.rdatatype.DNSKEY else zone_keys:
            ttl = NEGATIVE_TTL if rtype in (dns.rdatatype.NSEC, dns.rdatatype.NSEC3) else TTL
            name = dns.name.from_text(owner)
            labels = len(name) - 1 - (1 if name.is_wild() else 0)
            head = struct.pack('!HBBIIIH', rtype, key.algorithm, labels, ttl, int(now + shift + 30 * DAY),
                               int(now + shift - DAY), key.tag) + dns.name.from_text(self.name).to_digestable()
            body = b''.join(name.to_digestable() + struct.pack('!HHIH', rtype, 1, ttl, len(wire)) + wire
                            for wire in sorted(r.to_digestable() for r in rdatas))
            signature = bytearray(key.sign(head + body))
            if flaw == 'corrupt':
                signature[len(signature) // 2] ^= 0x55
            wire = head + bytes(signature)
            rrsig = dns.rdata.from_wire('IN', 'RRSIG', wire, 0, len(wire))
            yield f'{owner} {ttl} IN RRSIG {rrsig.to_text()}'

    def _bitmap(self, owner, types, cuts, denial_types):
        known = set(types)
        if owner in cuts:
            known &= {dns.rdatatype.NS, dns.rdatatype.DS}
        elif owner in self.lying:
            known.add(dns.rdatatype.AAAA)
        is_signed = bool(known) and (owner not in cuts or dns.rdatatype.DS in known)
        if is_signed or dns.rdatatype.NSEC in denial_types:
            known.add(dns.rdatatype.RRSIG)
        return ' '.join(dns.rdatatype.to_text(t) for t in sorted(known | set(denial_types)))

    def _nsec(self, whole):
        cuts = self.cuts()
        owners = sorted((o for o in whole if not self.is_below_cut(o, cuts)), key=dns.name.from_text)
        for owner, after in zip(owners, owners[1:] + owners[:1]):
            if self.narrow:
                after = rf'\000.{owner.lstrip(".")}'
            bitmap = self._bitmap(owner, whole[owner], cuts, [dns.rdatatype.NSEC])
            yield owner, {dns.rdatatype.NSEC: [dns.rdata.from_text('IN', 'NSEC', f'{after} {bitmap}')]}

    def _nsec3(self, whole):
        cuts = self.cuts()
        owners = self.names()
        if self.denial == 'optout':
            owners = {o for o in owners if o not in cuts or dns.rdatatype.DS in whole[o]}
        flags = 1 if self.denial == 'optout' else 0
        hashed = sorted((dns.dnssec.nsec3_hash(o, '', self.iterations, 1), o) for o in owners)
        for (here, owner), (after, _) in zip(hashed, hashed[1:] + hashed[:1]):
            if self.narrow:
                after = _next_hash(here)
            bitmap = self._bitmap(owner, whole.get(owner, {}), cuts, [])
            text = f'1 {flags} {self.iterations} - {after} {bitmap}'
            yield f'{here.lower()}.{self.name.lstrip(".")}', {dns.rdatatype.NSEC3: [dns.rdata.from_text('IN', 'NSEC3', text)]}


def _next_hash(text):
    """The hash that comes next in order, so that an NSEC3 covers nothing."""
    number = int(text, 32) + 1  # Python writes base 32 just so
    return ''.join(BASE32HEX[number >> shift & 31] for shift in range(155, -1, -5))
