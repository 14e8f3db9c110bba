# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which a zone can be signed, unsigned or wrong: what the client is told, and whether others agree."""
import os
import pathlib
import time

import dns.flags
import dns.rcode
import pytest

import ask
import programs

PEER = '/usr/sbin/kresd'
BOGUS, EXPIRED, NOT_YET, NO_KEY, NO_SIG, NO_PROOF, ITERATIONS = 6, 7, 8, 9, 10, 12, 27
BAD_ALGORITHM = 1

# Why a question is asked -> the EDE code that its SERVFAIL carries.
FAULTS = {
    'zone with expired signatures': EXPIRED,
    'zone with future signatures': NOT_YET,
    'zone with corrupt signatures': BOGUS,
    'zone with missing signatures': NO_SIG,
    'DS that fits no key': NO_KEY,
    'DS but no key': NO_KEY,
    'below a bogus zone': EXPIRED,
    'name with expired signature': EXPIRED,
    'name with future signature': NOT_YET,
    'name with corrupt signature': BOGUS,
    'name with missing signature': NO_SIG,
    'CNAME to a name with expired signature': EXPIRED,
    'CNAME to a name with future signature': NOT_YET,
    'CNAME to a name with corrupt signature': BOGUS,
    'CNAME to a name with missing signature': NO_SIG,
    'denials that deny too little': NO_PROOF,
    'denials that claim the type': NO_PROOF,
}
# ... -> the EDE code that goes with an answer which is good but not secure.
WEAK = {'DS with an unknown algorithm': BAD_ALGORITHM, 'too many NSEC3 iterations': ITERATIONS}


class Peer(programs.Program):
    """The kresd of the distribution."""

    def __init__(self, folder, world, address):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'peer.conf').write_text(f"""
net.listen('{address}', 53)
cache.size = 20 * MB
trust_anchors.remove('.')
modules.load('hints > iterate')
hints.root_file('{world.hints}')
trust_anchors.add_file('{world.keys}', true)
""")
        super().__init__(folder, [PEER, '-n', '-c', 'peer.conf', str(folder)], address)


@pytest.fixture(scope='module')
def peer(tmp_path_factory, world, new_address):
    if not os.path.exists(PEER):
        pytest.skip('knot-resolver is not installed')
    with Peer(tmp_path_factory.mktemp('peer'), world, new_address()) as one:
        yield one


def wanted(world, reasons):
    return [q for q in world.questions if q['why'] in reasons]


def codes(reply):
    return {option.code: option.text or '' for option in reply.options if option.otype == 15}


@pytest.mark.parametrize('why', sorted(FAULTS))
def test_failures_tell_why(world, resolver, why):
    seen = 0
    for q in wanted(world, {why}):
        reply = ask.message(resolver.server, q['name'], q['type'])
        if q['rcode'] != 'SERVFAIL':
            continue
        seen += 1
        assert reply.rcode() == dns.rcode.SERVFAIL and not reply.flags & dns.flags.AD, q
        assert not reply.answer and not reply.authority, q
        told = codes(reply)
        assert FAULTS[why] in told, (q, told)
        assert told[FAULTS[why]], f'{q}: a code without a text'
    assert seen


@pytest.mark.parametrize('why', sorted(WEAK))
def test_weak_answers_tell_why(kresd, world_config, world, why):
    """Asked of a fresh resolver: what comes from the cache later need not say it again."""
    asked = wanted(world, {why})
    with kresd(world_config) as one:
        told = [codes(ask.message(one.server, q['name'], q['type'])) for q in asked]
    assert any(WEAK[why] in one for one in told), told


@pytest.mark.parametrize('zone, owner, faulty', [
    ('corrupt-sick.alpha', 'corrupt-sick.alpha. DNSKEY', True),
    ('nsec-patchy.alpha', 'corrupt.nsec-patchy.alpha. A', True),
])
def test_text_names_what_failed(world, kresd, world_config, zone, owner, faulty):
    """The name, the tag of the key and the zone."""
    key = world.plan.zones[zone + '.'].keys[0]
    asked = owner.split()[0]
    with kresd(world_config) as one:
        told = codes(ask.message(one.server, asked if not owner.endswith('DNSKEY') else 'www.' + asked))
    text = told[BOGUS]
    assert owner.split()[0][:20] in text and str(key.tag) in text and zone[:12] in text, text


# Where resolvers may differ from ours, and why. Keys are the reasons for which the world asks a question.
UNBOUND_DIFFERS = {
    'server: silent': 'Unbound goes on trying for longer than a client waits; kresd gives up with SERVFAIL',
    'server: dead': 'the same',
}
PEER_DIFFERS = {
    'server: silent': 'Knot Resolver goes on trying for longer than a client waits',
    'CNAME loop': 'both say SERVFAIL; Knot Resolver leaves the chain in the answer, kresd shows nothing that failed',
}
ROUNDS, PAUSE_S = 4, 6  # a failure is remembered for 5 s


def disagreements(world, ours, other, accepted):
    """What differs each time. Asked for everything at once, others drop an answer now and then and remember that."""
    left = [q for q in world.questions if q['why'] not in accepted]
    assert len(left) >= 1000
    for number in range(ROUNDS):
        if number:
            time.sleep(PAUSE_S)
        asked = [(q['name'], q['type']) for q in left]
        both = list(zip(left, ask.answers(ours.server, asked), ask.answers(other.server, asked)))
        left = [q for q, a, b in both if a != b]
        if not left:
            break
    return [f'{q["why"]}: {q["name"]} {q["type"]}: {a} here, {b} there' for q, a, b in both if a != b]


def test_agreement_with_unbound(world, resolver, unbound):
    assert not disagreements(world, resolver, unbound, UNBOUND_DIFFERS)


def test_agreement_with_knot_resolver(world, resolver, peer):
    assert not disagreements(world, resolver, peer, PEER_DIFFERS)
