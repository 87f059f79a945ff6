"""A session whose peer speaks for others: what the house, Received and the log hear of the client that is named."""

from collections.abc import Callable

import pytest

from fastrelay.reception.session import Session
from tests.peers.front_desk import FakeIntake, FakeLog, ScriptStream, Taken, desk_of

REST = [
    b"EHLO client.example\r\n",
    b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n",
    b"Subject: x\r\n\r\nHello\r\n.\r\n",
]


def visit(*commands: bytes, look_up: Callable[[str], str] | None = None) -> tuple[FakeIntake, FakeLog]:
    """A session of a proxy that may relay itself; its clients may where they are in 203.0.113.0/24."""
    intake, log = FakeIntake(), FakeLog()
    desk = desk_of(
        intake, log, look_up, relay_from=("192.0.2.10/32", "203.0.113.0/24"), xclient_from=("192.0.2.10/32",),
        reverse_lookup="all",
    )  # fmt: skip
    Session(desk, ScriptStream(commands, "192.0.2.10"), "s-1").run()
    return intake, log


def only(intake: FakeIntake) -> Taken:
    (message,) = intake.messages
    return message


def test_the_client_named_is_the_client() -> None:
    intake, log = visit(b"EHLO proxy.example\r\n", b"XCLIENT ADDR=203.0.113.9 NAME=mail.client.example\r\n", *REST)
    message = only(intake)
    assert message.envelope.client == "203.0.113.9" and message.envelope.helo == "client.example"
    assert b"from client.example (mail.client.example [203.0.113.9])\r\n" in message.prefix
    assert log.of("Reception")[0]["peer_address"] == {"name": "client.example", "addr": "203.0.113.9"}


def test_one_after_the_other_in_one_session() -> None:
    again = [b"XCLIENT ADDR=203.0.113.8 NAME=[UNAVAILABLE]\r\n", *REST]
    intake, _ = visit(b"XCLIENT ADDR=IPV6:2001:db8::1 LOGIN=anna\r\n", *REST, *again)
    first, second = intake.messages
    assert first.envelope.client == "2001:db8::1" and first.envelope.user == "anna"
    assert b"[IPv6:2001:db8::1])\r\n\tby relay.example with ESMTPA id" in first.prefix
    assert second.envelope.client == "203.0.113.8" and second.envelope.user == ""
    assert b"(unknown [203.0.113.8])\r\n\tby relay.example with ESMTP id" in second.prefix


@pytest.mark.parametrize("address", [b"198.51.100.1", b"[UNAVAILABLE]"])
def test_the_right_to_relay_is_not_handed_on(address: bytes) -> None:
    intake, log = visit(b"XCLIENT ADDR=" + address + b"\r\n", *REST[:1], REST[1].replace(b"DATA\r\n", b""))
    (event,) = log.of("Rejection")
    assert event["response"]["content"] == "Relaying denied"
    shown = "unknown" if address.startswith(b"[") else address.decode()
    assert intake.messages == [] and event["peer_address"]["addr"] == shown


def test_a_client_without_a_name_is_looked_up_and_one_with_a_name_is_not() -> None:
    asked: list[str] = []

    def look_up(address: str) -> str:
        asked.append(address)
        return f"name-of-{address}"

    intake, _ = visit(b"XCLIENT ADDR=203.0.113.9\r\n", *REST, look_up=look_up)
    assert b"(name-of-203.0.113.9 [203.0.113.9])" in only(intake).prefix
    intake, _ = visit(b"XCLIENT ADDR=203.0.113.9 NAME=said.example\r\n", *REST, look_up=look_up)
    assert b"(said.example [203.0.113.9])" in only(intake).prefix
    intake, _ = visit(b"XCLIENT ADDR=203.0.113.9 NAME=[TEMPUNAVAIL]\r\n", *REST, look_up=look_up)
    assert b"(unknown [203.0.113.9])" in only(intake).prefix
    assert asked.count("203.0.113.9") == 1
