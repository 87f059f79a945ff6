"""SMTP smuggling: nothing but CRLF . CRLF ends a message (CVE-2023-51764 to -51766, VU#302671). Every sequence known to
have fooled a server stands between a message and a second one hidden in it; one message, or none, comes of it."""

import re

import pytest

from fastrelay.reception.session import Session
from fastrelay.smtp.data import Decoder, stuff
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
ANSWERS = 1 + 5 + 3  # greeting, EHLO, envelope


def sent(sequence: bytes, cut: str, bare_newlines: str) -> tuple[list[bytes], FakeIntake]:
    """The replies behind 354, and the house."""
    message = b"Subject: seen\r\n\r\nx" + sequence + HIDDEN + b"\r\n.\r\n"
    chunks = [message] if cut == "whole" else [bytes((octet,)) for octet in message]
    intake = FakeIntake()
    stream = ScriptStream([*BEFORE, *chunks, b"QUIT\r\n"])
    Session(desk_of(intake, bare_newlines=bare_newlines), stream, "1").run()
    return stream.written.splitlines()[ANSWERS:], intake


@pytest.mark.parametrize("cut", ["whole", "octets"])
@pytest.mark.parametrize("sequence", BARE, ids=repr)
def test_refused(sequence: bytes, cut: str) -> None:
    answers, intake = sent(sequence, cut, "refuse")
    assert [line[:10] for line in answers] == [b"550 5.6.11", b"221 2.0.0 "]
    assert intake.messages == []


@pytest.mark.parametrize("cut", ["whole", "octets"])
@pytest.mark.parametrize("sequence", [*BARE, *ODD], ids=repr)
def test_normalised_is_one_message_that_stays_one(sequence: bytes, cut: str) -> None:
    answers, intake = sent(sequence, cut, "normalise")
    assert [line[:9] for line in answers] == [b"250 2.0.0", b"221 2.0.0"]
    (message,) = intake.messages
    assert message.addresses == ["b@there.example"]
    assert message.content.endswith(b"evil\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", message.content)
    onward = b"".join(stuff([message.content]))
    assert Decoder().feed(onward) == (message.content, len(onward))


@pytest.mark.parametrize("cut", ["whole", "octets"])
@pytest.mark.parametrize("sequence", ODD, ids=repr)
def test_odd_octets_are_content(sequence: bytes, cut: str) -> None:
    answers, intake = sent(sequence, cut, "refuse")
    assert [line[:9] for line in answers] == [b"250 2.0.0", b"221 2.0.0"]
    (message,) = intake.messages
    kept = sequence.replace(b"\r\n.", b"\r\n")  # the transparency dot
    assert message.content == b"Subject: seen\r\n\r\nx" + kept + HIDDEN + b"\r\n"
