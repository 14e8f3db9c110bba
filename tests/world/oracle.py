# SPDX-License-Identifier: GPL-3.0-or-later
"""What a faultless validating resolver answers to a question about the world, found by reading the plan."""
import dns.name
import dns.rdata
import dns.rdatatype as rt

CHAIN_MAX = 16
NSEC3_ITERATIONS_MAX = 150


class Outcome:
    """rcode as text, whether AD must be set, and the answer section as a set of (owner, type, rdata)."""

    def __init__(self, rcode, secure, answer):
        self.rcode, self.secure, self.answer = rcode, secure, answer

    def as_json(self):
        return {'rcode': self.rcode, 'ad': self.secure, 'answer': sorted(map(list, self.answer))}


FAILURE = Outcome('SERVFAIL', False, frozenset())


def _parent_name(owner):
    """The owner without its first label; knows escaped dots."""
    return dns.name.from_text(owner).parent().to_text()


class Oracle:
    def __init__(self, world):
        self.zones = world.zones

    def _zone_of(self, name, rtype):
        here = name
        if rtype == rt.DS and name != '.':
            here = _parent_name(name)
        while here not in self.zones:
            here = _parent_name(here)
        return self.zones[here]

    def _reachable(self, zone):
        while zone:
            if not zone.is_reachable:
                return False
            zone = zone.parent
        return True

    def ask(self, name, rtype_text):
        rtype = rt.from_text(rtype_text)
        answer, secure = set(), True
        for _ in range(CHAIN_MAX):
            zone = self._zone_of(name, rtype)
            if not self._reachable(zone) or zone.trust == 'bogus':
                return FAILURE
            step = _Step(zone, name, rtype)
            if step.is_bogus:
                return FAILURE
            secure = secure and step.secure
            answer |= step.records
            if step.rcode:
                return Outcome(step.rcode, secure, frozenset(answer))
            name = step.next_name
        return FAILURE


class _Step:
    """One look into one zone: records found, and either an rcode or the name to go on with."""

    def __init__(self, zone, name, rtype):
        self.zone, self.name, self.rtype = zone, name, rtype
        self.secure, self.is_bogus, self.rcode, self.next_name = zone.trust == 'secure', False, None, None
        self.records = set()
        self._look()

    def _types_at(self, owner):
        if owner not in self.zone.records and owner != self.zone.name:
            return None
        types = dict(self.zone.records.get(owner, {}))
        if owner == self.zone.name and self.zone.keys:
            types[rt.DNSKEY] = [k.rdata for k in self.zone.keys]
            if self.zone.denial != 'nsec':
                types[rt.NSEC3PARAM] = []
        return types

    def _look(self):
        existing = self.zone.names()
        ancestor = self.name
        while ancestor != self.zone.name:
            ancestor = _parent_name(ancestor)
            if rt.DNAME in (self._types_at(ancestor) or {}):
                return self._follow_dname(ancestor)
        if self.name in existing:
            return self._at_node(self.name)
        encloser = _parent_name(self.name)
        while encloser not in existing:
            encloser = _parent_name(encloser)
        star = f'*.{encloser}'
        if star in existing:
            return self._at_node(star)
        self._negative('NXDOMAIN', self.name)

    def _take(self, owner, rtype, rdatas):
        self.records |= {(owner, rt.to_text(rtype), r.to_text()) for r in rdatas}

    def _judge(self, owner, rtype):
        """Signatures of one RRset, as far as they are flawed."""
        if self.secure and (owner, rt.to_text(rtype)) in self.zone.flaws:
            self.is_bogus = True

    def _at_node(self, owner):
        types = self._types_at(owner) or {}
        is_wild = owner != self.name
        if is_wild and self.secure and self.zone.narrow:
            self.is_bogus = True  # nothing proves that the name itself is missing
        if is_wild and self._is_heavy():
            self.secure = False
        if rt.CNAME in types and self.rtype != rt.CNAME:
            self._take(self.name, rt.CNAME, types[rt.CNAME])
            self._judge(owner, rt.CNAME)
            self.next_name = types[rt.CNAME][0].target.to_text()
        elif self.rtype in types:
            self._take(self.name, self.rtype, types[self.rtype])
            self._judge(owner, self.rtype)
            self.rcode = 'NOERROR'
        else:
            self._negative('NOERROR', owner)

    def _follow_dname(self, owner):
        rdatas = self._types_at(owner)[rt.DNAME]
        self._take(owner, rt.DNAME, rdatas)
        head = dns.name.from_text(self.name).relativize(dns.name.from_text(owner))
        self.next_name = head.derelativize(rdatas[0].target).to_text()
        self._take(self.name, rt.CNAME, [dns.rdata.from_text('IN', 'CNAME', self.next_name)])

    def _is_heavy(self):
        return self.zone.denial != 'nsec' and self.zone.iterations > NSEC3_ITERATIONS_MAX

    def _negative(self, rcode, owner):
        self.rcode = rcode
        zone = self.zone
        if not self.secure:
            return
        if self._is_heavy() or zone.denial == 'optout' and (
                rcode == 'NXDOMAIN' or owner in zone.cuts() and self.rtype == rt.DS):
            self.secure = False  # the proof holds, but shows less than absence
        elif zone.narrow and rcode == 'NXDOMAIN':
            self.is_bogus = True
        elif owner in zone.lying and self.rtype == rt.AAAA:
            self.is_bogus = True
