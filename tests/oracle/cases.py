# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of a small zone, true and forged, for every algorithm and kind of denial."""
import copy
import random
import struct

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype as T
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import oracle

NOW = 1750000000
DAY = 86400
TTL = 3600
HASHES = {5: hashes.SHA1(), 7: hashes.SHA1(), 8: hashes.SHA256(), 10: hashes.SHA512(), 13: hashes.SHA256(),
          14: hashes.SHA384()}
CURVES = {13: (ec.SECP256R1, 32), 14: (ec.SECP384R1, 48)}
ALGORITHMS = (5, 7, 8, 10, 13, 14, 15, 16)

RECORDS = '''
example. SOA ns.example. host.example. 1 7200 3600 1209600 900
example. NS ns.example.
example. MX 10 mail.example.
ns.example. A 192.0.2.1
mail.example. A 192.0.2.2
www.example. A 192.0.2.3
www.example. A 192.0.2.4
www.example. TXT "text" "more text"
alias.example. CNAME WWW.example.
deep.empty.example. A 192.0.2.5
tree.example. DNAME other.
*.wild.example. A 192.0.2.6
*.wild.example. MX 10 Mail.Example.
real.wild.example. TXT "real"
*.sub.wild.example. A 192.0.2.7
signed.example. NS ns.signed.example.
signed.example. DS 1234 8 2 0102030405060708091011121314151617181920212223242526272829303132
unsigned.example. NS ns.unsigned.example.
other.example. NS ns.elsewhere.
srv.example. SRV 1 2 3 Target.Example.
'''


def n(text):
    return dns.name.from_text(text)


def rdata(rtype, text):
    return dns.rdata.from_text('IN', rtype, text, relativize=False)


class Key:
    def __init__(self, algorithm, flags=257, bits=1024):
        self.algorithm = algorithm
        if algorithm in CURVES:
            curve, size = CURVES[algorithm]
            self.private = ec.generate_private_key(curve())
            point = self.private.public_key().public_numbers()
            public = point.x.to_bytes(size, 'big') + point.y.to_bytes(size, 'big')
        elif algorithm in (15, 16):
            self.private = (ed25519.Ed25519PrivateKey if algorithm == 15 else ed448.Ed448PrivateKey).generate()
            public = self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        else:
            self.private = rsa.generate_private_key(65537, bits)
            public = b'\3\1\0\1' + self.private.public_key().public_numbers().n.to_bytes(bits // 8, 'big')
        self.public = public
        self.set_header(flags, 3, algorithm)

    def set_header(self, flags, protocol, algorithm):
        wire = struct.pack('!HBB', flags, protocol, algorithm) + self.public
        self.rdata = dns.rdata.from_wire('IN', 'DNSKEY', wire, 0, len(wire))
        self.tag = dns.dnssec.key_id(self.rdata)

    def sign(self, data):
        if self.algorithm in CURVES:
            size = CURVES[self.algorithm][1]
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(HASHES[self.algorithm])))
            return r.to_bytes(size, 'big') + s.to_bytes(size, 'big')
        if self.algorithm in HASHES:
            return self.private.sign(data, padding.PKCS1v15(), HASHES[self.algorithm])
        return self.private.sign(data)


def sign(key, owner, rdatas, zone, labels=None, since=NOW - DAY, until=NOW + 30 * DAY, ttl=TTL, tag=None, algorithm=None):
    """An RRSIG, with everything that may be wrong about one as parameters."""
    full = len(owner) - 1 - owner.is_wild()
    labels = full if labels is None else labels
    source = owner
    if labels < full:
        source = oracle.star(dns.name.Name(owner.labels[-labels - 1:]))
    head = struct.pack('!HBBIIIH', rdatas[0].rdtype, key.algorithm if algorithm is None else algorithm, labels, ttl,
                       until % 2**32, since % 2**32, key.tag if tag is None else tag) + zone.to_digestable()
    body = b''.join(source.to_digestable() + struct.pack('!HHIH', rdatas[0].rdtype, 1, ttl, len(wire)) + wire
                    for wire in sorted({r.to_digestable() for r in rdatas}))
    wire = head + key.sign(head + body)
    return dns.rdata.from_wire('IN', 'RRSIG', wire, 0, len(wire))


