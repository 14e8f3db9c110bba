# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the configuration anew while serving (F-30, F-39, G-11)."""
import signal
import socket
import threading
import time

import pytest

import ask
import bad_configs

MARK = '''
modules = { 'hints > iterate' }
hints['mark.net'] = '192.0.2.%d'
'''
STATE = '''tojson({ net.list(), modules.list(), net.bufsize(), net.tcp_in_idle(), option('NO_MINIMIZE'), log_level(),
 log_groups(), cache.current_size, cache.current_storage, cache.max_ttl(), trust_anchors.summary(), hostname(),
 #policy.rules, mark, net.tls_padding(), net.doh_headers(), net.proxy_allowed(), net.tls_client() })'''.replace('\n', ' ')


def mark_of(server):
    got = ask.answer(server, 'mark.net.', 'A')
    return sorted(r for _, _, r in got.records)


def until(what, patience_s=20):
    end = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < end, 'it did not happen in time'
        time.sleep(0.02)


def test_hangup_reads_the_configuration_anew(kresd):
    with kresd(MARK % 1) as one:
        assert mark_of(one.server) == ['192.0.2.1']
        one.configure(one.BASE + MARK % 2)
        one.process.send_signal(signal.SIGHUP)
        until(lambda: mark_of(one.server) == ['192.0.2.2'])
        assert 'the new configuration is in force' in one.log


def test_command_waits_for_the_end(kresd):
    with kresd(MARK % 1) as one:
        one.configure(one.BASE + MARK % 3)
        assert one.control('reload()', '1 + 1') == ['true', '2']
        assert mark_of(one.server) == ['192.0.2.3']


def test_error_is_the_answer(kresd):
    with kresd(MARK % 1) as one:
        one.configure(one.BASE + "x = 1\nerror('mine')")
        said, two = one.control('reload()', '1 + 1')
        assert 'test.conf' in said and 'mine' in said and two == '2'
        assert mark_of(one.server) == ['192.0.2.1']
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(one.folder / 'control' / str(one.process.pid)))
            s.sendall(b'__json\nreload()\n')
            got = b''
            while not got.endswith(b'}\n'):
                got += s.recv(4096)
            assert b'"ok":false' in got and b'mine' in got


def test_what_was_set_by_hand_is_gone(kresd):
    with kresd() as one:
        one.control("by_hand = 1", "net.bufsize(4000)", "policy.add(policy.all(policy.DENY))", "hostname('other.test')",
                    "event.recurrent(1, function () ticks = (ticks or 0) + 1 end)", "log_groups({'io'})")
        assert one.control('reload()') == ['true']
        time.sleep(0.1)
        assert one.control('by_hand', 'net.bufsize()', '#policy.rules', 'ticks', '#log_groups()')[1:] == \
            ['1232\t-- result # 1\n1232\t-- result # 2', '0', 'nil', '0']


def test_listeners(kresd, new_address):
    """One goes, one stays open, one comes."""
    goes, comes = new_address(), new_address()
    with kresd(f"net.listen('{goes}', 53)\n") as one:
        with socket.create_connection(one.server, 5) as stays, socket.create_connection((goes, 53), 5) as old:
            query = ask.make('mark.net.').to_wire()
            for s in (stays, old):
                s.sendall(len(query).to_bytes(2, 'big'))
            one.configure(one.BASE + MARK % 4 + f"net.listen('{comes}', 53)\n")
            assert one.control('reload()') == ['true']
            for s in (stays, old):  # connections outlive the change, whatever they came through
                s.settimeout(5)
                s.sendall(query)
                assert s.recv(2)
        assert mark_of((comes, 53)) == ['192.0.2.4']
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((goes, 53), 2).close()


