# SPDX-License-Identifier: GPL-3.0-or-later
"""A slow validator that shares no code with the resolver: signatures by dnspython, proofs by the definitions of the RFCs.

It judges one message of one zone whose DS set is trusted: 'secure', 'insecure' or 'bogus'.
"""
import base64
import hashlib
from dataclasses import dataclass, field

import dns.dnssec
import dns.exception
import dns.name
import dns.rdatatype as T
import dns.rrset

SUPPORTED = {5, 7, 8, 10, 13, 14, 15, 16}
DIGESTS = {1: 'SHA1', 2: 'SHA256', 4: 'SHA384'}
SKEW = 3600
MAX_ITERATIONS = 50
ZONE, REVOKE = 0x100, 0x80
NOT_FROM_WILDCARD = {T.SOA, T.DNSKEY, T.DS, T.NSEC, T.NSEC3, T.NSEC3PARAM}


@dataclass
class Message:
    """Sections are lists of (owner, rdata) pairs; names are absolute dns.name.Name."""
    now: int
    zone: dns.name.Name
    qname: dns.name.Name
    qtype: int
    rcode: str
    anchor: list
    key: list
    answer: list = field(default_factory=list)
    authority: list = field(default_factory=list)


class Bogus(Exception):
    pass


def group(records):
    """RRsets by (owner, type) and the RRSIGs over each."""
    sets, sigs = {}, {}
    for owner, rdata in records:
        if rdata.rdtype == T.RRSIG:
            sigs.setdefault((owner, rdata.covers()), []).append(rdata)
        elif rdata not in sets.setdefault((owner, rdata.rdtype), []):
            sets[owner, rdata.rdtype].append(rdata)
    return sets, sigs


def serial_before(a, b):
    """a is earlier than b in 32-bit serial arithmetic."""
    return a != b and (b - a) % 2**32 < 2**31


def star(name):
    return dns.name.Name([b'*']).concatenate(name)


def count_labels(name):
    return len(name) - 1 - name.is_wild()


