"""trace.py: our Received field, its date, and the count of those already there."""

import re
from email.utils import parsedate_to_datetime

import pytest

from fastrelay.mail.headers import MAX_HEADER, received_count
from fastrelay.reception.trace import DateLine, HopCount, protocol, received_head
from fastrelay.trail.parse import hop


@pytest.mark.parametrize(
    ("extended", "tls", "user", "word"),
    [
        (False, False, "", "SMTP"),
        (True, False, "", "ESMTP"),
        (True, True, "", "ESMTPS"),
        (True, False, "u", "ESMTPA"),
        (True, True, "u", "ESMTPSA"),
    ],
)
def test_protocol_words(extended: bool, tls: bool, user: str, word: str) -> None:
    assert protocol(extended=extended, tls=tls, user=user) == word
    if extended:
        assert protocol(extended=True, tls=tls, user=user, smtputf8=True) == word.replace(
            "E", "UTF8", 1
        )  # RFC 6531 4.3


@pytest.mark.parametrize(
    ("client", "where"),
    [
        ("192.0.2.1", b"(unknown [192.0.2.1])"),
        ("2001:db8::1", b"(unknown [IPv6:2001:db8::1])"),
        ("fe80::1%eth0", b"(unknown [IPv6:fe80::1])"),
        ("unix", b"(local socket)"),
    ],
)
def test_what_was_claimed_and_what_was_verified(client: str, where: bytes) -> None:
    head = received_head("client.example", client, "relay.example", "ESMTP")
    assert head == b"Received: from client.example " + where + b"\r\n\tby relay.example with ESMTP id "


def test_what_came_of_the_look_at_helo_hides_nothing_from_who_reads_the_field() -> None:
    plain, noted = (
        received_head("client.example", "192.0.2.1", "relay.example", "ESMTP", verified="mail.example", checked=checked)
        for checked in ("", "pass")
    )
    assert noted == plain.replace(b"])", b"]) (claimed name: pass)")
    one, other = (hop(head.decode()[9:] + "1; Wed, 25 Nov 2026 12:00:00 +0000") for head in (plain, noted))
    assert (one.sender, one.taker, one.protocol) == (other.sender, other.taker, other.protocol)
    assert (other.sender.claimed, other.sender.name) == ("client.example", "mail.example")


def test_a_verified_name_is_shown_beside_the_claimed_one() -> None:
    head = received_head("liar.example", "192.0.2.1", "relay.example", "SMTP", verified="host.example")
    assert b"from liar.example (host.example [192.0.2.1])" in head


def test_date_line_is_a_date_and_made_once_a_second() -> None:
    dates = DateLine()
    line = dates.at(1_800_000_000.2)
    assert re.fullmatch(rb"; \w{3}, \d\d \w{3} 2027 \d\d:\d\d:\d\d [+-]\d{4}\r\n", line)
    assert parsedate_to_datetime(line[2:].decode().strip()).timestamp() == 1_800_000_000
    assert dates.at(1_800_000_000.9) is line
    assert dates.at(1_800_000_001.0) != line


HEADERS = [
    b"",
    b"\r\n",
    b"\r\nReceived: in the body\r\n",
    b"Received: a\r\n\r\nReceived: body\r\n",
    b"Received: a\r\nReceived: b\r\nSubject: x\r\n\r\nReceived: body\r\n",
    b"Subject: x\r\nRECEIVED : a\r\n\tfolded\r\nreceived\t: b\r\nX-Received: c\r\nReceived-SPF: d\r\n\r\n",
    b"Subject: Received: x\r\nReceived: a\r\n",
    b"Received: a\r\n\r\n\r\nReceived: b\r\n\r\n",
]


@pytest.mark.parametrize("content", HEADERS)
def test_hops_are_the_same_however_the_header_is_cut(content: bytes) -> None:
    whole = received_count(content)
    for size in range(1, len(content) + 1):
        hops = HopCount()
        cuts = list(range(0, len(content), size))
        pieces = [content[at : at + size] for at in cuts]
        for piece in pieces:
            hops.feed(piece)
        # a last line without its end is counted when the next piece or the end of the section comes
        unfinished = content and b"\r\n\r\n" not in content and not content.startswith(b"\r\n")
        assert hops.count == whole or (unfinished and hops.count == whole - 1), size


def test_nothing_behind_the_bound_is_looked_at() -> None:
    hops = HopCount()
    line = b"X: " + b"x" * 900 + b"\r\n"
    for _ in range(MAX_HEADER // len(line) + 1):
        hops.feed(line)
    assert hops.feed(b"Received: a\r\n" * 200) == 0
