# SPDX-License-Identifier: GPL-3.0-or-later
"""kresc and kres-cache-gc beside running resolvers."""
import pathlib
import re
import signal
import subprocess
import time

import pytest

import ask
from programs import KRESD

BUILD = pathlib.Path(KRESD).resolve().parents[1]


def find(name):
    """A program of the same build as kresd."""
    return next((str(p) for p in BUILD.glob(f'utils/*/{name}') if p.is_file()), str(BUILD / 'utils' / name))


def run(name, *args, text=None, timeout=30):
    return subprocess.run([find(name), *map(str, args)], input=text, capture_output=True, text=True, timeout=timeout)


# -- kresc --

def socket_of(one):
    return one.folder / 'control' / str(one.process.pid)


def test_kresc_runs_what_is_piped_in(kresd):
    with kresd() as one:
        done = run('kresc', socket_of(one), text="1+1\nx = 5\nx * 2\nerror('mine')\n")
        assert done.returncode == 0
        assert [line for line in done.stdout.splitlines() if line in ('2', '10')] == ['2', '10']
        assert 'mine' in done.stdout + done.stderr


def test_kresc_wants_one_argument():
    assert run('kresc').returncode == 1
    assert run('kresc', 'a', 'b').returncode == 1


def test_kresc_says_when_nobody_is_there(tmp_path):
    done = run('kresc', tmp_path / 'nobody', text='1\n')
    assert done.returncode == 1 and done.stderr


def test_kresc_notices_the_end_of_its_resolver(kresd):
    one = kresd().start()
    client = subprocess.Popen([find('kresc'), str(socket_of(one))], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    client.stdin.write('1+1\n')
    client.stdin.flush()
    time.sleep(0.3)
    one.stop(signal.SIGKILL)
    _, stderr = client.communicate('2+2\n', timeout=10)
    assert client.returncode == 1 and stderr


# -- kres-cache-gc --

@pytest.mark.parametrize('args, status', [
    ([], 1), (['-h'], 1), (['-c', '.', '-u', 'many'], 2), (['-c', '.', '-f', '-5'], 2), (['-c', '.', '-d', '1x'], 2),
])
def test_gc_options(args, status):
    assert run('kres-cache-gc', *args).returncode == status


def test_gc_waits_for_a_cache(tmp_path):
    done = run('kres-cache-gc', '-c', tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith('Knot Resolver Cache Garbage Collector, version ')


def usage(folder):
    return float(re.search(r'^Usage: ([\d.]+)%', run('kres-cache-gc', '-c', folder, '-n').stdout, re.M)[1])


@pytest.fixture
def filled(kresd, world_config, world):
    """A resolver whose little cache has seen the whole world."""
    config = world_config + "cache.open(2*MB, 'lmdb://{folder}/cache')"
    with kresd(config, name='filled') as one:
        ask.answers(one.server, [(q['name'], q['type']) for q in world.questions if q['rcode'] != 'SERVFAIL'])
        yield one


def test_gc_only_looks_when_told_so(filled):
    before = int(filled.control('cache.count()')[0])
    assert usage(filled.folder / 'cache') > 1
    assert int(filled.control('cache.count()')[0]) == before


def test_gc_frees_a_share_and_resolving_goes_on(filled, world):
    before = int(filled.control('cache.count()')[0])
    done = run('kres-cache-gc', '-c', filled.folder / 'cache', '-u', 0, '-f', 50)
    assert done.returncode == 0, done.stdout + done.stderr
    after = int(filled.control('cache.count()')[0])
    assert 0.2 * before < after < 0.8 * before
    question = next(q for q in world.questions if q['why'] == 'plain name')
    assert ask.answer(filled.server, question['name'], question['type']).rcode == 'NOERROR'


def test_gc_leaves_a_cache_below_the_threshold_alone(filled):
    before = int(filled.control('cache.count()')[0])
    assert run('kres-cache-gc', '-c', filled.folder / 'cache', '-u', 100).returncode == 0
    assert int(filled.control('cache.count()')[0]) >= before


def test_gc_goes_round_until_it_is_stopped(filled):
    process = subprocess.Popen([find('kres-cache-gc'), '-c', str(filled.folder / 'cache'), '-d', '100', '-v'],
                               stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert len(re.findall(r'^Usage: ', out, re.M)) >= 3
