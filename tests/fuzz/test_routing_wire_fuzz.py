"""What a name server says, under any octets: one verdict, never an exception; what is believed is about the name asked.

Two roads: octets behind a header that matches the question, and true replies with pieces changed.
"""

import struct

import dns.message
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.routing import wire
from fastrelay.routing.answers import MAX_CHAIN, Question, Status
from fastrelay.routing.wire import MAX_RECORDS, Reading, Verdict
from tests.fuzz.effort import effort

IDENT = 4711
QUESTIONS = [Question("example.test", "MX"), Question("www.example.test", "A"), Question("example.test", "TXT")]
RECORDS = [
    "example.test. 60 IN MX 10 mx1.example.test.",
    "example.test. 60 IN MX 0 .",
    "example.test. 60 IN CNAME www.example.test.",
    "www.example.test. 60 IN CNAME example.test.",
    "www.example.test. 60 IN A 192.0.2.1",
    "www.example.test. 60 IN AAAA 2001:db8::1",
    'example.test. 60 IN TXT "x"',
    "test. 60 IN SOA a.test. b.test. 1 2 3 4 5",
]
CHANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6)


def judged(question: Question, octets: bytes) -> Reading:
    reading = wire.read(octets, wire.ask(question, IDENT), question)
    answer = reading.answer
    assert (reading.verdict is Verdict.ANSWER) == (answer is not None)
    if answer is not None:
        assert answer.name == question.name and answer.rdtype == question.rdtype
        assert 0 <= answer.ttl < 2**31 and len(answer.chain) <= MAX_CHAIN and len(answer.records) <= MAX_RECORDS
        assert (answer.status is Status.FOUND) == bool(answer.records)
        for text in (*answer.records, *answer.chain, reading.follow):
            assert text.isprintable() or not text, "it goes into logs and replies"
    return reading


@effort(300)
@given(st.sampled_from(QUESTIONS), st.integers(0, 2**16 - 1), st.tuples(*[st.integers(0, 3000)] * 3), st.binary())
def test_any_octets_behind_our_question(
    question: Question, flags: int, counts: tuple[int, int, int], rest: bytes
) -> None:
    sent = wire.ask(question, IDENT, edns=False)
    head = struct.pack("!HHHHHH", IDENT, flags | 0x8000, 1, *counts)
    judged(question, head + sent[12:] + rest)
    judged(question, rest)


@effort(200)
@given(st.sampled_from(QUESTIONS), st.lists(st.sampled_from(RECORDS), max_size=8), CHANGES, st.integers(0, 400))
def test_a_true_reply_with_pieces_changed(
    question: Question, records: list[str], changes: list[tuple[int, int]], end: int
) -> None:
    lines = "\n".join(dict.fromkeys(records))
    text = f"id {IDENT}\nopcode QUERY\nflags QR RD RA\n;QUESTION\n{question.name}. IN {question.rdtype}\n"
    octets = bytearray(dns.message.from_text(text + (f";ANSWER\n{lines}\n" if lines else "")).to_wire())
    assert judged(question, bytes(octets)).verdict is Verdict.ANSWER
    for at, octet in changes:
        if at < len(octets):
            octets[at] = octet
    judged(question, bytes(octets))
    judged(question, bytes(octets[:end]))
