# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to a resolver, one or thousands, and answers in a shape that can be compared."""
import concurrent.futures
import dataclasses
import time

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

TIMEOUT_S = 20   # in all
TRY_S = 6        # then a client asks again over UDP
PARALLEL = 24


@dataclasses.dataclass(frozen=True)
class Answer:
    """What matters to a client; order, TTLs and letter case do not. rcode None: no answer came."""

    rcode: str
    ad: bool = False
    records: frozenset = frozenset()

    @classmethod
    def of(cls, message):
        records = frozenset((rrset.name.to_text().lower(), dns.rdatatype.to_text(rrset.rdtype), rdata.to_text())
                            for rrset in message.answer if rrset.rdtype != dns.rdatatype.RRSIG for rdata in rrset)
        return cls(dns.rcode.to_text(message.rcode()), bool(message.flags & dns.flags.AD), records)


def make(name, rtype='A', do=False, cd=False, payload=1232, **flags):
    query = dns.message.make_query(name, rtype, use_edns=0 if payload else -1, payload=payload or 0, want_dnssec=do)
    query.flags |= dns.flags.AD
    if cd:
        query.flags |= dns.flags.CD
    for flag, value in flags.items():
        bit = getattr(dns.flags, flag.upper())
        query.flags = query.flags | bit if value else query.flags & ~bit
    return query


def message(server, name, rtype='A', timeout=TIMEOUT_S, tcp=False, **how):
    """The whole answer as dnspython sees it, over UDP like a stub resolver does, and over TCP when truncated."""
    query, end = make(name, rtype, **how), time.monotonic() + timeout
    while not tcp:
        try:
            left = end - time.monotonic()
            reply = dns.query.udp(query, server[0], min(TRY_S, left), server[1])
            if not reply.flags & dns.flags.TC:
                return reply
            tcp = True
        except dns.exception.Timeout:
            if left <= TRY_S:
                raise
    return dns.query.tcp(query, server[0], timeout, server[1])


def answer(server, name, rtype='A', **how):
    try:
        return Answer.of(message(server, name, rtype, **how))
    except (dns.exception.DNSException, OSError) as problem:
        return Answer(f'no answer: {problem!r}')


def answers(server, questions, **how):
    """Many questions at a time; the answers come in their order."""
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(lambda q: answer(server, q[0], q[1], **how), questions))