class Validator:
    def __init__(self, message):
        self.m = message
        self.keys = []
        self.optout = False

    # -- signatures --

    def _is_in_time(self, sig):
        now = self.m.now % 2**32
        inception, expiration = sig.inception % 2**32, sig.expiration % 2**32
        return not (serial_before(expiration, now) or serial_before((now + SKEW) % 2**32, inception)
                    or serial_before(expiration, inception))

    def _signed_by(self, owner, rdatas, sig, key):
        if sig.key_tag != dns.dnssec.key_id(key) or sig.algorithm != key.algorithm or key.algorithm not in SUPPORTED:
            return False
        if not key.flags & ZONE or key.flags & REVOKE or key.protocol != 3:
            return False
        if sig.signer != self.m.zone or not owner.is_subdomain(self.m.zone) or not self._is_in_time(sig):
            return False
        if not count_labels(self.m.zone) <= sig.labels <= count_labels(owner):
            return False
        if sig.labels < count_labels(owner) and rdatas[0].rdtype in NOT_FROM_WILDCARD:
            return False
        rrset = dns.rrset.from_rdata_list(owner, 3600, rdatas)
        try:
            dns.dnssec.validate_rrsig(rrset, sig, {self.m.zone: dns.rrset.from_rdata_list(self.m.zone, 3600, [key])},
                                      now=sig.inception, policy=dns.dnssec.allow_all_policy)
        except (dns.exception.DNSException, ValueError):
            return False
        return True

    def _find_signature(self, owner, rdatas, sigs, keys):
        for sig in sigs:
            for key in keys:
                if self._signed_by(owner, rdatas, sig, key):
                    return sig
        return None

    def _load_keys(self):
        """False: the zone is insecure for us."""
        sets, sigs = group(self.m.key)
        keys = sets.get((self.m.zone, T.DNSKEY), [])
        usable = [ds for _, ds in self.m.anchor if ds.algorithm in SUPPORTED and ds.digest_type in DIGESTS]
        if any(ds.digest_type != 1 for ds in usable):
            usable = [ds for ds in usable if ds.digest_type != 1]
        if not usable:
            return False
        for ds in usable:
            for key in keys:
                made = dns.dnssec.make_ds(self.m.zone, key, DIGESTS[ds.digest_type], policy=dns.dnssec.allow_all_policy)
                if made == ds and self._find_signature(self.m.zone, keys, sigs.get((self.m.zone, T.DNSKEY), []), [key]):
                    self.keys = keys
                    return True
        raise Bogus('keys')

    # -- the message --

    def judge(self):
        try:
            return self._judge()
        except Bogus:
            return 'bogus'

    def _judge(self):
        if not self._load_keys():
            return 'insecure'
        sets, sigs = group(self.m.answer)
        if not sets:
            self._load_authority(strict=True)
            return self._deny(self.m.qname, self.m.qtype, self.m.rcode == 'NXDOMAIN')
        expanded = []
        for (owner, rtype), rdatas in sets.items():
            sig = self._find_signature(owner, rdatas, sigs.get((owner, rtype), []), self.keys)
            if not sig or (rtype == T.SOA and owner != self.m.zone) or (rtype == T.DS and owner == self.m.zone):
                raise Bogus('signature')
            if sig.labels < count_labels(owner):
                expanded.append((owner, sig.labels))
        if expanded:
            self._load_authority(strict=True)
        results = {self._prove_expansion(owner, labels) for owner, labels in expanded}
        return 'insecure' if 'insecure' in results else 'secure'

    def _load_authority(self, strict):
        sets, sigs = group(self.m.authority)
        self.nsec, self.nsec3 = {}, []
        for (owner, rtype), rdatas in sets.items():
            if rtype == T.NS:
                continue
            is_proof = rtype in (T.NSEC, T.NSEC3)
            sig = self._find_signature(owner, rdatas, sigs.get((owner, rtype), []), self.keys)
            if not sig or (rtype == T.SOA and owner != self.m.zone):
                if strict and not is_proof:
                    raise Bogus('authority')
                continue
            if rtype == T.NSEC and len(rdatas) == 1 and rdatas[0].next.is_subdomain(self.m.zone):
                self.nsec[owner] = rdatas[0]
            elif rtype == T.NSEC3 and len(rdatas) == 1 and owner.parent() == self.m.zone:
                self.nsec3.append((owner.labels[0].lower(), rdatas[0]))

    # -- proofs: either kind may do --

    def _deny(self, name, rtype, is_nxdomain):
        if self._nsec_denies(name, rtype, is_nxdomain):
            return 'secure'
        return self._nsec3_denies(name, rtype, is_nxdomain)

    def _prove_expansion(self, name, labels):
        if self._nsec_is_denied(name) and count_labels_raw(self._nsec_encloser(name)) == labels:
            return 'secure'
        return self._nsec3_expansion(name, labels)

    # -- NSEC --

    @staticmethod
    def types(rdata):
        return {window * 256 + byte * 8 + bit for window, bitmap in rdata.windows for byte, value in enumerate(bitmap)
                for bit in range(8) if value & 0x80 >> bit}

    def _silences(self, name, owner, types):
        """A cut or DNAME is silent about what is below it."""
        return name.is_subdomain(owner) and name != owner and (T.DNAME in types or (T.NS in types and T.SOA not in types))

    def _nsec_cover(self, name):
        for owner, nsec in self.nsec.items():
            if owner < name and (name < nsec.next or nsec.next == self.m.zone) and \
                    not self._silences(name, owner, self.types(nsec)):
                return owner, nsec
        return None

    def _nsec_is_denied(self, name):
        cover = self._nsec_cover(name) if name.is_subdomain(self.m.zone) else None
        return bool(cover) and not cover[1].next.is_subdomain(name)

    def _nsec_encloser(self, name):
        """Longest ancestor that a covering record shows to exist."""
        owner, nsec = self._nsec_cover(name)
        while not (owner.is_subdomain(name) or nsec.next.is_subdomain(name)):
            name = name.parent()
        return name

    def _type_is_denied(self, types, rtype):
        if rtype in types or T.CNAME in types:
            return False
        if rtype == T.DS:
            return T.SOA not in types or self.m.zone == dns.name.root
        return T.NS not in types or T.SOA in types

    def _nsec_denies(self, name, rtype, is_nxdomain):
        if not name.is_subdomain(self.m.zone):
            return False
        if is_nxdomain:
            return self._nsec_is_denied(name) and self._nsec_is_denied(star(self._nsec_encloser(name)))
        if name in self.nsec:
            return self._type_is_denied(self.types(self.nsec[name]), rtype)
        cover = self._nsec_cover(name)
        if not cover:
            return False
        if cover[1].next.is_subdomain(name):
            return True
        wild = star(self._nsec_encloser(name))
        return wild in self.nsec and self._type_is_denied(self.types(self.nsec[wild]), rtype)

    # -- NSEC3 --

    def _nsec3_chain(self):
        """Records of the first usable one's parameters; None: too expensive."""
        usable = [(o, r) for o, r in self.nsec3 if r.algorithm == 1 and r.flags in (0, 1) and len(r.next) == 20]
        if not usable:
            return []
        first = usable[0][1]
        if first.iterations > MAX_ITERATIONS:
            return None
        self.params = first.salt, first.iterations
        return [(o, r) for o, r in usable if (r.salt, r.iterations) == self.params]

    def _hash(self, name):
        salt, iterations = self.params
        digest = hashlib.sha1(name.canonicalize().to_wire() + salt).digest()
        for _ in range(iterations):
            digest = hashlib.sha1(digest + salt).digest()
        return digest

    @staticmethod
    def _text(digest):
        return base64.b32hexencode(digest).lower()

    def _nsec3_match(self, chain, name):
        wanted = self._text(self._hash(name))
        return next((r for o, r in chain if o == wanted), None)

    def _nsec3_cover(self, chain, name):
        if self._nsec3_match(chain, name):
            return None
        wanted = self._text(self._hash(name))
        for owner, record in chain:
            after = self._text(record.next)
            if owner < wanted < after or (after <= owner and (wanted > owner or wanted < after)):
                return record
        return None

    def _closest_encloser(self, chain, name):
        """(encloser, record that covers the next closer name), or None."""
        closer = name
        while closer != self.m.zone:
            name = closer.parent()
            match = self._nsec3_match(chain, name)
            if match:
                types = self.types(match)
                cover = self._nsec3_cover(chain, closer)
                is_silent = T.DNAME in types or (T.NS in types and T.SOA not in types)
                return (name, cover) if cover and not is_silent else None
            closer = name
        return None

    def _say(self, is_proven, cover):
        if not is_proven:
            raise Bogus('proof')
        if cover is not None and cover.flags & 1:
            self.optout = True
            return 'insecure'
        return 'secure'

    def _nsec3_denies(self, name, rtype, is_nxdomain):
        chain = self._nsec3_chain()
        if chain is None:
            return 'insecure'
        if not name.is_subdomain(self.m.zone) or not chain:
            raise Bogus('proof')
        match = self._nsec3_match(chain, name)
        if match:
            return self._say(not is_nxdomain and self._type_is_denied(self.types(match), rtype), None)
        found = self._closest_encloser(chain, name)
        if not found:
            raise Bogus('closest encloser')
        encloser, cover = found
        wild = star(encloser)
        if is_nxdomain:
            return self._say(self._nsec3_cover(chain, wild) is not None, cover)
        match = self._nsec3_match(chain, wild)
        if match:
            return self._say(self._type_is_denied(self.types(match), rtype), cover)
        return self._say(cover.flags & 1, cover)

    def _nsec3_expansion(self, name, labels):
        chain = self._nsec3_chain()
        if chain is None:
            return 'insecure'
        if not chain or labels >= len(name) - 1:
            raise Bogus('proof')
        closer = dns.name.Name(name.labels[-labels - 2:])
        cover = self._nsec3_cover(chain, closer)
        return self._say(cover is not None, cover)


def count_labels_raw(name):
    return len(name) - 1
