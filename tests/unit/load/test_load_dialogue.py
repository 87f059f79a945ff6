"""The client's side of a session against scripted replies."""

from typing import Any

import pytest

from fastrelay.errors import PeerClosed
from fastrelay.load import dialogue
from fastrelay.load.dialogue import Dialogue, Refused

HELLO = [b"220 hi\r\n", b"250-me\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"]


class Server:
    """Answers each write (a whole group) with the next of `replies`."""

    def __init__(self, replies: list[bytes]) -> None:
        self.replies = replies
        self.heard: list[bytes] = []
        self.closed = False

    def write(self, octets: bytes) -> None:
        self.heard.append(octets)

    def write_parts(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def read(self) -> bytes:
        return self.replies.pop(0) if self.replies else b""

    read_waiting_first = read

    def expire_in(self, seconds: float) -> None:
        assert seconds > 0

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def meet(monkeypatch: pytest.MonkeyPatch) -> Any:
    def met(replies: list[bytes], **options: Any) -> tuple[Dialogue, Server]:
        server = Server(list(replies))
        monkeypatch.setattr(dialogue, "connect", lambda *args, **kwargs: server)
        return Dialogue("127.0.0.1", 25, hello="me", **options), server

    return met


def test_pipelined_costs_two_writes(meet: Any) -> None:
    client, server = meet([*HELLO, b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n", b"250 2.0.0 taken\r\n"])
    sent = client.transact("s@x", ["a@y", "b@y"], [b"x\r\n", b".\r\n"], size=3)
    group = b"MAIL FROM:<s@x> SIZE=3\r\nRCPT TO:<a@y>\r\nRCPT TO:<b@y>\r\nDATA\r\n"
    assert server.heard[1:] == [group, b"x\r\n.\r\n"]
    assert [reply.code for reply in sent.replies] == [250, 550] and sent.taken and client.open


def test_step_by_step_without_pipelining(meet: Any) -> None:
    client, server = meet([*HELLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"451 no\r\n"], pipelining=False)
    sent = client.transact("s@x", ["a@y"], [b"x\r\n.\r\n"])
    assert server.heard[1:] == [b"MAIL FROM:<s@x>\r\n", b"RCPT TO:<a@y>\r\n", b"DATA\r\n", b"x\r\n.\r\n"]
    assert [reply.code for reply in sent.replies] == [451] and not sent.taken


def test_no_recipient_taken(meet: Any) -> None:
    client, server = meet([*HELLO, b"250 ok\r\n550 no\r\n554 none\r\n"])
    sent = client.transact("s@x", ["a@y"], [b"secret\r\n.\r\n"])
    assert [reply.code for reply in sent.replies] == [550] and sent.waited == 0.0
    assert b"secret" not in b"".join(server.heard)


def test_unwanted_session(meet: Any) -> None:
    for replies in ([b"554 no\r\n"], [HELLO[0], b"421 busy\r\n"]):
        with pytest.raises(Refused):
            meet(replies)


def test_421_ends_the_session_with_a_verdict(meet: Any) -> None:
    client, _ = meet([*HELLO, b"250 ok\r\n250 ok\r\n354 go\r\n", b"421 4.3.2 bye\r\n"])
    sent = client.transact("s@x", ["a@y"], [b"x\r\n.\r\n"])
    assert [reply.code for reply in sent.replies] == [421] and not client.open


def test_closed_where_a_reply_was_due(meet: Any) -> None:
    client, server = meet([*HELLO, b"250 ok\r\n250"])
    with pytest.raises(PeerClosed):
        client.transact("s@x", ["a@y"], [b"x\r\n.\r\n"])
    client.quit()
    assert server.closed