class Zone:
    """A signed zone; denial is nsec, nsec3 or optout."""

    def __init__(self, algorithm, denial, name='example.', iterations=3, salt='aabb'):
        self.name, self.denial, self.iterations, self.salt = n(name), denial, iterations, salt
        self.key = Key(algorithm)
        self.sets = {}
        for line in RECORDS.strip().splitlines():
            owner, rtype, text = line.split(' ', 2)
            value = rdata(rtype, text)
            self.sets.setdefault((n(owner), value.rdtype), []).append(value)
        self.sets[self.name, T.DNSKEY] = [self.key.rdata]
        self.cuts = {owner for owner, rtype in self.sets if rtype == T.NS and owner != self.name}
        self.denials = self._nsec() if denial == 'nsec' else self._nsec3()

    def ds(self, digest='SHA256'):
        return dns.dnssec.make_ds(self.name, self.key.rdata, digest, policy=dns.dnssec.allow_all_policy)

    def types_at(self, owner):
        types = {rtype for o, rtype in self.sets if o == owner}
        return types & {T.NS, T.DS} if owner in self.cuts else types

    def _bitmap(self, owner, extra=()):
        types = self.types_at(owner) | set(extra)
        if types and (owner not in self.cuts or T.DS in types):
            types.add(T.RRSIG)
        return ' '.join(T.to_text(t) for t in sorted(types))

    def _nsec(self):
        owners = sorted({owner for owner, _ in self.sets})
        return {owner: rdata('NSEC', f'{after} {self._bitmap(owner, (T.NSEC, T.RRSIG))}')
                for owner, after in zip(owners, owners[1:] + owners[:1])}

    def hash(self, owner):
        return dns.dnssec.nsec3_hash(owner, self.salt, self.iterations, 1)

    def _nsec3(self):
        owners = set()
        for owner, _ in self.sets:
            if self.denial == 'optout' and owner in self.cuts and T.DS not in self.types_at(owner):
                continue
            while owner != self.name:
                owners.add(owner)
                owner = owner.parent()
        hashed = sorted((self.hash(o), o) for o in owners | {self.name})
        flags = 1 if self.denial == 'optout' else 0
        return {dns.name.Name([here.lower().encode()]).concatenate(self.name):
                rdata('NSEC3', f'1 {flags} {self.iterations} {self.salt or "-"} {after} {self._bitmap(o)}')
                for (here, o), (after, _) in zip(hashed, hashed[1:] + hashed[:1])}

    def signed(self, owner, rtype, **how):
        rdatas = self.sets[owner, rtype]
        return [(owner, r) for r in rdatas] + [(owner, sign(self.key, owner, rdatas, self.name, **how))]

    def proof(self, owner):
        record = self.denials[owner]
        return [(owner, record), (owner, sign(self.key, owner, [record], self.name))]

    # -- proofs that an honest server sends --

    def nsec_at(self, name):
        return [name] if name in self.denials else []

    def nsec_over(self, name):
        for owner, record in self.denials.items():
            if owner < name and (name < record.next or record.next == self.name):
                return [owner]
        return []

    def nsec3_at(self, name):
        owner = dns.name.Name([self.hash(name).lower().encode()]).concatenate(self.name)
        return [owner] if owner in self.denials else []

    def nsec3_over(self, name):
        wanted = self.hash(name).lower().encode()
        owners = sorted(self.denials)
        before = [o for o in owners if o.labels[0] < wanted]
        return [before[-1] if before else owners[-1]]

    def encloser(self, name):
        """(closest encloser, next closer name) among the names of the chain or zone."""
        while True:
            closer, name = name, name.parent()
            if self.denial != 'nsec':
                if self.nsec3_at(name):
                    return name, closer
            elif any(o.is_subdomain(name) for o, _ in self.sets):
                return name, closer

    def deny(self, name, is_nxdomain):
        """Owners of the records that an honest server picks."""
        at, over = (self.nsec_at, self.nsec_over) if self.denial == 'nsec' else (self.nsec3_at, self.nsec3_over)
        if not is_nxdomain and at(name):
            return at(name)
        if self.denial == 'nsec' and any(o.is_subdomain(name) for o, _ in self.sets):
            return over(name)
        encloser, closer = self.encloser(name)
        wild = oracle.star(encloser)
        picked = over(name) if self.denial == 'nsec' else at(encloser) + over(closer)
        return list(dict.fromkeys(picked + (over(wild) if is_nxdomain or not at(wild) else at(wild))))

    def proofs(self, owners):
        return [pair for owner in owners for pair in self.proof(owner)]

    def soa(self):
        return self.signed(self.name, T.SOA)

    def message(self, qname, qtype, rcode='NOERROR', answer=(), authority=()):
        return oracle.Message(NOW, self.name, n(qname), T.from_text(qtype), rcode, [(self.name, self.ds())],
                              self.signed(self.name, T.DNSKEY), list(answer), list(authority))


