"""A door behind a proxy: whose word counts, whose limits are taken, and what is heard and told when no header comes."""

from typing import Any

import pytest

from fastrelay.config import Listener, Rate
from fastrelay.errors import PeerClosed, PeerTimeout
from fastrelay.mail.route import LimitKey
from fastrelay.metrics import Counts
from fastrelay.reception.door import Door
from fastrelay.reception.policy import Policy
from tests.peers.front_desk import HOSTNAME, FakeCertificates, FakeIntake, FakeLedger, FakeLog, ScriptStream

HEADER = b"PROXY TCP4 203.0.113.9 198.51.100.1 40001 25\r\n"
MESSAGE = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n"
REST = (b"EHLO client.example\r\n", MESSAGE, b"Subject: x\r\n\r\nHello\r\n.\r\n", b"QUIT\r\n")
PROXY = "192.0.2.10"


class House:
    """A door without sockets: connections are handed in."""

    def __init__(self, **listener: Any) -> None:
        self.intake, self.ledger, self.log, self.counts = FakeIntake(), FakeLedger(), FakeLog(), Counts()
        settings = {"proxy_protocol": True, "proxy_from": ("192.0.2.0/28",), **listener}
        policy = Policy(Listener(**settings), HOSTNAME, tarpit_seconds=0.0)
        shown = FakeCertificates() if "tls" in listener else None
        self.door = Door(policy, [], self.intake, self.ledger, self.log, self.counts, tls=shown)

    def serve(self, *chunks: Any, proxy: str = PROXY) -> ScriptStream:
        stream = ScriptStream(chunks, proxy)
        self.door._serve(stream)
        assert stream.closed and set(self.ledger.held.values()) <= {0}
        return stream

    def reasons(self) -> list[tuple[str, str]]:
        return [(event["reason"], event["peer_address"]["addr"]) for event in self.log.of("Rejection")]


def test_rights_received_envelope_and_log_see_the_client() -> None:
    here = House(relay_from=("203.0.113.0/24",))
    stream = here.serve(HEADER, *REST)
    assert stream.written.startswith(b"220 ") and stream.written.endswith(b"221 2.0.0 Bye\r\n")
    (message,) = here.intake.messages
    assert message.envelope.client == "203.0.113.9" and b"(unknown [203.0.113.9])" in message.prefix
    assert here.log.of("Reception")[0]["peer_address"]["addr"] == "203.0.113.9"


def test_the_right_of_the_proxy_is_not_that_of_its_clients() -> None:
    here = House(relay_from=("192.0.2.0/24",))
    assert b"550 5.7.1 Relaying denied" in here.serve(HEADER, *REST).written
    assert here.log.of("Rejection")[0]["peer_address"]["addr"] == "203.0.113.9"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"], ids=["UNKNOWN", "LOCAL"])
def test_without_a_client_it_is_the_proxy(header: bytes) -> None:
    here = House(relay_from=("192.0.2.0/24",))
    here.serve(header, *REST)
    assert here.intake.messages[0].envelope.client == PROXY


def test_the_clients_limit_is_the_clients() -> None:
    here = House(relay_from=(), max_connections_per_client=1)
    here.ledger.held[LimitKey("client", ("203.0.113.9",))] = 1
    stream = ScriptStream([HEADER], PROXY)
    here.door._serve(stream)
    assert stream.written == b"421 4.7.0 relay.example Too many connections from your address\r\n"
    other = here.door, ScriptStream([HEADER.replace(b"203.0.113.9", b"203.0.113.8"), b"QUIT\r\n"], PROXY)
    other[0]._serve(other[1])
    assert other[1].written.endswith(b"221 2.0.0 Bye\r\n")


