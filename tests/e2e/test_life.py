# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes, their ends, gentle and violent."""
import os
import random
import signal
import socket
import threading
import time

import pytest

import ask

KILLS = int(os.environ.get('KILLS', 6))


@pytest.fixture
def names(world):
    """Sound names with their answers."""
    return [q for q in world.questions if q['why'] in ('plain name', 'CNAME', 'no such name')]


def right(question, answer):
    return answer.rcode == question['rcode'] and answer.ad == question['ad'] and \
        answer.records == frozenset((o.lower(), t, r) for o, t, r in question['answer'])


def test_two_processes_share_an_address(kresd, world_config, names):
    config = world_config + "cache.open(20*MB, 'lmdb://{folder}/../shared')"
    a = kresd(config)
    b = kresd(config, address=a.address)
    with a, b:
        sample = [(q['name'], q['type']) for q in names]
        got = ask.answers(a.server, sample)
        assert [q['name'] for q, g in zip(names, got) if not right(q, g)] == []
        counts = [int(one.control('worker.stats().queries')[0]) for one in (a, b)]
        assert all(counts), f'the kernel spreads clients, but one process got none: {counts}'
        assert a.stop() == 0
        got = ask.answers(b.server, sample)
        assert [q['name'] for q, g in zip(names, got) if not right(q, g)] == []


def test_one_process_answers_what_another_has_learnt(kresd, world_config, names):
    shared = "cache.open(20*MB, 'lmdb://{folder}/../shared')"
    with kresd(world_config + shared) as a, kresd(world_config + shared + '\nnet.ipv4 = false\nnet.ipv6 = false') as b:
        for q in names[:50]:
            ask.answer(a.server, q['name'], q['type'])
        time.sleep(0.1)
        wrong = [q['name'] for q in names[:50] if not right(q, ask.answer(b.server, q['name'], q['type']))]
        assert not wrong


def test_cache_outlives_the_process(kresd, world_config, names):
    one = kresd(world_config).start()
    for q in names[:30]:
        ask.answer(one.server, q['name'], q['type'])
    time.sleep(0.1)
    assert one.stop() == 0
    again = kresd(world_config + '\nnet.ipv4 = false\nnet.ipv6 = false', name='kresd0', address=one.address)
    with again:
        assert not [q['name'] for q in names[:30] if not right(q, ask.answer(again.server, q['name'], q['type']))]


def test_kill_under_load_again_and_again(kresd, world_config, names):
    """After each kill -9 it starts on the cache it left, within two seconds, and never tells a lie."""
    rng, lies, stop = random.Random(7), [], threading.Event()
    one = kresd(world_config, name='victim')
    one.start()

    def load(seed):
        pick = random.Random(seed)
        while not stop.is_set():
            q = pick.choice(names)
            got = ask.answer(one.server, q['name'], q['type'], timeout=0.5)
            if not got.rcode.startswith('no answer') and not right(q, got) and got.rcode != 'SERVFAIL':
                lies.append((q, got))
    threads = [threading.Thread(target=load, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.05, 0.5))
            assert one.stop(signal.SIGKILL) == -signal.SIGKILL
            begin = time.monotonic()
            one.start()
            assert time.monotonic() - begin < 2 * (5 if 'asan' in one.command[0] else 1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not lies
    got = ask.answers(one.server, [(q['name'], q['type']) for q in names])
    assert [q['name'] for q, g in zip(names, got) if not right(q, g)] == []


def test_broken_cache_file_is_discarded(kresd, world_config, names):
    one = kresd(world_config).start()
    assert one.stop() == 0
    data = one.folder / 'data.mdb'
    data.write_bytes(os.urandom(16384))
    with one.start():
        q = names[0]
        assert right(q, ask.answer(one.server, q['name'], q['type']))


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
def test_stopping_process_answers_what_it_has_begun(kresd, world_config, how):
    """The server behind slow-odd takes 200 ms for each question."""
    one = kresd(world_config).start()
    query = ask.make('www.slow-odd.alpha.').to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        s.connect(one.server)
        s.send(query)
        time.sleep(0.15)
        one.process.send_signal(how)
        assert s.recv(4096)[:2] == query[:2]
    assert one.stop() == 0


def test_second_signal_ends_at_once(kresd, world_config):
    one = kresd(world_config).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(one.server)
        s.send(ask.make('www.silent-odd.plain.').to_wire())
        time.sleep(0.2)
        one.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        begin = time.monotonic()
        assert one.stop() == 0
        assert time.monotonic() - begin < 1


def test_quit_over_control(kresd):
    one = kresd().start()
    try:
        one.control('quit()')
    except ConnectionError:
        pass
    assert one.process.wait(10) == 0
