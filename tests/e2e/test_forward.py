# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarding: validated, as a stub, with servers that are dead, fail, or tell what nobody asked for."""
import time

import pytest

import ask
import fake

FORWARD = 'policy.add(policy.all(policy.FORWARD({})))\n'
FORWARD_ONE = "policy.add(policy.suffix(policy.FORWARD({}), {{'{}'}}))\n"  # names of this host stay here


def question(world, **facts):
    """A question of the world with these facts."""
    return next(q for q in world.questions if all(q[key] == value for key, value in facts.items()))


@pytest.fixture(scope='module')
def secure(world):
    return question(world, ad=True, type='A', rcode='NOERROR')


def lua_list(*addresses):
    return '{' + ', '.join(f"'{a}'" for a in addresses) + '}'


def test_answers_of_forwarders_are_validated(world, resolver, world_config, kresd):
    one = kresd(world_config + FORWARD.format(lua_list(resolver.address))).start()
    for facts in ({'ad': True, 'rcode': 'NOERROR'}, {'ad': True, 'rcode': 'NXDOMAIN'},
                  {'ad': False, 'rcode': 'NOERROR'}, {'rcode': 'SERVFAIL'}):
        asked = question(world, type='A', **facts)
        got = ask.answer(one.server, asked['name'])
        assert (got.rcode, got.ad) == (asked['rcode'], asked['ad']), asked
        again = ask.answer(one.server, asked['name'])
        assert (again.rcode, again.ad) == (asked['rcode'], asked['ad']), asked


def test_a_lying_forwarder_is_found_out(secure, world_config, kresd, new_address):
    address = new_address()
    with fake.Server(address, fake.saying(['@ A 192.0.2.66'])):
        one = kresd(world_config + FORWARD.format(lua_list(address))).start()
        assert ask.answer(one.server, secure['name']).rcode == 'SERVFAIL'


def test_stub_takes_the_answer_as_it_is(secure, world_config, kresd, new_address):
    address = new_address()
    with fake.Server(address, fake.saying(['@ A 192.0.2.66'])):
        one = kresd(world_config + f"policy.add(policy.all(policy.STUB('{address}')))\n").start()
        got = ask.answer(one.server, secure['name'])
        assert got.rcode == 'NOERROR' and not got.ad
        assert {record for _, _, record in got.records} == {'192.0.2.66'}


def test_a_dead_forwarder_among_others_does_no_harm(secure, resolver, world_config, kresd, new_address):
    dead = new_address()
    with fake.Server(dead, fake.silent):
        one = kresd(world_config + FORWARD.format(lua_list(dead, resolver.address))).start()
        got = ask.answer(one.server, secure['name'])
        assert got.rcode == 'NOERROR' and got.ad


def test_dead_forwarders_are_told_in_time(secure, world_config, kresd, new_address):
    dead = [new_address(), new_address()]
    with fake.Server(dead[0], fake.silent), fake.Server(dead[1], fake.silent):
        one = kresd(world_config + FORWARD_ONE.format(lua_list(*dead), secure['name'])).start()
        begin = time.monotonic()
        assert ask.answer(one.server, secure['name']).rcode == 'SERVFAIL'
        assert time.monotonic() - begin < 19


@pytest.mark.parametrize('kind, on, falls_back', [
    ('silent', "'timeout', 'servfail'", True), ('silent', "'servfail'", False),
    ('failing', "'timeout', 'servfail'", True), ('failing', "'timeout'", False)])
def test_fallback(secure, resolver, world_config, kresd, new_address, kind, on, falls_back):
    first = new_address()
    groups = f"{{'{first}', fallback = {{'{resolver.address}'}}, on = {{{on}}}}}"
    with fake.Server(first, fake.silent if kind == 'silent' else fake.failing()) as server:
        one = kresd(world_config + FORWARD_ONE.format(groups, secure['name'])).start()
        got = ask.answer(one.server, secure['name'])
        assert server.asked, 'the first group comes first'
        assert (got.rcode == 'NOERROR' and got.ad) if falls_back else got.rcode == 'SERVFAIL'


def test_fallback_is_not_asked_without_need(secure, resolver, world_config, kresd, new_address):
    spare = new_address()
    groups = f"{{'{resolver.address}', fallback = '{spare}'}}"
    with fake.Server(spare, fake.failing()) as server:
        one = kresd(world_config + FORWARD.format(groups)).start()
        assert ask.answer(one.server, secure['name']).ad
        assert not server.asked


@pytest.mark.parametrize('action', ['FORWARD', 'STUB'])
def test_a46_forwarder_of_a_subtree_says_nothing_about_others(world, secure, world_config, kresd, new_address, action):
    """What a forwarder adds about other names is neither believed nor cached."""
    address = new_address()
    other = question(world, ad=False, type='A', rcode='NOERROR')
    parent = secure['name'].rstrip('.').split('.')[-1]
    lies = fake.saying(
        ['@ A 192.0.2.1', f'{other["name"]} A 192.0.2.66', f'{secure["name"]} A 192.0.2.66'],
        [f'{parent}. NS ns.corp.', '. NS ns.corp.', f'{other["name"]} NS ns.corp.'],
        ['ns.corp. A 192.0.2.66', f'{other["name"]} A 192.0.2.66'])
    with fake.Server(address, lies):
        one = kresd(world_config + f'''
trust_anchors.set_insecure({{'corp'}})
policy.add(policy.suffix(policy.{action}('{address}'), {{'corp'}}))
''').start()
        for name in ('www.corp', 'a.b.corp', 'corp'):
            got = ask.answer(one.server, name)
            assert got.rcode == 'NOERROR', name
            assert {record for _, _, record in got.records} == {'192.0.2.1'}
        for asked in (secure, other):
            got = ask.answer(one.server, asked['name'])
            want = {record for _, rtype, record in asked['answer'] if rtype == 'A'}
            assert (got.rcode, got.ad) == ('NOERROR', asked['ad'])
            assert {record for _, rtype, record in got.records if rtype == 'A'} == want


@pytest.mark.parametrize('action', ['FORWARD', 'STUB'])
def test_a46_aliases_to_other_names_are_resolved_anew(secure, world_config, kresd, new_address, action):
    """An alias may lead out of the subtree; what it leads to is validated, unless the answer is taken as it is."""
    address = new_address()
    with fake.Server(address, fake.saying([f'@ CNAME {secure["name"]}', f'{secure["name"]} A 192.0.2.66'])):
        one = kresd(world_config + f'''
trust_anchors.set_insecure({{'corp'}})
policy.add(policy.suffix(policy.{action}('{address}'), {{'corp'}}))
''').start()
        got = ask.answer(one.server, 'www.corp')
        assert not got.ad
        if action == 'FORWARD':
            assert '192.0.2.66' not in {record for _, _, record in got.records}
        after = ask.answer(one.server, secure['name'])
        assert after.ad and '192.0.2.66' not in {record for _, _, record in after.records}