# -- true messages: (name, what an honest validator must say, message) --

def honest(zone):
    optout = zone.denial == 'optout'
    for owner, rtype in list(zone.sets):
        is_ours = owner not in zone.cuts or rtype == T.DS
        if is_ours and rtype != T.DNSKEY:
            yield f'positive-{owner}{T.to_text(rtype)}', 'secure', \
                zone.message(str(owner), T.to_text(rtype), answer=zone.signed(owner, rtype))
    for qname in ('www2.example.', 'a.b.c.example.', 'zzz.example.', '0.example.', 'x.www.example.', 'z.empty.example.',
                  'a.deep.empty.example.', 'x.real.wild.example.'):
        yield f'nxdomain-{qname}', 'insecure' if optout else 'secure', \
            zone.message(qname, 'A', 'NXDOMAIN', authority=zone.soa() + zone.proofs(zone.deny(n(qname), True)))
    for qname, qtype in (('www.example.', 'AAAA'), ('example.', 'A'), ('empty.example.', 'A'), ('wild.example.', 'TXT'),
                         ('sub.wild.example.', 'A'), ('real.wild.example.', 'A'), ('www.example.', 'DS'),
                         ('empty.example.', 'DS'), ('*.wild.example.', 'TXT')):
        yield f'nodata-{qname}{qtype}', 'secure', \
            zone.message(qname, qtype, authority=zone.soa() + zone.proofs(zone.deny(n(qname), False)))
    for qname, qtype in (('a.wild.example.', 'TXT'), ('a.b.wild.example.', 'AAAA'), ('x.sub.wild.example.', 'MX')):
        yield f'wildcard-nodata-{qname}', 'insecure' if optout else 'secure', \
            zone.message(qname, qtype, authority=zone.soa() + zone.proofs(zone.deny(n(qname), False)))
    yield 'no-ds', 'insecure' if optout else 'secure', \
        zone.message('unsigned.example.', 'DS', authority=zone.soa() + zone.proofs(zone.deny(n('unsigned.example.'), False)))
    for qname, parent, qtype in (('a.wild.example.', 'wild.example.', 'A'), ('a.b.wild.example.', 'wild.example.', 'MX'),
                                 ('z.sub.wild.example.', 'sub.wild.example.', 'A')):
        yield f'wildcard-{qname}{qtype}', 'insecure' if optout else 'secure', expanded(zone, qname, parent, qtype)


def expanded(zone, qname, parent, qtype):
    source, owner, rtype = oracle.star(n(parent)), n(qname), T.from_text(qtype)
    rdatas = zone.sets[source, rtype]
    sig = sign(zone.key, source, rdatas, zone.name)
    if zone.denial == 'nsec':
        owners = zone.nsec_over(owner)
    else:
        owners = zone.nsec3_over(zone.encloser(owner)[1])
    return zone.message(qname, qtype, answer=[(owner, r) for r in rdatas] + [(owner, sig)], authority=zone.proofs(owners))


# -- forgeries: each takes a message and returns it changed, or None if it does not apply --

def resign(zone, section, index, **how):
    """Sign the set that an RRSIG of a section covers once more, in another way."""
    owner, old = section[index]
    rdatas = [r for o, r in section if o == owner and r.rdtype == old.covers()]
    key = how.pop('key', zone.key)
    signer = how.pop('signer', zone.name)
    section[index] = (owner, sign(key, owner, rdatas, signer, **how))


def signature_indexes(section):
    return [i for i, (_, r) in enumerate(section) if r.rdtype == T.RRSIG]


def sections_of(message):
    return [s for s in (message.answer, message.authority) if s]