def test_the_clients_rates_are_the_clients() -> None:
    hour = Rate(1, 3600)
    here = House(relay_from=("203.0.113.0/24",), connection_rate_per_client=hour, message_rate_per_client=hour)
    assert b"450 4.7.1 Too many messages" in here.serve(HEADER, *REST[:3], MESSAGE).written
    assert here.serve(HEADER).written.startswith(b"421 4.7.0 relay.example Too many new connections from your address")
    other = here.serve(HEADER.replace(b"203.0.113.9", b"203.0.113.8"), *REST)
    assert other.written.endswith(b"221 2.0.0 Bye\r\n") and len(here.intake.messages) == 2


def test_a_place_is_taken_while_the_header_is_waited_for() -> None:
    here = House(max_connections=1)
    total = LimitKey("listener", ("127.0.0.1:2525",))
    seen: list[int] = []

    class Looking(ScriptStream):
        def peek(self) -> bytes:
            seen.append(here.ledger.total(total))
            return super().peek()

    here.door._serve(Looking([HEADER, b"QUIT\r\n"], PROXY))
    assert seen == [1] and here.ledger.total(total) == 0
    here.ledger.held[total] = 1
    stream = ScriptStream([HEADER], PROXY)
    here.door._serve(stream)
    assert stream.written.startswith(b"421 4.3.2 ") and here.ledger.total(total) == 1


def test_header_and_first_commands_in_one_piece_and_octet_by_octet() -> None:
    whole = HEADER + b"".join(REST)
    here = House(relay_from=("203.0.113.0/24",))
    said = here.serve(*(bytes((octet,)) for octet in whole)).written
    assert len(here.intake.messages) == 1
    assert here.serve(HEADER + REST[0], *REST[1:]).written.count(b"\r\n") == said.count(b"\r\n")
    assert len(here.intake.messages) == 2


def test_the_header_comes_before_tls() -> None:
    here = House(relay_from=("203.0.113.0/24",), tls="implicit")
    here.serve(HEADER, *REST)
    assert b"with ESMTPS id" in here.intake.messages[0].prefix and here.counts.tls_ok == 1
    here.serve(HEADER)
    assert here.counts.tls_failed == 0, "a health check through the proxy"


def test_a_stranger_hears_nothing_and_is_told_of() -> None:
    here = House()
    stream = here.serve(HEADER, *REST, proxy="198.51.100.66")
    assert stream.written == b"" and stream.at_read == []
    assert here.reasons() == [("PROXY protocol: 198.51.100.66 is not in proxy_from", "198.51.100.66")]
    assert here.counts.rejected == 1 and here.counts.sessions == 0


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ([b"EHLO client.example\r\n"], "no PROXY header"),
        ([b"\x16\x03\x01\x02\x00\x01"], "no PROXY header"),
        ([b"PROXY TCP4 1.2.3.4\r\n"], "a PROXY line that is none"),
        ([b"PROXY TCP4 203.0.113.9 "], "the header breaks off"),
        ([PeerTimeout("deadline passed")], "no header within 5 s"),
        ([b"PROXY", PeerTimeout("deadline passed")], "no header within 5 s"),
    ],
)
def test_no_header_no_answer_one_line(chunks: list[Any], why: str) -> None:
    here = House()
    stream = here.serve(*chunks)
    assert stream.written == b"" and here.reasons() == [(f"PROXY protocol: {why}", PROXY)]
    assert stream.deadlines[0] == ("in", 5.0)


@pytest.mark.parametrize("chunks", [[], [PeerClosed("gone")]], ids=["left", "reset"])
def test_a_health_check_is_no_news(chunks: list[Any]) -> None:
    here = House()
    assert here.serve(*chunks).written == b"" and here.reasons() == []


def test_over_a_local_socket_everybody_may_introduce() -> None:
    here = House(address="unix:/x", proxy_from=(), relay_from=())
    assert b"550 5.7.1" in here.serve(HEADER, *REST, proxy="unix").written
    assert here.log.of("Rejection")[0]["peer_address"]["addr"] == "203.0.113.9"
