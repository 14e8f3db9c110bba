# SPDX-License-Identifier: GPL-3.0-or-later
"""The same questions to kresd and to Unbound, in the same world, must come to the same."""
import ask

# Where the two may differ, and why. Keys are the reasons for which the world asks a question.
ACCEPTED = {
    'server: silent': 'Unbound goes on trying for longer than a client waits; kresd gives up with SERVFAIL',
    'server: dead': 'the same',
}


def test_kresd_and_unbound_agree(world, resolver, unbound):
    questions = [(q['name'], q['type']) for q in world.questions if q['why'] not in ACCEPTED]
    assert len(questions) >= 1000
    ours, theirs = ask.answers(resolver.server, questions), ask.answers(unbound.server, questions)
    different = [f'{q}: kresd {a}, unbound {b}' for q, a, b in zip(questions, ours, theirs) if a != b]
    assert not different