def corrupt(wire_rdata, at):
    wire = bytearray(wire_rdata.to_wire())
    wire[at] ^= 0x10
    return dns.rdata.from_wire('IN', wire_rdata.rdtype, bytes(wire), 0, len(wire))


def per_signature(change):
    """Apply a change to one signature of the message, a different one for each call."""
    def forge(zone, message, rng):
        section = rng.choice(sections_of(message))
        indexes = signature_indexes(section)
        if not indexes:
            return None
        change(zone, section, rng.choice(indexes), rng)
        return message
    return forge


@per_signature
def flip_signature_bit(zone, section, index, rng):
    owner, sig = section[index]
    section[index] = (owner, corrupt(sig, -1 - rng.randrange(len(sig.signature))))


@per_signature
def drop_signature(zone, section, index, rng):
    del section[index]


@per_signature
def expire(zone, section, index, rng):
    resign(zone, section, index, since=NOW - 2 * DAY, until=NOW - 1)


@per_signature
def expire_at_last_second(zone, section, index, rng):
    resign(zone, section, index, until=NOW)


@per_signature
def begin_too_late(zone, section, index, rng):
    resign(zone, section, index, since=NOW + 3601)


@per_signature
def begin_within_skew(zone, section, index, rng):
    resign(zone, section, index, since=NOW + 3600)


@per_signature
def end_before_begin(zone, section, index, rng):
    resign(zone, section, index, since=NOW + 100, until=NOW + 50)


@per_signature
def sign_by_stranger(zone, section, index, rng):
    resign(zone, section, index, key=zone.stranger)


@per_signature
def sign_by_stranger_of_same_tag(zone, section, index, rng):
    resign(zone, section, index, key=zone.stranger, tag=zone.key.tag)


@per_signature
def claim_child_signer(zone, section, index, rng):
    resign(zone, section, index, signer=n('www.example.'))


@per_signature
def claim_parent_signer(zone, section, index, rng):
    resign(zone, section, index, signer=dns.name.root)


@per_signature
def claim_fewer_labels_than_zone(zone, section, index, rng):
    resign(zone, section, index, labels=0)


@per_signature
def claim_more_labels(zone, section, index, rng):
    owner, sig = section[index]
    wire = bytearray(sig.to_wire())
    wire[3] += 1
    section[index] = (owner, dns.rdata.from_wire('IN', T.RRSIG, bytes(wire), 0, len(wire)))


@per_signature
def claim_wildcard(zone, section, index, rng):
    owner, _ = section[index]
    if len(owner) > 2:
        resign(zone, section, index, labels=len(owner) - 2 - owner.is_wild())


@per_signature
def change_original_ttl(zone, section, index, rng):
    owner, sig = section[index]
    section[index] = (owner, corrupt(sig, 6))


@per_signature
def claim_unknown_algorithm(zone, section, index, rng):
    owner, sig = section[index]
    wire = bytearray(sig.to_wire())
    wire[2] = 253
    section[index] = (owner, dns.rdata.from_wire('IN', T.RRSIG, bytes(wire), 0, len(wire)))


@per_signature
def add_bad_signature(zone, section, index, rng):
    owner, sig = section[index]
    section.insert(index, (owner, corrupt(sig, -5)))


def per_data(change):
    def forge(zone, message, rng):
        section = rng.choice(sections_of(message))
        indexes = [i for i, (_, r) in enumerate(section) if r.rdtype != T.RRSIG]
        if not indexes:
            return None
        return change(zone, message, section, rng.choice(indexes), rng)
    return forge


@per_data
def drop_set(zone, message, section, index, rng):
    owner, record = section[index]
    section[:] = [(o, r) for o, r in section if o != owner or
                  (r.rdtype != record.rdtype and not (r.rdtype == T.RRSIG and r.covers() == record.rdtype))]
    return message


@per_data
def drop_record(zone, message, section, index, rng):
    del section[index]
    return message


@per_data
def duplicate_record(zone, message, section, index, rng):
    section.append(section[index])
    return message


@per_data
def move_to_other_name(zone, message, section, index, rng):
    owner, record = section[index]
    target = n('stolen.example.')
    section[:] = [(target if o == owner and (r.rdtype == record.rdtype or (
        r.rdtype == T.RRSIG and r.covers() == record.rdtype)) else o, r) for o, r in section]
    return message


