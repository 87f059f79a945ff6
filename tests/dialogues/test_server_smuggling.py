"""SMTP smuggling: nothing but CRLF . CRLF ends a message (CVE-2023-51764 to -51766, VU#302671). Every sequence known to
have fooled a server stands between a message and a second one hidden in it; one message, or none, comes of it."""

import re
from itertools import pairwise

import pytest

from fastrelay.reception.session import Session
from fastrelay.smtp.data import Decoder, stuff
from tests.peers.dialogue import OFFER
from tests.peers.front_desk import FakeIntake, ScriptStream, desk_of

BARE = [
    b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\r\n.\r\r\n",
    b"\n\n.\r\n", b"\r\n.\r\r\n", b"\r\n.\n\n", b"\n\r.\n\r", b"\r\n.\r\0\n", b"\r\n\n.\r\n", b"\r\n\r.\r\n",
    b"\n.\n\r\n.\n",
]  # fmt: skip
ODD = [b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\0\0\r\n", b"\r\n .\r\n", b"\r\n. \r\n", b"\r\n..\r\n", b"\r\n\x0b.\r\n"]
ODD += [b"\r\n\xc2\x85.\r\n", b"\r\n\xe2\x80\xa8.\xe2\x80\xa8", b"\r\n.\x1a\r\n"]
HIDDEN = b"MAIL FROM:<evil@client.example>\r\nRCPT TO:<c@there.example>\r\nDATA\r\nSubject: hidden\r\n\r\nevil"
BEFORE = [b"EHLO client.example\r\n", b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n"]
ANSWERS = 1 + 1 + len(OFFER) + 3  # greeting, EHLO, envelope


def sent(sequence: bytes, cut: str, bare_newlines: str) -> tuple[list[bytes], FakeIntake]:
    """The replies behind 354, and the house."""
    message = b"Subject: seen\r\n\r\nx" + sequence + HIDDEN + b"\r\n.\r\n"
    chunks = [message] if cut == "whole" else [bytes((octet,)) for octet in message]
    intake = FakeIntake()
    stream = ScriptStream([*BEFORE, *chunks, b"QUIT\r\n"])
    Session(desk_of(intake, bare_newlines=bare_newlines), stream, "1").run()
    return stream.written.splitlines()[ANSWERS:], intake


def sent_in_chunks(sequence: bytes, bare_newlines: str, last: int) -> tuple[list[bytes], FakeIntake]:
    """The same by BDAT, in chunks that end after the octets before, inside and behind the sequence."""
    message = b"Subject: seen\r\n\r\nx" + sequence + HIDDEN
    at = [0, 18, *range(19, 18 + len(sequence)), 18 + len(sequence), len(message) - last, len(message)]
    chunks = [message[start:end] for start, end in pairwise(at)]
    lines = [b"BDAT %d%b\r\n" % (len(chunk), b" LAST" * (n == len(chunks))) for n, chunk in enumerate(chunks, 1)]
    octets = b"".join(line + chunk for line, chunk in zip(lines, chunks, strict=True))
    intake = FakeIntake()
    envelope = BEFORE[1].removesuffix(b"DATA\r\n")
    stream = ScriptStream([BEFORE[0], envelope, octets, b"RSET\r\nQUIT\r\n"])
    Session(desk_of(intake, bare_newlines=bare_newlines), stream, "1").run()
    return stream.written.splitlines()[ANSWERS - 1 :], intake


@pytest.mark.parametrize("last", [0, 1], ids=["empty", "one octet"])
@pytest.mark.parametrize("sequence", [*BARE, *ODD, b"\r\n.\r\n"], ids=repr)
def test_chunks_are_one_message_or_none(sequence: bytes, last: int) -> None:
    """What would end a message by DATA is its content by BDAT, and goes on stuffed."""
    answers, intake = sent_in_chunks(sequence, "refuse", last)
    if re.search(rb"\r(?!\n)|(?<!\r)\n", sequence):
        assert not intake.messages and [line[:3] for line in answers].count(b"550") == 1
        assert {line[:3] for line in answers[:-2]} == {b"250", b"550", b"503"}
    else:
        (message,) = intake.messages
        assert message.content == b"Subject: seen\r\n\r\nx" + sequence + HIDDEN + b"\r\n"
        goes_on_as_one(message.content)
    answers, intake = sent_in_chunks(sequence, "normalise", last)
    (message,) = intake.messages
    assert {line[:9] for line in answers[:-1]} == {b"250 2.0.0"}
    assert message.addresses == ["b@there.example"] and message.content.endswith(b"evil\r\n")
    goes_on_as_one(message.content)


def goes_on_as_one(content: bytes) -> None:
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    onward = b"".join(stuff([content]))
    assert Decoder().feed(onward) == (content, len(onward))


@pytest.mark.parametrize("cut", ["whole", "octets"])
@pytest.mark.parametrize("sequence", BARE, ids=repr)
def test_refused(sequence: bytes, cut: str) -> None:
    answers, intake = sent(sequence, cut, "refuse")
    assert [line[:10] for line in answers] == [b"550 5.6.0 ", b"221 2.0.0 "]
    assert intake.messages == []


@pytest.mark.parametrize("cut", ["whole", "octets"])
@pytest.mark.parametrize("sequence", [*BARE, *ODD], ids=repr)
def test_normalised_is_one_message_that_stays_one(sequence: bytes, cut: str) -> None:
    answers, intake = sent(sequence, cut, "normalise")
    assert [line[:9] for line in answers] == [b"250 2.0.0", b"221 2.0.0"]
    (message,) = intake.messages
    assert message.addresses == ["b@there.example"]
    assert message.content.endswith(b"evil\r\n")
    goes_on_as_one(message.content)


@pytest.mark.parametrize("cut", ["whole", "octets"])
@pytest.mark.parametrize("sequence", ODD, ids=repr)
def test_odd_octets_are_content(sequence: bytes, cut: str) -> None:
    answers, intake = sent(sequence, cut, "refuse")
    assert [line[:9] for line in answers] == [b"250 2.0.0", b"221 2.0.0"]
    (message,) = intake.messages
    kept = sequence.replace(b"\r\n.", b"\r\n")  # the transparency dot
    assert message.content == b"Subject: seen\r\n\r\nx" + kept + HIDDEN + b"\r\n"
