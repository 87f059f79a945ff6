"""routing/wire.py: only a reply to our question counts; chains, negatives, oddities and garbage."""

import random
import struct

import dns.flags
import dns.message
import dns.rcode
import pytest

from fastrelay.routing import wire
from fastrelay.routing.answers import MAX_CHAIN, Exchange, Question, Status
from fastrelay.routing.wire import Reading, Verdict

MX = Question("example.test", "MX")
ADDRESS = Question("www.example.test", "A")


def replied(
    question: Question, answer: str = "", authority: str = "", *, flags: str = "QR RD RA", rcode: str = "NOERROR"
) -> tuple[bytes, bytes]:
    """The octets sent and the octets of a reply made by dnspython."""
    sent = wire.ask(question, 4711)
    text = f"id 4711\nopcode QUERY\nrcode {rcode}\nflags {flags}\n;QUESTION\n{question.name}. IN {question.rdtype}\n"
    for section, records in (("ANSWER", answer), ("AUTHORITY", authority)):
        text += f";{section}\n{records}\n" if records else ""  # an empty line would end the text
    return sent, dns.message.from_text(text).to_wire()


def judged(question: Question, answer: str = "", authority: str = "", **more: str) -> Reading:
    sent, octets = replied(question, answer, authority, **more)
    return wire.read(octets, sent, question)


def test_the_question_is_what_dnspython_understands() -> None:
    message = dns.message.from_wire(wire.ask(MX, 4711))
    assert message.id == 4711
    assert message.question[0].to_text() == "example.test. IN MX"
    assert message.flags & dns.flags.RD and message.flags & dns.flags.AD
    assert message.edns == 0 and message.payload == wire.UDP_SIZE
    assert dns.message.from_wire(wire.ask(MX, 1, edns=False)).edns == -1


def test_mx_records_are_parsed_and_folded() -> None:
    reading = judged(MX, "example.test. 300 IN MX 20 MX2.Example.test.\nexample.test. 200 IN MX 10 mx1.example.test.")
    assert reading.verdict is Verdict.ANSWER and reading.answer is not None
    assert set(reading.answer.exchanges) == {Exchange(20, "mx2.example.test"), Exchange(10, "mx1.example.test")}
    assert reading.answer.ttl == 200
    assert not reading.answer.secure


def test_null_mx_has_an_empty_host() -> None:
    answer = judged(MX, "example.test. 300 IN MX 0 .").answer
    assert answer is not None and answer.exchanges == (Exchange(0, ""),) and answer.records == ("0 .",)


@pytest.mark.parametrize(
    ("rdtype", "rdata"),
    [("A", "198.41.0.4"), ("AAAA", "2001:503:ba3e::2:30"), ("TXT", '"v=spf1 -all"'), ("PTR", "a.test.")],
)
def test_other_types_as_text(rdtype: str, rdata: str) -> None:
    answer = judged(Question("x.test", rdtype), f"x.test. 60 IN {rdtype} {rdata}").answer
    assert answer is not None and answer.records == (rdata,)


def test_a_chain_is_walked_and_its_least_ttl_counts() -> None:
    answer = judged(
        ADDRESS,
        "b.test. 50 IN CNAME c.test.\nwww.example.test. 90 IN CNAME b.test.\nc.test. 70 IN A 198.41.0.4",
    ).answer
    assert answer is not None
    assert (answer.chain, answer.records, answer.ttl) == (("b.test", "c.test"), ("198.41.0.4",), 50)


def test_a_chain_without_an_end_has_to_be_followed() -> None:
    reading = judged(ADDRESS, "www.example.test. 90 IN CNAME elsewhere.test.")
    assert reading.follow == "elsewhere.test"
    assert reading.answer is not None and reading.answer.chain == ("elsewhere.test",)


def test_a_chain_that_ends_in_nothing_with_a_soa_is_an_answer() -> None:
    reading = judged(ADDRESS, "www.example.test. 90 IN CNAME e.test.", "test. 900 IN SOA ns.test. h.test. 1 2 3 4 30")
    assert reading.follow == "" and reading.answer is not None
    assert (reading.answer.status, reading.answer.ttl) == (Status.NO_DATA, 30)


def test_loops_and_endless_chains_fail() -> None:
    loop = judged(ADDRESS, "www.example.test. 1 IN CNAME b.test.\nb.test. 1 IN CNAME www.example.test.").answer
    assert loop is not None and loop.reason == "CNAME loop"
    links = "\n".join(f"n{i}.test. 9 IN CNAME n{i + 1}.test." for i in range(MAX_CHAIN + 5))
    long = judged(Question("n0.test", "A"), links).answer
    assert long is not None and long.reason == "CNAME chain too long"