def test_nothing_is_lost_under_load(kresd):
    """Eight clients ask as fast as they are answered; each change is seen by all, and no question goes unanswered."""
    rounds, lost, count, stop = 10, [], [0], threading.Event()
    with kresd(MARK % 1) as one:
        def load(number):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(5)
                s.connect(one.server)
                query = ask.make('mark.net.').to_wire()
                while not stop.is_set():
                    s.send(query)
                    try:
                        if s.recv(4096)[:2] != query[:2]:
                            lost.append('wrong answer')
                    except OSError as err:
                        lost.append(repr(err))
                    count[0] += 1
        threads = [threading.Thread(target=load, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        try:
            with socket.create_connection(one.server, 5) as stream:
                stream.settimeout(5)
                query = ask.make('mark.net.').to_wire()
                for i in range(rounds):
                    one.configure(one.BASE + MARK % (i + 10))
                    if i % 2:
                        assert one.control('reload()') == ['true']
                    else:
                        one.process.send_signal(signal.SIGHUP)
                        until(lambda: mark_of(one.server) == [f'192.0.2.{i + 10}'])
                    stream.sendall(len(query).to_bytes(2, 'big') + query)
                    assert stream.recv(2), 'the connection was closed'
                    stream.recv(4096)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not lost and count[0] > 100
        assert int(one.control('worker.stats().dropped')[0]) == 0


def test_requests_in_flight_are_answered(kresd, world_config):
    """Callbacks of the old Lua state are gone by then; the questions of clients are not."""
    config = world_config + "modules = { 'serve_stale < cache' } policy.add(policy.all(policy.QTRACE))"
    with kresd(config) as one:
        one.control("for i = 1, 20 do resolve('www.slow-odd.alpha.', kres.type.A, kres.class.IN, {'NO_CACHE'}, "
                    "function () ended = true end, function (req) req:vars().mine = i end) end")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(10)
            s.connect(one.server)
            query = ask.make('www.slow-odd.alpha.').to_wire()
            s.send(query)
            time.sleep(0.02)
            assert one.control('reload()') == ['true']
            assert s.recv(4096)[:2] == query[:2]
        assert one.control('ended') == ['nil']


def test_signals_in_a_row(kresd):
    with kresd(MARK % 1) as one:
        one.configure(one.BASE + MARK % 5)
        for _ in range(50):
            one.process.send_signal(signal.SIGHUP)
            time.sleep(0.005)
        until(lambda: mark_of(one.server) == ['192.0.2.5'])
        one.process.send_signal(signal.SIGHUP)
        assert one.stop() == 0


def test_memory_does_not_grow(kresd):
    with kresd(MARK % 1) as one:
        def rss():
            return int(one.control('collectgarbage() return worker.stats().rss')[0])
        for _ in range(3):
            assert one.control('reload()') == ['true']
        before = rss()
        for _ in range(10):
            assert one.control('reload()') == ['true']
        assert 'asan' in one.command[0] or rss() < before + 8 * 2**20  # there what was freed is kept for a while
        assert one.stop() == 0, one.log  # leaks are told at the end


def test_nothing_of_a_bad_configuration_stays(kresd):
    """Each of them begins with changes of everything, which must not be seen afterwards."""
    changes = '''net.listen('127.0.0.1', 5357) net.bufsize(4096) option('NO_MINIMIZE', true) log_level('info')
hostname('bad.test') log_groups({'io'}) cache.open(30 * MB, 'lmdb://{folder}/other') cache.max_ttl(77)
modules = { 'stats' } mark = 'bad' policy.add(policy.all(policy.DROP)) trust_anchors.set_insecure({'bad.test'})
net.tls_padding(64) net.doh_headers('x-bad') net.tcp_in_idle(77) net.proxy_allowed('192.0.2.0/24')
net.tls_client({'192.0.2.1', insecure = true})
'''
    with kresd(MARK % 1) as one:
        bad_configs.make_files(one.folder)
        before = one.control(STATE)
        text = (one.BASE + changes).replace('{address}', one.address).replace('{port}', str(one.port))
        # Behind the check by another process: it fails in the one that serves.
        bad_configs.write(one.folder / 'test.conf', text + "if not _check then error('late') end\n", one.folder)
        assert 'late' in one.control('reload()')[0]
        assert one.control(STATE) == before
        assert mark_of(one.server) == ['192.0.2.1']
        for what, (bad, _) in bad_configs.BAD.items():
            if what == 'call too early':  # not here: the changes have opened the cache
                continue
            bad_configs.write(one.folder / 'test.conf', text + bad + '\n', one.folder)
            said = one.control('reload()')[0]
            assert said != 'true', what
            assert one.control(STATE) == before, what
        assert mark_of(one.server) == ['192.0.2.1']
        one.configure(one.BASE + MARK % 6)
        assert one.control('reload()') == ['true']
        assert mark_of(one.server) == ['192.0.2.6']
