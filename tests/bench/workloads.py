# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of the resolvers.  Each workload is a function of a Bench; it records samples under its own name.

Two shapes: *warm* workloads keep all resolvers running and measure them in turns (A B C, B C A, ...), *cold* ones
start each resolver afresh for every sample, also in turns.
"""
import itertools
import random
import re
import subprocess
import time

import resolvers

HOT = 1000        # names in the hot set
# Window sizes below keep at most 128 datagrams waiting: more overflow a default socket buffer.
ZIPF_DRAWS = 400_000


# -- question files --

def write_questions(bench, name, questions):
    path = bench.folder / f'{name}.txt'
    path.write_text(''.join(f'{n} {t}\n' for n, t in questions))
    return path, len(questions)


def pick(bench, count, salt, kinds=('exist', 'nodata', 'absent')):
    """Distinct questions; by default as they come: mostly names that exist, some NODATA, some NXDOMAIN."""
    pool = [tuple(q) for kind in kinds for q in bench.world.facts[kind]]
    random.Random(f'{bench.seed}-{salt}').shuffle(pool)
    return pool[:count]


def hot_set(bench):
    """Without NXDOMAIN: not every resolver can serve every denial from cache, and one miss costs as much as 50 hits."""
    return write_questions(bench, 'hot', pick(bench, HOT, 'hot', ('exist', 'nodata')))


def prime_twice(bench, path, count):
    """A function that makes a peer learn all answers; the second pass catches what the first one lost."""
    def prime(peer):
        if peer is not bench.echo:
            for _ in range(2):
                bench.load(peer, path, n=count, c=4, w=8)
    return prime


def zipf_set(bench):
    """A stream over all names in which the k-th most popular name has weight 1/k."""
    names = pick(bench, 100_000, 'zipf')
    rng = random.Random(f'{bench.seed}-draws')
    weights = list(itertools.accumulate(1 / (k + 1) for k in range(len(names))))
    all_once = write_questions(bench, 'zipf-once', names)
    return all_once, write_questions(bench, 'zipf', rng.choices(names, cum_weights=weights, k=ZIPF_DRAWS))


# -- shapes --

def in_turns(bench, peers, rounds):
    """Every round visits all peers once, each round starting with another one."""
    for number in range(rounds):
        shift = number % len(peers)
        yield from ((number, p) for p in peers[shift:] + peers[:shift])


def warm(bench, name, peers, prime, measure, rounds=None):
    """Prime each running peer once, then measure in turns."""
    for peer in peers:
        prime(peer)
    for number, peer in in_turns(bench, peers, rounds or bench.rounds):
        bench.record(name, number, peer, measure(peer, number))


class Running:
    """All given peers up together, and down again whatever happens."""

    def __init__(self, bench, peers, **how):
        self.bench, self.peers, self.how = bench, peers, how

    def __enter__(self):
        for peer in self.peers:
            peer.start(self.bench.pin_server, **self.how)
        return self.peers

    def __exit__(self, *_):
        for peer in self.peers:
            peer.stop()


# -- the workloads --

def cached(bench):
    """(a) cached answers over UDP, at saturation and at a gentle fixed rate, and cached NXDOMAINs; the echo yardstick."""
    hot, hot_count = hot_set(bench)
    gone, gone_count = write_questions(bench, 'gone', pick(bench, HOT, 'gone', ('absent',)))
    with Running(bench, bench.peers + [bench.echo]) as peers:
        warm(bench, 'a1 cached hot UDP', peers, prime_twice(bench, hot, hot_count),
             lambda p, _: bench.load(p, hot, l=bench.seconds, c=16, w=8))
        warm(bench, 'a2 cached hot UDP 5k q/s', peers, lambda p: None,
             lambda p, _: bench.load(p, hot, l=bench.seconds, c=16, w=64, r=5000))
        warm(bench, 'a4 cached NXDOMAIN', bench.peers, prime_twice(bench, gone, gone_count),
             lambda p, _: bench.load(p, gone, l=bench.seconds, c=16, w=8))


def zipf(bench):
    """(a) a Zipf stream over all names, NODATA and NXDOMAIN among them, all asked before."""
    (once, once_count), (stream, _) = zipf_set(bench)
    with Running(bench, bench.peers + [bench.echo]) as peers:
        warm(bench, 'a3 cached Zipf UDP', peers, prime_twice(bench, once, once_count),
             lambda p, _: bench.load(p, stream, l=bench.seconds, c=16, w=8))


def miss(bench):
    """(b) cold cache, no question asked twice: with validation and without."""
    path, count = write_questions(bench, 'miss', pick(bench, bench.miss, 'miss'))
    for name, validate in (('b1 miss, validating', True), ('b2 miss, not validating', False)):
        for number, peer in in_turns(bench, bench.peers, bench.cold_rounds):
            peer.start(bench.pin_server, validate=validate)
            time.sleep(0.3)  # let priming end
            sample = bench.load(peer, path, n=count, c=8, w=8)
            sample['rss_mb'], sample['anon_mb'] = peer.memory_mb()
            sample['cache_used_mb'] = peer.cache_used_mb()
            bench.record(name, number, peer, sample)
            peer.stop()


def nxdomain(bench):
    """(c) random subdomains of one zone: signed with NSEC, signed with NSEC3, unsigned."""
    def fresh(zone, count):
        names = (f'{bench.nx_rng.getrandbits(48):012x}.{zone}' for _ in range(count))
        return write_questions(bench, 'nx', [(name, 'A') for name in names])

    bench.nx_rng = random.Random(bench.seed)
    with Running(bench, bench.peers) as peers:
        for kind in ('nsec', 'nsec3', 'plain'):
            zone = f'nx-{kind}.{bench.world.facts["special"]}'
            prime_file, prime_count = fresh(zone, 4000)

            def prime(peer, path=prime_file, count=prime_count):
                bench.load(peer, path, n=count, c=4, w=4)

            def measure(peer, _, zone=zone):
                path, count = fresh(zone, int(120_000 * bench.seconds))
                return bench.load(peer, path, l=bench.seconds, n=count, c=16, w=8)
            warm(bench, f'c random subdomains, {kind}', peers, prime, measure, bench.cold_rounds)


def streams(bench):
    """(d, e, f) cached answers over TCP, TLS and HTTP/2."""
    hot, hot_count = hot_set(bench)
    prime = prime_twice(bench, hot, hot_count)

    def speaks(what):
        return [p for p in bench.peers if what in p.transports]

    with Running(bench, bench.peers):
        warm(bench, 'd TCP pipelined', speaks('tcp'), prime, lambda p, _: bench.load(p, hot, m='tcp', l=bench.seconds, c=8, w=16))
        warm(bench, 'e1 DoT persistent', speaks('dot'), prime,
             lambda p, _: bench.load(p, hot, m='tls', l=bench.seconds, c=8, w=16, port=resolvers.DOT_PORT))
        warm(bench, 'e2 DoT, handshake per 10 queries', speaks('dot'), prime,
             lambda p, _: bench.load(p, hot, m='tls', l=bench.seconds, c=8, w=10, b=10, port=resolvers.DOT_PORT))
        warm(bench, 'f DoH2 (dnsperf)', speaks('doh'), prime, lambda p, _: doh(bench, p, hot))


def doh(bench, peer, path):
    def number(what):
        return float(re.search(what + r':\s+([\d.]+)', out)[1])

    cmd = ['dnsperf', '-m', 'doh', '-O', f'doh-uri=https://{peer.address}/dns-query', '-O', 'doh-method=POST', '-s', peer.address,
           '-p', str(resolvers.DOH_PORT), '-d', str(path), '-l', str(max(1, round(bench.seconds))), '-c', '32', '-q', '256',
           '-T', '1', '-e']
    for _ in range(3):  # at times dnsperf gets stuck while it connects
        with bench.meter(peer) as sample:
            out = subprocess.run([*bench.pin_load, *cmd], capture_output=True, text=True).stdout
            sample['answered'], sample['sent'] = int(number('Queries completed')), int(number('Queries sent'))
            sample['lost'] = sample['sent'] - sample['answered']
            sample['qps'] = number('Queries per second')
            sample['lat_us'] = {'mean': number(r'Average Latency \(s\)') * 1e6}
        if sample['answered'] > 1000:
            break
    return sample


def memory(bench):
    """(g) resident memory and cache file before and after inserting many unsigned A records through a wildcard."""
    count = bench.fill
    zone = f'fill.{bench.world.facts["special"]}'
    path, _ = write_questions(bench, 'fill', [(f'host{i:07}.{zone}', 'A') for i in range(count)])
    for peer in bench.peers:
        peer.start(bench.pin_server)
        before, before_anon = peer.memory_mb()
        sample = bench.load(peer, path, n=count, c=8, w=8)
        sample['rss_mb'], sample['anon_mb'] = peer.memory_mb()
        sample['rss_start_mb'], sample['anon_start_mb'] = before, before_anon
        sample['cache_used_mb'] = peer.cache_used_mb()
        sample['rss_bytes_per_record'] = (sample['rss_mb'] - before) * 2**20 / max(1, sample['answered'])
        bench.record(f'g fill {count} records', 0, peer, sample)
        peer.stop()


def restart(bench):
    """(h) program start to first answers, cold; then a restart in which a persistent cache may help."""
    hot, hot_count = hot_set(bench)
    name = bench.world.facts['exist'][0][0]
    for number, peer in in_turns(bench, bench.peers, bench.cold_rounds):
        begin = time.monotonic()
        peer.start(bench.pin_server, wait='localhost')
        local = time.monotonic() - begin
        peer.wait_for(name, begin)
        cold = {'start_ms': local * 1000, 'first_answer_ms': (time.monotonic() - begin) * 1000,
                'cpu_ms': peer.cpu_seconds() * 1000}
        bench.load(peer, hot, n=hot_count, c=4, w=8)
        peer.stop()
        begin = time.monotonic()
        peer.start(bench.pin_server, fresh=False, wait=name)
        again = (time.monotonic() - begin) * 1000
        sample = bench.load(peer, hot, n=hot_count, c=4, w=8)
        sample.update(cold, restart_first_answer_ms=again, hot_set_ms=sample['seconds'] * 1000)
        peer.stop()
        bench.record('h restart, then 1k hot names', number, peer, sample)


def sharing(bench):
    """(i) one worker against two on one cache; nothing is pinned, the load shares the two cores."""
    hot, hot_count = hot_set(bench)
    pin, bench.pin_load = bench.pin_load, []
    try:
        for number, peer in in_turns(bench, bench.peers, bench.cold_rounds):
            for workers in (1, 2):
                peer.start([], workers=workers)
                for _ in range(3):
                    bench.load(peer, hot, n=hot_count, c=32, w=4)
                bench.record(f'i cached hot UDP, {workers} worker{"s" * (workers > 1)}, unpinned', number, peer,
                             bench.load(peer, hot, l=bench.seconds, c=32, w=4))
                peer.stop()
    finally:
        bench.pin_load = pin


def write_blocklist(bench, count):
    rng = random.Random(f'{bench.seed}-block')
    kinds = ('ads', 'track', 'pixel', 'stat')
    listed = [f'{rng.getrandbits(36):x}.{rng.choice(kinds)}{i % 977}.example' for i in range(count)]
    path = bench.folder / f'block-{count}.rpz'
    path.write_text('$ORIGIN block.\n$TTL 3600\n@ SOA localhost. host.localhost. 1 7200 3600 1209600 3600\n@ NS localhost.\n'
                    + ''.join(f'{n} CNAME .\n' for n in listed))
    return path, listed


def start_with_list(bench, peer, path, last):
    plain = peer.start(bench.pin_server)
    small, _ = peer.memory_mb()
    peer.stop()
    begin = time.monotonic()
    loaded = peer.start(bench.pin_server, blocklist=path, patience=300)
    while resolvers.ask(peer.address, last) != (3, False) and time.monotonic() - begin < 60:
        time.sleep(0.01)  # some answer before the list is in
    loaded = max(loaded, time.monotonic() - begin)
    big, _ = peer.memory_mb()
    return {'start_ms': plain * 1000, 'start_listed_ms': loaded * 1000, 'rss_start_mb': small, 'rss_mb': big,
            'cpu_ms': peer.cpu_seconds() * 1000}


def blocklist(bench):
    """(j) block lists of many names: start time, memory, cost for names not on it, cost for names on it."""
    hot, hot_count = hot_set(bench)
    for count in bench.rules:
        path, listed = write_blocklist(bench, count)
        chosen = random.Random(bench.seed).sample(listed, min(len(listed), 20_000))
        blocked, _ = write_questions(bench, 'blocked', [(n, 'A') for n in chosen])
        try:
            for peer in bench.peers:
                bench.record(f'j start with {count} rules', 0, peer, start_with_list(bench, peer, path, listed[-1]))
            warm(bench, f'j cached hot UDP, {count} rules', bench.peers, prime_twice(bench, hot, hot_count),
                 lambda p, _: bench.load(p, hot, l=bench.seconds, c=16, w=8), bench.cold_rounds)
            warm(bench, f'j blocked names, {count} rules', bench.peers, lambda p: None,
                 lambda p, _, path=blocked: bench.load(p, path, l=bench.seconds, c=16, w=8), bench.cold_rounds)
        finally:
            for peer in bench.peers:
                peer.stop()


ALL = {'cached': cached, 'zipf': zipf, 'miss': miss, 'nxdomain': nxdomain, 'memory': memory, 'restart': restart,
       'streams': streams, 'sharing': sharing, 'blocklist': blocklist}