def test_negative_answers_are_dated_by_the_soa_of_their_zone() -> None:
    soa = "test. 100 IN SOA ns.test. h.test. 1 2 3 4 400"
    no_name = judged(MX, authority=soa, rcode="NXDOMAIN").answer
    no_data = judged(MX, authority="example.test. 500 IN SOA ns.test. h.test. 1 2 3 4 40").answer
    foreign = judged(MX, authority="other.zone. 500 IN SOA ns.test. h.test. 1 2 3 4 40").answer
    assert no_name is not None and (no_name.status, no_name.ttl) == (Status.NO_NAME, 100)
    assert no_data is not None and (no_data.status, no_data.ttl) == (Status.NO_DATA, 40)
    assert foreign is not None and foreign.ttl == 0


def test_records_of_other_owners_are_not_believed() -> None:
    reading = judged(MX, "other.test. 300 IN MX 10 evil.test.\nexample.test. 300 IN A 192.0.2.1")
    assert reading.answer is not None and reading.answer.status is Status.NO_DATA


def test_only_our_own_question_counts() -> None:
    sent, octets = replied(MX, "example.test. 300 IN MX 10 a.test.")
    other_id = bytes([octets[0] ^ 1]) + octets[1:]
    not_a_reply = octets[:2] + bytes([octets[2] & 0x7F]) + octets[3:]
    other_question = octets[:13] + b"f" + octets[14:]
    louder = octets[:12] + octets[12:26].upper() + octets[26:]
    assert wire.read(other_id, sent, MX).verdict is Verdict.NOT_OURS
    assert wire.read(not_a_reply, sent, MX).verdict is Verdict.NOT_OURS
    assert wire.read(other_question, sent, MX).verdict is Verdict.NOT_OURS
    assert wire.read(louder, sent, MX).verdict is Verdict.ANSWER


@pytest.mark.parametrize(
    ("rcode", "reason"), [("SERVFAIL", "SERVFAIL"), ("REFUSED", "REFUSED"), ("NOTAUTH", "rcode 9")]
)
def test_refusals_are_failures_with_their_name(rcode: str, reason: str) -> None:
    answer = judged(MX, rcode=rcode).answer
    assert answer is not None and answer.failed and answer.reason == reason


def test_format_errors_ask_for_a_question_without_edns() -> None:
    assert judged(MX, rcode="FORMERR").verdict is Verdict.NO_EDNS
    bare = struct.pack("!HHHHHH", 4711, 0x8001, 0, 0, 0, 0)
    assert wire.read(bare, wire.ask(MX, 4711), MX).verdict is Verdict.NO_EDNS


def test_truncated_and_authentic_bits() -> None:
    assert judged(MX, flags="QR TC").verdict is Verdict.TRUNCATED
    answer = judged(MX, "example.test. 300 IN MX 10 a.test.", flags="QR AD").answer
    assert answer is not None and answer.secure


def test_ttl_above_31_bits_means_zero() -> None:
    sent, octets = replied(MX, "example.test. 300 IN MX 10 a.test.")
    spoilt = octets.replace(struct.pack("!I", 300), b"\xff\xff\xff\xff")
    answer = wire.read(spoilt, sent, MX).answer
    assert answer is not None and answer.ttl == 0


def test_names_with_strange_octets_are_escaped() -> None:
    answer = judged(MX, r"example.test. 300 IN MX 10 a\013\010b\ c.test.").answer
    assert answer is not None and answer.exchanges[0].host == r"a\013\010b\032c.test"


def test_a_thousand_records_are_read_and_no_more() -> None:
    question = Question("x.test", "A")
    sent = wire.ask(question, 9)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes(4)
    head = struct.pack("!HHHHHH", 9, 0x8180, 1, 3000, 0, 0)
    answer = wire.read(head + sent[12:-11] + record * 3000, sent, question).answer
    assert answer is not None and len(answer.records) == wire.MAX_RECORDS


def test_every_cut_and_flip_is_judged_and_none_raises() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    sent, octets = replied(MX, "example.test. 300 IN MX 10 a.test.", "test. 9 IN SOA ns.test. h.test. 1 2 3 4 400")
    for size in range(len(octets)):
        assert wire.read(octets[:size], sent, MX).verdict in Verdict
    for _ in range(2000):
        spoilt = bytearray(octets)
        for _ in range(chance.randint(1, 4)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        assert wire.read(bytes(spoilt), sent, MX).verdict in Verdict
