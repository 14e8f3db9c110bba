# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of name of the small Internet, asked of a validating kresd."""
import collections
import time

import dns.flags
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

import ask
from ask import Answer
from world import plan


def pytest_generate_tests(metafunc):
    if 'why' in metafunc.fixturenames:
        metafunc.parametrize('why', sorted(set(plan.World().questions.values())))


LOST_MAX = 3       # questions that a busy machine may lose datagrams of, so often that resolving fails
FAILURE_KEPT_S = 6  # then a failure is no longer remembered


@pytest.fixture(scope='module')
def asked(world, resolver):
    """All questions, asked at once; then once more, when all answers are in the cache."""
    questions = [(q['name'], q['type']) for q in world.questions]
    first = ask.answers(resolver.server, questions)
    lost = [i for i, q in enumerate(world.questions) if first[i].rcode == 'SERVFAIL' != q['rcode']]
    if 0 < len(lost) <= LOST_MAX:
        time.sleep(FAILURE_KEPT_S)
        for i in lost:
            first[i] = ask.answer(resolver.server, *questions[i])
    return first, ask.answers(resolver.server, questions)


def expected(question):
    return Answer(question['rcode'], question['ad'], frozenset((o.lower(), t, r) for o, t, r in question['answer']))


def differences(world, got, why):
    return [f'{q["name"]} {q["type"]}: want {expected(q)}, got {answer}'
            for q, answer in zip(world.questions, got) if q['why'] == why and answer != expected(q)]


def test_answer_is_right(world, asked, why):
    assert not differences(world, asked[0], why)


def test_answer_from_cache_is_right_too(world, asked, why):
    assert not differences(world, asked[1], why)


@pytest.fixture(scope='module')
def well(world):
    """A sound signed zone with all the furniture."""
    return next(z.name for z in world.plan.well if z.trust == 'secure' and z.denial == 'nsec')


def types_in(section):
    return collections.Counter(dns.rdatatype.to_text(rrset.rdtype) for rrset in section)


def test_no_dnssec_records_without_do(resolver, well):
    for name in (f'www.{well}', f'none.{well}', f'a.wild.{well}'):
        reply = ask.message(resolver.server, name)
        seen = types_in(reply.answer) + types_in(reply.authority)
        assert not set(seen) & {'RRSIG', 'NSEC', 'NSEC3'}, name


def test_signatures_with_do(resolver, well):
    reply = ask.message(resolver.server, f'www.{well}', do=True)
    assert types_in(reply.answer) == {'A': 1, 'RRSIG': 1}
    assert not reply.authority


def test_wildcard_comes_with_its_proof(resolver, well):
    reply = ask.message(resolver.server, f'qqq.wild.{well}', do=True)
    assert types_in(reply.answer) == {'A': 1, 'RRSIG': 1}
    assert types_in(reply.authority)['NSEC'] >= 1


@pytest.mark.parametrize('name, rtype, rcode', [('none', 'A', dns.rcode.NXDOMAIN), ('www', 'TXT', dns.rcode.NOERROR)])
def test_denial_comes_with_its_proof(resolver, well, name, rtype, rcode):
    reply = ask.message(resolver.server, f'{name}.{well}', rtype, do=True)
    seen = types_in(reply.authority)
    assert reply.rcode() == rcode and not reply.answer
    assert seen['SOA'] == 1 and seen['NSEC'] >= 1 and seen['RRSIG'] >= 2


def test_question_keeps_its_letters(resolver, well):
    name = f'WwW.{well.upper()}'
    reply = ask.message(resolver.server, name)
    assert reply.question[0].name.to_text() == name
    assert reply.answer[0].name.to_text() == name


def test_ad_only_when_asked_for(resolver, well):
    asked_by = {(do, ad): bool(ask.message(resolver.server, f'www.{well}', do=do, ad=ad).flags & dns.flags.AD)
                for do in (False, True) for ad in (False, True)}
    assert asked_by == {(False, False): False, (True, False): True, (False, True): True, (True, True): True}


def test_cd_shows_bogus_data_and_only_to_those_who_ask(resolver, world):
    name = 'www.corrupt-sick.alpha.'
    for _ in range(2):
        bad = ask.message(resolver.server, name)
        assert bad.rcode() == dns.rcode.SERVFAIL and not bad.answer and not bad.authority
        open_eyed = ask.message(resolver.server, name, cd=True)
        assert open_eyed.rcode() == dns.rcode.NOERROR and open_eyed.answer
        assert not open_eyed.flags & dns.flags.AD and open_eyed.flags & dns.flags.CD


def test_header_of_an_answer(resolver, well):
    reply = ask.message(resolver.server, f'www.{well}')
    assert reply.flags & dns.flags.QR and reply.flags & dns.flags.RA and reply.flags & dns.flags.RD
    assert not reply.flags & dns.flags.AA and not reply.flags & dns.flags.CD


def test_no_edns_to_those_who_have_none(resolver, well):
    assert ask.message(resolver.server, f'www.{well}', payload=None).edns == -1
    reply = ask.message(resolver.server, f'www.{well}', payload=4096)
    assert reply.edns == 0 and reply.payload == 1232


def test_ttl_counts_down(kresd, world_config, well):
    with kresd(world_config) as one:
        first = ask.message(one.server, f'www.{well}').answer[0].ttl
        time.sleep(2.1)
        later = ask.message(one.server, f'www.{well}').answer[0].ttl
    assert first - 4 <= later <= first - 2


@pytest.mark.parametrize('name', ['www.silent-odd.plain.', 'www.dead-odd.plain.', 'www.garbage-odd.plain.', 'www.ring1.alpha.'])
def test_time_is_bounded(kresd, world_config, name):
    """An answer over UDP that comes late is not sent; over TCP it shows when the resolver gives up."""
    with kresd(world_config) as one:
        begin = time.monotonic()
        assert ask.answer(one.server, name, tcp=True).rcode == 'SERVFAIL'
        assert time.monotonic() - begin < 9
        begin = time.monotonic()
        assert ask.answer(one.server, name).rcode == 'SERVFAIL'
        assert time.monotonic() - begin < 1, 'a failure is remembered for a while'


def test_answer_fits_the_datagram(resolver, well):
    for payload in (512, 1232, 4096):
        reply = dns.query.udp(ask.make(f'many.{well}', payload=payload), resolver.address, ask.TIMEOUT_S, resolver.port)
        assert len(reply.to_wire()) <= min(payload, 1232) and reply.flags & dns.flags.TC


def test_unusable_ds_is_remembered_as_such(kresd, world_config, world):
    """Later questions find the delegation in the cache, where its DS set looks like any other."""
    wanted = [q for q in world.questions if q['why'] == 'DS with an unknown algorithm']
    with kresd(world_config) as one:
        got = [ask.answer(one.server, q['name'], q['type']) for q in wanted]
    assert got == [expected(q) for q in wanted]
