# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS servers of a few lines: a function makes the answer to each question."""
import socket
import threading

import dns.exception
import dns.message
import dns.rcode
import dns.rrset


class Server:
    """Answers over UDP at an address of its own; `reply(query)` returns a message, or None for silence."""

    def __init__(self, address, reply, port=53):
        self.reply, self.asked = reply, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self):
        while True:
            try:
                wire, peer = self.socket.recvfrom(4096)
                query = dns.message.from_wire(wire)
            except dns.exception.DNSException:
                continue
            except OSError:
                return
            self.asked.append(query.question[0])
            answer = self.reply(query)
            if answer is not None:
                self.socket.sendto(answer.to_wire(), peer)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.close()


def failing(rcode=dns.rcode.SERVFAIL):
    def reply(query):
        answer = dns.message.make_response(query, recursion_available=True)
        answer.set_rcode(rcode)
        return answer
    return reply


def saying(answer=(), authority=(), additional=()):
    """Records in text form, whatever is asked; `@` is the name asked for."""
    def reply(query):
        message = dns.message.make_response(query, recursion_available=True)
        name = query.question[0].name.to_text()
        for section, lines in ((message.answer, answer), (message.authority, authority),
                               (message.additional, additional)):
            for line in lines:
                owner, rtype, data = line.replace('@', name).split(None, 2)
                section.append(dns.rrset.from_text(owner, 600, 'IN', rtype, data))
        return message
    return reply


def silent(_query):
    return None