@per_data
def change_rdata(zone, message, section, index, rng):
    owner, record = section[index]
    if record.rdtype not in (T.A, T.DS, T.TXT):
        return None
    section[index] = (owner, corrupt(record, -1))
    return message


@per_data
def lie_in_bitmap(zone, message, section, index, rng):
    """Take a type away from a denial without signing it anew."""
    owner, record = section[index]
    if record.rdtype not in (T.NSEC, T.NSEC3):
        return None
    section[index] = (owner, corrupt(record, -1))
    return message


def add_record(zone, message, rng):
    section = rng.choice(sections_of(message))
    owner, record = section[0]
    if record.rdtype != T.A:
        return None
    section.append((owner, rdata('A', '198.51.100.1')))
    return message


def shuffle(zone, message, rng):
    for section in sections_of(message):
        rng.shuffle(section)
    return message


def other_case(zone, message, rng):
    for section in sections_of(message):
        section[:] = [(n(str(o).upper()), r) for o, r in section]
    return message


def flip_rcode(zone, message, rng):
    message.rcode = 'NXDOMAIN' if message.rcode == 'NOERROR' else 'NOERROR'
    return message


def ask_another_name(zone, message, rng):
    message.qname = n(rng.choice(('www.example.', 'new.example.', 'a.wild.example.', 'x.signed.example.', 'y.tree.example.',
                                  'x.unsigned.example.', 'deep.empty.example.', 'a.real.wild.example.')))
    return None if message.answer else message


def ask_another_type(zone, message, rng):
    message.qtype = rng.choice((T.A, T.MX, T.TXT, T.DS, T.NS, T.CNAME))
    return None if message.answer else message


def drop_authority(zone, message, rng):
    if not message.authority:
        return None
    message.authority = []
    return message


def take_other_proofs(zone, message, rng):
    """Proofs of the zone, but not those that belong here."""
    if not any(r.rdtype in (T.NSEC, T.NSEC3) for _, r in message.authority):
        return None
    owners = rng.sample(sorted(zone.denials), 3)
    message.authority = [(o, r) for o, r in message.authority if r.rdtype == T.SOA or (
        r.rdtype == T.RRSIG and r.covers() == T.SOA)] + zone.proofs(owners)
    return message


def add_other_proofs(zone, message, rng):
    if not any(r.rdtype in (T.NSEC, T.NSEC3) for _, r in message.authority):
        return None
    have = {o for o, _ in message.authority}
    owners = [o for o in rng.sample(sorted(zone.denials), 3) if o not in have]
    message.authority += zone.proofs(owners)
    return message


def take_foreign_proofs(zone, message, rng):
    """Well signed proofs of a zone that is not this one."""
    if not any(r.rdtype in (T.NSEC, T.NSEC3) for _, r in message.authority):
        return None
    other = zone.sibling
    message.authority = zone.soa() + other.proofs(rng.sample(sorted(other.denials), 3))
    return message


def replace_proof(zone, message, make):
    for i, (owner, record) in enumerate(message.authority):
        if record.rdtype in (T.NSEC, T.NSEC3):
            new = make(owner, record)
            if new is None:
                return None
            message.authority = [(o, r) for o, r in message.authority if not (
                o == owner and (r.rdtype == record.rdtype or (r.rdtype == T.RRSIG and r.covers() == record.rdtype)))]
            message.authority += [(owner, new), (owner, sign(zone.key, owner, [new], zone.name))]
            return message
    return None


def next_name_outside(zone, message, rng):
    return replace_proof(zone, message, lambda owner, r: rdata('NSEC', 'zzz.other. A RRSIG NSEC')
                         if r.rdtype == T.NSEC else None)


def unknown_nsec3_flag(zone, message, rng):
    return replace_proof(zone, message, lambda owner, r: rdata('NSEC3', r.to_text().replace(' 0 3 ', ' 2 3 ', 1).replace(
        ' 1 3 ', ' 3 3 ', 1)) if r.rdtype == T.NSEC3 else None)


def unknown_nsec3_hash(zone, message, rng):
    return replace_proof(zone, message, lambda owner, r: rdata('NSEC3', '2' + r.to_text()[1:]) if r.rdtype == T.NSEC3 else None)


