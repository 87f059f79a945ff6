"""Every transcript of server/ through a session, in memory: in whole pieces, octet by octet, and pipelined."""

from pathlib import Path

import pytest

from fastrelay.reception.session import Session
from tests.peers import dialogue
from tests.peers.dialogue import Dialogue
from tests.peers.front_desk import FakeIntake, ScriptStream, desk_of

DIALOGUES = [dialogue.read(path) for path in sorted((Path(__file__).parent / "server").glob("*.txt"))]
CUTTABLE = [one for one in DIALOGUES if "whole" not in one.words]


def name_of(one: Dialogue) -> str:
    return one.name


def played(one: Dialogue, chunks: list[bytes]) -> tuple[ScriptStream, FakeIntake]:
    intake = one.intake()
    stream = ScriptStream(chunks)
    Session(desk_of(intake, buckets=one.buckets(), **one.listener), stream, "1").run()
    assert stream.closed
    assert all(draft.discarded for draft in intake.drafts[len(intake.messages) :])
    return stream, intake


def check(one: Dialogue, stream: ScriptStream, intake: FakeIntake) -> None:
    one.check_answers(stream.written)
    one.check_messages(intake.messages)
    assert stream.ended != one.closed, "who ends it"


@pytest.mark.parametrize("one", DIALOGUES, ids=name_of)
def test_whole(one: Dialogue) -> None:
    stream, intake = played(one, one.whole())
    check(one, stream, intake)
    due = 0
    for exchange, written in zip(one.exchanges, stream.at_read, strict=False):
        due += len(exchange.answers)
        assert written.count(b"\r\n") == due, f"a reply too early or too late before {exchange.send!r}"


@pytest.mark.parametrize("one", CUTTABLE, ids=name_of)
def test_octet_by_octet(one: Dialogue) -> None:
    check(one, *played(one, one.octets()))


@pytest.mark.parametrize("one", CUTTABLE, ids=name_of)
def test_pipelined(one: Dialogue) -> None:
    check(one, *played(one, one.pipelined()))


def test_a_group_is_answered_by_one_write() -> None:
    (one,) = (one for one in DIALOGUES if one.name == "pipelining")
    stream, _ = played(one, one.whole())
    assert len(stream.writes) == len(one.exchanges)
