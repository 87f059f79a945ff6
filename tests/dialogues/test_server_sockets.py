"""The transcripts of server/ over TCP, through a Door: the same answers when reads, writes and ends are real."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.config import Listener
from fastrelay.metrics import Counts
from fastrelay.reception.door import Door
from fastrelay.reception.policy import Policy
from fastrelay.runtime import clock, stream, tasks
from tests.peers import dialogue
from tests.peers.dialogue import Dialogue
from tests.peers.front_desk import HOSTNAME, FakeLedger, FakeLog

DIALOGUES = [dialogue.read(path) for path in sorted((Path(__file__).parent / "server").glob("*.txt"))]


@pytest.fixture(autouse=True)
def turning_wheel() -> Iterator[None]:
    ticker = tasks.Ticker(clock.TICK, lambda: stream.wheel.turn(clock.now()))
    yield
    ticker.close()


@pytest.mark.parametrize("one", DIALOGUES, ids=lambda one: one.name)
def test_over_tcp(one: Dialogue) -> None:
    intake, ledger = one.intake(), FakeLedger()
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    policy = Policy(Listener(**one.listener), HOSTNAME, tarpit_seconds=0.0)
    door = Door(policy, [listening], intake, ledger, FakeLog(), Counts())
    door.open()
    client = stream.connect("127.0.0.1", port)
    client.expire_in(20.0)
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
    if one.closed:
        assert client.read() == b""
    client.close()
    door.drain(20.0)
    one.check_answers(said)
    one.check_messages(intake.messages)
    assert door.sessions == 0
    assert set(ledger.held.values()) == {0}