def mixed_nsec3_salt(zone, message, rng):
    return replace_proof(zone, message, lambda owner, r: rdata('NSEC3', r.to_text().replace(' aabb ', ' ccdd ', 1))
                         if r.rdtype == T.NSEC3 else None)


def many_iterations(zone, message, rng):
    return replace_proof(zone, message, lambda owner, r: rdata('NSEC3', r.to_text().replace(' 3 aabb ', ' 51 aabb ', 1))
                         if r.rdtype == T.NSEC3 else None)


def wildcard_from_further_up(zone, message, rng):
    """Answer from *.wild although *.sub.wild is closer."""
    return expanded(zone, 'z.sub.wild.example.', 'wild.example.', 'A') if message.answer else None


def wildcard_over_existing(zone, message, rng):
    return expanded(zone, 'real.wild.example.', 'wild.example.', 'A') if message.answer else None


def ancestor_proof(zone, message, rng):
    """Records of the parent side of a cut, used for a name below it."""
    cut = rng.choice(('signed.example.', 'unsigned.example.', 'tree.example.'))
    message.qname = n('www.' + cut)
    if message.answer:
        return None
    owners = zone.nsec_over(message.qname) + zone.nsec_over(oracle.star(n(cut))) if zone.denial == 'nsec' else \
        zone.nsec3_at(n(cut)) + zone.nsec3_over(message.qname) + zone.nsec3_over(oracle.star(n(cut)))
    message.authority = zone.soa() + zone.proofs(dict.fromkeys(owners))
    return message


def parent_denies_child_data(zone, message, rng):
    """The parent's record at a cut, used against data of the child."""
    cut = n(rng.choice(('signed.example.', 'unsigned.example.')))
    owners = zone.nsec_at(cut) if zone.denial == 'nsec' else zone.nsec3_at(cut)
    if not owners or message.answer:
        return None
    message.qname, message.rcode = cut, 'NOERROR'
    message.authority = zone.soa() + zone.proofs(owners)
    return message


def apex_denies_its_own_ds(zone, message, rng):
    if message.answer:
        return None
    message.qname, message.qtype, message.rcode = zone.name, T.DS, 'NOERROR'
    message.authority = zone.soa() + zone.proofs(zone.nsec_at(zone.name) if zone.denial == 'nsec' else zone.nsec3_at(zone.name))
    return message


# -- keys --

def sign_keys(zone, message, rdatas, *keys):
    message.key = [(zone.name, r) for r in rdatas] + [(zone.name, sign(k, zone.name, rdatas, zone.name)) for k in keys]
    return message


def unknown_ds_algorithm(zone, message, rng):
    message.anchor = [(zone.name, rdata('DS', f'{zone.key.tag} 253 2 ' + '00' * 32))]
    return message


def unknown_ds_digest(zone, message, rng):
    message.anchor = [(zone.name, rdata('DS', f'{zone.key.tag} {zone.key.algorithm} 3 ' + '00' * 32))]
    return message


def wrong_ds_digest(zone, message, rng):
    message.anchor = [(zone.name, corrupt(zone.ds(), -1))]
    return message


def wrong_ds_tag(zone, message, rng):
    message.anchor = [(zone.name, corrupt(zone.ds(), 1))]
    return message


def sha1_beside_wrong_sha256(zone, message, rng):
    message.anchor = [(zone.name, zone.ds('SHA1')), (zone.name, corrupt(zone.ds(), -1))]
    return message


def sha1_alone(zone, message, rng):
    message.anchor = [(zone.name, zone.ds('SHA1'))]
    return message


def sha384_beside_unknown(zone, message, rng):
    message.anchor = [(zone.name, zone.ds('SHA384')), (zone.name, rdata('DS', '1 253 2 ' + '00' * 32))]
    return message


def ds_of_stranger(zone, message, rng):
    message.anchor = [(zone.name, dns.dnssec.make_ds(zone.name, zone.stranger.rdata, 'SHA256'))]
    return message


def keys_signed_by_stranger(zone, message, rng):
    return sign_keys(zone, message, [zone.key.rdata, zone.stranger.rdata], zone.stranger)


def more_keys(zone, message, rng):
    return sign_keys(zone, message, [zone.key.rdata, zone.stranger.rdata], zone.stranger, zone.key)


