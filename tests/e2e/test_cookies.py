# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS cookies (module cookies) towards a server, over real sockets: S-06; and what clients see of them: S-16."""
import socket
import struct
import threading

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

import ask

COOKIE, BADCOOKIE = 10, 23
SERVER_COOKIE = bytes(range(16))


class Server(threading.Thread):
    """Answers every question; what it does with the cookie is told by `mood`."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.mood, self.seen, self.address = 'good', [], address
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53))
        threading.Thread(target=self.serve_tcp, daemon=True).start()
        self.start()

    def reply(self, wire, is_tcp):
        query = dns.message.from_wire(wire)
        shown = next((o.data for o in query.options if o.otype == COOKIE), None)
        self.seen.append((shown, is_tcp))
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 0, 'IN', 'A', '192.0.2.33'))
        back = shown and shown[:8] + SERVER_COOKIE
        is_bad = self.mood == 'picky' and shown and shown[8:] != SERVER_COOKIE or self.mood == 'never' and not is_tcp
        if self.mood == 'spoofed' and not is_tcp:
            back = b'attacker' + SERVER_COOKIE
        elif self.mood == 'silent' and not is_tcp:
            back = None
        if back:
            reply.use_edns(0, options=[dns.edns.GenericOption(COOKIE, back)])
        if is_bad:
            reply.answer = []
            reply.set_rcode(BADCOOKIE)  # last: a part of it is in OPT
        return reply.to_wire()

    def run(self):
        while True:
            wire, peer = self.udp.recvfrom(4096)
            self.udp.sendto(self.reply(wire, False), peer)

    def serve_tcp(self):
        while True:
            conn, _ = self.tcp.accept()
            threading.Thread(target=self.serve_stream, args=(conn,), daemon=True).start()

    def serve_stream(self, conn):
        with conn, conn.makefile('rb') as reader:
            while head := reader.read(2):
                answer = self.reply(reader.read(struct.unpack('!H', head)[0]), True)
                conn.sendall(struct.pack('!H', len(answer)) + answer)


@pytest.fixture
def pair(kresd, new_address):
    server = Server(new_address())
    one = kresd(f'''
for _, name in ipairs({{ 'priming', 'ta_update', 'detect_time_skew' }}) do modules.unload(name) end
modules.load('cookies < iterate')
policy.add(policy.all(policy.FORWARD('{server.address}')))
''')
    with one:
        server.seen.clear()  # the start is awaited by a question
        one.control("modules.load('cookies < iterate')")  # forget what that one taught
        yield server, one


def test_server_cookie_is_shown_again(pair):
    server, one = pair
    for name in 'a.example.', 'b.example.':
        assert ask.message(one.server, name).answer
    first, second = (shown for shown, _ in server.seen)
    assert len(first) == 8 and second == first + SERVER_COOKIE


@pytest.mark.parametrize('mood', ['spoofed', 'silent'])
def test_datagram_without_our_cookie_is_not_believed(pair, mood):
    server, one = pair
    ask.message(one.server, 'a.example.')  # it is known to return cookies
    server.mood = mood
    server.seen.clear()
    assert ask.message(one.server, 'b.example.').answer
    assert [is_tcp for _, is_tcp in server.seen] == [False, True]


def test_server_that_knows_no_cookies(pair):
    server, one = pair
    server.mood = 'silent'
    assert ask.message(one.server, 'a.example.').answer
    assert [is_tcp for _, is_tcp in server.seen] == [False]


def test_badcookie_once(pair):
    server, one = pair
    server.mood = 'picky'
    assert ask.message(one.server, 'a.example.').answer
    assert [(len(shown), is_tcp) for shown, is_tcp in server.seen] == [(8, False), (24, False)]


def test_badcookie_for_ever_is_no_loop(pair):
    server, one = pair
    server.mood = 'never'
    assert ask.message(one.server, 'a.example.').answer
    assert len(server.seen) <= 4 and server.seen[-1][1]


def query_with(cookie, name='a.example.'):
    query = ask.make(name)
    query.use_edns(0, payload=1232, options=[dns.edns.GenericOption(COOKIE, cookie)])
    return query


def answer_to(one, query):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.sendto(query.to_wire(), one.server)
        reply = dns.message.from_wire(s.recv(4096))
    return reply, next((o.data for o in reply.options if o.otype == COOKIE), None)


def test_clients_get_their_own_cookies_from_every_cache(kresd):
    with kresd("modules.load('cookies < iterate') modules.load('hints') hints.ttl(600) hints['a.example'] = '192.0.2.1'") as one:
        for number in range(3):
            mine = bytes([number]) * 8
            reply, cookie = answer_to(one, query_with(mine))
            assert reply.answer and cookie[:8] == mine and len(cookie) == 24
            plain, none = answer_to(one, ask.make('a.example.'))
            assert plain.answer and none is None


def test_pressure(kresd):
    with kresd("modules.load('cookies < iterate') cookies.config({ pressure = 0 })") as one:
        reply, cookie = answer_to(one, query_with(b'12345678', 'localhost.'))
        assert reply.rcode() == BADCOOKIE and not reply.answer
        reply, _ = answer_to(one, query_with(cookie, 'localhost.'))
        assert reply.rcode() == dns.rcode.NOERROR and reply.answer
