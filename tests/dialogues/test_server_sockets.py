"""The transcripts of server/ over TCP, through a Door: the same answers when reads, writes and ends are real. Those
with TLS shake hands where they say so; some of the others are played once more inside TLS, one for each phase."""

import socket
from pathlib import Path
from typing import Any

import pytest

from fastrelay.config import Listener
from fastrelay.metrics import Counts
from fastrelay.reception.door import Door
from fastrelay.reception.policy import Policy
from fastrelay.runtime import stream
from fastrelay.runtime.certificates import Certificates
from fastrelay.runtime.tls import client_context
from fastrelay.smtp.words import TLS_GO
from tests.peers import dialogue
from tests.peers.certificates import Authority
from tests.peers.dialogue import Dialogue
from tests.peers.front_desk import HOSTNAME, FakeLedger, FakeLog, logins_of

pytestmark = pytest.mark.usefixtures("turning_wheel")
DIALOGUES = [dialogue.read(path) for path in sorted((Path(__file__).parent / "server").glob("*.txt"))]


# by what ends or fails in it: greeting, hello, envelope, content read whole and in pieces, dot, silence behind QUIT
IN_TLS = (
    *("ahead_of_ehlo", "hello_names", "relay_denied", "pipelining", "left_in_content", "bare_refused"),
    *("size_while_reading", "disk_full_at_dot", "several", "behind_quit", "errors"),
)


@pytest.fixture(scope="module")
def certificates(authority: Authority) -> Certificates:
    leaf = authority.issue(HOSTNAME)
    return Certificates([(str(leaf.certificate), str(leaf.key))])


@pytest.mark.parametrize("one", DIALOGUES, ids=lambda one: one.name)
def test_over_tcp(one: Dialogue, certificates: Certificates) -> None:
    play(one, one.listener, certificates)


@pytest.mark.parametrize("one", [one for one in DIALOGUES if one.name in IN_TLS], ids=lambda one: one.name)
def test_inside_tls(one: Dialogue, certificates: Certificates) -> None:
    play(one, {**one.listener, "tls": "implicit"}, certificates)


def test_those_inside_tls_are_there() -> None:
    assert set(IN_TLS) <= {one.name for one in DIALOGUES}


def play(one: Dialogue, listener: dict[str, Any], certificates: Certificates) -> None:
    way_of_tls = listener.get("tls", "none")
    intake, ledger = one.intake(), FakeLedger()
    ledger.rates = one.buckets()
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    listener = dict(listener)
    check_helo = listener.pop("check_helo", None)
    policy = Policy(Listener(**listener), HOSTNAME, tarpit_seconds=0.0)
    shown = certificates if way_of_tls != "none" else None
    log = FakeLog()
    logins = logins_of(log, failed=one.buckets())
    door = Door(
        policy, [listening], intake, ledger, log, Counts(), tls=shown, logins=logins, check_helo=check_helo
    )  # fmt: skip
    door.open()
    client = stream.connect("127.0.0.1", port)
    client.expire_in(20.0)
    if way_of_tls == "implicit":
        client.start_tls(client_context(verify=False), server_side=False)
    said = b""
    due = 0
    for exchange in one.exchanges:
        if exchange.send:
            client.write(exchange.send)
        due += len(exchange.answers)
        while said.count(b"\r\n") < due:
            octets = client.read()
            assert octets, f"closed after {said[-200:]!r}"
            said += octets
        if said.endswith(TLS_GO):
            client.start_tls(client_context(verify=False), server_side=False)
    if one.closed:
        assert client.read() == b""
    client.close()
    door.drain(20.0)
    one.check_answers(said)
    one.check_messages(intake.messages)
    assert door.sessions == 0
    assert set(ledger.held.values()) == {0}