def extra_key_unsigned(zone, message, rng):
    message.key.insert(0, (zone.name, zone.stranger.rdata))
    return message


def keys_expired(zone, message, rng):
    message.key[-1] = (zone.name, sign(zone.key, zone.name, [zone.key.rdata], zone.name, since=NOW - 2 * DAY, until=NOW - 1))
    return message


def key_with_header(flags, protocol):
    def forge(zone, message, rng):
        odd = copy.copy(zone.key)
        odd.set_header(flags, protocol, zone.key.algorithm)
        sign_keys(zone, message, [odd.rdata], odd)
        message.anchor = [(zone.name, dns.dnssec.make_ds(zone.name, odd.rdata, 'SHA256'))]
        for section in sections_of(message):
            for index in signature_indexes(section):
                resign(zone, section, index, tag=odd.tag)
        return message
    return forge


FORGERIES = {f.__name__: f for f in (
    shuffle, other_case, add_record, flip_rcode, ask_another_name, ask_another_type, drop_authority, take_other_proofs,
    add_other_proofs, take_foreign_proofs, next_name_outside, unknown_nsec3_flag, unknown_nsec3_hash, mixed_nsec3_salt,
    many_iterations, wildcard_from_further_up, wildcard_over_existing, ancestor_proof, parent_denies_child_data,
    apex_denies_its_own_ds, unknown_ds_algorithm, unknown_ds_digest, wrong_ds_digest, wrong_ds_tag, sha1_beside_wrong_sha256,
    sha1_alone, sha384_beside_unknown, ds_of_stranger, keys_signed_by_stranger, more_keys, extra_key_unsigned, keys_expired)}
FORGERIES.update({name: globals()[name] for name in (
    'flip_signature_bit', 'drop_signature', 'expire', 'expire_at_last_second', 'begin_too_late', 'begin_within_skew',
    'end_before_begin', 'sign_by_stranger', 'sign_by_stranger_of_same_tag', 'claim_child_signer', 'claim_parent_signer',
    'claim_fewer_labels_than_zone', 'claim_more_labels', 'claim_wildcard', 'change_original_ttl', 'claim_unknown_algorithm',
    'add_bad_signature', 'drop_set', 'drop_record', 'duplicate_record', 'move_to_other_name', 'change_rdata', 'lie_in_bitmap')})
FORGERIES.update({'key_without_zone_bit': key_with_header(1, 3), 'key_revoked': key_with_header(0x181, 3),
                  'key_of_other_protocol': key_with_header(257, 2)})

# Whatever the message was, it must not be believed.
NEVER_BELIEVED = {
    'wrong_ds_digest', 'wrong_ds_tag', 'sha1_beside_wrong_sha256', 'ds_of_stranger', 'keys_signed_by_stranger',
    'extra_key_unsigned', 'keys_expired', 'key_without_zone_bit', 'key_revoked', 'key_of_other_protocol', 'add_record',
    'take_foreign_proofs', 'wildcard_from_further_up', 'wildcard_over_existing', 'ancestor_proof', 'parent_denies_child_data',
    'apex_denies_its_own_ds'}


def generate(seed, rounds):
    """Yield (id, what must come out or None, oracle's message)."""
    rng = random.Random(seed)
    for algorithm in ALGORITHMS:
        for denial in ('nsec', 'nsec3', 'optout'):
            zone = Zone(algorithm, denial)
            zone.stranger = Key(algorithm)
            zone.sibling = Zone(algorithm, denial, 'example.')
            true = list(honest(zone))
            for name, verdict, message in true:
                yield f'{algorithm}-{denial}-{name}', {verdict}, message
            for name, forge in FORGERIES.items():
                made = 0
                for _ in range(50):
                    if made == rounds:
                        break
                    source, _, message = rng.choice(true)
                    message = forge(zone, copy.deepcopy(message), rng)
                    if message is None:
                        continue
                    made += 1
                    must = {'bogus'} if name in NEVER_BELIEVED else None
                    if name in ('parent_denies_child_data', 'apex_denies_its_own_ds') and message.qtype == T.DS and \
                            message.qname != zone.name:
                        must = None
                    yield f'{algorithm}-{denial}-{name}-{made}-{source}', must, message
