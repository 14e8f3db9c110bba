# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules with real clients: they cannot be dodged; big lists are shared and replaced while they serve."""
import concurrent.futures
import os
import time

import dns.message
import dns.query
import dns.rcode
import pytest

import ask

NAMES = 60_000  # more than a list has that every process keeps for itself


def question(world, **facts):
    return next(q for q in world.questions if all(q[key] == value for key, value in facts.items()))


def alternate(name):
    return ''.join(c.upper() if i % 2 else c for i, c in enumerate(name))


@pytest.mark.parametrize('rule', ["policy.suffix(policy.DENY, {{'{}'}})", "policy.rpz(policy.DENY, 'list.rpz')",
                                  "policy.list(policy.DENY, 'list.txt', {{ format = 'domains' }})"])
def test_p06_policy_cannot_be_dodged(world, world_config, kresd, rule):
    """Neither by transport, letter case, EDNS, DO, CD, type, nor by what is in a cache already."""
    name = question(world, ad=True, type='A', rcode='NOERROR')['name'].rstrip('.')
    one = kresd(world_config)
    (one.folder / 'list.rpz').write_text(f'$ORIGIN rpz.\n@ 60 SOA a. b. 1 2 3 4 5\n{name} CNAME .\n*.{name} CNAME .\n')
    (one.folder / 'list.txt').write_text(f'{name}\n')
    one.start()
    for _ in range(3):  # all caches have it
        assert ask.answer(one.server, name).rcode == 'NOERROR'
    added = one.control(f'policy.add({rule.format(name)}).id')
    assert added[0].strip().isdigit(), added
    for text in (name, alternate(name), f'x.{name}'):
        for how in ({}, {'tcp': True}, {'do': True}, {'cd': True}, {'payload': 0}, {'rtype': 'AAAA'},
                    {'rtype': 'HTTPS', 'do': True}):
            for _ in range(2):
                assert ask.answer(one.server, text, **how).rcode == 'NXDOMAIN', (text, how)
    assert int(one.control('policy.rules[1].count')[0]) >= 42
    assert ask.answer(one.server, name + '.example').rcode != 'SERVFAIL'
    one.control('policy.del(policy.rules[1].id)')
    assert ask.answer(one.server, name).rcode == 'NOERROR'


def test_p06_aliases_are_looked_through_if_wanted(world, world_config, kresd):
    asked = next(q for q in world.questions if q['rcode'] == 'NOERROR' and q['type'] == 'A'
                 and any(rtype == 'CNAME' for _, rtype, _ in q['answer']))
    target = next(data for _, rtype, data in asked['answer'] if rtype == 'CNAME').rstrip('.')
    one = kresd(world_config + f"policy.add(policy.domains(policy.DENY, {{'{target}'}}))\n").start()
    assert ask.answer(one.server, asked['name']).rcode == 'NOERROR'
    one.control('policy.check_aliases(true)')
    for _ in range(3):
        assert ask.answer(one.server, asked['name']).rcode == 'NXDOMAIN'


def test_answers_are_repeated_beside_a_block_list(world, world_config, kresd):
    name = question(world, ad=True, type='A', rcode='NOERROR')['name']
    one = kresd(world_config + "policy.add(policy.suffix(policy.DENY, {'blocked.example'}))\n").start()
    for _ in range(4):
        assert ask.answer(one.server, name).rcode == 'NOERROR'
        assert ask.answer(one.server, 'x.blocked.example').rcode == 'NXDOMAIN'
    assert int(one.control('worker.stats().l0_hits')[0]) >= 2
    assert one.control('policy.rules[1].count')[0].strip() == '4'


def write_list(path, generation):
    """A list as its author would replace it: all at once."""
    fresh = path.with_suffix('.new')
    with open(fresh, 'w', encoding='ascii') as out:
        out.write(f'always.example\ngeneration{generation}.example\n')
        for i in range(NAMES):
            out.write(f'host{i}.tracker{i % 997}.example\n')
    os.rename(fresh, path)


def verdict(server, name):
    query = ask.make(name)
    return dns.rcode.to_text(dns.query.udp(query, server[0], 10, server[1]).rcode())


def test_big_lists_are_shared_and_replaced_while_they_serve(tmp_path, kresd, new_address):
    config = f'''
policy.add(policy.list(policy.DENY, '{tmp_path}/big.txt', {{ format = 'domains', name = 'big' }}))
policy.add(policy.all(policy.REFUSE))
'''
    write_list(tmp_path / 'big.txt', 1)
    one = kresd(config, name='shared').start()
    other = kresd(config, name='other')
    other.command[-1] = str(one.folder)  # the same working directory
    other.command[other.command.index('test.conf')] = str(other.folder / 'test.conf')
    other.start()
    files = [f for f in os.listdir(one.folder / 'rules') if f.endswith('.mdb')]
    assert len(files) == 1 and os.path.getsize(one.folder / 'rules' / files[0]) < 16 * 2**20
    both = (one, other)
    for server in both:
        assert server.process.poll() is None
        assert verdict(server.server, 'generation1.example') == 'NXDOMAIN'
        assert verdict(server.server, 'x.host77.tracker77.example') == 'NXDOMAIN'
        assert verdict(server.server, 'free.example') == 'REFUSED'

    ends = time.monotonic() + 60
    stop = []

    def load(server):
        wrong = 0
        while not stop and time.monotonic() < ends:
            wrong += verdict(server.server, 'always.example') != 'NXDOMAIN'
            wrong += verdict(server.server, 'host5.tracker5.example') != 'NXDOMAIN'
            wrong += verdict(server.server, 'free.example') != 'REFUSED'
        return wrong

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, server) for server in both]
        for generation in (2, 3):
            write_list(tmp_path / 'big.txt', generation)
            while any(verdict(s.server, f'generation{generation}.example') != 'NXDOMAIN' for s in both):
                assert time.monotonic() < ends, one.log[-2000:]
                time.sleep(0.05)
        stop.append(True)
        assert [done.result() for done in loads] == [0, 0]
    assert verdict(one.server, 'generation1.example') == 'REFUSED'
    assert int(one.control('policy.lists()[1].entries')[0]) == NAMES + 2


def test_a_broken_list_leaves_the_old_one_in_force(kresd):
    one = kresd("policy.add(policy.rpz(policy.DENY, 'list.rpz'))\npolicy.add(policy.all(policy.REFUSE))\n")
    path = one.folder / 'list.rpz'
    good = '$ORIGIN z.\n@ 60 SOA a. b. {} 2 3 4 5\n' + ''.join(f'n{i}.example CNAME .\n' for i in range(50))
    path.write_text(good.format(1))
    one.start()
    assert verdict(one.server, 'n49.example') == 'NXDOMAIN'
    path.write_text(good.format(2)[:200] + ' ((((\n')
    end = time.monotonic() + 20
    while 'the old rules stay' not in one.log:
        assert time.monotonic() < end, one.log
        time.sleep(0.1)
    assert 'RPZ list.rpz:' in one.log
    assert verdict(one.server, 'n49.example') == 'NXDOMAIN'
